"""pytest's hooks, options, fixtures and marker, a few lines each; imports nothing heavy.

numpy, MindSpore, yaml, safetensors and huggingface_hub come in with the first repro test. pytest
looks hooks and fixtures up here; those of one topic live together: `fixtures`, `item` (hooks
of a test), `closing` (of a run), `options`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_repro.errors import ReproError
from pytest_repro.plugin import subtests, terminal
from pytest_repro.plugin.closing import (
    failed_in_skip_texts,
    missing_in_xfail_text,
    pytest_handlecrashitem,
    pytest_sessionfinish,
    pytest_terminal_summary,
    pytest_testnodedown,
    take_back,
)
from pytest_repro.plugin.fixtures import (
    PIPELINES,
    repro_check,
    repro_disturb,
    repro_environment,
    repro_generator,
    repro_generators,
    repro_shared_noise,
    repro_watch,
)
from pytest_repro.plugin.item import (
    pytest_collection_finish,
    pytest_fixture_setup,
    pytest_pyfunc_call,
    pytest_runtest_call,
    pytest_runtest_makereport,
    pytest_runtest_setup,
    pytest_runtest_teardown,
)
from pytest_repro.plugin.options import add_options, prepare_mint
from pytest_repro.plugin.state import PluginState, settings_of, state_of
from pytest_repro.plugin.suite import add_suite_key, pytest_collection_modifyitems
from pytest_repro.settings import TABLE
from pytest_repro.store import system  # noqa: F401  taken before modules of tests are imported

__all__ = [
    "pytest_collection_finish",
    "pytest_collection_modifyitems",
    "pytest_fixture_setup",
    "pytest_handlecrashitem",
    "pytest_pyfunc_call",
    "pytest_runtest_call",
    "pytest_runtest_makereport",
    "pytest_runtest_setup",
    "pytest_runtest_teardown",
    "pytest_sessionfinish",
    "pytest_terminal_summary",
    "pytest_testnodedown",
    "repro_check",
    "repro_disturb",
    "repro_environment",
    "repro_generator",
    "repro_generators",
    "repro_shared_noise",
    "repro_watch",
]


globals().update(PIPELINES)


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)
    add_suite_key(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    from pytest_repro.plugin import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


@pytest.hookimpl(tryfirst=True)  # a conftest.py may import MindSpore
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    _prepare_process(early_config, early_config.known_args_namespace)


def _prepare_process(config: pytest.Config, options: Any) -> None:
    """Occupy the device, then replace operators: what must come before MindSpore or mindone."""
    from pytest_repro.plugin.xdist import occupy_own

    try:
        device = occupy_own(options)
        prepare_mint(
            getattr(options, "repro_option_mint-cpu", None) or config.getini("repro_mint_cpu")
        )
    except ReproError as error:
        raise pytest.UsageError(str(error)) from None
    state = state_of(config)
    state.devices = {"": device} if device else {}
    state.has_occupied = True


@pytest.hookimpl(optionalhook=True)  # xdist's, which need not be installed
def pytest_xdist_setupnodes(config: pytest.Config, specs: Any) -> None:
    devices = settings_of(config).devices
    if devices:
        from pytest_repro.plugin.xdist import assign

        try:
            assign(devices, specs)
        except ReproError as error:
            raise pytest.UsageError(str(error)) from None


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "repro(seed=0, runs=2, tolerance=..., reference=..., trace=..., rng=..., reason=...): "
        "judge this test's checks against its baselines",
    )
    state = state_of(config)
    if not state.has_occupied:  # xdist's workers load what -p names after the conftests
        _prepare_process(config, config.option)
    options = {one.name: config.getoption(f"repro_option_{one.name}") for one in TABLE}
    ini = {one.name: config.getini(one.ini_key) for one in TABLE if one.ini}
    state.given = options, ini
    config.pluginmanager.register(_Reports(state), "repro-reports")
    config.pluginmanager.register(terminal, "repro-terminal")
    config.pluginmanager.register(subtests, "repro-subtests")
    if any(text is not None for text in options.values()) or any(ini.values()):
        from pytest_repro.plugin.options import prepare

        # At once, so a wrong word ends the run before its first test.
        prepare(config)


@pytest.hookimpl(optionalhook=True)  # xdist's, which need not be installed
def pytest_configure_node(node: Any) -> None:
    reporting = state_of(node.config).reporting
    if reporting is not None:
        reporting.tell_worker(node)


class _Reports:
    """Takes what reports carry; ``pytest_runtest_logreport`` does not get the run."""

    def __init__(self, state: PluginState) -> None:
        self._state = state

    def pytest_runtest_logreport(self, report: Any) -> None:
        taken_back = getattr(report, "repro_taken_back", None)
        if taken_back:
            take_back(self._state, *taken_back)
        rows = getattr(report, "repro", None)
        if rows is not None:
            self._take(report, rows)

    def _take(self, report: Any, rows: list[dict[str, Any]]) -> None:
        state = self._state
        state.rows.extend(rows)
        state.costs[report.repro_test] = report.repro_cost
        if report.passed:
            state.passed.append(report.repro_test)
        missing = [row["check"] for row in rows if row["verdict"] == "missing"]
        if missing and hasattr(report, "wasxfail"):
            state.faults.append(missing_in_xfail_text(missing))
        elif report.skipped and not hasattr(report, "wasxfail"):
            state.faults.extend(failed_in_skip_texts(rows))
        node = getattr(report, "node", None)  # xdist's: the worker that sent it
        if node is not None and node.gateway.spec.popen:
            state.workers.rows.setdefault(node.gateway.id, []).extend(rows)
        if state.reporting is not None:
            state.reporting.take(report.repro_entries)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Keep pytest from making a collector for each of the 256 folders of tensors."""
    if collection_path.name not in ("tensors", "records"):
        return None
    if collection_path.parent != config.rootpath / settings_of(config).baselines:
        return None
    folders = collection_path.iterdir()
    # A folder with other files is collected.
    return all(len(one.name) == 2 for one in folders) or None
