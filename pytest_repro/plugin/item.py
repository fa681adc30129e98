"""pytest's hooks for one test: activate, isolate, judge, write."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from pytest_repro.plugin.fixtures import FIXTURES, equip, isolated_if_shared
from pytest_repro.plugin.state import state_of


def pytest_collection_finish(session: pytest.Session) -> None:
    """Note the fixtures of repro tests, and import what judges them before any fixture."""
    shared = state_of(session.config).shared
    for item in session.items:
        asked = getattr(item, "fixturenames", ())
        if not FIXTURES.isdisjoint(asked) or next(item.iter_markers("repro"), None) is not None:
            shared.update(asked)
    if shared and not session.config.getoption("collectonly"):
        import pytest_repro.plugin.conclusion  # noqa: F401  a fixture may replace functions


# The innermost wrapper: before every fixture, but after the wrappers (logging's) whose teardown
# relies on their setup having run.
@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None]:
    state = state_of(item.config)
    state.item, state.active = item, None
    marks = list(item.iter_markers("repro"))
    if not marks and FIXTURES.isdisjoint(getattr(item, "fixturenames", ())):
        return (yield)
    from pytest_repro.plugin import conclusion

    state.conclusion = conclusion  # a test may replace `__import__`
    state.active = active = conclusion.begin(item, marks)
    __tracebackhide__ = True  # only now: a fault of ours has no other frame to be shown by
    try:
        with active.fixtures():
            return (yield)
    except BaseException as ended:
        if active.has_unjudged:  # by a fixture, and the body will not run
            active.trial.end_body()
            conclusion.conclude(item, active, ended)
        raise


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(fixturedef: Any, request: Any) -> Generator[None, Any, Any]:
    active = state_of(request.config).active
    if active is not None:
        active.release_globals()
    with isolated_if_shared(fixturedef, request):
        return (yield)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    state = state_of(item.config)
    active = state.active_of(item)
    if active is None:
        return (yield)
    equip(item, active)
    ended: BaseException | None = None
    try:
        with active.body():
            yield
    except BaseException as error:
        ended = error
        raise
    finally:
        state.conclusion.conclude(item, active, ended)
    return None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, Any, Any]:
    active = state_of(pyfuncitem.config).active_of(pyfuncitem)
    if active is not None:
        active.release_globals()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    state = state_of(item.config)
    active = state.active_of(item)
    if active is not None and active.has_unjudged:
        state.faults.append(f"{active.spec.place}: a plugin ended it before its checks were judged")
    try:
        yield
    finally:
        if active is not None:
            active.end()
    if active is not None and active.teardown_error is not None:
        raise active.teardown_error  # of fixtures that were torn down before the test was judged


@pytest.hookimpl(wrapper=True, tryfirst=True)  # after every plugin that changes a report
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Generator[None, Any, Any]:
    report = yield
    state = state_of(item.config)
    active = state.active_of(item)
    if active is not None and not active.is_in_body:
        state.conclusion.report_phase(item, active, report, call.excinfo)
    return report
