"""The decorator for tests that return a value to check."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from pytest_repro.errors import ReproError, UsageError

if TYPE_CHECKING:
    from pytest_repro.checking.trial import Trial

TRIAL: ContextVar[Trial | None] = ContextVar("pytest_repro_trial", default=None)
"""The trial whose body runs, for decorated tests, which have no fixtures."""

_Test = TypeVar("_Test", bound=Callable[..., Any])
_UNCHECKED = "__pytest_repro_unchecked__"
"""Attribute of a decorated test: the test as it was written."""


def repro(*unnamed: object, **arguments: Any) -> Callable[[_Test], _Test]:
    """Mark a test whose return value is checked when it ends.

    The returned value is checked under ``name`` (default ``value``); the other arguments are those
    of ``@pytest.mark.repro``. Works on functions, parametrised tests and methods of classes and
    ``unittest.TestCase``; on a class it decorates every test method, inherited ones and static
    ones too, and marks the class, so that whatever else pytest collects in it must check something.

    Raises:
        TypeError: Used without parentheses.

    Example::

        @repro(seed=0, name="image")
        def test_ddim(repro_generator, repro_ddim):
            return repro_ddim(num_inference_steps=2, output_type="np", generator=repro_generator)[0]
    """
    if unnamed:
        raise TypeError("write @repro() with parentheses; its arguments have names")

    name = arguments.pop("name", None)
    mark = pytest.mark.repro(**arguments)

    def decorate(target: Any) -> Any:
        if inspect.isclass(target):
            for method in [one for one in dir(target) if one.startswith("test")]:
                _check_method(target, method, name, mark)
            return mark(target)
        return mark(_checking(target, name))

    return decorate


def _check_method(owner: type, method: str, name: Any, mark: pytest.MarkDecorator) -> None:
    """Replace a test method of a class, own or inherited, with one that checks."""
    member = inspect.getattr_static(owner, method)
    # Each is marked, too: pytest ranks a class's own mark after that of a decorated base class.
    if isinstance(member, (staticmethod, classmethod)):
        setattr(owner, method, type(member)(mark(_checking(member.__func__, name))))
    elif inspect.isfunction(member):
        setattr(owner, method, mark(_checking(member, name)))


def _checking(target: Callable[..., Any], name: Any) -> Any:
    test = _as_written(target)

    if inspect.iscoroutinefunction(test):

        @functools.wraps(test)
        async def checked(*args: Any, **kwargs: Any) -> None:
            _check(test, name, await test(*args, **kwargs))
    else:

        @functools.wraps(test)
        def checked(*args: Any, **kwargs: Any) -> None:
            _check(test, name, test(*args, **kwargs))

    setattr(checked, _UNCHECKED, test)
    return checked


def _check(test: Callable[..., Any], name: Any, value: object) -> None:
    trial, code = TRIAL.get(), test.__code__
    try:
        if trial is None:
            raise UsageError(
                "pytest-repro is not active here, so nothing would be compared",
                next_step="run the test with pytest, without `-p no:repro`",
            )
        trial.check(value, name, called_at=f"{code.co_filename}:{code.co_firstlineno}")
    except ReproError as error:
        # No line of the test explains it, and other frames would hide the message.
        raise pytest.fail.Exception(str(error), pytrace=False) from None


def _as_written(test: Callable[..., Any]) -> Callable[..., Any]:
    """The test itself, if a base class was already decorated."""
    wrapped: Callable[..., Any] = getattr(test, "__wrapped__", test)
    # Another decorator's wrapper copies the attribute, and must not be removed.
    return wrapped if getattr(test, _UNCHECKED, None) is wrapped else test
