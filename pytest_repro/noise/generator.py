"""`LoggedGenerator`, a real `numpy.random.Generator` that writes down its draws, and its book."""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, wraps
from threading import RLock
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from pytest_repro.errors import RandomnessError, UsageError, ValueRefused
from pytest_repro.model.ids import Digest, Draw, DrawLog
from pytest_repro.noise.draw_log import RAW_MOVE, DrawLogHasher
from pytest_repro.noise.sources import Fresh, NoiseSource, Replay, open_feed
from pytest_repro.tensors.record import digest_text, make_record

DRAWING_METHODS: tuple[str, ...] = tuple(
    name
    for name in dir(np.random.Generator)
    if not name.startswith("_") and name != "spawn" and callable(getattr(np.random.Generator, name))
)
"""Every public method of the installed numpy's Generator that draws; `spawn` draws nothing."""


@dataclass(frozen=True, slots=True)
class PipelineCall:
    """One call of a pipeline; equal only to itself within a test.

    Attributes:
        pipeline: Name of the pipeline's class.
        number: Which call of the test, from 1.
    """

    pipeline: str
    number: int

    def __str__(self) -> str:
        return f"call {self.number} ({self.pipeline})"


class HasState(Protocol):
    """Something with a state that compares, or a dictionary of such: a bit generator."""

    @property
    def state(self) -> Any:
        """It changes with every draw."""


@dataclass(slots=True)
class _Entry:
    """What a book knows about one generator; it keeps no reference to it."""

    description: str
    bits: HasState
    state: object
    call: PipelineCall | None = None


class NoiseBook:
    """Collects all draws of one execution of a test, from any number of generators.

    Args:
        source: Where the numbers come from.
        store: Keep a copy of what was drawn, for a later `Replay`.
        allow_reuse: Let one generator serve several pipeline calls.

    Attributes:
        pipeline_call: Says which pipeline call the caller is in, or ``None`` outside any; asked
            before every draw. An adapter sets it; without it reuse goes unnoticed.
    """

    def __init__(
        self, source: NoiseSource | None = None, *, store: bool = False, allow_reuse: bool = False
    ) -> None:
        self.source: NoiseSource = Fresh() if source is None else source
        self.allow_reuse = allow_reuse
        self.pipeline_call: Callable[[], PipelineCall | None] = _no_call
        self.lock = RLock()
        self._feed = open_feed(self.source)
        self._entries: list[_Entry] = []
        self._draws: list[Draw] = []
        self._arrays: list[NDArray[Any] | None] | None = [] if store else None
        self._hasher = DrawLogHasher()

    def generator(self, seed: int) -> LoggedGenerator:
        """A new generator on ``PCG64(seed)``: numpy's stream bit for bit, with a new number."""
        return LoggedGenerator(np.random.PCG64(seed), self, f"PCG64({seed})")

    def adopt(self, bits: np.random.BitGenerator) -> LoggedGenerator:
        """A generator on any bit generator, with a new number."""
        return LoggedGenerator(bits, self)

    def draw_log(self) -> DrawLog:
        """All draws so far."""
        with self.lock:
            for number in range(len(self._entries)):
                self.note_move(number)
            texts = tuple(entry.description for entry in self._entries)
            return DrawLog(texts, tuple(self._draws), self._hasher.digest(texts))

    def arrays(self) -> tuple[NDArray[Any] | None, ...]:
        """The unperturbed numbers of each draw; ``None`` for a draw that is not an array.

        Raises:
            UsageError: The book does not keep them.
        """
        if self._arrays is None:
            raise UsageError("this book kept no arrays; make it with store=True")
        with self.lock:
            return tuple(self._arrays)

    @property
    def input_rel_l2(self) -> float:
        """Mean relative L2 size of the perturbation over all perturbed draws; 0.0 if none."""
        return self._feed.input_rel_l2

    def register(self, bits: HasState, description: str) -> int:
        """The number of a new generator on ``bits``; generators call this themselves."""
        with self.lock:
            number = len(self._entries)
            if isinstance(self.source, Replay):
                # What feeds it is the recorded generator, whatever seed this one was made with.
                description = (*self.source.draw_log.generators[number:], description)[0]
            self._entries.append(_Entry(description, bits, _frozen(bits.state)))
            return number

    def description(self, number: int) -> str:
        """The description of generator ``number``, e.g. ``PCG64(0)``."""
        return self._entries[number].description

    def before_draw(self, number: int) -> None:
        """Check a generator before it draws.

        Raises:
            RandomnessError: Another pipeline call already used it.
        """
        __tracebackhide__ = True
        self.note_move(number)
        call = self.pipeline_call()
        if call is None:
            return
        entry = self._entries[number]
        if entry.call is not None and entry.call != call and not self.allow_reuse:
            raise _reused(number, entry, call)
        entry.call = call

    def take(self, number: int, method: str, arguments: str, value: object, drawn: Drawn) -> object:
        """Record one draw and return what the caller gets.

        ``value`` is numpy's result; ``drawn`` holds the drawn values (the result, or what was
        shuffled).
        """
        given = self.record(number, method, arguments, drawn)
        return value if given is None else give_back(value, drawn, given)

    def record(self, number: int, method: str, arguments: str, drawn: Drawn) -> NDArray[Any] | None:
        """Record one draw and return the numbers to use instead; ``None`` for those drawn."""
        entry = self._entries[number]
        entry.state = _frozen(entry.bits.state)
        draw = Draw(number, method, drawn.shape, drawn.dtype, arguments, drawn.digest)
        fed = self._feed.feed(len(self._draws), draw, drawn.array)
        clean = fed.array if isinstance(self.source, Replay) else drawn.array
        self._write(fed.draw, clean)
        return None if fed.array is drawn.array else fed.array

    def note_move(self, number: int) -> None:
        """Record that a generator moved without a draw, if it did."""
        entry = self._entries[number]
        state = _frozen(entry.bits.state)
        if state == entry.state:
            return
        entry.state = state
        self._write(Draw(number, RAW_MOVE, (), "state", "", digest_text(repr(state))), None)

    def _write(self, draw: Draw, array: NDArray[Any] | None) -> None:
        self._draws.append(draw)
        self._hasher.add(draw)
        if self._arrays is not None:
            self._arrays.append(None if array is None else array.copy())


class LoggedGenerator(np.random.Generator):
    """A `numpy.random.Generator` that records every draw in a `NoiseBook`.

    The stream is numpy's, bit for bit. Copies and spawned children record in the same book with
    new numbers; an unpickled generator has its own book, because it may be in another process.
    Without ``description``, the bit generator is described.
    """

    def __init__(
        self,
        bit_generator: np.random.BitGenerator,
        book: NoiseBook | None = None,
        description: str = "",
    ) -> None:
        super().__init__(bit_generator)
        self.book = NoiseBook() if book is None else book
        self.number = self.book.register(bit_generator, description or _describe(bit_generator))
        self._drawing = False

    def spawn(self, n_children: int) -> list[LoggedGenerator]:  # type: ignore[override]
        """Independent children, as numpy spawns them, in the same book."""
        return [LoggedGenerator(bits, self.book) for bits in _spawned(self, n_children)]

    def __copy__(self) -> LoggedGenerator:
        # As in numpy: the copy is independent, so the bits are copied, too.
        return self._copied(copy.deepcopy(self.bit_generator))

    def __deepcopy__(self, memo: dict[int, object]) -> LoggedGenerator:
        return self._copied(copy.deepcopy(self.bit_generator, memo))

    def __reduce__(self) -> tuple[Any, ...]:
        # Only the bit generator is pickled: a book belongs to one test in one process.
        return _unpickled, (self.bit_generator, self.book.description(self.number))

    def _copied(self, bits: np.random.BitGenerator) -> LoggedGenerator:
        origin = self.book.description(self.number)
        return LoggedGenerator(bits, self.book, f"copy of {origin}")


def _recorded(name: str) -> Callable[..., object]:
    """Method ``name`` of numpy's Generator, with its draws written down."""
    plain = cast("Callable[..., object]", getattr(np.random.Generator, name))

    @wraps(plain)
    def method(self: LoggedGenerator, *args: Any, **kwargs: Any) -> object:
        __tracebackhide__ = True
        with self.book.lock:
            # numpy's methods call each other (choice draws with random): one call is one draw.
            if self._drawing:
                return plain(self, *args, **kwargs)
            self.book.before_draw(self.number)
            arguments = arguments_text(name, args, kwargs)
            self._drawing = True
            try:
                value = plain(self, *args, **kwargs)
            finally:
                self._drawing = False
            drawn = drawn_from(name, args, kwargs, value)
            return self.book.take(self.number, name, arguments, value, drawn)

    return method


for _name in DRAWING_METHODS:
    setattr(LoggedGenerator, _name, _recorded(_name))


def _unpickled(bits: np.random.BitGenerator, description: str) -> LoggedGenerator:
    return LoggedGenerator(bits, None, f"unpickled {description}")


def _spawned(parent: LoggedGenerator, count: int) -> list[np.random.BitGenerator]:
    return list(parent.bit_generator.spawn(count))


def _describe(bits: np.random.BitGenerator) -> str:
    """Kind, seed and place in the tree of spawns, e.g. ``PCG64(0, spawn_key=(2,))``."""
    kind = type(bits).__name__
    sequence = getattr(bits, "seed_seq", None)
    if not isinstance(sequence, np.random.SeedSequence):
        return f"{kind}(?)"
    key = f", spawn_key={tuple(sequence.spawn_key)}" if sequence.spawn_key else ""
    return f"{kind}({sequence.entropy}{key})"


def _frozen(state: object) -> object:
    """The state of a bit generator as something that compares with ``==``."""
    if isinstance(state, dict):
        return tuple((key, _frozen(value)) for key, value in state.items())
    return state.tobytes() if isinstance(state, np.ndarray) else state


def _no_call() -> PipelineCall | None:
    return None


def _reused(number: int, entry: _Entry, call: PipelineCall) -> RandomnessError:
    return RandomnessError(
        f"one generator was used for two pipeline calls: {entry.description}, number {number}",
        facts=(
            f"first   {entry.call}",
            f"again   {call}",
            "its noise now depends on how often the first call drew",
        ),
        next_step="give each call a fresh generator (repro_generators(2)), or mark the test with "
        'repro(reuse=True, reason="...")',
    )


# Known from the drawn values: shape, dtype and the array itself.
_TOLD_OTHERWISE = frozenset({"size", "dtype", "out"})
_ADDRESS = re.compile(r"0x[0-9a-fA-F]+")
_LONGEST_TEXT = 64


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """The values of one draw.

    Attributes:
        holder: The array or scalar with the values: the result, or what was shuffled.
        shape, dtype, digest: As in the draw log.
        array: The numbers, C-contiguous, little-endian, read-only; ``None`` for other values (a
            list, text, objects), whose digest is that of their canonical text.
    """

    holder: object
    shape: tuple[int, ...]
    dtype: str
    digest: Digest
    array: NDArray[Any] | None


def drawn_from(
    method: str, args: Sequence[object], kwargs: Mapping[str, object], value: object
) -> Drawn:
    """The draw of a call of ``method``: its result, or for ``shuffle`` its argument."""
    holder = value
    if method == "shuffle":
        holder = args[0] if args else kwargs["x"]
    try:
        record = make_record(_as_array(holder))
    except (ValueRefused, OverflowError):
        return Drawn(holder, np.shape(_sized(holder)), _kind(holder), _text_digest(holder), None)
    return Drawn(holder, record.array.shape, record.dtype, record.digest, record.array)


def give_back(value: object, drawn: Drawn, array: NDArray[Any]) -> object:
    """What the caller gets when ``array`` replaces the drawn numbers.

    In-place results (``out=``, ``shuffle``) are overwritten; scalars keep their type.
    """
    if isinstance(drawn.holder, np.ndarray):
        np.copyto(drawn.holder, array)
        return value
    if isinstance(value, bytes):
        return array.tobytes()
    return array[()] if isinstance(value, np.generic) else array.item()


def arguments_text(method: str, args: Sequence[object], kwargs: Mapping[str, object]) -> str:
    """Canonical text of a call's arguments, without shape and dtype and without defaults.

    E.g. ``loc=1.0, scale=2.0``; arrays by dtype, shape and the start of their digest; ``""`` if all
    have their default.
    """
    if not args and not kwargs:
        return ""
    parameters = _parameters(method)
    named = [(one.name, value) for one, value in zip(parameters, args, strict=False)]
    named += [(f"argument {at}", args[at]) for at in range(len(parameters), len(args))]
    order = [one.name for one in parameters]
    known = dict(kwargs)
    named += [(name, known.pop(name)) for name in order if name in known]
    named += sorted(known.items())
    defaults = {one.name: one.default for one in parameters}
    texts = [(name, _text(value)) for name, value in named if name not in _TOLD_OTHERWISE]
    return ", ".join(f"{name}={text}" for name, text in texts if defaults.get(name) != text)


@dataclass(frozen=True, slots=True)
class _Parameter:
    """A parameter of a method; ``default`` as canonical text, ``None`` without a default."""

    name: str
    default: str | None


@cache
def _parameters(method: str) -> tuple[_Parameter, ...]:
    """Parameters in order, from the first lines of numpy's own docstring.

    numpy 1.26's methods have no ``__text_signature__``; both lines have the form
    ``name(a, b=1.0, size=None)``.
    """
    doc = getattr(np.random.Generator, method).__doc__ or ""
    head = doc.partition(")\n")[0].strip()
    try:
        function = ast.parse(f"def {head}): ...").body[0]
    except SyntaxError:
        return ()
    assert isinstance(function, ast.FunctionDef)
    inner = function.args
    plain = [one for one in inner.args if one.arg != "self"]
    missing: list[ast.expr | None] = [None] * (len(plain) - len(inner.defaults))
    pairs = [*zip(plain, [*missing, *inner.defaults], strict=True)]
    pairs += zip(inner.kwonlyargs, inner.kw_defaults, strict=True)
    return tuple(_Parameter(one.arg, _default_text(default)) for one, default in pairs)


def _default_text(node: ast.expr | None) -> str | None:
    if node is None:
        return None
    try:
        return _text(ast.literal_eval(node))
    except ValueError:  # `np.float64` and the like: no argument has such a text
        return None


def _text(value: object) -> str:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (list, tuple, np.ndarray)) and np.size(_sized(value)):
        return _array_text(value)
    text = _ADDRESS.sub("0x", repr(value))
    return text if len(text) <= _LONGEST_TEXT else f"{type(value).__name__}:{_head(text)}"


def _array_text(value: object) -> str:
    try:
        record = make_record(np.asarray(value))
    except (ValueRefused, ValueError, OverflowError):
        return f"{_kind(value)}{np.shape(_sized(value))}:{_text_digest(value)[:16]}"
    return f"{record.dtype}{record.array.shape}:{record.digest[:16]}"


def _head(text: str) -> str:
    return digest_text(text)[:16]


def _as_array(holder: object) -> Any:
    """Bytes and Python's numbers as arrays; `make_record` refuses other values."""
    if isinstance(holder, (bytes, memoryview, bytearray)):
        return np.frombuffer(holder, dtype=np.uint8)
    return np.asarray(holder) if isinstance(holder, (bool, int, float)) else holder


def _sized(holder: object) -> Any:
    """A value with the holder's shape, with any elements."""
    if isinstance(holder, np.ndarray):
        return holder
    if isinstance(holder, str) or not isinstance(holder, Sequence):
        return None  # of one element and without dimensions, as numpy sees it
    return np.empty(len(holder))


def _kind(holder: object) -> str:
    if isinstance(holder, (np.ndarray, np.generic)):
        return str(holder.dtype)
    return type(holder).__name__


def _text_digest(holder: object) -> Digest:
    return digest_text(_ADDRESS.sub("0x", repr(_plain(holder))))


def _plain(value: object) -> object:
    """Python's own scalars instead of numpy's, whose ``repr`` changed with numpy 2.0."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    return [_plain(one) for one in value] if isinstance(value, (list, tuple)) else value
