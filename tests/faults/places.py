"""Finds and changes parts of a pipeline, and puts back what stood there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Place",
    "attributes",
    "calling",
    "cell_at",
    "cells_of",
    "parameter_at",
    "wrapped_method",
    "written",
]


@dataclass(frozen=True, slots=True)
class Place:
    """A cell, or a parameter of one: component of the pipeline, and path inside it."""

    component: str
    path: str

    def __str__(self) -> str:
        return f"{self.component}.{self.path}" if self.path else self.component


def cell_at(pipeline: Any, place: Place) -> Any:
    """The cell at ``place``."""
    return dict(getattr(pipeline, place.component).cells_and_names())[place.path]


def cells_of(pipeline: Any, component: str, class_name: str) -> list[Any]:
    """All cells of a component whose class has that name."""
    cells = (cell for _, cell in getattr(pipeline, component).cells_and_names())
    return [cell for cell in cells if type(cell).__name__ == class_name]


def parameter_at(pipeline: Any, place: Place) -> Any:
    """The parameter at ``place``."""
    return dict(getattr(pipeline, place.component).parameters_and_names())[place.path]


@contextmanager
def written(
    parameters: list[Any], change: Callable[[NDArray[Any]], NDArray[Any]]
) -> Iterator[None]:
    """Replace each parameter's numbers by ``change`` of them, dtype and shape kept."""
    import mindspore

    before = [parameter.asnumpy().copy() for parameter in parameters]
    try:
        for parameter, array in zip(parameters, before, strict=True):
            changed = np.ascontiguousarray(change(array.copy()), dtype=array.dtype)
            parameter.set_data(mindspore.Tensor(changed))
        yield
    finally:
        for parameter, array in zip(parameters, before, strict=True):
            parameter.set_data(mindspore.Tensor(array))


_ABSENT = object()


@contextmanager
def attributes(targets: list[Any], **values: Any) -> Iterator[None]:
    """Set attributes on each target, and afterwards give back what each had."""
    before = [(one, name, vars(one).get(name, _ABSENT)) for one in targets for name in values]
    before = [(one, name, _registered(one, name, old)) for one, name, old in before]
    try:
        for one in targets:
            for name, value in values.items():
                setattr(one, name, value)
        yield
    finally:
        for one, name, old in reversed(before):
            if old is _ABSENT:
                delattr(one, name)
            else:
                setattr(one, name, old)


def _registered(target: Any, name: str, found: Any) -> Any:
    """A cell keeps its inner cells outside of its ``__dict__``."""
    inner = getattr(target, "_cells", {})
    return inner[name] if found is _ABSENT and name in inner else found


def wrapped_method(
    target: Any, name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> Any:
    """Set ``target.name`` to ``wrap`` of what it is, on the instance."""
    return attributes([target], **{name: wrap(getattr(target, name))})


@contextmanager
def calling(
    pipeline: Any, wrap: Callable[[Callable[..., Any], dict[str, Any]], Any]
) -> Iterator[None]:
    """Let ``wrap(call, keywords)`` stand for calls of ``pipeline``.

    The instance gets a subclass of its own class under the same name: a special method is looked up
    on the class, and other pipelines of that class must not be touched.
    """
    before = type(pipeline)

    def __call__(self: Any, *args: Any, **keywords: Any) -> Any:  # noqa: N807
        return wrap(lambda **chosen: before.__call__(self, *args, **chosen), keywords)

    pipeline.__class__ = type(before.__name__, (before,), {"__call__": __call__})
    try:
        yield
    finally:
        pipeline.__class__ = before
