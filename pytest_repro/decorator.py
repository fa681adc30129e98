"""The decorator for tests that return what is to be checked."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from pytest_repro.active import active_test

__all__ = ["repro"]

_Test = TypeVar("_Test", bound=Callable[..., Any])


def repro(*unnamed: object, **arguments: Any) -> Callable[[_Test], _Test]:
    """Mark a test whose return value is checked when it ends.

    The returned value is checked under ``name`` (default ``value``); the other arguments are those
    of ``@pytest.mark.repro``. Works on functions, parametrised tests and methods of classes and
    ``unittest.TestCase``; on a class it decorates every test method.

    Raises:
        TypeError: Used without parentheses.

    Example::

        @repro(seed=0, name="image")
        def test_ddim(repro_generator, repro_ddim):
            return repro_ddim(num_inference_steps=2, output_type="np", generator=repro_generator)[0]
    """
    if unnamed:
        raise TypeError("write @repro() with parentheses; its arguments have names")

    def decorate(target: Any) -> Any:
        if inspect.isclass(target):
            for name, member in list(vars(target).items()):
                if name.startswith("test") and inspect.isfunction(member):
                    setattr(target, name, _checking(member, arguments))
            return target
        return _checking(target, arguments)

    return decorate


def _checking(test: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    @functools.wraps(test)
    def checked(*args: Any, **kwargs: Any) -> None:
        value = test(*args, **kwargs)
        code = test.__code__
        active_test().trial.check(
            value,
            arguments.get("name"),
            called_at=f"{code.co_filename}:{code.co_firstlineno}",
        )

    return pytest.mark.repro(**arguments)(checked)
