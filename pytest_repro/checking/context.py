"""What one run knows: settings, key, environment, baselines, and policy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pytest_repro.checking.references import References
from pytest_repro.checking.repeat import FreshRuns, RepeatBudget, Tally
from pytest_repro.environment.kernels import Kernels, kernels_here
from pytest_repro.frameworks.framework import FrameworkAdapter, package_version
from pytest_repro.model.baseline import Environment
from pytest_repro.model.ids import CheckId, EnvironmentKey
from pytest_repro.model.outcome import Candidate
from pytest_repro.model.words import Isolate, Repeat
from pytest_repro.settings import Settings
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
        tally: Counts further runs.
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
    tally: Tally = field(default_factory=Tally)
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
