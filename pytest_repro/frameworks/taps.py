"""Taps: listening to a scheduler's steps and to cells' calls, and going away without a trace."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from types import MethodType
from typing import Any, Protocol

__all__ = ["CallListener", "CellTaps", "StepListener", "StepTap"]

StepListener = Callable[[Mapping[str, Any]], Callable[[Any], None]]
"""Called with the arguments of a step by name before it; what it returns gets the result."""


class StepTap:
    """Stands in for ``scheduler.step`` on one scheduler, for any number of listeners.

    Only the instance is touched. The tap looks like the method it replaces (pipelines read its
    signature to decide whether to pass ``eta`` or ``generator``), and a deep copy of the scheduler
    gets the plain method back.
    """

    def __init__(self, scheduler: Any) -> None:
        self._scheduler = scheduler
        self._original = scheduler.step
        self._listeners: list[StepListener] = []
        functools.update_wrapper(self, self._original)
        self.__signature__ = inspect.signature(self._original)

    @classmethod
    def on(cls, scheduler: Any) -> StepTap:
        """The tap that stands on ``scheduler`` now, or a new one."""
        tap = vars(scheduler).get("step")
        if not isinstance(tap, StepTap):
            tap = cls(scheduler)
            scheduler.step = tap
        return tap

    def listen(self, listener: StepListener) -> None:
        """Have ``listener`` hear every step from now on."""
        self._listeners.append(listener)

    def drop(self, listener: StepListener) -> None:
        """Undo `listen`, in any order; the last one to go puts the method back.

        If somebody wrapped ``step`` after us, their wrapper stays and our tap in it falls silent.
        """
        self._listeners.remove(listener)
        if not self._listeners and vars(self._scheduler).get("step") is self:
            self._put_back()

    def _put_back(self) -> None:
        plain = getattr(self._original, "__func__", None) is getattr(
            type(self._scheduler), "step", None
        )
        if plain:
            del self._scheduler.step
        else:
            self._scheduler.step = self._original

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Take the step as the scheduler would, and tell every listener."""
        arguments = self._named(args, kwargs)
        ends = [listener(arguments) for listener in tuple(self._listeners)]
        result = self._original(*args, **kwargs)
        for end in ends:
            end(result)
        return result

    def _named(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            return self.__signature__.bind(*args, **kwargs).arguments
        except TypeError:
            return {}  # the scheduler itself will say what is wrong with the call

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        copied = memo.get(id(self._scheduler))
        return self._original if copied is None else MethodType(type(copied).step, copied)


class CallListener(Protocol):
    """Hears calls of cells; ``name`` is the cell's path."""

    def call_began(self, name: str, cell: Any, args: Sequence[Any], kwargs: Any) -> None:
        """The cell is about to compute."""

    def call_ended(self, name: str, cell: Any, output: Any) -> None:
        """The cell has computed; not called when it raised."""


class CellTaps:
    """Forward hooks on many cells, removed together."""

    def __init__(self, listener: CallListener) -> None:
        self._listener = listener
        self._handles: list[Any] = []

    def add(self, name: str, cell: Any) -> None:
        """Hear every call of ``cell`` in PYNATIVE mode."""
        listener = self._listener

        # Hooks that return None change neither arguments nor output.
        def before(_cell: Any, args: Sequence[Any], kwargs: Any) -> None:
            listener.call_began(name, cell, args, kwargs)

        def after(_cell: Any, _args: Sequence[Any], _kwargs: Any, output: Any) -> None:
            listener.call_ended(name, cell, output)

        self._handles.append(cell.register_forward_pre_hook(before, with_kwargs=True))
        self._handles.append(cell.register_forward_hook(after, with_kwargs=True))

    def remove(self) -> None:
        """Remove every hook; more than once does no harm."""
        while self._handles:
            self._handles.pop().remove()
