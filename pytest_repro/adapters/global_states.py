"""The global generators whose state tells of draws that no patch sees."""

from __future__ import annotations

import ctypes
import random
import sys
from collections.abc import Callable

import numpy as np

from pytest_repro.adapters.randomness_event import EventKind

__all__ = ["OWNERS", "STATES", "holders_of"]

_MT19937_BYTES = 2500
"""``mt19937_state``: 624 words and a position. Source: numpy random/src/mt19937/mt19937.h."""


def _numpy_state() -> object:
    """The legacy state of numpy; its memory, because ``get_state`` costs sixty times as much."""
    bits = np.random.get_bit_generator()
    if type(bits) is np.random.MT19937:
        return ctypes.string_at(bits.ctypes.state_address, _MT19937_BYTES)
    return repr(bits.state)


STATES: dict[EventKind, Callable[[], object]] = {
    EventKind.NUMPY_GLOBAL: _numpy_state,
    EventKind.RANDOM_GLOBAL: random.getstate,
}
OWNERS = {EventKind.NUMPY_GLOBAL: "numpy", EventKind.RANDOM_GLOBAL: "random"}


def holders_of(kind: EventKind) -> list[str]:
    """Modules outside numpy and the standard library that hold a function of the global state."""
    owner: object = random._inst  # noqa: SLF001
    if kind is EventKind.NUMPY_GLOBAL:
        owner = np.random.mtrand._rand  # noqa: SLF001
    found = []
    for name, module in list(sys.modules.items()):
        top = name.partition(".")[0]
        if top in ("numpy", "random", "pytest_repro") or top in sys.stdlib_module_names:
            continue
        for attribute, value in list(getattr(module, "__dict__", {}).items()):
            if getattr(value, "__self__", None) is owner and callable(value):
                found.append(f"{name}.{attribute}")
    return sorted(found)[:4]
