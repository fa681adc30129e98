"""`LedgerGenerator`, a real `numpy.random.Generator` that writes down its draws, and its book."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from threading import RLock
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from pytest_repro.errors import RandomnessError, UsageError
from pytest_repro.model.baseline import Draw, Ledger
from pytest_repro.noise.draw_text import Drawn, arguments_text, drawn_from, give_back
from pytest_repro.noise.ledger import RAW_MOVE
from pytest_repro.noise.ledger_digest import LedgerHasher
from pytest_repro.noise.sources import Disturbed, Fresh, NoiseSource, Replay, open_feed
from pytest_repro.tensors.digest import digest_text

__all__ = [
    "DRAWING_METHODS",
    "Disturbed",
    "Fresh",
    "LedgerGenerator",
    "NoiseBook",
    "NoiseSource",
    "PipelineCall",
    "Replay",
]

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


@dataclass(slots=True)
class _Entry:
    """What a book knows of one generator; no reference back to it, so nothing is kept alive."""

    description: str
    bits: np.random.BitGenerator
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
        self._hasher = LedgerHasher()

    def generator(self, seed: int) -> LedgerGenerator:
        """A fresh generator on ``PCG64(seed)``: numpy's stream bit for bit, under a new number."""
        return LedgerGenerator(np.random.PCG64(seed), self, f"PCG64({seed})")

    def adopt(self, bits: np.random.BitGenerator) -> LedgerGenerator:
        """A generator on any bit generator, under a new number."""
        return LedgerGenerator(bits, self)

    def ledger(self) -> Ledger:
        """Everything drawn so far; costs no more after many draws than after few, but the copy."""
        with self.lock:
            for number in range(len(self._entries)):
                self._note_raw_move(number)
            texts = tuple(entry.description for entry in self._entries)
            return Ledger(texts, tuple(self._draws), self._hasher.digest(texts))

    def arrays(self) -> tuple[NDArray[Any] | None, ...]:
        """What was drawn, undisturbed, one a draw of the ledger; ``None`` where it is no array.

        Raises:
            UsageError: The book was not asked to keep them.
        """
        if self._arrays is None:
            raise UsageError("this book kept no arrays; make it with store=True")
        with self.lock:
            return tuple(self._arrays)

    @property
    def input_rel_l2(self) -> float:
        """Mean relative L2 size of the disturbance over all disturbed draws; 0.0 if none."""
        return self._feed.input_rel_l2

    def register(self, bits: np.random.BitGenerator, description: str) -> int:
        """The number of a new generator on ``bits``; generators call this themselves."""
        with self.lock:
            number = len(self._entries)
            if isinstance(self.source, Replay):
                # What feeds it is the recorded generator, whatever seed this one was made with.
                description = (*self.source.ledger.generators[number:], description)[0]
            self._entries.append(_Entry(description, bits, _frozen(bits.state)))
            return number

    def description(self, number: int) -> str:
        """What generator ``number`` says of itself, e.g. ``PCG64(0)``."""
        return self._entries[number].description

    def before_draw(self, number: int) -> None:
        """Look at a generator before it draws.

        Raises:
            RandomnessError: It has already served another pipeline call.
        """
        __tracebackhide__ = True
        self._note_raw_move(number)
        call = self.pipeline_call()
        if call is None:
            return
        entry = self._entries[number]
        if entry.call is not None and entry.call != call and not self.allow_reuse:
            raise _reused(number, entry, call)
        entry.call = call

    def take(self, number: int, method: str, arguments: str, value: object, drawn: Drawn) -> object:
        """Write one draw down and return what the caller gets.

        Args:
            number: The generator.
            method: Its method.
            arguments: Canonical text of the arguments.
            value: What numpy returned.
            drawn: The thing that carries the drawn values (``value``, or what was shuffled).
        """
        entry = self._entries[number]
        entry.state = _frozen(entry.bits.state)
        draw = Draw(number, method, drawn.shape, drawn.dtype, arguments, drawn.digest)
        fed = self._feed.feed(len(self._draws), draw, drawn.array)
        clean = fed.array if isinstance(self.source, Replay) else drawn.array
        self._write(fed.draw, clean)
        if fed.array is drawn.array:
            return value
        assert fed.array is not None  # a feed gives other numbers or leaves them as they are
        return give_back(value, drawn, fed.array)

    def _note_raw_move(self, number: int) -> None:
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


class LedgerGenerator(np.random.Generator):
    """A `numpy.random.Generator` whose every draw is written into a `NoiseBook`.

    The stream is numpy's, bit for bit. Copies and spawned children keep their ledger in the same
    book under new numbers; one that comes out of a pickle keeps a book of its own, because the
    first one may live in another process.

    Args:
        bit_generator: Where the bits come from.
        book: Where the draws go; a new one when none is given.
        description: What it says of itself; made from ``bit_generator`` when empty.
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

    def spawn(self, n_children: int) -> list[LedgerGenerator]:  # type: ignore[override]
        """Independent children, as numpy spawns them, in the same book."""
        return [LedgerGenerator(bits, self.book) for bits in _spawned(self, n_children)]

    def __copy__(self) -> LedgerGenerator:
        # As numpy does it: the copy goes its own way, so the bits are copied too.
        return self._copied(copy.deepcopy(self.bit_generator))

    def __deepcopy__(self, memo: dict[int, object]) -> LedgerGenerator:
        return self._copied(copy.deepcopy(self.bit_generator, memo))

    def __reduce__(self) -> tuple[Any, ...]:
        # All that travels is the bit generator: a book belongs to one test in one process.
        return _unpickled, (self.bit_generator, self.book.description(self.number))

    def _copied(self, bits: np.random.BitGenerator) -> LedgerGenerator:
        origin = self.book.description(self.number)
        return LedgerGenerator(bits, self.book, f"copy of {origin}")


def _recorded(name: str) -> Callable[..., object]:
    """Method ``name`` of numpy's Generator, with its draws written down."""
    plain = cast("Callable[..., object]", getattr(np.random.Generator, name))

    @wraps(plain)
    def method(self: LedgerGenerator, *args: Any, **kwargs: Any) -> object:
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
    setattr(LedgerGenerator, _name, _recorded(_name))


def _unpickled(bits: np.random.BitGenerator, description: str) -> LedgerGenerator:
    return LedgerGenerator(bits, None, f"unpickled {description}")


def _spawned(parent: LedgerGenerator, count: int) -> list[np.random.BitGenerator]:
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
        f"one generator was handed to two pipeline calls: {entry.description}, number {number}",
        facts=(
            f"first   {entry.call}",
            f"again   {call}",
            "its noise now depends on how often the first call drew",
        ),
        next_step="give each call a fresh generator (repro_generators(2)), or mark the test with "
        'repro(reuse=True, reason="...")',
    )
