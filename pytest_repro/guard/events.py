"""Where somebody drew: the frame that is to blame, whether it may draw, and the words for it."""

from __future__ import annotations

import ast
import dis
import itertools
import linecache
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import numpy as np

from pytest_repro.errors import RandomnessError
from pytest_repro.model.words import Word


class EventKind(Word):
    """Which randomness was used."""

    UNSEEDED = "unseeded"
    NUMPY_GLOBAL = "numpy global"
    RANDOM_GLOBAL = "random global"
    MINDSPORE_GLOBAL = "mindspore global"
    MISUSE = "generator misuse"


@dataclass(frozen=True, slots=True)
class RandomnessEvent:
    """Randomness that no seed of the test decides, or a generator used wrongly.

    Attributes:
        kind: Which randomness.
        what: One sentence.
        file: The file that drew (absolute), ``""`` when it cannot be told.
        line: Its line, from 1; 0 when it cannot be told.
        code_line: That line, stripped.
        called_from: ``file:line`` of the innermost frame outside installed packages, ``""`` when
            that is the same place.
    """

    kind: EventKind
    what: str
    file: str
    line: int
    code_line: str
    called_from: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """A frame that drew, without the frame: nothing keeps its locals alive.

    Attributes:
        package: Top-level name of its module.
        file, line: Where.
        called_from: As in `RandomnessEvent`.
        importing: Whether an installed module was just being imported, and drew or had it drawn.
    """

    package: str
    file: str
    line: int
    called_from: str
    importing: bool

    def event(self, kind: EventKind, what: str) -> RandomnessEvent:
        """The event that ``kind`` happened here."""
        code = linecache.getline(self.file, self.line).strip()
        return RandomnessEvent(kind, what, self.file, self.line, code, self.called_from)


_NUMPY = os.path.dirname(np.__file__) + os.sep  # noqa: PTH120  string prefixes, in a hot path
_OWN = os.path.dirname(os.path.dirname(__file__)) + os.sep  # noqa: PTH120
_STDLIB = os.path.dirname(os.__file__) + os.sep  # noqa: PTH120
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")

# They draw for their own ends (test data, retries, file names), never into a result of the test.
_BYSTANDERS = frozenset(
    {
        *("_pytest", "pluggy", "pytest", "pytest_randomly", "xdist", "execnet", "coverage"),
        *("faker", "hypothesis", "tqdm"),
        *("filelock", "httpx", "huggingface_hub", "requests", "urllib3"),
    }
)

_NEXT = {
    EventKind.UNSEEDED: "pass generator=repro_generator, or seed it: "
    "np.random.Generator(np.random.PCG64(0))",
    EventKind.NUMPY_GLOBAL: "draw from repro_generator instead of numpy's global state",
    EventKind.RANDOM_GLOBAL: "draw from repro_generator, or from random.Random(0), instead of "
    "random's global state",
    EventKind.MINDSPORE_GLOBAL: "draw with repro_generator and wrap it: "
    "ms.Tensor(repro_generator.standard_normal(shape), ms.float32); for dropout: set_train(False)",
    EventKind.MISUSE: "pass np.random.Generator objects, one an image: repro_generators(n)",
}
_ESCAPE = ' (or mark the test with repro(rng="off", reason="..."))'


def find_place(frame: FrameType, beyond: str = "") -> Place:
    """The first frame from ``frame`` outwards that is neither numpy's nor ours.

    Args:
        frame: Where to begin.
        beyond: A further top-level package to look beyond, e.g. ``mindspore``.
    """
    blamed = _outside(frame, beyond)
    owner = _user_frame(blamed)
    called_from = ""
    if owner is not None and owner is not blamed:
        called_from = f"{shown_file(owner.f_code.co_filename)}:{owner.f_lineno}"
    importing = _is_importing(blamed, owner)
    file = blamed.f_code.co_filename
    return Place(_package(blamed), file, blamed.f_lineno, called_from, importing)


def may_draw(place: Place, kind: EventKind) -> bool:
    """Whether a draw from here cannot decide a result of the test, or is seeded all the same.

    The standard library and test tools draw for themselves. MindSpore's own code draws from
    numpy's global state only to initialise weights when a layer is built (measured on 2.10.0: a
    small UNet2DModel makes 100 calls of ``np.random.randint`` in ``initializer.py``, an LSTM four
    of ``np.random.uniform`` in ``rnns.py``); `isolated_globals` has seeded those, and loading a
    checkpoint replaces them. What an installed module does while it is imported happens only in the
    first test that imports it, so it is no property of a test.
    """
    if kind is EventKind.NUMPY_GLOBAL and place.package == "mindspore":
        return True
    return place.importing or place.package in _BYSTANDERS or _is_stdlib(place.file)


def error_of(event: RandomnessEvent) -> RandomnessError:
    """The error that stops the test at an event."""
    where = f"{shown_file(event.file)}:{event.line}" if event.file else ""
    facts = [f"drew   {event.code_line}"] if event.code_line else []
    if event.called_from:
        facts.append(f"called from  {event.called_from}")
    return RandomnessError(
        event.what, facts=tuple(facts), where=where, next_step=_NEXT[event.kind] + _ESCAPE
    )


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


def _outside(frame: FrameType, beyond: str) -> FrameType:
    at: FrameType | None = frame
    while at is not None:
        file = at.f_code.co_filename
        ours = file.startswith((_NUMPY, _OWN))
        if not ours and not (beyond and _package(at) == beyond):
            return at
        at = at.f_back
    return frame


def _user_frame(frame: FrameType) -> FrameType | None:
    at: FrameType | None = frame
    while at is not None:
        file = at.f_code.co_filename
        if (
            not _is_installed(file)
            and not file.startswith(_OWN)
            and not _is_stdlib(file)
            and not file.startswith("<")
        ):
            return at
        at = at.f_back
    return None


def _is_importing(frame: FrameType, user: FrameType | None) -> bool:
    """Whether an installed module is being imported between ``frame`` and the user's code."""
    at: FrameType | None = frame
    while at is not None and at is not user:
        # A program that was started has such a frame as well, without the import around it.
        around = "" if at.f_back is None else at.f_back.f_code.co_filename
        is_module = at.f_code.co_name == "<module>" and _is_installed(at.f_code.co_filename)
        if is_module and around.startswith("<frozen importlib"):
            return True
        at = at.f_back
    return False


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _is_installed(file: str) -> bool:
    return any(mark in file for mark in _INSTALLED)


def _is_stdlib(file: str) -> bool:
    if file.startswith("<frozen"):
        return True
    return file.startswith(_STDLIB) and not _is_installed(file)


def direct_frame() -> FrameType:
    """The innermost frame that is not ours: the Python code that called what we replaced."""
    at: FrameType | None = sys._getframe(1)  # noqa: SLF001
    while at is not None and at.f_code.co_filename.startswith(_OWN):
        at = at.f_back
    return at or sys._getframe(1)  # noqa: SLF001


def is_calling(frame: FrameType, name: str) -> bool:
    """Whether what ``frame`` calls right now is called ``name``, as a method or by another name.

    Where neither positions nor instructions tell, a line that calls such a method decides.
    """
    function = _called(frame)
    if isinstance(function, ast.Attribute):
        return function.attr == name
    if isinstance(function, ast.Name):
        known = frame.f_locals.get(function.id, frame.f_globals.get(function.id))
        # The position of a call over several lines begins at the method's name.
        return function.id == name or getattr(known, "__name__", "") == name
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
    return function is None and f".{name}(" in line


def _called(frame: FrameType) -> ast.expr | None:
    """The expression that stands before the parentheses of the running call."""
    code = frame.f_code
    if not hasattr(code, "co_positions"):
        return _called_before_3_11(frame)
    places = itertools.islice(code.co_positions(), frame.f_lasti // 2, None)
    first, last, begin, end = next(places, (None,) * 4)
    if first is None or last is None or begin is None or end is None:
        return None
    lines = [linecache.getline(code.co_filename, at).encode() for at in range(first, last + 1)]
    lines[-1] = lines[-1][:end]  # columns count bytes
    lines[0] = lines[0][begin:]
    try:
        call = ast.parse(b"(" + b"".join(lines) + b")", mode="eval").body
    except (SyntaxError, ValueError):
        return None
    return call.func if isinstance(call, ast.Call) else None


_ABOVE: dict[str, Callable[[int], int]] = {
    "CALL_METHOD": lambda count: count,
    "CALL_FUNCTION": lambda count: count,
    "CALL_FUNCTION_KW": lambda count: count + 1,  # the names of its keywords
    "CALL_FUNCTION_EX": lambda flags: 1 + (flags & 1),  # all arguments are one tuple and one dict
}
"""How much lies on the stack above the function, by the instruction that calls it."""
_NAMES = frozenset({"LOAD_NAME", "LOAD_FAST", "LOAD_GLOBAL", "LOAD_DEREF", "LOAD_CLASSDEREF"})
_ATTRIBUTES = frozenset({"LOAD_ATTR", "LOAD_METHOD"})
_JUMPS = frozenset({*dis.hasjrel, *dis.hasjabs})


def _called_before_3_11(frame: FrameType) -> ast.expr | None:
    """The same by the instructions; ``None`` where an argument has a branch or a loop of its own.

    Source: documentation of ``dis`` in Python 3.10: what a call finds on the stack.
    """
    before = [one for one in dis.get_instructions(frame.f_code) if one.offset <= frame.f_lasti]
    call = before.pop()
    if call.opname not in _ABOVE:
        return None
    surplus = _ABOVE[call.opname](call.arg or 0)
    for one in reversed(before):
        # What the instructions after this one left on the stack is as much as lies above it.
        if surplus == 0:
            return _pushed(one)
        if one.opcode in _JUMPS or one.is_jump_target:
            return None
        surplus -= dis.stack_effect(one.opcode, one.arg)
    return None


def _pushed(instruction: dis.Instruction) -> ast.expr:
    if instruction.opname in _ATTRIBUTES:
        return ast.Attribute(ast.Constant(None), str(instruction.argval), ast.Load())
    if instruction.opname in _NAMES:
        return ast.Name(str(instruction.argval), ast.Load())
    return ast.Constant(None)  # an expression without a name
