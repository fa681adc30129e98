"""The end of a run: the last writes, lost workers, missing checks, and the closing lines."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_repro.errors import ReproError, printable
from pytest_repro.model.words import Distance, Verdict
from pytest_repro.plugin.state import PluginState, settings_of, state_of
from pytest_repro.store.system import now_text

if TYPE_CHECKING:
    from pytest_repro.store.store import Store


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None]:
    config, state = session.config, state_of(session.config)
    try:
        _finish(session, state)
    except Exception as error:  # noqa: BLE001  pytest's own summary must appear in any case
        state.faults.append(f"pytest-repro failed at the end of the run: {error!r}")
    if state.faults and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    state.active = state.item = None
    _tell_controller(config, state)
    return (yield)


def _finish(session: pytest.Session, state: PluginState) -> None:
    config = session.config
    if state.context is not None:
        state.keys.append(str(state.context.key))
        try:
            state.writer.flush()
        except ReproError as error:
            state.faults.append(str(error))
        state.notes.extend(state.context.fresh.skipped)
    if hasattr(config, "workeroutput") or config.getoption("collectonly"):
        return
    if state.costs:
        from pytest_repro.checking.repeat import cost_sentence
        from pytest_repro.plugin.costs import keep_durations

        keep_durations(config, state.costs)
        state.notes.extend(filter(None, [cost_sentence(state.costs.values())]))
    passed = set(state.passed)
    found = excused(state.rows, passed)
    if found:
        # Plugins that run a failed test again report the last attempt; ours were all judged.
        state.faults.append(excused_text(found))
    losses = _count_losses(config, state)
    state.notes.extend(losses)
    if passed:
        _find_missing_checks(config, state, passed)
    _write_reports(session, state, losses)


def _tell_controller(config: pytest.Config, state: PluginState) -> None:
    output = getattr(config, "workeroutput", None)
    if output is not None:
        output["repro_faults"] = state.faults
        output["repro_device"] = state.devices.get("", "")
        output["repro_keys"] = state.keys
        output["repro_notes"] = state.notes


def _count_losses(config: pytest.Config, state: PluginState) -> list[str]:
    """Correct the verdicts of lost workers; returns notes that do not fail the run."""
    lost, crashed = state.workers.lost, state.workers.crashed
    if not lost:
        return []
    from pytest_repro.model.words import UpdateMode

    settings = settings_of(config)
    if settings.update is UpdateMode.NONE:
        # Without a verdict the run may have no repro tests.
        return [crash_text(lost, crashed)] if state.rows else []
    rows = [row for worker in lost for row in state.workers.rows.get(worker, [])]
    try:
        gone = unwritten(rows, config.rootpath / settings.baselines, root=config.rootpath)
    except ReproError as error:
        state.faults.append(str(error))
        return []
    correct(gone)
    if state.reporting is not None:
        state.reporting.correct(gone)
    state.faults.append(loss_text(lost, gone))
    return []


def take_back(state: PluginState, why: str, checks: Sequence[str]) -> None:
    """Correct the rows of checks of a test that passed its call, but of which nothing is stored."""
    rows = [row for row in state.rows if row["check"] in checks and row["verdict"] in _WRITTEN]
    correct(rows)
    if state.reporting is not None:
        state.reporting.correct(rows)
    state.passed = [one for one in state.passed if one != test_of(checks[0])]
    state.notes.append(f"not recorded, because {why}: {', '.join(checks[:FEW])}")


def missing_in_xfail_text(checks: Sequence[str]) -> str:
    """The note about checks without a baseline in tests marked xfail."""
    what = "a test marked xfail has no baseline: nothing was compared"
    next_step = "  next   remove the mark, record with pytest --repro-update, and mark it again"
    return "\n".join([what, *first_few(checks), next_step])


def failed_in_skip_texts(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The note about failed checks of a test that pytest calls skipped; none without any.

    pytest skips what raises a group of skips, and a hook of a project may turn a failure into one.
    """
    found = _failing(rows)
    if not found:
        return []
    what = "These checks failed, but their test was reported as skipped. A skip clears no check."
    next_step = "  next   run it without its skip: a hook of a conftest.py, or a group of skips"
    return ["\n".join([what, *first_few(found), next_step])]


def _find_missing_checks(config: pytest.Config, state: PluginState, passed: Set[str]) -> None:
    from pytest_repro.model.words import UpdateMode

    ids = [row["check"] for row in state.rows]
    try:
        reach = settings_of(config).reference
        found = missing_checks(ids, passed, set(state.keys), _store(config), reach)
    except ReproError as error:
        state.faults.append(str(error))
        return
    if not found:
        return
    if settings_of(config).update is UpdateMode.NONE:
        state.faults.append(missing_checks_text(found))
    else:  # a recording deletes nothing, so it would be red until they are pruned
        state.notes.append(missing_checks_text(found))


def _store(config: pytest.Config) -> Store:
    """The baselines, as this process knows them already or, in a controller, opened again."""
    context = state_of(config).context
    if context is not None:
        return context.store
    from pytest_repro.store.store import Store

    folder = config.rootpath / settings_of(config).baselines
    return Store(folder, root=config.rootpath)


def _write_reports(session: pytest.Session, state: PluginState, losses: list[str]) -> None:
    if state.reporting is None:
        return
    idle = [row["check"] for row in state.rows if not row["verdict"]]
    made_at = now_text()
    # The report itself must say that it may not cover the whole suite.
    notes = [*state.faults, *losses, *_cut_short(session)]
    try:
        state.lines = state.reporting.write(idle, made_at, notes)
    except ReproError as error:
        state.faults.append(str(error))


def _cut_short(session: pytest.Session) -> Iterator[str]:
    """Why not every test may have run, in sentences."""
    stopped = session.shouldfail or session.shouldstop
    if stopped:
        yield f"pytest stopped before the last test: {stopped}"
    elif session.exitstatus in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR):
        why = "errors while collecting, by hand or by a fault"
        yield f"pytest was cut short (exit code {int(session.exitstatus)}): {why}"


@pytest.hookimpl(optionalhook=True)  # xdist's, which need not be installed
def pytest_handlecrashitem(crashitem: str, sched: Any) -> None:
    state_of(sched.config).workers.crashed.append(crashitem)


@pytest.hookimpl(optionalhook=True)  # xdist's, which need not be installed
def pytest_testnodedown(node: Any, error: object) -> None:
    state, output = state_of(node.config), getattr(node, "workeroutput", {})
    if error and not output:
        state.workers.lost.append(node.gateway.id)
    state.faults.extend(output.get("repro_faults", []))
    state.keys.extend(output.get("repro_keys", []))
    state.notes.extend(output.get("repro_notes", []))
    if output.get("repro_device"):
        state.devices[node.gateway.id] = output["repro_device"]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    state = state_of(config)
    # Every worker may have said the same.
    lines = [*dict.fromkeys(state.notes), *_device_lines(state), *state.lines]
    if state.rows or state.faults or lines:
        from pytest_repro.report.summary import Row, closing_lines

        terminalreporter.section("repro", sep="-")
        for fault in dict.fromkeys(state.faults):
            terminalreporter.write_line(printable(fault), red=True)
        closing = closing_lines([Row(**row) for row in state.rows]) if state.rows else []
        for line in (*closing, *lines):
            terminalreporter.write_line(printable(line))


def _device_lines(state: PluginState) -> list[str]:
    if not state.devices:
        return []
    from pytest_repro.plugin.xdist import device_lines

    return device_lines(state.devices, state.keys)


def excused(rows: Iterable[Mapping[str, Any]], passed: Iterable[str]) -> list[str]:
    """Verdict and id of each check that failed in one attempt at a test that passed in another.

    ``rows`` are the checks of all attempts; ``passed`` are tests (module and name) that passed in
    any attempt.
    """
    tests = frozenset(passed)
    return list(dict.fromkeys(_failing(row for row in rows if test_of(row["check"]) in tests)))


def _failing(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Verdict and id of each check that failed."""
    failing = (row for row in rows if row["verdict"] and not Verdict(row["verdict"]).passes)
    return [f"{row['verdict']}: {row['check']}" for row in failing]


def excused_text(found: Sequence[str]) -> str:
    """What the run says of them."""
    what = "These checks failed before a rerun passed. Reruns do not clear a failed check."
    next_step = "  next   find what differs from run to run: docs/how-to/flaky.md"
    return "\n".join([what, *first_few(found), next_step])


_WRITTEN = frozenset({str(Verdict.RECORDED), str(Verdict.UPDATED)})


def unwritten(rows: Iterable[dict[str, Any]], folder: Path, *, root: Path) -> list[dict[str, Any]]:
    """The rows of lost workers that say `recorded` or `updated` but whose value is not stored.

    A worker writes several values at once, so a killed worker may have sent verdicts of values that
    it did not write.
    """
    from pytest_repro.store.store import Store

    store = Store(folder, root=root)
    return [
        row for row in rows if row["verdict"] in _WRITTEN and _stored(store, row) != row["value"]
    ]


def _stored(store: Any, row: dict[str, Any]) -> str:
    """The digest of the stored value, or ``""``."""
    from pytest_repro.model.ids import EnvironmentKey

    module, _, entry = row["check"].partition("::")
    found = store.index(EnvironmentKey(*row["key"].split("/")), module).get(entry)
    return "" if found is None else str(found.value)


def correct(rows: Iterable[dict[str, Any]]) -> None:
    """Give the rows of unwritten values their true verdict: nothing was recorded."""
    was = {str(Verdict.RECORDED): str(Verdict.MISSING), str(Verdict.UPDATED): str(Verdict.DRIFT)}
    for row in rows:
        row["verdict"] = was[row["verdict"]]
        row["no_envelope"] = ""


def crash_text(workers: Sequence[str], tests: Sequence[str]) -> str:
    """The note about workers that crashed in a run without recording; ``tests`` ran there."""
    if not tests:
        return f"{_named(workers)} crashed between two tests; no verdict was lost"
    shown = ", ".join(tests[:FEW])
    more = f" and {len(tests) - FEW} more" if len(tests) > FEW else ""
    return f"{_named(workers)} crashed; the checks of {shown}{more} were not judged there"


def _named(workers: Sequence[str]) -> str:
    return f"{'worker' if len(workers) == 1 else 'workers'} {', '.join(workers)}"


def loss_text(workers: Sequence[str], rows: Sequence[dict[str, Any]]) -> str:
    """The message about crashed workers in a recording run."""
    who = _named(workers)
    if not rows:
        return f"{who} crashed; everything recorded before is stored"
    count = "1 baseline was" if len(rows) == 1 else f"{len(rows)} baselines were"
    what = f"{who} crashed; {count} not written. Existing baselines are unchanged."
    checks = first_few([row["check"] for row in rows])
    return "\n".join([what, *checks, "  next   pytest --repro-update   # records what is missing"])


FEW = 8
"""How many are named; the rest is counted."""


def test_of(check: str) -> str:
    """The module and name of the test that makes a check, from the check's id."""
    return check.rpartition("::")[0]


def first_few(names: Sequence[str]) -> list[str]:
    """A line for each of the first few, and one that counts the others."""
    lines = [f"  {name}" for name in names[:FEW]]
    return [*lines, f"  and {len(names) - FEW} more"] if len(names) > FEW else lines


def missing_checks(
    checks: Iterable[str],
    passed: Iterable[str],
    keys: Iterable[str],
    store: Store,
    reach: Distance = Distance.ANY,
) -> list[str]:
    """Ids of the checks that the references have but the run did not make, sorted.

    Only tests that ``passed`` (module and name) count: others may have stopped before a check.
    ``checks`` are the ids of every check of the run.

    Raises:
        BaselineError: A manifest cannot be used.
    """
    by_module: dict[str, set[str]] = {}
    for test in passed:
        by_module.setdefault(test.partition("::")[0], set()).add(test)
    found = {
        check
        for key in keys
        for module, tests in by_module.items()
        for check in _referenced(store, key, module, tests, reach)
    }
    return sorted(found.difference(checks))


def _referenced(
    store: Store, key: str, module: str, tests: Set[str], reach: Distance
) -> Iterator[str]:
    """The checks of each test in the nearest key that has any of it."""
    from pytest_repro.environment.key import order_references
    from pytest_repro.model.ids import EnvironmentKey

    waiting = set(tests)
    for near, _ in order_references(EnvironmentKey(*key.split("/")), store.keys(), reach):
        stored = [f"{module}::{entry}" for entry in store.index(near, module)]
        yield from (check for check in stored if test_of(check) in waiting)
        waiting -= {test_of(check) for check in stored}
        if not waiting:
            return


def missing_checks_text(checks: Sequence[str]) -> str:
    """What the run says of them."""
    from pytest_repro.report.failure import quoted

    one = len(checks) == 1
    what = (
        f"{len(checks)} {'baseline was' if one else 'baselines were'} compared with nothing: "
        f"{'its test' if one else 'their tests'} passed without making "
        f"{'this check' if one else 'these checks'}"
    )
    command = f"pytest-repro prune --check {quoted(checks[0])}"
    next_step = f"check it again, or delete it: {command}"
    return "\n".join([what, *first_few(checks), f"  next   {next_step}"])
