"""What one run knows, and how it is opened on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pytest_repro.checking.references import References
from pytest_repro.checking.repeat import FreshRuns, RepeatBudget
from pytest_repro.environment.kernels import Kernels, kernels_here
from pytest_repro.environment.key import HardwareKind, parse_hardware
from pytest_repro.environment.observe import observe_environment
from pytest_repro.frameworks.framework import (
    FrameworkAdapter,
    default_framework,
    package_version,
)
from pytest_repro.model.baseline import Environment
from pytest_repro.model.ids import CheckId, EnvironmentKey
from pytest_repro.model.outcome import Candidate
from pytest_repro.model.words import Isolate, Repeat
from pytest_repro.settings import Settings
from pytest_repro.store.policy_file import load_policy
from pytest_repro.store.store import Store
from pytest_repro.tolerance.policy import Policy, Resolved, resolve


@dataclass(frozen=True, slots=True)
class RunContext:
    """What judging, recording and reporting need to know about the run.

    Attributes:
        settings: The run's settings.
        key: This machine's key.
        environment: Every fact about this machine and its software.
        store: The baselines.
        references: Finds baselines for this key.
        framework: Reads tensors and the global state of the framework.
        policy: ``policy.yaml``; empty without a file.
        wants: Asks whether to record a value; only for `UpdateMode.ASK`.
        is_isolated: Whether this process makes one trial for another process, which judges it.
        repeats: Says which drifted tests run again.
        fresh: Says which tests run in a fresh process.
    """

    settings: Settings
    key: EnvironmentKey
    environment: Environment
    store: Store
    references: References
    framework: FrameworkAdapter
    policy: Policy
    wants: Callable[[Candidate], bool] = lambda candidate: True
    is_isolated: bool = False
    repeats: RepeatBudget = field(default_factory=lambda: RepeatBudget(Repeat.ALL))
    fresh: FreshRuns = field(default_factory=lambda: FreshRuns(Isolate.OFF, is_cheap=False))
    tool: str = field(
        default_factory=lambda: f"pytest-repro {package_version('pytest-repro') or 'unknown'}"
    )

    def kernels(self) -> Kernels:
        """The bits of this machine's kernels, for a recording or after a drift."""
        return kernels_here(self.key.framework.partition("-")[0])

    def resolve(self, check: CheckId) -> Resolved:
        """What the policy says about a check."""
        return resolve(self.policy, str(check))

    def shown(self, place: str) -> str:
        """A ``file:line`` as messages show it."""
        path, _, line = place.rpartition(":")
        return f"{self.store.shown(Path(path))}:{line}" if path else place


def open_run(
    settings: Settings,
    *,
    root: Path,
    extra_facts: Sequence[Mapping[str, str]] = (),
    wants: Callable[[Candidate], bool] = lambda candidate: True,
    isolated: bool = False,
) -> RunContext:
    """What a run on this machine knows: observe the environment, open store and policy.

    Raises:
        ReproError: The facts, the folder or the policy are wrong.
    """
    folder = root / settings.baselines
    store, policy = Store(folder, root=root), folder / "policy.yaml"
    framework = default_framework()
    if settings.framework.may_be_mindspore and framework.installed():
        # Before the first kernel, and before the facts are read: the switch is one of them.
        framework.enable_determinism()
    environment = observe_environment(
        framework=str(settings.framework),
        root=root,
        extra=_merged(extra_facts),
        mindspore=framework,
        variables=dict(os.environ),
        key_facts=settings.key_facts,
    )
    return RunContext(
        settings,
        key=environment.key,
        environment=environment,
        repeats=RepeatBudget(settings.repeat),
        fresh=FreshRuns(settings.isolate, is_cheap=_is_cpu(environment.key)),
        store=store,
        references=References(store, environment.key),
        framework=framework,
        policy=_policy_of(policy, store),
        wants=wants,
        is_isolated=isolated,
    )


def _is_cpu(key: EnvironmentKey) -> bool:
    return parse_hardware(key.hardware).kind is HardwareKind.CPU


def _policy_of(path: Path, store: Store) -> Policy:
    if not os.path.lexists(path) and not os.path.lexists(path.with_suffix(".yml")):
        return Policy()
    return load_policy(path, shown=store.shown(path))


def _merged(extra: Sequence[Mapping[str, str]]) -> dict[str, str]:
    return {name: value for facts in extra for name, value in facts.items()}
