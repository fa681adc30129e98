"""Intercepts every call of a mindone pipeline of any class."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class PipelineCall:
    """One outermost call of a pipeline, before it is made.

    Attributes:
        pipeline: The pipeline.
        args: Its arguments without the pipeline.
        kwargs: Its named arguments; may be changed before `make`.
        place: ``file:line`` of the caller.
    """

    pipeline: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    place: str
    plain: Callable[..., Any]

    def make(self) -> Any:
        """Make the call and return its result."""
        return self.plain(self.pipeline, *self.args, **self.kwargs)


class PipelineCalls:
    """Passes every outermost call of a pipeline to ``around`` between `begin` and `end`.

    ``around`` makes the call and returns its result. A pipeline that another one calls is part of
    that call. Imports mindone if it is installed.
    """

    def __init__(self, around: Callable[[PipelineCall], Any]) -> None:
        self._around = around
        self._base = import_pipelines()
        self._undo: list[Callable[[], None]] = []
        self._is_inside = False

    def begin(self) -> None:
        """Start, also for classes that are defined later."""
        if self._base is None:
            return
        for one in _subclasses(self._base):
            self._wrap(one)
        register = self._base.register_modules

        @functools.wraps(register)
        def registering(pipeline: Any, *args: Any, **kwargs: Any) -> Any:
            for one in type(pipeline).__mro__:
                self._wrap(one)
            return register(pipeline, *args, **kwargs)

        self._replace(self._base, "register_modules", registering)

    def end(self) -> None:
        """Restore the methods of every class."""
        while self._undo:
            self._undo.pop()()

    def _wrap(self, owner: type[Any]) -> None:
        plain = vars(owner).get("__call__")
        if plain is None or not issubclass(owner, self._base) or hasattr(plain, _OURS):
            return

        @functools.wraps(plain)
        def call(pipeline: Any, *args: Any, **kwargs: Any) -> Any:
            if self._is_inside:
                return plain(pipeline, *args, **kwargs)
            caller = sys._getframe(1)  # noqa: SLF001
            place = f"{caller.f_code.co_filename}:{caller.f_lineno}"
            self._is_inside = True
            try:
                return self._around(PipelineCall(pipeline, args, kwargs, place, plain))
            finally:
                self._is_inside = False

        setattr(call, _OURS, True)
        self._replace(owner, "__call__", call)

    def _replace(self, owner: type[Any], name: str, new: Any) -> None:
        plain = vars(owner)[name]
        setattr(owner, name, new)
        self._undo.append(lambda: setattr(owner, name, plain))


_OURS = "__pytest_repro_call__"


def import_pipelines() -> Any:
    """The class below all pipelines of mindone, imported; ``None`` without mindone."""
    if "mindone" not in sys.modules and importlib.util.find_spec("mindone") is None:
        return None
    return importlib.import_module("mindone.diffusers").DiffusionPipeline


def _subclasses(base: type[Any]) -> list[type[Any]]:
    found = [base]
    for one in found:
        found += [each for each in one.__subclasses__() if each not in found]
    return found
