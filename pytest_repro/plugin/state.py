"""What the plugin keeps for one pytest run: one object, under one key of pytest's stash."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from pytest_repro.checking.session import Session
    from pytest_repro.guard.events import RandomnessEvent
    from pytest_repro.plugin.active import ActiveTest
    from pytest_repro.plugin.fresh_process import Origin
    from pytest_repro.plugin.reporting import Reporting
    from pytest_repro.settings import Settings


class Keeper(Protocol):
    """Keeps the observations of a test for the process that judges it."""

    def keep(self, active: ActiveTest, failure: BaseException | None) -> None:
        """Write them; only the first execution counts."""


@dataclass(slots=True)
class Workers:
    """The results of xdist's workers and how they ended; empty without workers.

    Attributes:
        lost: Names of workers that died.
        crashed: Node ids of the tests that they ran.
        rows: The rows that each local worker sent.
    """

    lost: list[str] = field(default_factory=list)
    crashed: list[str] = field(default_factory=list)
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


@dataclass(slots=True)
class PluginState:
    """One run.

    Attributes:
        given: The values of the command line and the ini file.
        settings: Made from them on first use.
        session: The session; made at the first repro test.
        active: The current test, if it is a repro test.
        item: Its item.
        conclusion: The module that judges it.
        reporting: The report or summary, if there is one.
        origin: How this process was started, if tests run again in fresh ones.
        keeper: In a fresh process: keeps the observations of its test.
        rows: Every check of the run.
        passed: Ids of the repro tests that passed.
        faults: Sentences that fail the run.
        notes: Sentences that do not.
        lines: Where reports were written.
        costs: By test, its runs, and the seconds of the first and of all of them.
        keys: The environment keys of the run.
        has_occupied: Whether the process got its device, if it needs one.
        devices: The device of each worker, ``""`` for this process.
        workers: xdist's.
        shared: Names of the fixtures of repro tests.
        unseeded: Unseeded draws of such fixtures, made for another test, by name.
    """

    given: tuple[dict[str, object], dict[str, object]] = ({}, {})
    settings: Settings | None = None
    session: Session | None = None
    active: ActiveTest | None = None
    item: pytest.Item | None = None
    conclusion: Any = None
    reporting: Reporting | None = None
    origin: Origin | None = None
    keeper: Keeper | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    costs: dict[str, tuple[int, float, float]] = field(default_factory=dict)
    devices: dict[str, str] = field(default_factory=dict)
    has_occupied: bool = False
    workers: Workers = field(default_factory=Workers)
    shared: set[str] = field(default_factory=set)
    unseeded: dict[str, RandomnessEvent] = field(default_factory=dict)

    def active_of(self, item: pytest.Item) -> ActiveTest | None:
        """The state of ``item``; ``None`` if it is not a repro test."""
        return self.active if self.item is item else None


_STATE: pytest.StashKey[PluginState] = pytest.StashKey()


def state_of(config: pytest.Config) -> PluginState:
    """The state of the run."""
    return config.stash.setdefault(_STATE, PluginState())


def settings_of(config: pytest.Config) -> Settings:
    """The run's settings.

    Raises:
        SettingError: A value of the command line or the ini file is not allowed.
    """
    state = state_of(config)
    if state.settings is None:
        from pytest_repro.settings import settings_from

        state.settings = settings_from(*state.given)
    return state.settings


def session_of(config: pytest.Config) -> Session:
    """The run's session, made at the first repro test, with the heavy imports.

    Everything that judges and records is imported now: a test may replace modules.

    Raises:
        ReproError: The facts, the baselines folder or the policy are wrong.
    """
    state = state_of(config)
    if state.session is None:
        from pytest_repro.checking.session import open_session
        from pytest_repro.model.words import UpdateMode
        from pytest_repro.report import failure  # noqa: F401

        settings = settings_of(config)
        asks = {}
        if settings.update is UpdateMode.ASK:
            from pytest_repro.plugin.ask import terminal_question

            asks = {"wants": terminal_question(config)}
        state.session = open_session(
            settings,
            root=config.rootpath,
            extra_facts=config.hook.pytest_repro_environment(config=config),
            isolated=state.keeper is not None,
            **asks,
        )
    return state.session
