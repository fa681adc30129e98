"""The global generators of numpy and ``random``: their state read, seeded and written in place.

Their public functions turn 624 words into Python numbers and back, which costs more than everything
else around a small test. Both keep the same Mersenne Twister, whose memory is copied instead,
wherever a look at that memory proves what lies there; elsewhere the public functions serve.
"""

from __future__ import annotations

import ctypes
import random
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.random import mtrand

from pytest_repro.guard.events import EventKind

_MT19937_BYTES = 2500
"""624 words and a position. Source: numpy random/src/mt19937/mt19937.h; CPython
Modules/_randommodule.c, where the position comes first."""
_KEPT_BYTES = 16
"""``int has_gauss; double gauss``, aligned. Source: numpy random/src/legacy/legacy-distributions.h,
``aug_bitgen_t``."""
_SEED_BOUND = 2**32
"""numpy's legacy generator takes seeds below this."""

_Memory = Any  # a ctypes array, whose type is made for its length


class GlobalGenerator(Protocol):
    """A generator that a whole process shares."""

    def read(self) -> Any:
        """Its whole state, the normal number kept for the next call included; equal if equal."""
        ...

    def write(self, state: Any) -> None:
        """Give it a state that was read."""
        ...

    def seeded(self, seed: int) -> Any:
        """The state that a seed (at least 0) gives; the generator stays as it is."""
        ...


@dataclass(frozen=True, slots=True)
class _PublicState:
    """numpy's state as its public function gives it; its arrays compare by their bytes."""

    bits: Any
    parts: object
    state: dict[str, Any] = field(compare=False)


def _comparable(part: Any) -> object:
    if isinstance(part, dict):
        return [(name, _comparable(value)) for name, value in part.items()]
    return part.tobytes() if isinstance(part, np.ndarray) else part


def _kept_memory() -> _Memory | None:
    """Where numpy keeps a normal number for its next call; ``None`` where that is not proved.

    It is the one place of the object where two numbers, kept one after the other, both appear.
    """
    owner = mtrand._rand  # noqa: SLF001
    if sys.implementation.name != "cpython":
        return None
    state = owner.get_state(legacy=False)
    try:
        places = set(_places(owner, state, 0.1)) & set(_places(owner, state, 0.7))
    finally:
        owner.set_state(state)
    if len(places) != 1:
        return None
    return (ctypes.c_char * _KEPT_BYTES).from_address(id(owner) + places.pop())


def _places(owner: Any, state: dict[str, Any], number: float) -> Iterator[int]:
    owner.set_state({**state, "has_gauss": 1, "gauss": number})
    memory = ctypes.string_at(id(owner), type(owner).__basicsize__)
    flag, kept = struct.pack("=i", 1), struct.pack("=d", number)
    for at in range(0, len(memory) - _KEPT_BYTES + 1, 8):
        if memory[at : at + 4] == flag and memory[at + 8 : at + 16] == kept:
            yield at


class NumpyGenerator:
    """numpy's legacy generator, whichever bit generator it has at the moment.

    Args:
        kept: Where it keeps a normal number; without it its public functions are used.
    """

    __slots__ = ("_bits", "_kept", "_last", "_words")

    def __init__(self, kept: _Memory | None) -> None:
        self._kept = kept
        self._bits: Any = None
        self._words: _Memory | None = None
        self._last: tuple[Any, int, Any] = (None, 0, None)

    def read(self) -> Any:
        bits = mtrand.get_bit_generator()
        if bits is not self._bits:
            self._turn_to(bits)
        words, kept = self._words, self._kept
        if words is None or kept is None:
            state = mtrand._rand.get_state(legacy=False)  # noqa: SLF001
            return _PublicState(bits, _comparable(state), state)
        return bits, words.raw, kept.raw

    def write(self, state: Any) -> None:
        if isinstance(state, _PublicState):
            self._take(state.bits)
            mtrand._rand.set_state(state.state)  # noqa: SLF001
            return
        bits, words, kept = state
        self._take(bits)
        with bits.lock:
            self._words.raw, self._kept.raw = words, kept  # type: ignore[union-attr]

    def seeded(self, seed: int) -> Any:
        """The state of ``seed % 2**32``; made anew only where seed or bit generator changed."""
        bits = mtrand.get_bit_generator()
        if self._last[0] is not bits or self._last[1] != seed:
            before = self.read()
            _seed_numpy(bits, seed % _SEED_BOUND)
            self._last = bits, seed, self.read()
            self.write(before)
        return self._last[2]

    def _take(self, bits: Any) -> None:
        if mtrand.get_bit_generator() is not bits:
            mtrand.set_bit_generator(bits)
        if bits is not self._bits:
            self._turn_to(bits)

    def _turn_to(self, bits: Any) -> None:
        self._bits, self._words = bits, None
        if type(bits) is np.random.MT19937:
            address = bits.ctypes.state_address
            self._words = (ctypes.c_char * _MT19937_BYTES).from_address(address)


def _seed_numpy(bits: Any, seed: int) -> None:
    owner = mtrand._rand  # noqa: SLF001
    if type(bits) is np.random.MT19937:
        owner.seed(seed)
    else:
        owner.set_state({**type(bits)(seed).state, "has_gauss": 0, "gauss": 0.0})


def _random_memory() -> _Memory | None:
    """Where the state of ``random`` lies; ``None`` where that is not proved by what lies there."""
    if sys.implementation.name != "cpython":
        return None
    address = id(random._inst) + object.__basicsize__  # noqa: SLF001
    position, *words = struct.unpack("=i624I", ctypes.string_at(address, _MT19937_BYTES))
    public = random._inst.getstate()[1]  # noqa: SLF001
    if (*words, position) != public:
        return None
    return (ctypes.c_char * _MT19937_BYTES).from_address(address)


class RandomGenerator:
    """The generator of ``random``'s functions.

    Args:
        words: Where its state lies; without it its public functions are used.
    """

    __slots__ = ("_last", "_words")

    def __init__(self, words: _Memory | None) -> None:
        self._words = words
        self._last: tuple[int, Any] = (-1, None)

    def read(self) -> Any:
        owner: Any = random._inst  # noqa: SLF001
        return owner.getstate() if self._words is None else (self._words.raw, owner.gauss_next)

    def write(self, state: Any) -> None:
        owner: Any = random._inst  # noqa: SLF001
        if self._words is None:
            owner.setstate(state)
        else:
            self._words.raw, owner.gauss_next = state

    def seeded(self, seed: int) -> Any:
        if self._last[0] != seed:
            before = self.read()
            random._inst.seed(seed)  # noqa: SLF001
            self._last = seed, self.read()
            self.write(before)
        return self._last[1]


GENERATORS: dict[EventKind, GlobalGenerator] = {
    EventKind.RANDOM_GLOBAL: RandomGenerator(_random_memory()),
    EventKind.NUMPY_GLOBAL: NumpyGenerator(_kept_memory()),
}
OWNERS = {EventKind.NUMPY_GLOBAL: "numpy", EventKind.RANDOM_GLOBAL: "random"}
