"""Generators that user modules keep: their state continues from one test to the next."""

from __future__ import annotations

import linecache
import random
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from weakref import ref

import numpy as np

from pytest_repro.guard.events import EventKind, RandomnessEvent, is_user_file


class LoadedModules:
    """Says whether modules were loaded or dropped since it was asked last; keeps none alive."""

    def __init__(self) -> None:
        self._seen: list[ref[ModuleType]] = []

    def have_changed(self) -> bool:
        """Whether `sys.modules` holds other modules than before; the first time it does."""
        loaded: list[object] = list(sys.modules.values())
        modules = [module for module in loaded if isinstance(module, ModuleType)]
        pairs = zip(self._seen, modules, strict=False)
        if len(self._seen) == len(modules) and all(seen() is module for seen, module in pairs):
            return False
        self._seen = list(map(ref, modules))
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
