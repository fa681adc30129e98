"""Subtests of unittest and of the fixture: notes failing ones, and hides those of further runs.

pytest reports each subtest at once while the test's body continues. So a test with a failed subtest
raises nothing, and a further run would report its subtests again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pytest_repro.plugin import pytest_private as private
from pytest_repro.plugin.state import state_of


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> None:
    """Note a failed subtest: while a body runs, pytest makes no other report."""
    if call.excinfo is not None:
        _note(item, call.excinfo.value)


@contextmanager
def unreported(item: Any) -> Iterator[None]:
    """Hide the subtests of a further run from pytest's reports, and note a failing one."""
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
    """Take what a subtest of a ``TestCase`` raised, instead of pytest's report."""
    if isinstance(raised, tuple):
        _note(item, raised[1])
    elif raised is not None:  # a skip, which pytest keeps on the item until it reports the subtest
        private.forget_failure(item)


class _Unreported:
    """Replaces the fixture ``subtests``."""

    def __init__(self, item: pytest.Item) -> None:
        self._item = item

    @contextmanager
    def test(self, msg: str | None = None, **parameters: object) -> Iterator[None]:
        """Run the block; continue if it fails, like the fixture's own method."""
        try:
            yield
        except (KeyboardInterrupt, pytest.exit.Exception):
            raise
        except BaseException as error:  # noqa: BLE001  SystemExit and CancelledError, too
            _note(self._item, error)


def _note(item: pytest.Item, error: BaseException | None) -> None:
    active = state_of(item.config).active_of(item)
    if active is None or error is None or not active.is_in_body:
        return
    if not isinstance(error, (pytest.skip.Exception, pytest.xfail.Exception)):
        active.note_subtest(error)
