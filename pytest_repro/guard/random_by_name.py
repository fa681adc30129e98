"""Functions of the global generators that modules hold under names of their own.

``from random import shuffle`` keeps the function, so that replacing it in its module would not
reach the caller.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any
from weakref import WeakSet, ref

__all__ = ["ByName"]


class ByName:
    """Puts replacements in place in every module that holds an original by name.

    Only modules that came since the last look are looked through: thousands are loaded, and few
    are new to a test.

    Args:
        pairs: Originals and what stands in for them.
    """

    def __init__(self, pairs: Iterable[tuple[object, object]]) -> None:
        # A module that was loaded under a guard holds what stood in for the original by then.
        self._pairs = {id(one): pair for pair in pairs for one in pair}
        self._seen: WeakSet[ModuleType] = WeakSet()
        self._newest: tuple[int, ref[ModuleType] | None] = (0, None)
        self._held: list[tuple[ref[ModuleType], str, object, object]] = []

    def install(self) -> None:
        """Replace what is held; a name that means something else by now is left alone."""
        self._look()
        for space, name, original, replacement in self._names():
            if space.get(name) is original:
                space[name] = replacement

    def remove(self) -> None:
        """Put every original back."""
        for space, name, original, replacement in self._names():
            if space.get(name) is replacement:
                space[name] = original

    def _names(self) -> Iterator[tuple[dict[str, Any], str, object, object]]:
        for module, name, original, replacement in self._held:
            alive = module()
            if alive is not None:
                yield vars(alive), name, original, replacement

    def _look(self) -> None:
        if not self.has_new():
            return
        self._note_newest()
        self._held = [one for one in self._held if one[0]() is not None]
        loaded: list[tuple[str, object]] = list(sys.modules.items())
        for name, module in loaded:
            if isinstance(module, ModuleType) and module not in self._seen:
                self._seen.add(module)
                if not _is_owner(name):
                    self._held.extend(self._held_by(module))

    def has_new(self) -> bool:
        """Whether ``sys.modules`` changed since the last look; what is loaded goes to its end."""
        count, newest = self._newest
        if len(sys.modules) != count or newest is None:
            return True
        return newest() is not sys.modules[next(reversed(sys.modules))]

    def _note_newest(self) -> None:
        last: object = sys.modules[next(reversed(sys.modules))]
        self._newest = len(sys.modules), ref(last) if isinstance(last, ModuleType) else None

    def _held_by(self, module: ModuleType) -> Iterator[tuple[ref[ModuleType], str, object, object]]:
        space = vars(module)
        if self._pairs.keys().isdisjoint(map(id, tuple(space.values()))):
            return
        for name, value in tuple(space.items()):
            pair = self._pairs.get(id(value))
            if pair is not None:
                yield ref(module), name, *pair


def _is_owner(name: str) -> bool:
    top = name.partition(".")[0]
    return top in ("numpy", "random", "pytest_repro") or top in sys.stdlib_module_names
