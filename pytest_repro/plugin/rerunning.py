"""Runs a pytest item again, with the same start conditions, and hides the further runs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from pytest_repro.checking.isolated import IsolatedTrial
from pytest_repro.checking.repeat import FurtherRun
from pytest_repro.checking.trial import Trial
from pytest_repro.errors import IsolationError, printable
from pytest_repro.model.words import TraceLevel
from pytest_repro.noise.sources import Disturbed, NoiseSource
from pytest_repro.plugin import pytest_private as private
from pytest_repro.plugin.active import ActiveTest
from pytest_repro.plugin.ask import without_capture
from pytest_repro.plugin.fixtures import equip
from pytest_repro.plugin.isolate import run_isolated
from pytest_repro.plugin.state import state_of
from pytest_repro.plugin.subtests import unreported


class ItemRunner:
    """The runner of one item; its fixtures are torn down before and after each run."""

    def __init__(self, item: pytest.Item, active: ActiveTest) -> None:
        self._item = item
        self._active = active
        self._first_run_s = active.age_s
        self._planned = 1

    def announce(self, runs: int) -> None:
        """Learn how many runs are planned, all in all, for the progress line."""
        self._planned = runs

    def again(self, source: NoiseSource, level: TraceLevel) -> tuple[Trial, BaseException | None]:
        """One more run in this process, and what its fixtures or its body raised."""
        with self._counted(is_perturbed=isinstance(source, Disturbed)):
            return self._again(source, level)

    def _again(self, source: NoiseSource, level: TraceLevel) -> tuple[Trial, BaseException | None]:
        item, active = self._item, self._active
        kept = private.forget_failure(item)
        active.begin_again(source, level)
        trial = active.trial
        try:
            with _unnoticed(item):
                error = private.caught(self._run) or private.tear_down(item)
                return trial, error or private.item_failure(item) or active.subtest
        finally:
            private.restore_failure(item, kept)

    def _run(self) -> None:
        item, active = self._item, self._active
        private.begin_phase(item, "setup")
        with active.fixtures():
            active.release_globals()
            private.set_up(item)
        private.begin_phase(item, "call")
        equip(item, active)
        with unreported(item), active.body():
            active.release_globals()
            item.runtest()

    def in_fresh_process(self) -> IsolatedTrial:
        """One more run in a fresh process.

        Raises:
            IsolationError: It did not end there.
        """
        origin = state_of(self._item.config).origin
        if origin is None:
            raise IsolationError(f"{self._item.nodeid}: --repro-isolate was not given at the start")
        _stop_timer(self._item)  # the process has a time limit of its own
        with self._counted(is_perturbed=False):
            return run_isolated(self._item, self._active, origin, self._first_run_s)

    @contextmanager
    def _counted(self, *, is_perturbed: bool) -> Iterator[None]:
        """Show a further run before it starts, and count it."""
        active, began_s = self._active, self._active.age_s
        active.runs += 1
        planned = max(active.runs, self._planned)
        _show(
            self._item.config,
            FurtherRun(active.spec.place, active.runs, planned, is_perturbed, began_s),
        )
        try:
            yield
        finally:
            if is_perturbed:
                active.perturbed_runs += 1
                active.perturbed_s += active.age_s - began_s


def _show(config: pytest.Config, run: FurtherRun) -> None:
    """Show on a terminal which run starts; each line replaces the previous one."""
    terminal = config.pluginmanager.getplugin("terminalreporter")
    if terminal is None or not terminal.isatty or hasattr(config, "workerinput"):
        return
    with without_capture(config):
        if run.number == 2:
            terminal.ensure_newline()
        width = shutil.get_terminal_size().columns - 1
        terminal.rewrite(printable(f"repro: {run.sentence}")[:width], erase=True)


@contextmanager
def _unnoticed(item: pytest.Item) -> Iterator[None]:
    """Remove every trace of a further run in pytest and in common plugins."""
    with ExitStack() as stack:
        stack.enter_context(_own_output(item))  # left last: it adds a section to the report
        stack.enter_context(private.without_traces(item))
        stack.enter_context(_own_timer(item))
        stack.enter_context(_own_benchmarks(item))
        yield


@contextmanager
def _own_output(item: pytest.Item) -> Iterator[None]:
    """Keep the output of a further run out of the report, but not that of the first run."""
    capture = item.config.pluginmanager.getplugin("capturemanager")
    if capture is None or not capture.is_globally_capturing():
        yield
        return
    out, err = capture.read_global_capture()
    try:
        yield
    finally:
        capture.read_global_capture()
        item.add_report_section("call", "stdout", out)
        item.add_report_section("call", "stderr", err)


@contextmanager
def _own_timer(item: pytest.Item) -> Iterator[None]:
    """Give a further run its own timer, by the hooks of pytest-timeout."""
    settings = private.timer_settings(item)
    if settings is None:
        yield
        return
    _stop_timer(item)
    item.ihook.pytest_timeout_set_timer(item=item, settings=settings)
    try:
        yield
    finally:
        _stop_timer(item)


def _stop_timer(item: pytest.Item) -> None:
    if private.timer_settings(item) is not None:
        item.ihook.pytest_timeout_cancel_timer(item=item)


@contextmanager
def _own_benchmarks(item: pytest.Item) -> Iterator[None]:
    """Keep a further run out of the table of pytest-benchmark."""
    table = private.benchmark_table(item)
    kept = list(table)
    try:
        yield
    finally:
        table[:] = kept
