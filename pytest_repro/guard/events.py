"""Where a draw happened, whether it may happen there, how it is called, and the error text."""

from __future__ import annotations

import linecache
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import numpy as np

from pytest_repro.errors import RandomnessError
from pytest_repro.model.words import Word


class EventKind(Word):
    """Which randomness was used."""

    UNSEEDED = "unseeded"
    NUMPY_GLOBAL = "numpy global"
    RANDOM_GLOBAL = "random global"
    MINDSPORE_GLOBAL = "mindspore global"
    TORCH_GLOBAL = "torch global"
    MISUSE = "generator misuse"


@dataclass(frozen=True, slots=True)
class RandomnessEvent:
    """Unseeded randomness, or a generator used wrongly.

    Attributes:
        kind: Which randomness.
        what: One sentence.
        file: The pipeline's file if a pipeline drew, else the file that drew (absolute); ``""`` if
            unknown.
        line: Its line, from 1; 0 if unknown.
        code_line: That line, stripped.
        drew_at: ``file:line`` of the draw if that is another place, else ``""``.
        called_from: ``file:line`` of the caller outside installed packages, else ``""``.
        pipeline: Class of the pipeline that drew, else ``""``.
        seeded_by: The call that seeded this global state in the same test, with its place.
    """

    kind: EventKind
    what: str
    file: str = ""
    line: int = 0
    code_line: str = ""
    drew_at: str = ""
    called_from: str = ""
    pipeline: str = ""
    seeded_by: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a frame that drew, without the frame, which would keep its locals alive.

    Attributes:
        package: Top-level name of the module that drew.
        drawing_file: Its file.
        file, line, drew_at, called_from, pipeline: As in `RandomnessEvent`.
        importing: Whether an installed module drew while it was imported.
        preparing: Whether the constructor of a network or ``TestCase.setUp`` drew.
    """

    package: str
    drawing_file: str
    file: str
    line: int
    drew_at: str
    called_from: str
    pipeline: str
    importing: bool
    preparing: bool

    def event(self, kind: EventKind, what: str, seeded_by: str = "") -> RandomnessEvent:
        """The event that ``kind`` happened here."""
        code = linecache.getline(self.file, self.line).strip()
        if self.pipeline:
            what = f"{self.pipeline} draws without a generator: {what}"
        return RandomnessEvent(
            kind,
            what,
            self.file,
            self.line,
            code,
            self.drew_at,
            self.called_from,
            self.pipeline,
            seeded_by,
        )


_NUMPY = str(Path(np.__file__).parent) + os.sep
_OWN = str(Path(__file__).parents[1]) + os.sep
_STDLIB = str(Path(os.__file__).parent) + os.sep
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")

# They draw test data, retry delays and file names, but no result of the test.
_BYSTANDERS = frozenset(
    {
        *("_pytest", "pluggy", "pytest", "pytest_randomly", "xdist", "execnet", "coverage"),
        *("faker", "hypothesis", "tqdm"),
        *("filelock", "httpx", "huggingface_hub", "requests", "urllib3"),
    }
)
GLOBALS = frozenset(EventKind) - {EventKind.UNSEEDED, EventKind.MISUSE}
"""The kinds of draws from global states, which are seeded before each test."""
_NETWORKS = {"mindspore": "Cell", "torch": "Module"}

_NEXT = {
    EventKind.UNSEEDED: "pass generator=repro_generator, or seed it: "
    "np.random.Generator(np.random.PCG64(0))",
    EventKind.NUMPY_GLOBAL: "draw from repro_generator instead of numpy's global state",
    EventKind.RANDOM_GLOBAL: "draw from repro_generator, or from random.Random(0), instead of "
    "random's global state",
    EventKind.MINDSPORE_GLOBAL: "draw with repro_generator and wrap it: "
    "ms.Tensor(repro_generator.standard_normal(shape), ms.float32); for dropout: set_train(False)",
    EventKind.TORCH_GLOBAL: "call torch.manual_seed(0) in the test, or pass "
    "generator=torch.Generator().manual_seed(0)",
    EventKind.MISUSE: "pass np.random.Generator objects, one an image: repro_generators(n)",
}
_ONCE_SEEDED = {
    EventKind.NUMPY_GLOBAL: "draw from np.random.RandomState(seed), which gives the same numbers, "
    "or from repro_generator",
    EventKind.RANDOM_GLOBAL: "draw from random.Random(seed), which gives the same numbers, or from "
    "repro_generator",
}
_ESCAPE = ' (or mark the test with repro(rng="off", reason="..."))'


def calling_frame() -> FrameType:
    """The innermost frame outside this package: the Python code that called a replacement."""
    start = sys._getframe(1)  # noqa: SLF001
    outside = (at for at in _outwards(start) if not at.f_code.co_filename.startswith(_OWN))
    return next(outside, start)


def find_place(frame: FrameType, beyond: str = "") -> Place:
    """The place of a draw made at ``frame``.

    Frames of numpy, this package and ``beyond`` (a top-level package, e.g. ``mindspore``) are
    skipped.
    """
    drawing = next((at for at in _outwards(frame) if not _is_passed_over(at, beyond)), frame)
    pipeline, kind = _pipeline_frame(drawing)
    blamed = pipeline or drawing
    user = _user_frame(blamed)
    return Place(
        package=_package(drawing),
        drawing_file=drawing.f_code.co_filename,
        file=blamed.f_code.co_filename,
        line=blamed.f_lineno,
        drew_at="" if blamed is drawing else place_of(drawing),
        called_from="" if user is None or user is blamed else place_of(user),
        pipeline=kind,
        importing=_is_importing(drawing, _user_frame(drawing)),
        preparing=is_constructing(frame) or _is_setting_up(frame),
    )


def may_draw(place: Place, kind: EventKind) -> bool:
    """Whether a draw from here is allowed: it decides no result of the test, or is seeded.

    The standard library and test tools draw for themselves. A network's constructor and
    ``TestCase.setUp`` may draw from global states, which are seeded before each test. MindSpore
    draws from numpy's state only to initialise weights. An installed module may draw while it is
    imported.
    """
    if kind in GLOBALS and place.preparing:
        return True
    if kind is EventKind.NUMPY_GLOBAL and place.package == "mindspore":
        return True
    is_private = place.package in _BYSTANDERS or _is_stdlib(place.drawing_file)
    return place.importing or is_private


def error_of(event: RandomnessEvent) -> RandomnessError:
    """The error that stops the test at an event."""
    facts = [f"line   {event.code_line}"] if event.code_line else []
    if event.drew_at:
        facts.append(f"drew at  {event.drew_at}")
    if event.called_from:
        facts.append(f"called from  {event.called_from}")
    next_step = _NEXT[event.kind]
    if event.seeded_by:
        facts.append(f"seeded  {event.seeded_by}")
        facts.append("a seeded global state still changes with every other draw from it")
        next_step = _ONCE_SEEDED.get(event.kind, next_step)
    if event.pipeline:
        next_step = "pass generator=repro_generator to the pipeline"
    where = f"{shown_file(event.file)}:{event.line}" if event.file else ""
    return RandomnessError(
        event.what, facts=tuple(facts), where=where, next_step=next_step + _ESCAPE
    )


def place_of(frame: FrameType) -> str:
    """``file:line`` of a frame as messages show it."""
    return f"{shown_file(frame.f_code.co_filename)}:{frame.f_lineno}"


def code_of(frame: FrameType) -> str:
    """The line of code that a frame runs, stripped; ``""`` without source."""
    return linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()


def shown_file(file: str) -> str:
    """A file as messages show it: from the package on, or relative to the working folder."""
    for mark in _INSTALLED:
        _, found, tail = file.rpartition(mark)
        if found:
            return tail
    try:
        return Path(file).relative_to(Path.cwd()).as_posix()
    except (ValueError, OSError):
        return file


@cache  # called for every loaded module by every guard
def is_user_file(file: str) -> bool:
    """Whether a file is user code: not installed, standard library or this package."""
    is_ours = file.startswith((_OWN, "<")) or file.endswith((".pyx", ".pxd"))
    return not (is_ours or _is_installed(file) or _is_stdlib(file))


def hide_internal_frames(error: BaseException) -> None:
    """Keep only frames outside numpy and this package in the traceback.

    The traceback ends at the innermost frame outside installed packages; the message names the
    line of a pipeline.
    """
    entries = list(_entries(error.__traceback__))
    shown = [one for one in entries if not _is_passed_over(one.tb_frame, "")]
    mine = [at for at, one in enumerate(shown) if _is_users(one.tb_frame)]
    if mine:
        shown = shown[: mine[-1] + 1]
    if not shown:
        return
    for one, following in zip(shown, [*shown[1:], None], strict=True):
        one.tb_next = following
    error.__traceback__ = shown[0]


def makes_legacy_state(frame: FrameType) -> bool:
    """Whether the running line makes a ``RandomState`` that may have a seed, or unpickles one.

    numpy reads entropy there before it seeds, and for ``jumped``. The text of the line decides; a
    ``RandomState`` without an argument is unseeded.
    """
    code = frame.f_code
    if code.co_filename.replace("\\", "/").endswith("numpy/random/_pickle.py"):
        return True
    line = code_of(frame)
    if re.search(r"\b(RandomState|default_rng)\(\s*(seed\s*=\s*)?(None\s*)?\)", line):
        return False
    words = set(re.findall(r"\w+", line)) or set(code.co_names)
    return bool(words & {"RandomState", "jumped"}) or any(
        _name_of(frame, word) in ("RandomState", "jumped") for word in words
    )


def _name_of(frame: FrameType, word: str) -> object:
    value = frame.f_locals.get(word, frame.f_globals.get(word))
    return getattr(value, "__name__", "")


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _entries(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


def _is_passed_over(frame: FrameType, beyond: str) -> bool:
    file = frame.f_code.co_filename
    is_internal = file.startswith((_NUMPY, _OWN)) or file.endswith((".pyx", ".pxd"))
    return is_internal or (bool(beyond) and _package(frame) == beyond)


def _pipeline_frame(frame: FrameType) -> tuple[FrameType | None, str]:
    """The innermost frame that runs a pipeline's own code, and the name of its class."""
    for at in _outwards(frame):
        owner = _owner(at)
        if any(base.__name__ == "DiffusionPipeline" for base in owner.__mro__):
            return at, owner.__name__
    return None, ""


def is_constructing(frame: FrameType) -> bool:
    """Whether a network is being constructed, not called from a computing one or a pipeline."""
    for at in _outwards(frame):
        name = at.f_code.co_name
        if name not in ("__init__", "__call__", "construct", "forward"):
            continue
        owner = _owner(at)
        if _is_network(owner):
            return name == "__init__"
        if any(base.__name__ == "DiffusionPipeline" for base in owner.__mro__):
            return False
    return False


def _is_setting_up(frame: FrameType) -> bool:
    names = ("setUp", "asyncSetUp")
    at = (one for one in _outwards(frame) if one.f_code.co_name in names)
    return any(base.__name__ == "TestCase" for one in at for base in _owner(one).__mro__)


def _is_network(owner: type[Any]) -> bool:
    return any(
        _NETWORKS.get(base.__module__.partition(".")[0]) == base.__name__ for base in owner.__mro__
    )


def _owner(frame: FrameType) -> type[Any]:
    """The class of a method's first argument ``self``; ``object`` without one."""
    code = frame.f_code
    if not code.co_argcount or code.co_varnames[0] != "self":
        return object
    return type(frame.f_locals.get("self"))


def _user_frame(frame: FrameType) -> FrameType | None:
    """The innermost frame of the user's code; a ``conftest.py`` only if there is no other."""
    users = [at for at in _outwards(frame) if _is_users(at)]
    own = (at for at in users if Path(at.f_code.co_filename).name != "conftest.py")
    return next(own, users[0] if users else None)


def _is_users(frame: FrameType) -> bool:
    return is_user_file(frame.f_code.co_filename)


def _is_importing(frame: FrameType, user: FrameType | None) -> bool:
    """Whether an installed module is being imported between ``frame`` and the user's code."""
    for at in _outwards(frame):
        if at is user:
            return False
        # A program that was started has such a frame as well, without the import around it.
        around = "" if at.f_back is None else at.f_back.f_code.co_filename
        is_module = at.f_code.co_name == "<module>" and _is_installed(at.f_code.co_filename)
        if is_module and around.startswith("<frozen importlib"):
            return True
    return False


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _is_installed(file: str) -> bool:
    return any(mark in file for mark in _INSTALLED)


def _is_stdlib(file: str) -> bool:
    return file.startswith(("<frozen", _STDLIB)) and not _is_installed(file)


def wrongly_handed(generator: object, count: int | None) -> str:
    """What is wrong with a generator passed to mindone; ``""`` if nothing is."""
    if isinstance(generator, list):
        wrong = next((one for one in generator if not isinstance(one, np.random.Generator)), None)
        if wrong is not None:
            return _not_a_generator(wrong)
        if count is not None and len(generator) not in (1, count):
            return _miscounted(len(generator), count)
        own = len({id(one) for one in generator})
        return "" if own == len(generator) else _shared(own, len(generator))
    fine = generator is None or isinstance(generator, np.random.Generator)
    return "" if fine else _not_a_generator(generator)


def _not_a_generator(value: object) -> str:
    kind = type(value).__name__
    if kind == "Generator":  # e.g. of MindSpore
        kind = f"{type(value).__module__.partition('.')[0]}.{kind}"
    article = "an" if kind[0] in "aeiouAEIOU" else "a"
    return f"{article} {kind} was passed to a pipeline as generator: its draws cannot be compared"


def _miscounted(generators: int, images: int) -> str:
    were = "1 generator was" if generators == 1 else f"{generators} generators were"
    return f"{were} passed for a batch of {images} images: {_ONE_EACH}"


_ONE_EACH = "each image needs its own generator, so that it can be made alone"


def _shared(own: int, images: int) -> str:
    only = "1 generator" if own == 1 else f"{own} generators"
    return f"a list of {images} holds only {only}: {_ONE_EACH}"


_NOT_A_GENERATOR = re.compile(r"'(\w+)' object has no attribute 'standard_normal'")
_MINDONE_COUNT = re.compile(
    r"list of generators of length (\d+), but requested an effective batch size of (\d+)"
)


def explain_misuse(error: BaseException) -> RandomnessError | None:
    """The meaning of a pipeline's own error about its generators, or ``None`` for other errors.

    mindone's pipelines refuse a list of another length than the batch with a ValueError, and an int
    with an AttributeError.
    """
    counts = _MINDONE_COUNT.search(str(error))
    if isinstance(error, ValueError) and counts is not None:
        what = _miscounted(int(counts[1]), int(counts[2]))
        return RandomnessError(
            what, facts=(f"pipeline  {error}",), next_step=f"repro_generators({counts[2]})"
        )
    kind = _NOT_A_GENERATOR.search(str(error))
    if isinstance(error, AttributeError) and kind is not None:
        return RandomnessError(
            f"a pipeline got generator={kind[1]}(...), which is not a numpy.random.Generator",
            facts=(f"pipeline  {error}",),
            next_step="pass repro_generator",
        )
    return None
