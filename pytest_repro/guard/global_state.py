"""The global generators of numpy and ``random``, read and written by their public functions.

The functions are taken when this module is imported, before any guard or test replaces them.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.random import mtrand

from pytest_repro.guard.events import EventKind

_SEED_BOUND = 2**32
"""numpy's legacy generator takes seeds below this."""

_get_numpy, _set_numpy, _seed_numpy = np.random.get_state, np.random.set_state, np.random.seed
_get_random, _set_random, _seed_random = random.getstate, random.setstate, random.seed


@dataclass(frozen=True, slots=True)
class NumpyState:
    """State of numpy's legacy generator; equal if the next numbers are equal.

    Attributes:
        bits: Its bit generator, which a test may exchange.
        text: The state as something that compares.
        state: The state as numpy gives it.
    """

    bits: Any
    text: object
    state: Any = field(compare=False)


def read_state(kind: EventKind) -> object:
    """The whole state of one generator, with the normal number stored for the next call."""
    if kind is EventKind.RANDOM_GLOBAL:
        return _get_random()
    state = _get_numpy(legacy=False)
    return NumpyState(mtrand.get_bit_generator(), _comparable(state), state)


def write_state(kind: EventKind, state: Any) -> None:
    """Restore a state of `read_state`."""
    if kind is EventKind.RANDOM_GLOBAL:
        _set_random(state)
        return
    if mtrand.get_bit_generator() is not state.bits:
        mtrand.set_bit_generator(state.bits)
    _set_numpy(state.state)


def seed_state(kind: EventKind, seed: int) -> None:
    """Seed a generator; numpy's takes the remainder by 2**32."""
    if kind is EventKind.RANDOM_GLOBAL:
        _seed_random(seed)
        return
    bits: Any = mtrand.get_bit_generator()
    if type(bits) is np.random.MT19937:
        _seed_numpy(seed % _SEED_BOUND)
    else:
        fresh = type(bits)(seed % _SEED_BOUND).state
        _set_numpy({**fresh, "has_gauss": 0, "gauss": 0.0})


OWNERS = {EventKind.NUMPY_GLOBAL: "numpy", EventKind.RANDOM_GLOBAL: "random"}
"""The kinds whose state can be read here, and the library of each."""


def _comparable(part: object) -> object:
    if isinstance(part, dict):
        return tuple((name, _comparable(value)) for name, value in part.items())
    return part.tobytes() if isinstance(part, np.ndarray) else part
