"""Subtests, of unittest and of the fixture: a failing one is noted, a repeated one is not reported.

pytest reports each subtest at once, while the test's body still runs, and lets the body go on. So a
test that failed in a subtest raises nothing, and a repeated run would report its subtests again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pytest_repro.plugin import pytest_private as private
from pytest_repro.plugin.state import state_of


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> None:
    """Note a subtest that failed: while a body runs pytest asks for no other report."""
    if call.excinfo is not None:
        _note(item, call.excinfo.value)


@contextmanager
def unreported(item: Any) -> Iterator[None]:
    """Keep the subtests of a repeated run from pytest's reports; a failing one is noted."""
    asked = getattr(item, "funcargs", None) or {}
    kept = asked.get("subtests")
    if kept is not None:
        asked["subtests"] = _Unreported(item)
    if hasattr(item, "addSubTest"):
        item.addSubTest = lambda case, subtest, raised: _take(item, raised)
    try:
        yield
    finally:
        if kept is not None:
            asked["subtests"] = kept
        vars(item).pop("addSubTest", None)


def _take(item: Any, raised: Any) -> None:
    """Take what a subtest of a ``TestCase`` raised, in the place of pytest's report of it."""
    if isinstance(raised, tuple):
        _note(item, raised[1])
    elif raised is not None:  # a skip, which pytest keeps on the item until it reports the subtest
        private.forget_failure(item)


class _Unreported:
    """Takes the place of the fixture ``subtests``."""

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
    active = state_of(item.config).active_of(item)
    if active is None or error is None or not active.is_in_body:
        return
    if not isinstance(error, (pytest.skip.Exception, pytest.xfail.Exception)):
        active.note_subtest(error)
