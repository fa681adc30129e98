"""The start of a run that was told something: its settings checked, its report and origin ready."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_repro.errors import ReproError
from pytest_repro.plugin.state import ORIGIN, REPORTING, SETTINGS, settings_of
from pytest_repro.settings import UpdateMode

__all__ = ["prepare"]


def prepare(config: pytest.Config) -> None:
    """Resolve the settings of a run and make ready what they ask for.

    Raises:
        pytest.UsageError: A setting is not allowed, or cannot be followed here.
    """
    try:
        settings = settings_of(config)
        if settings.update is UpdateMode.ASK:
            from pytest_repro.plugin.ask import require_terminal

            require_terminal(config)
        if settings.report or settings.summary:
            _prepare_report(config)
    except ReproError as error:
        raise pytest.UsageError(str(error)) from None
    if settings.isolate:
        from pytest_repro.plugin.fresh_process import Origin

        # Before any test: what tests change in this process must not reach a fresh one.
        config.stash[ORIGIN] = Origin.now(config.invocation_params.dir)


def _prepare_report(config: pytest.Config) -> None:
    from pytest_repro.plugin.reporting import Reporting, settings_in_worker

    settings = config.stash[SETTINGS]
    config.stash[REPORTING] = reporting = Reporting(config, settings)
    config.stash[SETTINGS] = settings_in_worker(
        config, replace(settings, report=str(reporting.folder or ""))
    )
    if not hasattr(config, "workerinput") and not config.getoption("collectonly"):
        reporting.prepare()
