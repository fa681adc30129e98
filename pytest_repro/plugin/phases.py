"""The phases of a test: its fixtures, its body and the judgement after it, its end, its report."""

from __future__ import annotations

import sys
from collections.abc import Generator
from typing import Any

import pytest

from pytest_repro.plugin.fixtures import FIXTURES, RUNNING
from pytest_repro.plugin.state import ACTIVE, SESSION

__all__ = [
    "pytest_runtest_call",
    "pytest_runtest_makereport",
    "pytest_runtest_setup",
    "pytest_runtest_teardown",
]


# The innermost wrapper: before every fixture, but after the wrappers (logging's) whose teardown
# relies on their setup having run.
@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None]:
    RUNNING[-1:] = [item]
    marks = list(item.iter_markers("repro"))
    if marks or not FIXTURES.isdisjoint(getattr(item, "fixturenames", ())):
        from pytest_repro.plugin.item import Undisturbed, begin

        item.stash[ACTIVE] = active = begin(item, marks)
        __tracebackhide__ = True  # only now: a fault of ours has no other frame to be shown by
        with active.fixtures(), Undisturbed(item, "setup", active):
            return (yield)
    if SESSION in item.config.stash:
        item.config.stash[SESSION].end_guarding()
    return (yield)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    active = item.stash.get(ACTIVE, None)
    if active is None:
        return (yield)
    from pytest_repro.plugin.item import Undisturbed, conclude, equip
    from pytest_repro.plugin.rerun import item_failure
    from pytest_repro.plugin.subtests import noted_failure

    failure: BaseException | None = None
    subtest: BaseException | None = None
    equip(item, active)
    try:
        with active.body(), Undisturbed(item, "runtest", active):
            yield
        failure = item_failure(item)
        subtest = noted_failure(item, active)
    except pytest.skip.Exception:
        raise
    except (Exception, pytest.fail.Exception) as error:
        failure = error
        raise
    finally:
        if not isinstance(sys.exc_info()[1], (pytest.skip.Exception, KeyboardInterrupt)):
            conclude(item, active, failure, subtest)
    return None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    try:
        return (yield)
    finally:
        active = item.stash.get(ACTIVE, None)
        if active is not None:
            del item.stash[ACTIVE]  # items live as long as the run
            active.end()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Generator[None, Any, Any]:
    report = yield
    if report.when == "call" and ACTIVE in item.stash:
        from pytest_repro.plugin.item import report_rows

        report_rows(item, item.stash[ACTIVE], report)
    return report
