"""What the plugin keeps on pytest's config and items, and the run's session among it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_repro.checking.session import Session
    from pytest_repro.plugin.active import ActiveTest
    from pytest_repro.plugin.fresh_process import Origin
    from pytest_repro.plugin.isolate import IsolatedRun
    from pytest_repro.plugin.reporting import Reporting
    from pytest_repro.settings import Settings


GIVEN: pytest.StashKey[tuple[dict[str, object], dict[str, object]]] = pytest.StashKey()
SETTINGS: pytest.StashKey[Settings] = pytest.StashKey()
SESSION: pytest.StashKey[Session] = pytest.StashKey()
ACTIVE: pytest.StashKey[ActiveTest] = pytest.StashKey()
LINES: pytest.StashKey[list[str]] = pytest.StashKey()
ROWS: pytest.StashKey[list[dict[str, Any]]] = pytest.StashKey()
PASSED: pytest.StashKey[list[str]] = pytest.StashKey()
PASSED_CHECKS: pytest.StashKey[list[str]] = pytest.StashKey()
"""Repro tests that passed: node ids, and module and name as checks have them."""
FAULTS: pytest.StashKey[list[str]] = pytest.StashKey()
REPORTING: pytest.StashKey[Reporting] = pytest.StashKey()
ORIGIN: pytest.StashKey[Origin] = pytest.StashKey()
ISOLATED: pytest.StashKey[IsolatedRun] = pytest.StashKey()
DEVICES: pytest.StashKey[dict[str, str]] = pytest.StashKey()
KEYS: pytest.StashKey[list[str]] = pytest.StashKey()
NOTES: pytest.StashKey[list[str]] = pytest.StashKey()
LOST: pytest.StashKey[list[str]] = pytest.StashKey()
CRASHED: pytest.StashKey[list[str]] = pytest.StashKey()
OF_WORKER: pytest.StashKey[dict[str, list[dict[str, Any]]]] = pytest.StashKey()

CONFIGS: list[pytest.Config] = []
"""Of the runs that are under way, innermost last: nested ones (pytester) push and pop their own."""


def settings_of(config: pytest.Config) -> Settings:
    """The run's settings, made when they are first asked for.

    Raises:
        SettingError: What the command line or the ini file says is not allowed.
    """
    settings = config.stash.get(SETTINGS, None)
    if settings is None:
        from pytest_repro.settings import settings_from

        config.stash[SETTINGS] = settings = settings_from(*config.stash[GIVEN])
    return settings


def session_of(config: pytest.Config) -> Session:
    """The run's session, made at the first repro test; the heavy imports happen here."""
    session = config.stash.get(SESSION, None)
    if session is None:
        from pytest_repro.checking.session import open_session
        from pytest_repro.model.words import UpdateMode
        from pytest_repro.plugin import subtests

        config.pluginmanager.register(subtests, "repro-subtests")

        facts = config.hook.pytest_repro_environment(config=config)
        asks = {}
        settings = settings_of(config)
        if settings.update is UpdateMode.ASK:
            from pytest_repro.plugin.ask import terminal_question

            asks = {"wants": terminal_question(config)}
        config.stash[SESSION] = session = open_session(
            settings,
            root=config.rootpath,
            extra_facts=facts,
            isolated=ISOLATED in config.stash,
            **asks,
        )
    return session
