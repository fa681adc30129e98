"""Tells a book of noise which call of which pipeline draws; does not import mindone.

A pipeline is found at its first draw: the outermost frame on the stack that is the ``__call__`` of
a class with a base named ``DiffusionPipeline``. Its class then gets a counting ``__call__``, which
distinguishes later calls without keeping a frame alive.
"""

from __future__ import annotations

import functools
import itertools
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import unwrap
from types import CodeType, FrameType
from typing import Any

from pytest_repro.noise.generator import NoiseBook, PipelineCall

_PIPELINE = "DiffusionPipeline"


@contextmanager
def watch_pipeline_calls(book: NoiseBook) -> Iterator[None]:
    """Let ``book`` notice a generator that two pipeline calls use; restores everything."""
    calls = _PipelineCalls()
    before, book.pipeline_call = book.pipeline_call, calls
    try:
        yield
    finally:
        book.pipeline_call = before
        calls.unpatch()


@dataclass(frozen=True, slots=True)
class _Found:
    """The class that owns a pipeline's ``__call__``."""

    owner: type[Any]
    name: str


class _PipelineCalls:
    def __init__(self) -> None:
        self._codes: dict[CodeType, _Found | None] = {}
        self._patched: dict[type[Any], Any] = {}
        self._numbers = itertools.count(1)
        self._local = threading.local()
        # Call number 0: a call that was already running when its class was found. There is at
        # most one of each code, because every later one is counted.
        self._calls: dict[tuple[CodeType, int], PipelineCall] = {}

    def __call__(self) -> PipelineCall | None:
        """The outermost pipeline call of the calling thread, or ``None``."""
        code = self._outermost(sys._getframe(1))  # noqa: SLF001
        if code is None:
            return None
        found = self._codes[code]
        assert found is not None
        key = (code, getattr(self._local, "number", 0))
        call = self._calls.get(key)
        if call is None:
            call = self._calls[key] = PipelineCall(found.name, len(self._calls) + 1)
            self._patch(found.owner)
        return call

    def unpatch(self) -> None:
        """Restore the ``__call__`` of every class."""
        for owner, original in self._patched.items():
            setattr(owner, "__call__", original)  # noqa: B010  a class attribute, typed as a method
        self._patched.clear()

    def _outermost(self, frame: FrameType | None) -> CodeType | None:
        outermost = None
        while frame is not None:
            code = frame.f_code
            if code.co_name == "__call__":
                if code not in self._codes:
                    self._codes[code] = _pipeline_of(frame)
                if self._codes[code] is not None:
                    outermost = code
            frame = frame.f_back
        return outermost

    def _patch(self, owner: type[Any]) -> None:
        if owner not in self._patched:
            original = vars(owner)["__call__"]
            self._patched[owner] = original
            setattr(owner, "__call__", self._counting(original))  # noqa: B010

    def _counting(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def counting(*args: Any, **kwargs: Any) -> Any:
            if self._outermost(sys._getframe(1)) is not None:  # noqa: SLF001
                return original(*args, **kwargs)  # a pipeline called by a pipeline is part of it
            self._local.number = next(self._numbers)
            try:
                return original(*args, **kwargs)
            finally:
                self._local.number = 0

        return counting


def _pipeline_of(frame: FrameType) -> _Found | None:
    """The pipeline class whose ``__call__`` runs in ``frame``.

    Found through the module's classes: reading the frame's locals would keep every tensor in them
    alive until the call ends.
    """
    for value in list(frame.f_globals.values()):
        if not isinstance(value, type) or "__call__" not in vars(value):
            continue
        code = getattr(unwrap(vars(value)["__call__"]), "__code__", None)
        if code is frame.f_code and any(base.__name__ == _PIPELINE for base in value.__mro__):
            return _Found(value, value.__name__)
    return None
