"""A test of ours as pytest runs it: made active, kept undisturbed, judged, and its faults worded.

`phases` comes here with the first test that asks for something of ours; what this imports costs a
run without one nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from pytest_repro.errors import CheckFailed, ReproError, UsageError, printable
from pytest_repro.plugin.active import ActiveTest
from pytest_repro.plugin.fixtures import FIXTURES, GENERATORS, RUNNING, Check
from pytest_repro.plugin.rerun import hand_over, run_again
from pytest_repro.plugin.state import (
    ACTIVE,
    ISOLATED,
    NOTES,
    ORIGIN,
    REPORTING,
    session_of,
)
from pytest_repro.plugin.suite import suite_mark
from pytest_repro.plugin.terminal import describe_failure
from pytest_repro.report.summary import exact_row, rows_from

if TYPE_CHECKING:
    from pytest_repro.checking.isolated import IsolatedTrial


def begin(item: pytest.Item, marks: list[pytest.Mark]) -> ActiveTest:
    """Start the first execution of a test that asks for something of ours."""
    try:
        active = _activate(item, marks)
        if _may_draw(item):
            _say_at_once(item.config, active.session.stream_note(active.spec.module))
        active.begin()
    except ReproError as error:
        raise _fault(item, error) from None
    hand_over(item, "repro_check", Check(active))
    return active


def _nearest_first(item: pytest.Item) -> list[pytest.Mark]:
    """The marks of a test; a parameter is nearer than its function, a class than its base.

    pytest gives a function's marks before those of its parameters, and a base class's before those
    of the class derived from it.
    """
    groups: dict[Any, list[pytest.Mark]] = {}
    for node, mark in item.iter_markers_with_node("repro"):
        groups.setdefault(node, []).append(mark)
    of_parameters = getattr(getattr(item, "callspec", None), "marks", ())
    nearest: list[pytest.Mark] = []
    for node, marks in groups.items():
        if isinstance(node, pytest.Class):
            marks.reverse()
        elif node is item:
            marks.sort(key=lambda mark: mark not in of_parameters)
        nearest += marks
    return nearest


def _activate(item: pytest.Item, marks: list[pytest.Mark]) -> ActiveTest:
    session = session_of(item.config)
    module, _, test = own_id(item).partition("::")
    arguments: dict[str, object] = {}
    for mark in reversed(_nearest_first(item) if len(marks) > 1 else marks):
        if mark.args:
            raise UsageError(f"{item.nodeid}: the arguments of `repro` have names")
        arguments.update(mark.kwargs)
    suite = suite_mark(item)
    if suite is not None:
        from pytest_repro.pipelines.calls import import_pipelines

        import_pipelines()  # before the test's own state is set: importing may draw
    marked = any(mark is not suite for mark in marks)
    spec = session.spec(module, test, arguments, marked=marked, suite=suite is not None)
    if getattr(item, "execution_count", 1) > 1:
        # pytest-rerunfailures counts over all workers: another may have died of the first.
        session.attempt(spec)
    return ActiveTest(session, spec)


def _may_draw(item: pytest.Item) -> bool:
    """Whether a test asks for our generators; a ``TestCase`` is given them unasked."""
    asked = getattr(item, "fixturenames", ())
    return not GENERATORS.isdisjoint(asked) or _is_test_case(item)


def _is_test_case(item: pytest.Item) -> bool:
    # pytest has an item of its own for them; to ask most items for their class costs more.
    return type(item) is not pytest.Function and hasattr(getattr(item, "cls", None), "setUpClass")


def _say_at_once(config: pytest.Config, note: str) -> None:
    """Write a note to the terminal before the test runs, and keep it for the closing lines."""
    if not note:
        return
    config.stash[NOTES].append(note)
    terminal = config.pluginmanager.getplugin("terminalreporter")
    if terminal is not None and not hasattr(config, "workerinput"):
        from pytest_repro.plugin.ask import without_capture

        with without_capture(config):
            terminal.ensure_newline()
            terminal.write_line(printable(f"repro: {note}"))


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


class Undisturbed:
    """Lets a step of a test find the global states where its last step left them.

    Plugins (pytest-randomly) seed global states in hooks of a phase; a repeated run has no such
    hooks, and would see others. What a hook does between the steps is undone as the step begins.

    Args:
        item: The test.
        name: pytest's method for the step, ``setup`` or ``runtest``.
        active: Holds the states.
    """

    __slots__ = ("_active", "_item", "_name", "_own", "_step")

    def __init__(self, item: pytest.Item, name: str, active: ActiveTest) -> None:
        self._item = item
        self._name = name
        self._active = active

    def __enter__(self) -> None:
        self._own = vars(self._item).get(self._name)
        self._step = getattr(self._item, self._name)
        setattr(self._item, self._name, self)

    def __call__(self) -> object:
        """Take the step, as pytest asks for it."""
        __tracebackhide__ = True
        self._active.release_globals()
        try:
            return self._step()
        finally:
            self._active.hold_globals()

    def __exit__(self, *_: object) -> None:
        delattr(self._item, self._name)
        if self._own is not None:
            setattr(self._item, self._name, self._own)


def conclude(
    item: pytest.Item,
    active: ActiveTest,
    failure: BaseException | None,
    subtest: BaseException | None,
) -> None:
    """Judge what a test checked, or keep it for the process that judges it.

    Args:
        item: The test, whose body has ended.
        active: Its state.
        failure: What the body raised, if it did.
        subtest: What a subtest raised, which pytest has reported; the body went on.
    """
    if ISOLATED in item.config.stash:
        item.config.stash[ISOLATED].keep(active, failure or subtest)
    else:
        _judge(item, active, failure, subtest)


def _judge(
    item: pytest.Item,
    active: ActiveTest,
    failure: BaseException | None,
    subtest: BaseException | None,
) -> None:
    suite = active.trial.suite
    if suite is not None:
        active.refused = active.refused or suite.refused
        item.config.stash[NOTES].extend(
            f"{active.spec.place}: {name} took no step, so its output alone is compared"
            for name in suite.without_steps
        )
    if failure is None and subtest is None and active.refused is not None:
        # The test caught what it was told; what it did not compare must not be green.
        raise _fault(item, active.refused)
    if active.settle():
        verdicts = [(call.observation.check.name, "exact") for call in active.settled]
    else:
        try:
            active.judge(failure or subtest, *_ways_to_run_again(item, active))
        except ReproError as error:
            raise _fault(item, error) from None
        verdicts = [(one.check.name, str(one.verdict)) for one in active.outcomes]
    item.user_properties.extend([(f"repro {name}", verdict) for name, verdict in verdicts])
    if failure is not None:
        _add(item, active, failure)
    elif not active.settled:
        _fail(item, active)


def _add(item: pytest.Item, active: ActiveTest, failure: BaseException) -> None:
    """Say beside the test's own failure what did not pass and what explains it."""
    for section in filter(None, (_failure_text(item, active), active.explain(failure))):
        item.add_report_section("call", "repro", printable(section))


def _fail(item: pytest.Item, active: ActiveTest) -> None:
    """Fail a test for what did not pass, or for having checked nothing where it must."""
    if not active.outcomes:
        if _must_check(item, active):
            from pytest_repro.report.failure import nothing_checked

            active.idle = True
            raise _failed(nothing_checked(active.spec.place, marked=active.spec.marked))
    elif not all(one.verdict.passes for one in active.outcomes):
        raise _failed(_failure_text(item, active))


def _failure_text(item: pytest.Item, active: ActiveTest) -> str:
    from pytest_repro.plugin.reporting import invocation_of
    from pytest_repro.report.failure import failure_text

    return failure_text(active.outcomes, invocation_of(item.config))


def _must_check(item: pytest.Item, active: ActiveTest) -> bool:
    """Whether checking nothing is a fault: of a marked test, or one that names the assertion."""
    asked = getattr(getattr(item, "_fixtureinfo", None), "argnames", ())
    return active.spec.marked or "repro_check" in asked


def _ways_to_run_again(item: pytest.Item, active: ActiveTest) -> tuple[Any, Any]:
    """How to run the test again in this process, and in a fresh one."""
    first_run_s = active.age_s

    def again(one: ActiveTest, examination: Any) -> BaseException | None:
        def anew() -> None:
            one.end()
            one.begin(examination)

        def body() -> Any:
            # Only now does the instance exist that the body will run on.
            equip(item, one)
            return one.body()

        return run_again(item, anew, body)

    def apart() -> IsolatedTrial:
        from pytest_repro.plugin.isolate import run_isolated

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


def equip(item: pytest.Item, active: ActiveTest) -> None:
    """Give a marked ``unittest.TestCase`` what it cannot ask for: the fixtures as attributes."""
    if _is_test_case(item) and active.spec.marked:
        instance: Any = getattr(item, "instance", None)
        instance.repro_check = Check(active)
        instance.repro_watch = active.trial.watch
        instance.repro_disturb = active.trial.disturb
        instance.repro_generators = active.trial.generators
        instance.repro_generator = active.trial.generator()


def report_rows(item: pytest.Item, active: ActiveTest, report: Any) -> None:
    """Put what a test came to on its report, with which it travels from an xdist worker."""
    if active.settled:
        rows = [exact_row(one.observation.check, one.exact) for one in active.settled if one.exact]
    else:
        rows = rows_from(active.spec.place, active.idle, active.outcomes)
    report.repro = [row.plain() for row in rows]
    if active.outcomes:
        describe_failure(report, active.outcomes)
    if REPORTING in item.config.stash:
        from pytest_repro.plugin.reporting import entries_of_test

        report.repro_entries = entries_of_test(active)
    active.settled = active.outcomes = active.artefacts = ()


# The innermost wrapper: before every fixture, but after the wrappers (logging's) whose teardown
# relies on their setup having run.
@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None]:
    RUNNING[-1:] = [item]
    marks = list(item.iter_markers("repro"))
    if marks or not FIXTURES.isdisjoint(getattr(item, "fixturenames", ())):
        item.stash[ACTIVE] = active = begin(item, marks)
        __tracebackhide__ = True  # only now: a fault of ours has no other frame to be shown by
        with active.fixtures(), Undisturbed(item, "setup", active):
            return (yield)
    return (yield)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    active = item.stash.get(ACTIVE, None)
    if active is None:
        return (yield)
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
        report_rows(item, item.stash[ACTIVE], report)
    return report
