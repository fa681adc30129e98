"""The end of a run: what is still to be written, what workers lost, and the closing lines."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Set
from typing import Any

import pytest

from pytest_repro.errors import ReproError
from pytest_repro.plugin.fixtures import RUNNING
from pytest_repro.plugin.state import (
    CONFIGS,
    CRASHED,
    DEVICES,
    FAULTS,
    KEYS,
    LINES,
    LOST,
    NOTES,
    OF_WORKER,
    PASSED,
    PASSED_CHECKS,
    REPORTING,
    ROWS,
    SESSION,
    settings_of,
)

__all__ = [
    "pytest_handlecrashitem",
    "pytest_sessionfinish",
    "pytest_terminal_summary",
    "pytest_testnodedown",
]


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None]:
    config = session.config
    if SESSION in config.stash:
        config.stash[SESSION].end_guarding()
        try:
            config.stash[SESSION].flush()
        except ReproError as error:
            config.stash[FAULTS].append(str(error))
    if SESSION in config.stash:
        config.stash[KEYS].append(str(config.stash[SESSION].key))
    if hasattr(config, "workeroutput"):
        config.workeroutput["repro_faults"] = config.stash[FAULTS]
        config.workeroutput["repro_device"] = config.stash[DEVICES].get("", "")
        config.workeroutput["repro_keys"] = config.stash[KEYS]
        config.workeroutput["repro_notes"] = config.stash[NOTES]
    elif not config.getoption("collectonly"):
        passed = _passed_tests(config)
        if passed:
            _find_excused(config, passed)
        losses = _count_losses(config)
        config.stash[NOTES].extend(losses)
        if passed:
            _find_unasked(config, passed)
        _write_reports(config, session, losses)
    if config.stash.get(FAULTS, []) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    CONFIGS.pop()
    RUNNING.pop()
    return (yield)


def _count_losses(config: pytest.Config) -> list[str]:
    """Correct what lost workers said; returns what is no fault of the run, and has to be said."""
    lost, crashed = config.stash[LOST], config.stash[CRASHED]
    if not lost:
        return []
    from pytest_repro.plugin.losses import correct, crash_text, loss_text, unwritten
    from pytest_repro.settings import UpdateMode

    settings = settings_of(config)
    if settings.update is UpdateMode.NONE:
        # Without a verdict nothing says that any test of the run is ours.
        return [crash_text(lost, crashed)] if config.stash[ROWS] else []
    rows = [row for worker in lost for row in config.stash[OF_WORKER].get(worker, [])]
    try:
        gone = unwritten(rows, config.rootpath / settings.baselines, root=config.rootpath)
    except ReproError as error:
        config.stash[FAULTS].append(str(error))
        return []
    correct(gone)
    if REPORTING in config.stash:
        config.stash[REPORTING].correct(gone)
    config.stash[FAULTS].append(loss_text(lost, gone))
    return []


def _passed_tests(config: pytest.Config) -> set[str]:
    """The tests that passed in some attempt, by their node ids and by those of their checks.

    A node id that xdist gave a group differs from the test's own.
    """
    node_ids, checks = config.stash[PASSED], config.stash[PASSED_CHECKS]
    if not node_ids:
        return set()
    from pytest_repro.plugin.naming import test_of

    return {*node_ids, *map(test_of, checks)}


def _find_excused(config: pytest.Config, passed: Set[str]) -> None:
    """Plugins that run a failed test again report the last attempt; ours were all judged."""
    from pytest_repro.plugin.attempts import excused, excused_text

    rows = config.stash[ROWS]
    found = excused(rows, passed)
    if found:
        config.stash[FAULTS].append(excused_text(found))


def _find_unasked(config: pytest.Config, passed: Set[str]) -> None:
    from pytest_repro.plugin.unasked import unasked, unasked_text
    from pytest_repro.settings import UpdateMode

    ids, keys = (row["check"] for row in config.stash[ROWS]), config.stash[KEYS]
    try:
        found = unasked(ids, passed, set(keys), _store(config))
    except ReproError as error:
        config.stash[FAULTS].append(str(error))
        return
    if not found:
        return
    if settings_of(config).update is UpdateMode.NONE:
        config.stash[FAULTS].append(unasked_text(found))
    else:  # a recording deletes nothing, so it would be red until somebody does
        config.stash[NOTES].append(unasked_text(found))


def _store(config: pytest.Config) -> Any:
    """The baselines, as this process knows them already or, in a controller, opened anew."""
    if SESSION in config.stash:
        return config.stash[SESSION].store
    from pytest_repro.store.store import Store

    folder = config.rootpath / settings_of(config).baselines
    return Store(folder, root=config.rootpath)


def _write_reports(config: pytest.Config, session: pytest.Session, losses: list[str]) -> None:
    if REPORTING not in config.stash:
        return
    from datetime import datetime, timezone

    idle = [row["check"] for row in config.stash[ROWS] if not row["verdict"]]
    made_at = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    # Who reads the report alone must see that it may not be all of the suite.
    notes = [*config.stash[FAULTS], *losses, *_cut_short(session)]
    try:
        config.stash[LINES] = config.stash[REPORTING].write(idle, made_at, notes)
    except ReproError as error:
        config.stash[FAULTS].append(str(error))


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
    sched.config.stash[CRASHED].append(crashitem)


@pytest.hookimpl(optionalhook=True)  # xdist's, which need not be installed
def pytest_testnodedown(node: Any, error: object) -> None:
    stash, output = node.config.stash, getattr(node, "workeroutput", {})
    if error and not output:
        stash[LOST].append(node.gateway.id)
    stash[FAULTS].extend(output.get("repro_faults", []))
    stash[KEYS].extend(output.get("repro_keys", []))
    stash[NOTES].extend(output.get("repro_notes", []))
    if output.get("repro_device"):
        stash[DEVICES][node.gateway.id] = output["repro_device"]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    rows, faults = config.stash[ROWS], config.stash[FAULTS]
    notes = config.stash[NOTES]
    # Every worker may have said the same.
    lines = [*dict.fromkeys(notes), *_device_lines(config), *config.stash.get(LINES, [])]
    if rows or faults or lines:
        from pytest_repro.report.report_terminal import closing_lines
        from pytest_repro.report.rows import Row

        terminalreporter.section("repro", sep="-")
        for fault in faults:
            terminalreporter.write_line(fault, red=True)
        closing = closing_lines([Row(**row) for row in rows]) if rows else []
        for line in (*closing, *lines):
            terminalreporter.write_line(line)


def _device_lines(config: pytest.Config) -> list[str]:
    devices, keys = config.stash[DEVICES], config.stash[KEYS]
    if not devices:
        return []
    from pytest_repro.plugin.xdist import device_lines

    return device_lines(devices, keys)
