"""pytest's options and ini keys, all made from the one table of settings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pytest_repro.errors import ReproError
from pytest_repro.model.words import Isolate, Switch, UpdateMode
from pytest_repro.plugin.state import settings_of, state_of
from pytest_repro.settings import TABLE, parse_choice


def add_options(parser: pytest.Parser) -> None:
    """Add every row of the table of settings, to the command line and to the ini file."""
    group = parser.getgroup("repro", "pytest-repro: determinism regression tests")
    for setting in TABLE:
        dest = f"repro_option_{setting.name}"
        if setting.flag_values:
            _add_flag(group, setting.option, setting.flag_values, dest, setting.help)
        else:
            shown = f" (default: {setting.default})" if setting.default else ""
            group.addoption(
                setting.option, dest=dest, metavar=setting.metavar, help=setting.help + shown
            )
        if setting.ini:
            parser.addini(setting.ini_key, setting.help, default="")


def _add_flag(group: Any, option: str, words: tuple[str, ...], dest: str, text: str) -> None:
    """Add a flag that can take a word, ``--repro-update`` and ``--repro-update=all``.

    Each spelling is an option: with ``nargs='?'`` argparse would take the path in
    ``pytest --repro-update tests/models`` for the word.
    """
    bare = "drifted" if "drifted" in words else words[0]
    group.addoption(option, dest=dest, action="store_const", const=bare, help=text)
    for word in words if len(words) > 1 else ():
        group.addoption(
            f"{option}={word}", dest=dest, action="store_const", const=word, help=f"`{word}` only."
        )


def prepare_mint(text: str) -> None:
    """Replace ``mint`` operators without kernels if the setting says so.

    Raises:
        ReproError: The setting is not a word that it takes, or mindone is imported already.
    """
    if text and parse_choice(Switch, text, origin="repro_mint_cpu") is Switch.ON:
        from pytest_repro.frameworks.mint import compose_mint

        compose_mint()


def prepare(config: pytest.Config) -> None:
    """Resolve and apply the settings of a run.

    Raises:
        pytest.UsageError: A setting is not allowed, or not possible here.
    """
    try:
        settings = settings_of(config)
        if settings.update is UpdateMode.ASK:
            from pytest_repro.plugin.ask import require_terminal

            require_terminal(config)
        if settings.plan or settings.update is not UpdateMode.NONE:
            from pytest_repro.plugin.costs import Costs

            config.pluginmanager.register(Costs(config), "repro-costs")
        if settings.report or settings.summary:
            _prepare_report(config)
    except ReproError as error:
        raise pytest.UsageError(str(error)) from None
    if settings.isolate is not Isolate.OFF:
        from pytest_repro.plugin.fresh_process import Origin

        # Before any test: what tests change in this process must not reach a fresh one.
        state_of(config).origin = Origin.now(config.invocation_params.dir)


def _prepare_report(config: pytest.Config) -> None:
    from pytest_repro.plugin.reporting import Reporting, settings_in_worker

    settings, state = settings_of(config), state_of(config)
    state.reporting = reporting = Reporting(config, settings)
    state.settings = settings_in_worker(
        config, replace(settings, report=str(reporting.folder or ""))
    )
    if not hasattr(config, "workerinput") and not config.getoption("collectonly"):
        reporting.prepare()
