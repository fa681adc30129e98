"""A repro test from its start to its report: judged, worded, and written after it passed.

Imported with the first repro test, before its fixtures: a test may replace modules.
"""

from __future__ import annotations

import unittest
from typing import Any

import pytest

from pytest_repro.checking.evaluation import Ending
from pytest_repro.checking.spec import make_spec
from pytest_repro.errors import CheckFailed, ReproError, UsageError, printable
from pytest_repro.guard.events import explain_misuse
from pytest_repro.model.words import Cause, RngMode, Verdict
from pytest_repro.pipelines.calls import import_pipelines
from pytest_repro.plugin import pytest_private as private
from pytest_repro.plugin.active import ActiveTest
from pytest_repro.plugin.ask import without_capture
from pytest_repro.plugin.fixtures import GENERATORS, is_test_case, refuse_unseeded
from pytest_repro.plugin.reporting import entries_of_test, invocation_of
from pytest_repro.plugin.rerunning import ItemRunner
from pytest_repro.plugin.state import context_of, own_id, state_of
from pytest_repro.plugin.suite import suite_mark
from pytest_repro.plugin.terminal import describe_failure
from pytest_repro.report.failure import failure_text, nothing_checked
from pytest_repro.report.summary import exact_row, rows_from
from pytest_repro.store.hub import explain_unreachable

_SKIPS = (pytest.skip.Exception, unittest.SkipTest)
_STOPS = (KeyboardInterrupt, pytest.exit.Exception)
"""What ends the whole run: nothing runs again."""


# --- begin --------------------------------------------------------------------------------------


def begin(item: pytest.Item, marks: list[pytest.Mark]) -> ActiveTest:
    """Start the first execution of a repro test."""
    try:
        active = activate(item, marks)
        if active.spec.asked.rng is RngMode.ERROR:
            refuse_unseeded(item)
        if _may_draw(item):
            _say_at_once(item.config, state_of(item.config).stream_note(active.spec.module))
        active.begin()
    except ReproError as error:
        raise _fault(item, error) from None
    return active


def activate(item: pytest.Item, marks: list[pytest.Mark]) -> ActiveTest:
    """The state of a repro test from its marks; nothing has started."""
    context, writer = context_of(item.config), state_of(item.config).writer
    module, _, test = own_id(item).partition("::")
    arguments: dict[str, object] = {}
    for mark in reversed(_nearest_first(item) if len(marks) > 1 else marks):
        if mark.args:
            raise UsageError(f"{item.nodeid}: the arguments of `repro` have names")
        arguments.update(mark.kwargs)
    suite = suite_mark(item)
    if suite is not None:
        import_pipelines()  # before the test's own state is set: importing may draw
    marked = any(mark is not suite for mark in marks)
    spec = make_spec(
        (module, test), arguments, context.settings, marked=marked, suite=suite is not None
    )
    if getattr(item, "execution_count", 1) > 1:
        # pytest-rerunfailures counts over all workers: the first attempt may have killed another.
        writer.attempt(spec.place)
    return ActiveTest(context, writer, spec)


def _nearest_first(item: pytest.Item) -> list[pytest.Mark]:
    """The marks of a test, the nearest first: parameter before function, class before base.

    pytest sorts them the other way round.
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


def _may_draw(item: pytest.Item) -> bool:
    """Whether a test can use repro generators; a ``TestCase`` always can."""
    return not GENERATORS.isdisjoint(getattr(item, "fixturenames", ())) or is_test_case(item)


def _say_at_once(config: pytest.Config, note: str) -> None:
    """Write a note to the terminal before the test runs, and keep it for the closing lines."""
    if not note:
        return
    state_of(config).notes.append(note)
    terminal = config.pluginmanager.getplugin("terminalreporter")
    if terminal is not None and not hasattr(config, "workerinput"):
        with without_capture(config):
            terminal.ensure_newline()
            terminal.write_line(printable(f"repro: {note}"))


# --- conclude -----------------------------------------------------------------------------------


def conclude(item: pytest.Item, active: ActiveTest, ended: BaseException | None) -> None:
    """Judge what a test checked, however its fixtures or its body ended.

    ``ended`` is the exception that ended them, a skip included; ``None`` if the body completed.
    Raises what pytest reports instead.
    """
    active.first_run_s = active.age_s
    ended = ended or private.item_failure(item)
    state = state_of(item.config)
    try:
        if state.keeper is not None:
            active.teardown_error = private.tear_down(item)
            state.keeper.keep(active, ended or active.subtest or active.teardown_error)
        elif isinstance(ended, _STOPS):
            _judge_stopped(item, active, ended)
        else:
            _judge(item, active, ended)
    finally:
        active.is_concluded = True


def _judge(item: pytest.Item, active: ActiveTest, ended: BaseException | None) -> None:
    _take_suite(item, active)
    if not active.settle():
        # Judged after the teardown: fixtures may have replaced files, modules or the clock.
        active.teardown_error = private.tear_down(item)
        raised = ended or active.subtest or active.teardown_error
        why_not = _why_not_recorded(item, active, ended)
        ending = Ending(raised, why_not, active.first_run_s)
        try:
            active.judge(ending, ItemRunner(item, active))
        except ReproError as error:
            raise _fault(item, error) from None
        _note_isolate(item, active)
    _add_properties(item, active)
    excuse = isinstance(ended, (*_SKIPS, pytest.xfail.Exception))
    if ended is not None and not excuse:
        _add(item, active, ended)
        return
    failure = _failure(item, active, ended)
    if failure is not None:
        private.forget_failure(item)
        raise failure


def _take_suite(item: pytest.Item, active: ActiveTest) -> None:
    """Note what suite mode could not check, or only partly."""
    suite = active.trial.suite
    if suite is not None:
        active.refused = active.refused or suite.refused
        state_of(item.config).notes.extend(
            f"{active.spec.place}: {name} took no step, so its output alone is compared"
            for name in suite.without_steps
        )


def _judge_stopped(item: pytest.Item, active: ActiveTest, ended: BaseException) -> None:
    """Judge a test that stops the run; pytest makes no report for it, so add its rows here."""
    if not active.settle():
        why = f"the run was stopped by {type(ended).__name__}"
        active.judge(Ending(ended, why), None)
    rows, state = _rows(active), state_of(item.config)
    state.rows += rows
    failed = [row for row in rows if row["verdict"] and not Verdict(row["verdict"]).passes]
    state.faults += [f"{row['verdict']}: {row['check']} (the run was stopped)" for row in failed]


def _why_not_recorded(item: pytest.Item, active: ActiveTest, ended: BaseException | None) -> str:
    if isinstance(ended, _SKIPS):
        return "the test was skipped"
    if private.is_marked_xfail(item):
        return "the test is marked xfail"
    if ended is not None or active.subtest is not None:
        return "the test itself failed"
    if active.refused is not None:
        return "another check of the test could not be made"
    return "" if active.teardown_error is None else "a fixture failed in its teardown"


def _add_properties(item: pytest.Item, active: ActiveTest) -> None:
    if active.settled:
        verdicts = [(call.observation.check.name, "exact") for call in active.settled]
    else:
        verdicts = [(one.check.name, str(one.verdict)) for one in active.outcomes]
    item.user_properties.extend([(f"repro {name}", verdict) for name, verdict in verdicts])


def _add(item: pytest.Item, active: ActiveTest, failure: BaseException) -> None:
    """Add to the test's own failure what did not pass and what explains it."""
    explanation = explain_misuse(failure)
    said = _failure_text(item, active), "" if explanation is None else str(explanation)
    for section in filter(None, said):
        item.add_report_section("call", "repro", printable(section))


def _failure(
    item: pytest.Item, active: ActiveTest, ended: BaseException | None
) -> BaseException | None:
    """Why a test fails that did not fail by itself."""
    if active.refused is not None and active.subtest is None:
        # The test caught the error, but a check that was not made must not be green.
        return _fault(item, active.refused)
    if not all(one.verdict.passes for one in active.outcomes):
        return _failed(_failure_text(item, active))
    checked_nothing = not (active.settled or active.outcomes or active.has_compared)
    if checked_nothing and ended is None and _must_check(item, active):
        active.idle = True
        return _failed(nothing_checked(active.spec.place, marked=active.spec.marked))
    return None


def _failure_text(item: pytest.Item, active: ActiveTest) -> str:
    return failure_text(active.outcomes, invocation_of(item.config))


def _must_check(item: pytest.Item, active: ActiveTest) -> bool:
    """Whether checking nothing is a fault: for a marked test, or one that names `repro_check`."""
    return active.spec.marked or "repro_check" in private.asked_names(item)


class _Failed(CheckFailed, pytest.fail.Exception):  # type: ignore[name-defined, misc]
    """A failed check; pytest shows only its text, without frames."""


# What the short summary shows before the first line of the text.
_Failed.__name__ = _Failed.__qualname__ = "CheckFailed"
_Failed.__module__ = "pytest_repro"


def _failed(text: str) -> _Failed:
    error = _Failed(text)
    error.msg, error.pytrace = text, False
    return error


def _fault(item: pytest.Item, error: BaseException) -> BaseException:
    """A fault that is not in a line of the test; pytest shows only its text."""
    what = error.what if isinstance(error, ReproError) else ""
    shown = str(error) if isinstance(error, ReproError) else f"a check raised {error!r}"
    text = shown if item.nodeid in what else f"{item.nodeid}: {shown}"
    failure: BaseException = pytest.fail.Exception(text, pytrace=False)
    return failure


# --- report -------------------------------------------------------------------------------------


def report_phase(
    item: pytest.Item,
    active: ActiveTest,
    report: Any,
    failure: pytest.ExceptionInfo[BaseException] | None,
) -> None:
    """Put the result of a test on its report, which an xdist worker sends."""
    if failure is not None and report.failed:
        _shorten(item, report, failure)
    if report.when == "call" or (report.when == "setup" and active.is_concluded):
        active.has_passed = report.passed
        if not report.passed:
            _take_back(active, "the test failed after its checks")
        report.repro, report.repro_test = _rows(active), active.spec.place
        report.repro_cost = active.cost
        if active.outcomes:
            describe_failure(report, active.outcomes)
        if state_of(item.config).reporting is not None:
            report.repro_entries = entries_of_test(active)
    elif report.when == "teardown":
        why = _write(item, active, report)
        if why:
            report.repro_taken_back = why, [str(one) for one in active.recorded.checks()]
        active.settled = active.outcomes = active.artefacts = ()


def _shorten(item: pytest.Item, report: Any, failure: pytest.ExceptionInfo[BaseException]) -> None:
    """Replace the pages of causes by one sentence where the Hub could not be reached."""
    lines = [one for one in failure.traceback if one.path == item.path]
    where = f"{item.nodeid.partition('::')[0]}:{lines[-1].lineno + 1}" if lines else ""
    explanation = explain_unreachable(failure.value, where=where)
    if explanation is None:
        return
    try:
        raise pytest.fail.Exception(printable(str(explanation)), pytrace=False)
    except pytest.fail.Exception:
        report.longrepr = item.repr_failure(pytest.ExceptionInfo.from_current())


def _rows(active: ActiveTest) -> list[dict[str, Any]]:
    if active.settled:
        rows = [exact_row(one.observation.check, one.exact) for one in active.settled if one.exact]
    else:
        rows = rows_from(active.spec.place, active.idle, active.outcomes)
    return [row.plain() for row in rows]


_UNWRITTEN = {Verdict.RECORDED: Verdict.MISSING, Verdict.UPDATED: Verdict.DRIFT}


def _take_back(active: ActiveTest, why: str) -> None:
    """Record nothing of a test that did not pass, also if a plugin failed it."""
    from dataclasses import replace

    active.outcomes = tuple(
        replace(one, verdict=_UNWRITTEN[one.verdict], detail=(f"not recorded: {why}",))
        if one.verdict in _UNWRITTEN
        else one
        for one in active.outcomes
    )


_BETWEEN_PROCESSES = (
    "cause code can also mean that a value changes from process to process (drawn at import, "
    "cached, from the clock): pytest --repro-isolate checks that with a run in a fresh process"
)


def _note_isolate(item: pytest.Item, active: ActiveTest) -> None:
    """Name the option that shows values that change from process to process."""
    demands = active.context.fresh.demands
    if not demands and any(one.cause is Cause.CODE for one in active.outcomes):
        state_of(item.config).notes.append(_BETWEEN_PROCESSES)


def _write(item: pytest.Item, active: ActiveTest, report: Any) -> str:
    """Write what a test recorded; returns why that failed, ``""`` if it did not."""
    if not active.recorded or not active.has_passed:
        return ""
    if not report.passed:
        return "the test failed after its checks"
    try:
        active.writer.commit(active.recorded)
    except Exception as error:  # noqa: BLE001  no error in a hook of ours may hide pytest's summary
        shown = str(error) if isinstance(error, ReproError) else f"cannot write: {error!r}"
        state_of(item.config).faults.append(shown)
        return "it could not be written"
    return ""
