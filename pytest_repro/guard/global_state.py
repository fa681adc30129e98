"""The global generators of numpy and ``random``, and those that modules keep.

The functions are taken when this module is imported, before any guard or test replaces them.
"""

from __future__ import annotations

import linecache
import random
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import is_
from pathlib import Path
from types import ModuleType
from typing import Any
from weakref import ref

import numpy as np
from numpy.random import mtrand

from pytest_repro.guard.events import EventKind, RandomnessEvent, is_user_file

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


class LoadedModules:
    """Says whether modules were loaded or dropped since it was asked last."""

    def __init__(self) -> None:
        self._seen: list[object] = []

    def have_changed(self) -> bool:
        """Whether `sys.modules` holds other modules than before; the first time it does.

        A module that was dropped is kept until the next question.
        """
        loaded: list[object] = list(sys.modules.values())
        if len(loaded) == len(self._seen) and all(map(is_, loaded, self._seen)):
            return False
        self._seen = loaded
        return True


@dataclass(frozen=True, slots=True)
class KeptGenerator:
    """A generator in a module, and its state when the guard was entered."""

    module: str
    name: str
    file: str
    generator: Any
    state: object

    def has_moved(self) -> bool:
        """Whether it has drawn since."""
        return self.state != _state_of(self.generator)

    def event(self) -> RandomnessEvent:
        """The event that it drew."""
        kind = type(self.generator)
        line = _line_of(self.file, self.name)
        return RandomnessEvent(
            EventKind.UNSEEDED,
            f"{self.module}.{self.name} drew: this {kind.__module__}.{kind.__name__} is made when "
            "the module is imported, so its numbers depend on earlier draws",
            self.file,
            line,
            linecache.getline(self.file, line).strip(),
        )


def kept_generators() -> Iterator[KeptGenerator]:
    """The generators among the names of loaded modules outside installed packages.

    Without ``RandomState``, because a test can seed it again unnoticed.
    """
    if _LOADED.have_changed():
        _USERS[:] = _user_modules()
    for module, kept, file in _USERS:
        space = kept()
        for name, value in () if space is None else tuple(vars(space).items()):
            if type(value) in (random.Random, np.random.Generator):
                yield KeptGenerator(module, name, file, value, _state_of(value))


_LOADED = LoadedModules()
_USERS: list[tuple[str, ref[ModuleType], str]] = []
"""The loaded modules outside installed packages: name, module, file."""


def _user_modules() -> Iterator[tuple[str, ref[ModuleType], str]]:
    loaded: list[tuple[str, object]] = list(sys.modules.items())
    for name, module in loaded:
        file = getattr(module, "__file__", None) if isinstance(module, ModuleType) else None
        if isinstance(module, ModuleType) and isinstance(file, str) and is_user_file(file):
            yield name, ref(module), file


def _state_of(generator: Any) -> object:
    if isinstance(generator, random.Random):
        return generator.getstate()
    return repr(generator.bit_generator.state)


def _line_of(file: str, name: str) -> int:
    """The line that assigns ``name``; 0 if it is not found."""
    pattern = re.compile(rf"(\w+\s*,\s*)*{re.escape(name)}\b.*=")
    lines = linecache.getlines(file) or Path(file).read_text("utf-8", "replace").splitlines()
    return next((at for at, line in enumerate(lines, 1) if pattern.match(line)), 0)
