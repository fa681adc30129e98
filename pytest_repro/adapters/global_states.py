"""The global generators of numpy and ``random``: their state read, seeded and given back in place.

Their public functions turn 624 words into Python numbers and back, which costs more than everything
else around a small test; both keep the same Mersenne Twister, whose memory is copied instead.
"""

from __future__ import annotations

import ctypes
import random
import struct
import sys
from collections.abc import Callable
from functools import cache, lru_cache, partial
from typing import Any

import numpy as np

from pytest_repro.adapters.randomness_event import EventKind

__all__ = ["OWNERS", "SEEDINGS", "STATES", "kept_number", "put_back"]

_MT19937_BYTES = 2500
"""624 words and a position. Source: numpy random/src/mt19937/mt19937.h; CPython
Modules/_randommodule.c, where the position comes first."""


def _numpy_state() -> object:
    """The legacy state of numpy, without the number that ``normal`` keeps for its next call."""
    bits = np.random.mtrand.get_bit_generator()
    if type(bits) is np.random.MT19937:
        return ctypes.string_at(bits.ctypes.state_address, _MT19937_BYTES)
    return repr(bits.state)


def _random_state() -> object:
    """The state of ``random``, without the number that ``gauss`` keeps for its next call."""
    address = _random_address()
    return random.getstate() if address is None else ctypes.string_at(address, _MT19937_BYTES)


@cache
def _random_address() -> int | None:
    """Where the state of ``random`` lies; ``None`` where that is not proved by what lies there."""
    if sys.implementation.name != "cpython":
        return None
    address = id(random._inst) + object.__basicsize__  # noqa: SLF001
    position, *words = struct.unpack("=i624I", ctypes.string_at(address, _MT19937_BYTES))
    public = random._inst.getstate()[1]  # noqa: SLF001
    return address if (*words, position) == public else None


def _seed_numpy(seed: int) -> Callable[[], None]:
    """Seed numpy's legacy state; returns what gives the old one back."""
    owner, bits = np.random.mtrand._rand, np.random.get_bit_generator()  # noqa: SLF001
    if type(bits) is not np.random.MT19937:
        state = owner.get_state(legacy=False)
        owner.set_state({**type(bits)(seed).state, "has_gauss": 0, "gauss": 0.0})
        return partial(owner.set_state, state)
    address = bits.ctypes.state_address
    memory = ctypes.string_at(address, _MT19937_BYTES)
    kept = _take_kept(address)
    seeded = _seeded_numpy(seed)
    with bits.lock:
        ctypes.memmove(address, seeded, _MT19937_BYTES)
    return partial(_give_numpy_back, bits, memory, kept)


def _take_kept(address: int) -> float | None:
    """The normal number that numpy kept for its next call, if any; afterwards it keeps none.

    Normal numbers are made in pairs: a draw that leaves the memory alone gave out the one kept, and
    after any other draw the next one does.
    """
    owner = np.random.mtrand._rand  # noqa: SLF001
    before = ctypes.string_at(address, _MT19937_BYTES)
    drawn: float = owner.standard_normal()
    if ctypes.string_at(address, _MT19937_BYTES) == before:
        return drawn
    owner.standard_normal()
    return None


@lru_cache(maxsize=64)
def _seeded_numpy(seed: int) -> bytes:
    """The memory of numpy's legacy state after seeding; to seed costs more than all around it."""
    bits = np.random.get_bit_generator()
    np.random.mtrand._rand.seed(seed)  # noqa: SLF001
    return ctypes.string_at(bits.ctypes.state_address, _MT19937_BYTES)


def _give_numpy_back(bits: np.random.MT19937, memory: bytes, kept: float | None) -> None:
    owner = np.random.mtrand._rand  # noqa: SLF001
    if np.random.get_bit_generator() is not bits:
        np.random.set_bit_generator(bits)
    if kept is None:
        address = bits.ctypes.state_address
        _take_kept(address)
        with bits.lock:
            ctypes.memmove(address, memory, _MT19937_BYTES)
    else:
        words = np.frombuffer(memory, dtype=np.uint32)
        owner.set_state(("MT19937", words[:-1], int(words[-1]), 1, kept))


def _seed_random(seed: int) -> Callable[[], None]:
    """Seed ``random``; returns what gives the old state back."""
    owner: Any = random._inst  # noqa: SLF001
    address = _random_address()
    if address is None:
        restore: Callable[[], None] = partial(owner.setstate, owner.getstate())
        owner.seed(seed)
        return restore
    memory = ctypes.string_at(address, _MT19937_BYTES)
    kept = owner.gauss_next
    _give_random_back(address, _seeded_random(address, seed), None)
    return partial(_give_random_back, address, memory, kept)


@lru_cache(maxsize=64)
def _seeded_random(address: int, seed: int) -> bytes:
    """The memory of the state of ``random`` after seeding."""
    random._inst.seed(seed)  # noqa: SLF001
    return ctypes.string_at(address, _MT19937_BYTES)


def _give_random_back(address: int, memory: bytes, kept: float | None) -> None:
    ctypes.memmove(address, memory, _MT19937_BYTES)
    owner: Any = random._inst  # noqa: SLF001
    owner.gauss_next = kept


STATES: dict[EventKind, Callable[[], object]] = {
    EventKind.NUMPY_GLOBAL: _numpy_state,
    EventKind.RANDOM_GLOBAL: _random_state,
}
SEEDINGS: dict[EventKind, Callable[[int], Callable[[], None]]] = {
    EventKind.NUMPY_GLOBAL: _seed_numpy,
    EventKind.RANDOM_GLOBAL: _seed_random,
}
"""Each seeds a generator and returns what gives its old state back, kept numbers included."""
OWNERS = {EventKind.NUMPY_GLOBAL: "numpy", EventKind.RANDOM_GLOBAL: "random"}


def kept_number(kind: EventKind) -> float | None:
    """The normal number that a generator kept for its next call, if any."""
    if kind is EventKind.RANDOM_GLOBAL:
        gauss: float | None = random._inst.gauss_next  # type: ignore[attr-defined]  # noqa: SLF001
        return gauss
    state: Any = np.random.mtrand._rand.get_state(legacy=False)  # noqa: SLF001
    return float(state["gauss"]) if state["has_gauss"] else None


def put_back(kind: EventKind, state: object, kept: float | None) -> None:
    """Give a generator the state that `STATES` read, and the number that it kept.

    Where the state was not read from memory (another interpreter or bit generator) it stays.
    """
    if not isinstance(state, bytes):
        return
    if kind is EventKind.NUMPY_GLOBAL:
        bits = np.random.get_bit_generator()
        if type(bits) is np.random.MT19937:
            _give_numpy_back(bits, state, kept)
        return
    address = _random_address()
    if address is not None:
        _give_random_back(address, state, kept)
