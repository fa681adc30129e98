"""What recording costs on the terminal: a plan beforehand, and with ``-v`` a line for each test."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pytest_repro.checking.plan import PlannedTest, plan_lines, plan_test
from pytest_repro.checking.repeat import Cost
from pytest_repro.errors import ReproError, printable
from pytest_repro.plugin.fixtures import FIXTURES
from pytest_repro.plugin.state import context_of, settings_of

_DURATIONS = "repro/durations"


class Costs:
    """Says what tests that record cost; registered where a run records or plans."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._costs: dict[str, Cost] = {}

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Keep what a test cost until pytest has written its line."""
        cost = getattr(report, "repro_cost", None)
        if cost is not None:
            self._costs[report.nodeid] = cost

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Write a line for a test that ran several times, with ``-v`` and without a terminal."""
        terminal: Any = self._config.pluginmanager.getplugin("terminalreporter")
        count, first_s, all_s, *_ = self._costs.pop(nodeid, (1, 0.0, 0.0, 0, 0.0))
        if count < 2 or terminal is None or terminal.isatty or terminal.verbosity < 1:
            return
        terminal.ensure_newline()
        text = f"repro: {nodeid}: {count} runs, {all_s:.1f} s (the first one {first_s:.1f} s)"
        terminal.write_line(printable(text))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """With ``--repro-plan`` say what would run, and run nothing."""
        if not settings_of(self._config).plan:
            return None
        if self._config.getoption("numprocesses", None):
            raise pytest.UsageError(
                "--repro-plan runs nothing, so it takes no workers: leave out -n"
            )
        terminal: Any = self._config.pluginmanager.getplugin("terminalreporter")
        try:
            planned = _plan(session)
        except ReproError as error:
            raise pytest.UsageError(str(error)) from None
        for line in plan_lines(planned):
            terminal.write_line(printable(f"repro: {line}"))
        return True


def _plan(session: pytest.Session) -> list[PlannedTest]:
    from pytest_repro.plugin.conclusion import activate

    config, planned = session.config, []
    context = context_of(config)
    keys = context.store.keys()
    others = [key for key in keys if key != context.key]
    durations = _durations(config)
    for item in session.items:
        marks = list(item.iter_markers("repro"))
        if not marks and FIXTURES.isdisjoint(getattr(item, "fixturenames", ())):
            continue
        spec = activate(item, marks).spec

        def holds(key: Any, module: str = spec.module, test: str = spec.test) -> bool:
            return any(name.startswith(f"{test}::") for name in context.store.index(key, module))

        planned.append(
            plan_test(
                spec.place,
                replace(
                    context.settings,
                    envelope=spec.asked.envelope,
                    adopts_envelope=spec.asked.adopts_envelope,
                ),
                agreeing=spec.asked.runs,
                is_stored=holds(context.key),
                is_stored_elsewhere=any(map(holds, others)),
                last_s=durations.get(spec.place),
            )
        )
    return planned


def keep_durations(config: pytest.Config, costs: dict[str, Cost]) -> None:
    """Keep how long one run of each test takes, in pytest's cache."""
    cache = getattr(config, "cache", None)  # absent with -p no:cacheprovider
    if cache is not None:
        found = {test: round(first_s, 3) for test, (_, first_s, *_) in costs.items()}
        cache.set(_DURATIONS, {**_durations(config), **found})


def _durations(config: pytest.Config) -> dict[str, float]:
    cache = getattr(config, "cache", None)
    found: object = {} if cache is None else cache.get(_DURATIONS, {})
    return found if isinstance(found, dict) else {}
