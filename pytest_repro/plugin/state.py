"""What the plugin keeps for one run, in one object, and by which name it knows a test."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from pytest_repro.errors import UsageError

if TYPE_CHECKING:
    from pytest_repro.checking.context import RunContext
    from pytest_repro.checking.repeat import Cost
    from pytest_repro.checking.writer import Writer
    from pytest_repro.guard.events import RandomnessEvent
    from pytest_repro.pipelines.registry import Pipelines
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
        context: What the run knows; opened at the first repro test, with the next three.
        writer: Writes what tests record.
        pipelines: Loads the pipelines of fixtures, each once.
        stream_note: Says before a test draws that numpy draws other bits than those recorded.
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
        costs: By test, what its runs cost, those of workers included.
        keys: The environment keys of the run.
        has_occupied: Whether the process got its device, if it needs one.
        devices: The device of each worker, ``""`` for this process.
        workers: xdist's.
        shared: Names of the fixtures of repro tests.
        unseeded: Unseeded draws of such fixtures, made for another test, by name.
    """

    given: tuple[dict[str, object], dict[str, object]] = ({}, {})
    settings: Settings | None = None
    context: RunContext | None = None
    writer: Writer = field(init=False)
    pipelines: Pipelines = field(init=False)
    stream_note: Callable[[str], str] = lambda module: ""
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
    costs: dict[str, Cost] = field(default_factory=dict)
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


def context_of(config: pytest.Config) -> RunContext:
    """What the run knows, opened at the first repro test, with the heavy imports.

    Everything that judges and records is imported now: a test may replace modules.

    Raises:
        ReproError: The facts, the baselines folder or the policy are wrong.
    """
    state = state_of(config)
    if state.context is None:
        from pytest_repro.checking.context import open_run
        from pytest_repro.checking.stream import StreamWatch
        from pytest_repro.checking.writer import Writer
        from pytest_repro.model.words import UpdateMode
        from pytest_repro.pipelines.registry import Pipelines
        from pytest_repro.report import failure  # noqa: F401

        settings = settings_of(config)
        asks = {}
        if settings.update is UpdateMode.ASK:
            from pytest_repro.plugin.ask import terminal_question

            asks = {"wants": terminal_question(config)}
        state.context = open_run(
            settings,
            root=config.rootpath,
            extra_facts=config.hook.pytest_repro_environment(config=config),
            isolated=state.keeper is not None,
            **asks,
        )
        state.writer = Writer(state.context)
        state.pipelines = Pipelines(settings.weights)
        state.stream_note = StreamWatch(state.context).note
    return state.context


_REPEAT_STEP = "__pytest_repeat_step_number"


def own_id(item: pytest.Item) -> str:
    """The node id without what plugins append to it.

    xdist appends a group (``--dist loadgroup``) and pytest-repeat a number (``--count``); the test
    keeps its baselines. The module is the path of the file from pytest's root folder, also if it is
    outside of it, where pytest's own id has no folder.

    Raises:
        UsageError: The file is on another drive, so there is no relative path.
    """
    node_id = _without_count(item, _without_group(item))
    if item.path.is_relative_to(item.config.rootpath):
        return node_id
    return "::".join([_path_from_root(item), *node_id.split("::", 1)[1:]])


def _path_from_root(item: pytest.Item) -> str:
    root = item.config.rootpath
    try:
        return os.path.relpath(item.path, root).replace(os.sep, "/")
    except ValueError:
        raise UsageError(
            f"{item.path}: no relative path leads to this test from pytest's root folder",
            facts=(f"root folder  {root}",),
            next_step="pytest --rootdir with a folder on the same drive",
        ) from None


def _without_group(item: pytest.Item) -> str:
    if not getattr(item.config.option, "loadgroup", False):
        return item.nodeid
    groups = {
        str(mark.args[0] if mark.args else mark.kwargs.get("name", "default"))
        for mark in item.iter_markers("xdist_group")
    }
    return item.nodeid.removesuffix(f"@{'_'.join(sorted(groups))}") if groups else item.nodeid


def _without_count(item: pytest.Item, node_id: str) -> str:
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    if _REPEAT_STEP not in parameters:
        return node_id
    head, bracket, rest = node_id.rpartition("[")
    kept = rest.removesuffix("]").split("-")[:-2]  # the last two are step and count
    return f"{head}[{'-'.join(kept)}]" if kept and bracket else head
