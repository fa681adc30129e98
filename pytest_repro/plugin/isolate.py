"""`--repro-isolate`: one test of this run once more, by pytest in a fresh process.

The fresh pytest gets the arguments, the folder and the variables that this one got, and then runs
one test of one module only. It judges and records nothing and writes no report: it leaves what it
observed in a folder.
"""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_repro.errors import IsolationError
from pytest_repro.plugin.fresh_process import Ended, Origin, end_with_parent, run_in_fresh_process
from pytest_repro.plugin.state import own_id, state_of

if TYPE_CHECKING:
    from pytest_repro.checking.isolated import IsolatedTrial
    from pytest_repro.plugin.active import ActiveTest


_LIMIT_S, _ONLY_TRIED_LIMIT_S = 600.0, 120.0
_LIMIT_RUNS = 10.0
"""Time limit of a fresh process: that many first runs, plus time to import."""

_WHOLE_RUN: Mapping[str, object] = {
    # Options that steer or write a whole run, here and in common plugins.
    "maxfail": 0, "usepdb": False, "trace": False, "pyargs": False, "stepwise": False,
    "stepwise_skip": False, "stepwise_reset": False, "lf": False, "failedfirst": False,
    "newfirst": False, "cacheclear": False, "xmlpath": None, "pastebin": None, "report_log": None,
    "log_file": os.devnull, "durations": None,
    "numprocesses": None, "maxprocesses": None, "dist": "no", "distload": False, "tx": [],
    "looponfail": False, "reruns": 0, "htmlpath": None, "json_report": False,
    "json_report_file": None, "allure_report_dir": None,
    "repro_option_report": None, "repro_option_summary": None, "repro_option_update": None,
    "repro_option_pull": None, "repro_option_code-quality": None,
}  # fmt: skip
_WRITING_PLUGINS = ("lfplugin", "nfplugin", "stepwiseplugin")
"""They write results of the whole run into pytest's cache."""


def run_isolated(
    item: pytest.Item, active: ActiveTest, origin: Origin, first_run_s: float
) -> IsolatedTrial:
    """The result of a test in a fresh process.

    Raises:
        IsolationError: The test did not end there.
        BaselineError: Its observations cannot be read.
    """
    from pytest_repro.checking.isolated import read_trial

    limit_s = _LIMIT_S if active.context.fresh.demands else _ONLY_TRIED_LIMIT_S
    with tempfile.TemporaryDirectory(prefix="pytest-repro-") as name:
        folder = Path(name)
        seen = folder / "seen"
        seen.mkdir()
        try:
            ended = run_in_fresh_process(
                (__name__, "serve"),
                _job(item, folder),
                folder,
                origin=origin,
                limit_s=limit_s + _LIMIT_RUNS * first_run_s,
            )
        except (OSError, TypeError, ValueError) as error:
            raise _unserved(item, f"could not be started: {error}", ()) from error
        trial = read_trial(seen, active.context.environment)
        if trial is None:
            raise _unserved(item, ended.how, _reasons(folder, ended))
    return trial


def _job(item: pytest.Item, folder: Path) -> dict[str, Any]:
    config = item.config
    arguments = [str(one) for one in config.invocation_params.args]
    if config.getoption("repro_option_devices", None):
        arguments.append("--repro-devices=")  # it inherits the limits of this process
    if hasattr(config.option, "no_cov"):
        arguments.append("--no-cov")
    return {
        "arguments": arguments,
        "module": str(item.path),
        "test": own_id(item),
        "folder": str(folder),
    }


def _reasons(folder: Path, ended: Ended) -> tuple[str, ...]:
    """The messages of pytest there about a test that it did not run, or its last lines."""
    said = folder / "said"
    lines = said.read_text(encoding="utf-8").splitlines() if said.is_file() else []
    return tuple(lines[-8:]) or ended.said


def _unserved(item: pytest.Item, how: str, reasons: tuple[str, ...]) -> IsolationError:
    return IsolationError(
        f"{item.nodeid}: its run in a fresh process {how}, before the test was over",
        facts=("nothing was judged or recorded", *reasons),
        next_step=f"run it alone: pytest {shlex.quote(item.nodeid)}; or leave out --repro-isolate",
    )


def serve(job: Mapping[str, Any]) -> int:
    """In the fresh process: run pytest for the one test; returns pytest's exit code."""
    end_with_parent()
    return int(pytest.main(list(job["arguments"]), plugins=[IsolatedRun(job)]))


class IsolatedRun:
    """In the fresh process: the plugin that selects the test and keeps its observations."""

    def __init__(self, job: Mapping[str, Any]) -> None:
        self._module = str(job["module"])
        self._test = str(job["test"])
        self._folder = Path(job["folder"])
        self._is_kept = False
        self._said: list[str] = []

    def keep(self, active: ActiveTest, failure: BaseException | None) -> None:
        """Write the observations of the test; only its first execution counts."""
        from pytest_repro.checking.isolated import keep_trial
        from pytest_repro.checking.repeat import raised_by

        if not self._is_kept:
            self._is_kept = True
            seen = self._folder / "seen"
            keep_trial(active.context, active.trial, raised_by(failure), seen)

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> None:
        for name, value in _WHOLE_RUN.items():
            if hasattr(config.option, name):
                setattr(config.option, name, value)
        noise = config.getoption("repro_option_noise", None) or config.getini("repro_noise")
        if noise == "store":  # which nothing but a recording can
            config.option.repro_option_noise = "draw"
        # Never the parent's own, which pytest would empty.
        config.option.basetemp = str(self._folder / "tmp")
        config.args = [self._module]

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        state_of(config).keeper = self

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        manager = session.config.pluginmanager
        for name in _WRITING_PLUGINS:
            if manager.hasplugin(name):
                manager.unregister(name=name)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        found = [item for item in items if own_id(item) == self._test][:1]
        if not found:
            self._say(f"it collected {len(items)} tests there, and this was not among them")
        items[:] = found

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._say(report.longreprtext)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> None:
        active = state_of(item.config).active_of(item)
        if active is not None and active.is_in_body:
            return  # of a subtest: the body continues
        if call.excinfo is not None and call.when != "teardown" and not self._is_kept:
            from pytest_repro.checking.isolated import keep_unfinished
            from pytest_repro.checking.repeat import raised_by

            raised = raised_by(call.excinfo.value)
            assert raised is not None
            self._is_kept = True
            keep_unfinished(raised, self._folder / "seen")

    def _say(self, text: str) -> None:
        self._said.append(text)
        (self._folder / "said").write_text("\n".join(self._said), encoding="utf-8")
