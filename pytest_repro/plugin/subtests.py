"""Subtests, of unittest and of the fixture: a failing one is noted, a repeated one is not reported.

pytest reports each subtest at once, while the test's body still runs, and lets the body go on. So a
test that failed in a subtest raises nothing, and a repeated run would report its subtests again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pytest_repro.plugin.active import ACTIVE

_FAILURE: pytest.StashKey[tuple[object, BaseException]] = pytest.StashKey()
"""The attempt at a test (its `ActiveTest`), and what its first failing subtest raised."""


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> None:
    """Note a subtest that failed: while a body runs pytest asks for no other report."""
    if call.excinfo is not None and ACTIVE.get() is not None:
        _note(item, call.excinfo.value)


def noted_failure(item: pytest.Item, attempt: object) -> BaseException | None:
    """What the first failing subtest of this attempt raised; noted once, given once."""
    if _FAILURE not in item.stash:
        return None
    whose, error = item.stash[_FAILURE]
    del item.stash[_FAILURE]
    return error if whose is attempt else None


@contextmanager
def unreported(item: Any) -> Iterator[None]:
    """Keep the subtests of a repeated run from pytest's reports; a failing one is noted."""
    asked = getattr(item, "funcargs", {})
    kept = asked.get("subtests")
    if kept is not None:
        asked["subtests"] = _Unreported(item)
    if hasattr(item, "addSubTest"):
        item.addSubTest = lambda case, subtest, raised: _note(item, raised and raised[1])
    try:
        yield
    finally:
        if kept is not None:
            asked["subtests"] = kept
        vars(item).pop("addSubTest", None)


class _Unreported:
    """Stands in for the fixture ``subtests``."""

    def __init__(self, item: pytest.Item) -> None:
        self._item = item

    @contextmanager
    def test(self, msg: str | None = None, **parameters: object) -> Iterator[None]:
        """Run the block; go on when it fails, as the fixture's own does."""
        try:
            yield
        except pytest.exit.Exception:
            raise
        except (Exception, pytest.fail.Exception, pytest.skip.Exception) as error:  # noqa: BLE001
            _note(self._item, error)


def _note(item: pytest.Item, error: BaseException | None) -> None:
    if error is None or isinstance(error, (pytest.skip.Exception, pytest.xfail.Exception)):
        return
    attempt = ACTIVE.get()
    if _FAILURE not in item.stash or item.stash[_FAILURE][0] is not attempt:
        item.stash[_FAILURE] = (attempt, error)
