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
        if settings.pull and not _is_secondary(config):
            _pull(config)
        if settings.report or settings.summary or settings.code_quality:
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
    if not _is_secondary(config):
        reporting.prepare()


def _is_secondary(config: pytest.Config) -> bool:
    """Whether it is a worker, or runs no test."""
    return hasattr(config, "workerinput") or bool(config.getoption("collectonly"))


def _pull(config: pytest.Config) -> None:
    from pytest_repro.environment.key import is_of_kind
    from pytest_repro.environment.observe import own_kind
    from pytest_repro.frameworks.framework import default_framework
    from pytest_repro.store.remote import named_files, pull, require_pin
    from pytest_repro.store.store import Store

    settings = settings_of(config)
    store = Store(config.rootpath / settings.baselines, root=config.rootpath)
    kind = own_kind(str(settings.framework), default_framework())
    pin, known = require_pin(store), store.keys()
    files = named_files(store, [key for key in known if is_of_kind(key, kind)])
    done = pull(store, pin, files, lambda names, _: names)
    lost = f"; {len(done.lost):,} tensors are not there" if done.lost else ""
    state_of(config).notes.append(f"{done.count:,} files fetched from {pin.repository}{lost}")
