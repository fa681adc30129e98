"""pytest's hooks, options, fixtures and marker, a few lines each; imports nothing heavy.

numpy, MindSpore, yaml, safetensors and huggingface_hub come in with the first repro test. pytest
looks hooks and fixtures up here; those of one topic live together: `fixtures`, `phases` (of a
test), `closing` (of a run), `options`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_repro import subtests
from pytest_repro.closing import (
    pytest_handlecrashitem,
    pytest_sessionfinish,
    pytest_terminal_summary,
    pytest_testnodedown,
)
from pytest_repro.core.errors import ReproError
from pytest_repro.core.settings import TABLE, UpdateMode, settings_from
from pytest_repro.fixtures import (
    RUNNING,
    repro_check,
    repro_ddim,
    repro_disturb,
    repro_environment,
    repro_generator,
    repro_generators,
    repro_unclip,
    repro_unclip_image_variation,
    repro_watch,
)
from pytest_repro.options import add_options
from pytest_repro.phases import (
    pytest_runtest_call,
    pytest_runtest_makereport,
    pytest_runtest_setup,
    pytest_runtest_teardown,
)
from pytest_repro.stashed import (
    CONFIGS,
    CRASHED,
    DEVICES,
    FAULTS,
    KEYS,
    LOST,
    NOTES,
    OF_WORKER,
    ORIGIN,
    PASSED,
    REPORTING,
    ROWS,
    SETTINGS,
)
from pytest_repro.unasked import test_of

__all__ = [
    "pytest_handlecrashitem",
    "pytest_runtest_call",
    "pytest_runtest_makereport",
    "pytest_runtest_setup",
    "pytest_runtest_teardown",
    "pytest_sessionfinish",
    "pytest_terminal_summary",
    "pytest_testnodedown",
    "repro_check",
    "repro_ddim",
    "repro_disturb",
    "repro_environment",
    "repro_generator",
    "repro_generators",
    "repro_unclip",
    "repro_unclip_image_variation",
    "repro_watch",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    from pytest_repro import hooks

    pluginmanager.add_hookspecs(hooks)


@pytest.hookimpl(tryfirst=True)  # a conftest.py may import MindSpore
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    _occupy_device(early_config, early_config.known_args_namespace)


def _occupy_device(config: pytest.Config, options: Any) -> None:
    from pytest_repro.devices import occupy_own

    try:
        device = occupy_own(options)
    except ReproError as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[DEVICES] = {"": device} if device else {}


@pytest.hookimpl(optionalhook=True)  # xdist's, which need not be installed
def pytest_xdist_setupnodes(config: pytest.Config, specs: Any) -> None:
    devices = config.stash[SETTINGS].devices
    if devices:
        from pytest_repro.devices import assign

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
    options = {one.name: config.getoption(f"repro_option_{one.name}") for one in TABLE}
    ini = {one.name: config.getini(one.ini_key) for one in TABLE if one.ini}
    try:
        config.stash[SETTINGS] = settings_from(options, ini)
        if config.stash[SETTINGS].update is UpdateMode.ASK:
            from pytest_repro.asking import require_terminal

            require_terminal(config)
    except ReproError as error:
        raise pytest.UsageError(str(error)) from None
    config.pluginmanager.register(subtests, "repro-subtests")
    config.stash[ROWS] = []
    config.stash[PASSED] = []
    config.stash[FAULTS] = []
    config.stash[KEYS] = []
    config.stash[LOST] = []
    config.stash[CRASHED] = []
    config.stash[NOTES] = []
    config.stash[OF_WORKER] = {}
    if DEVICES not in config.stash:  # xdist's workers load what -p names after the conftests
        _occupy_device(config, config.option)
    _configure_reporting(config)
    if config.stash[SETTINGS].isolate:
        from pytest_repro.adapters.fresh_process import Origin

        # Before any test: what tests change in this process must not reach a fresh one.
        config.stash[ORIGIN] = Origin.now(config.invocation_params.dir)


def _configure_reporting(config: pytest.Config) -> None:
    settings = config.stash[SETTINGS]
    if not settings.report and not settings.summary:
        return
    from pytest_repro.reporting import Reporting, settings_in_worker

    config.stash[REPORTING] = reporting = Reporting(config, settings)
    config.stash[SETTINGS] = settings_in_worker(
        config, replace(settings, report=str(reporting.folder or ""))
    )
    if not _is_worker(config) and not config.getoption("collectonly"):
        try:
            reporting.prepare()
        except ReproError as error:
            raise pytest.UsageError(str(error)) from None


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


@pytest.hookimpl(optionalhook=True)  # xdist's, which need not be installed
def pytest_configure_node(node: Any) -> None:
    if REPORTING in node.config.stash:
        node.config.stash[REPORTING].tell_worker(node)


def pytest_runtest_logreport(report: Any) -> None:
    rows = getattr(report, "repro", None)
    if rows is not None and CONFIGS:
        stash = CONFIGS[-1].stash
        stash[ROWS].extend(rows)
        if report.passed:
            stash[PASSED].append(report.nodeid)
            stash[PASSED].extend(test_of(row) for row in rows)
        node = getattr(report, "node", None)  # xdist's: the worker that sent it
        if node is not None and node.gateway.spec.popen:
            stash[OF_WORKER].setdefault(node.gateway.id, []).extend(rows)
        if REPORTING in stash:
            stash[REPORTING].take(report.repro_entries)


def pytest_sessionstart(session: pytest.Session) -> None:
    # pytest_runtest_logreport has no config, and fixtures without `request` have no item.
    CONFIGS.append(session.config)
    RUNNING.append(None)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Keep pytest from making a collector of each of the 256 folders of tensors in turn."""
    if collection_path.name not in ("tensors", "records"):
        return None
    if collection_path.parent != config.rootpath / config.stash[SETTINGS].baselines:
        return None
    folders = collection_path.iterdir()
    # A folder that holds anything else is not ours alone.
    return all(len(one.name) == 2 for one in folders) or None
