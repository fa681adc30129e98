"""What lives for one run: environment, store, policy, and the queue of what is to be written."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pytest_repro.adapters.codec import Row
from pytest_repro.adapters.mindspore import MindSporeAdapter
from pytest_repro.adapters.pipeline_calls import watch_pipeline_calls
from pytest_repro.adapters.policy_file import load_policy
from pytest_repro.adapters.randomness import guard_randomness, isolated_globals
from pytest_repro.adapters.store import Store
from pytest_repro.core.artefact import Artefact
from pytest_repro.core.generator import NoiseBook
from pytest_repro.core.model import (
    Baseline,
    CheckId,
    Digest,
    Distance,
    Environment,
    Observation,
    Outcome,
    Reference,
    TensorRecord,
)
from pytest_repro.core.noise import Fresh, NoiseSource
from pytest_repro.core.policy import Policy, Resolved, resolve
from pytest_repro.core.settings import Framework, NoiseMode, Settings, UpdateMode
from pytest_repro.session.artefacts import Artefacts
from pytest_repro.session.examination import Examination
from pytest_repro.session.pipelines import Pipelines
from pytest_repro.session.references import References, narrower
from pytest_repro.session.spec import TestSpec, spec_from
from pytest_repro.session.trial import Trial

__all__ = ["Session", "open_session"]

_FLUSH_SHARE = 20
"""A flush may cost at most one part in this many of the time since the last one."""


@dataclass(slots=True)
class _Queue:
    """What waits to be written, and when writing last happened."""

    baselines: dict[str, list[Baseline]] = field(default_factory=dict)
    tensors: dict[str, TensorRecord] = field(default_factory=dict)
    records: dict[Digest, Sequence[Row]] = field(default_factory=dict)
    flushed_s: float = 0.0
    cost_s: float = 0.0


class Session:
    """The use cases of one run; made once, no pytest.

    Args:
        settings: The run's settings.
        root: The root folder of the tests.
        environment: Ours.
        store: The baselines.
        policy: ``policy.yaml``.
        mindspore: Reads tensors and global state of MindSpore where it is installed.
        clock: Gives the UTC time.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        root: Path,
        environment: Environment,
        store: Store,
        policy: Policy,
        mindspore: MindSporeAdapter,
        clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self.settings = settings
        self.environment = environment
        self.store = store
        self.references = References(store, environment)
        self.pipelines = Pipelines(settings.weights)
        self.tool = f"pytest-repro {_own_version()}"
        self._root = root
        self._policy = policy
        self._mindspore = mindspore
        self._clock = clock
        self._queue = _Queue()
        self._examined: set[str] = set()
        self._artefacts = Artefacts(self, Path(settings.report)) if settings.report else None

    def spec(
        self, module: str, test: str, arguments: Mapping[str, object], *, marked: bool
    ) -> TestSpec:
        """What a test asked for, from its marker's arguments and the settings."""
        return spec_from(module, test, arguments, self.settings, marked=marked)

    def now(self) -> str:
        """UTC, ISO 8601 to the second."""
        return self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")

    def shown(self, place: str) -> str:
        """A ``file:line`` as messages show it."""
        path, _, line = place.rpartition(":")
        return f"{self.store.shown(Path(path))}:{line}" if path else place

    def resolve(self, check: CheckId) -> Resolved:
        """What the policy says of a check."""
        return resolve(self._policy, str(check))

    def own_reference(self, module: str) -> Reference:
        """Where our own key's baselines of a module lie."""
        key = self.environment.key
        return Reference(key, Distance.OWN, self.store.shown(self.store.manifest_path(key, module)))

    @contextmanager
    def isolation(self, spec: TestSpec) -> Iterator[None]:
        """Seed every global generator for one test and give all of them back afterwards."""
        with isolated_globals(spec.seed, self._mindspore):
            yield

    @contextmanager
    def guard(self, spec: TestSpec, trial: Trial) -> Iterator[None]:
        """Catch randomness that no seed of the test decides, and generators used twice."""
        with guard_randomness(spec.rng), watch_pipeline_calls(trial.book):
            yield

    def noise_source(self, spec: TestSpec) -> NoiseSource:
        """Where the generators' numbers of a test come from.

        Raises:
            CorruptBaseline: Noise is to be replayed, and it was not stored or cannot be read.
        """
        if self.settings.noise is NoiseMode.REPLAY:
            return self.references.recorded_noise(spec.module, spec.test, self.settings.reference)
        return Fresh()

    def trial(self, spec: TestSpec, examination: Examination | None = None) -> Trial:
        """A fresh execution of a test: its first, or the one that an examination asks for."""
        source = self.noise_source(spec) if examination is None else examination.source()
        level = spec.trace if examination is None else examination.trace_level()
        book = NoiseBook(
            source,
            store=self.settings.noise is NoiseMode.STORE,
            allow_reuse=spec.reuse,
        )
        return Trial(spec, book, self._mindspore, self._lets_go(spec), level)

    def can_trace_cells(self) -> bool:
        """Whether cells can be hooked: MindSpore's GRAPH mode has no hooks."""
        return self._mindspore.mode() == "PYNATIVE"

    def _lets_go(self, spec: TestSpec) -> Callable[[Observation], bool]:
        if self.settings.update is not UpdateMode.NONE:
            return lambda observation: False
        reach = narrower(self.settings.reference, spec.reference)

        def is_exact(observation: Observation) -> bool:
            noise = observation.ledger.digest
            try:
                found = self.references.find_equal(
                    observation.check, reach, observation.digest, noise
                )
            except Exception:  # noqa: BLE001  judged, and worded, when the test ends
                return False
            return found is not None

        return is_exact

    def examine(self, trial: Trial, failure: BaseException | None) -> Examination:
        """Start judging a test; a second examination of the same test is a rerun: no recording."""
        may_record = trial.spec.place not in self._examined
        self._examined.add(trial.spec.place)
        return Examination(self, trial, failure, may_record=may_record)

    def keep_artefacts(
        self, examination: Examination, outcomes: Sequence[Outcome]
    ) -> tuple[Artefact, ...]:
        """Put what was observed into the report's folder, where a report was asked for."""
        return () if self._artefacts is None else self._artefacts.keep(examination, outcomes)

    def queue(self, baseline: Baseline, tensors: Sequence[TensorRecord]) -> None:
        """Remember a baseline to be written."""
        self._queue.baselines.setdefault(baseline.check.module, []).append(baseline)
        self.queue_tensors(tensors)

    def queue_tensors(self, tensors: Sequence[TensorRecord]) -> None:
        """Remember tensors to be written that a stored baseline names already."""
        self._queue.tensors.update({record.digest: record for record in tensors})

    def queue_records(self, records: Mapping[Digest, Sequence[Row]]) -> None:
        """Remember traces and tables of weights to be written."""
        self._queue.records.update(records)

    def flush_if_due(self) -> None:
        """Write what waits, unless writing would take a large part of the run's time."""
        if not self._queue.baselines and not self._queue.tensors:
            return
        if time.monotonic() - self._queue.flushed_s >= _FLUSH_SHARE * self._queue.cost_s:
            self.flush()

    def flush(self) -> None:
        """Write everything that waits, tensors before the manifests that name them.

        Raises:
            BaselineError: Nothing that was stored is lost; what was not written is still queued.
        """
        began = time.monotonic()
        self.store.write_rows(self._queue.records)
        self._queue.records.clear()
        for module in list(self._queue.baselines):
            baselines = self._queue.baselines[module]
            wanted = {digest for baseline in baselines for digest in _named_by(baseline)}
            tensors = [record for digest, record in self._queue.tensors.items() if digest in wanted]
            self.store.write(self.environment.key, module, baselines, tensors)
            del self._queue.baselines[module]
        self.store.write_tensors(self._queue.tensors.values())
        self._queue.tensors.clear()
        self.references.forget()
        if self._artefacts is not None:
            self._artefacts.flush()
        self._queue.flushed_s = time.monotonic()
        self._queue.cost_s = self._queue.flushed_s - began


def open_session(
    settings: Settings,
    *,
    root: Path,
    extra_facts: Sequence[Mapping[str, str]] = (),
) -> Session:
    """The session of a run on this machine: observe the environment, open store and policy.

    Raises:
        ReproError: The facts, the folder or the policy are wrong.
    """
    from pytest_repro.adapters.environment import observe_environment

    folder = root / settings.baselines
    mindspore = MindSporeAdapter()
    if settings.framework is not Framework.NUMPY and mindspore.installed():
        # Before the first kernel, and before the facts are read: the switch is one of them.
        mindspore.enable_determinism()
    environment = observe_environment(
        framework=str(settings.framework),
        root=root,
        extra=_merged(extra_facts),
        mindspore=mindspore,
    )
    return Session(
        settings,
        root=root,
        environment=environment,
        store=Store(folder, root=root),
        policy=load_policy(folder / "policy.yaml"),
        mindspore=mindspore,
    )


def _merged(extra: Sequence[Mapping[str, str]]) -> dict[str, str]:
    return {name: value for facts in extra for name, value in facts.items()}


def _named_by(baseline: Baseline) -> Iterator[Digest]:
    yield from (one.digest for one in baseline.tensors)
    yield from (draw.digest for draw in baseline.ledger.draws)


def _own_version() -> str:
    try:
        return version("pytest-repro")
    except PackageNotFoundError:
        return "unknown"
