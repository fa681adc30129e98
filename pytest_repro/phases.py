"""The phases of a test: its fixtures, its body and the judgement after it, its end, its report."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from pytest_repro.core.errors import CheckFailed, ReproError, UsageError
from pytest_repro.fixtures import FIXTURES, GENERATORS, RUNNING, Check
from pytest_repro.stashed import ACTIVE, ISOLATED, NOTES, ORIGIN, REPORTING, session_of

if TYPE_CHECKING:
    from pytest_repro.active import ActiveTest
    from pytest_repro.session.isolated_trial import IsolatedTrial

__all__ = [
    "own_id",
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
        try:
            item.stash[ACTIVE] = active = _activate(item, marks)
            if _may_draw(item):
                _say_at_once(item.config, active.session.stream_note(active.spec.module))
            active.begin()
        except ReproError as error:
            raise _fault(item, error) from None
        __tracebackhide__ = True  # only now: a fault of ours has no other frame to be shown by
        active.hold_globals()
        with active.fixtures(), _undisturbed(item, "setup", active):
            return (yield)
    return (yield)


@contextmanager
def _undisturbed(item: pytest.Item, name: str, active: ActiveTest) -> Iterator[None]:
    """Let a step of a test find the global states where its last step left them.

    Plugins (pytest-randomly) seed global states in hooks of a phase; a repeated run has no such
    hooks, and would see others. What a hook does between the steps is undone as the step begins.

    Args:
        item: The test.
        name: pytest's method for the step, ``setup`` or ``runtest``.
        active: Holds the states.
    """
    own, step = vars(item).get(name), getattr(item, name)

    def undisturbed() -> object:
        __tracebackhide__ = True
        active.release_globals()
        try:
            return step()
        finally:
            active.hold_globals()

    setattr(item, name, undisturbed)
    try:
        yield
    finally:
        delattr(item, name)
        if own is not None:
            setattr(item, name, own)


def _may_draw(item: pytest.Item) -> bool:
    """Whether a test asks for our generators; a ``TestCase`` is given them unasked."""
    asked = getattr(item, "fixturenames", ())
    return not GENERATORS.isdisjoint(asked) or hasattr(getattr(item, "cls", None), "setUpClass")


def _say_at_once(config: pytest.Config, note: str) -> None:
    """Write a note to the terminal before the test runs, and keep it for the closing lines."""
    if not note:
        return
    config.stash[NOTES].append(note)
    terminal = config.pluginmanager.getplugin("terminalreporter")
    if terminal is not None and not hasattr(config, "workerinput"):
        from pytest_repro.uncaptured import without_capture

        with without_capture(config):
            terminal.ensure_newline()
            terminal.write_line(f"repro: {note}")


def _activate(item: pytest.Item, marks: list[pytest.Mark]) -> ActiveTest:
    from pytest_repro.active import ActiveTest

    session = session_of(item.config)
    module, _, test = own_id(item).partition("::")
    arguments: dict[str, object] = {}
    for mark in reversed(marks):
        if mark.args:
            raise UsageError(f"{item.nodeid}: the arguments of `repro` have names")
        arguments.update(mark.kwargs)
    return ActiveTest(session, session.spec(module, test, arguments, marked=bool(marks)))


def own_id(item: pytest.Item) -> str:
    """The test's node id without the group that workers of xdist append (``--dist loadgroup``).

    The same test has the same baselines, however a run is shared out.
    """
    if not getattr(item.config.option, "loadgroup", False):
        return item.nodeid
    groups = {
        str(mark.args[0] if mark.args else mark.kwargs.get("name", "default"))
        for mark in item.iter_markers("xdist_group")
    }
    return item.nodeid.removesuffix(f"@{'_'.join(sorted(groups))}") if groups else item.nodeid


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    active = item.stash.get(ACTIVE, None)
    if active is None:
        return (yield)
    from pytest_repro.rerun import item_failure

    failure: BaseException | None = None
    _equip(item, active)
    try:
        with active.body(), _undisturbed(item, "runtest", active):
            yield
        failure = item_failure(item)
    except pytest.skip.Exception:
        raise
    except (Exception, pytest.fail.Exception) as error:
        failure = error
        raise
    finally:
        if not isinstance(sys.exc_info()[1], (pytest.skip.Exception, KeyboardInterrupt)):
            if ISOLATED in item.config.stash:
                item.config.stash[ISOLATED].keep(active, failure)
            else:
                _judge(item, active, failure)
    return None


def _judge(item: pytest.Item, active: ActiveTest, failure: BaseException | None) -> None:
    try:
        active.judge(failure, *_ways_to_run_again(item, active))
    except ReproError as error:
        raise _fault(item, error) from None
    outcomes = active.outcomes
    item.user_properties.extend([(f"repro {o.check.name}", str(o.verdict)) for o in outcomes])
    if failure is not None or not outcomes or not all(o.verdict.passes for o in outcomes):
        _tell(item, active, failure)


def _tell(item: pytest.Item, active: ActiveTest, failure: BaseException | None) -> None:
    """Say what did not pass: beside the test's own failure, or as the failure."""
    from pytest_repro.report.failure import failure_text, nothing_checked

    text = failure_text(active.outcomes)
    if failure is not None:
        for section in filter(None, (text, active.explain(failure))):
            item.add_report_section("call", "repro", section)
    elif text:
        raise _failed(text)
    elif active.spec.marked and not active.outcomes:
        active.idle = True
        raise _failed(nothing_checked(active.spec.place))


def _ways_to_run_again(item: pytest.Item, active: ActiveTest) -> tuple[Any, Any]:
    """How to run the test again in this process, and in a fresh one."""
    first_run_s = active.age_s

    def again(one: ActiveTest, examination: Any) -> BaseException | None:
        from pytest_repro.rerun import run_again

        def anew() -> None:
            one.end()
            one.begin(examination)

        def body() -> Any:
            # Only now does the instance exist that the body will run on.
            _equip(item, one)
            return one.body()

        return run_again(item, anew, body)

    def apart() -> IsolatedTrial:
        from pytest_repro.isolating import run_isolated

        return run_isolated(item, active, item.config.stash[ORIGIN], first_run_s)

    return again, apart


class _Failed(CheckFailed, pytest.fail.Exception):  # type: ignore[name-defined, misc]
    """A failed check that pytest shows as its text alone: no frame of the test explains it."""


# What the short summary shows before the first line of the text.
_Failed.__name__ = _Failed.__qualname__ = "CheckFailed"
_Failed.__module__ = "pytest_repro"


def _failed(text: str) -> _Failed:
    error = _Failed(text)
    error.msg, error.pytrace = text, False
    return error


def _fault(item: pytest.Item, error: ReproError) -> BaseException:
    """A fault that no line of the test explains, shown as its text alone."""
    text = str(error) if item.nodeid in error.what else f"{item.nodeid}: {error}"
    failure: BaseException = pytest.fail.Exception(text, pytrace=False)
    return failure


def _equip(item: pytest.Item, active: ActiveTest) -> None:
    """Give a marked ``unittest.TestCase`` what it cannot ask for: the fixtures as attributes."""
    unittest = sys.modules.get("unittest")
    instance = getattr(item, "instance", None)
    if unittest is not None and isinstance(instance, unittest.TestCase):
        instance.repro_check = Check(active)
        instance.repro_disturb = active.trial.disturb
        instance.repro_generators = active.trial.generators
        instance.repro_generator = active.trial.generator()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    try:
        return (yield)
    finally:
        active = item.stash.get(ACTIVE, None)
        if active is not None:
            active.end()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Generator[None, Any, Any]:
    report = yield
    active = item.stash.get(ACTIVE, None)
    if active is not None and report.when == "call":
        from pytest_repro.report.rows import rows_from

        # An attribute of the report travels with it from an xdist worker to the controller.
        rows = rows_from(active.spec.place, active.idle, active.outcomes)
        report.repro = [row.plain() for row in rows]
        if REPORTING in item.config.stash:
            from pytest_repro.reporting import entries_of_test

            report.repro_entries = entries_of_test(active)
        active.outcomes = active.artefacts = ()
    return report
