"""The state of one run: its tests, what they have to write, and how the run is opened."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pytest_repro.checking.accept import OBSERVED
from pytest_repro.checking.context import RunContext
from pytest_repro.checking.evaluation import Evaluation, clean_source
from pytest_repro.checking.recording import Pace, Writing
from pytest_repro.checking.references import References, narrower
from pytest_repro.checking.repeat import FreshRuns, RepeatBudget
from pytest_repro.checking.spec import Specs, TestSpec
from pytest_repro.checking.trial import CheckCall, FindExact, Trial
from pytest_repro.environment.key import HardwareKind, parse_hardware
from pytest_repro.environment.observe import observe_environment
from pytest_repro.errors import BaselineError
from pytest_repro.frameworks.framework import default_framework
from pytest_repro.frameworks.torch import TorchState
from pytest_repro.guard.guard import Isolation, guard_randomness
from pytest_repro.model.baseline import Baseline
from pytest_repro.model.ids import CheckId, EnvironmentKey, IndexEntry
from pytest_repro.model.outcome import Artefact, Candidate, GrowthPoint, Outcome, Reference
from pytest_repro.model.words import Distance, Framework, NoiseMode, TraceLevel, UpdateMode, Verdict
from pytest_repro.noise.canary import noise_canary
from pytest_repro.noise.generator import NoiseBook
from pytest_repro.noise.sources import NoiseSource
from pytest_repro.pipelines.registry import Pipelines
from pytest_repro.settings import Settings
from pytest_repro.store.policy_file import load_policy
from pytest_repro.store.store import RecordedStream, Store, read_streams
from pytest_repro.tolerance.policy import Policy
from pytest_repro.trace.divergence import growth_of
from pytest_repro.trace.records import trace_from_rows

_EQUAL = frozenset({Verdict.EXACT, Verdict.UNCHANGED})


class Artefacts:
    """Keeps the observed values of one run below a report's folder.

    Several processes may share the folder: digests name tensors, and manifests are merged under a
    lock.
    """

    def __init__(self, context: RunContext, folder: Path) -> None:
        self._context = context
        self._folder = folder
        self._store = Store(folder / OBSERVED, root=folder)
        self._waiting: dict[str, list[Baseline]] = {}
        self._pace = Pace()

    def keep(self, evaluation: Evaluation) -> tuple[Artefact, ...]:
        """Keep every outcome that is not exact and not unchanged.

        Raises:
            StoreError: The report's folder cannot be written.
        """
        unequal = (one for one in evaluation.outcomes if one.verdict not in _EQUAL)
        kept = tuple(self._keep(evaluation, one) for one in unequal)
        for artefact in kept:
            module = artefact.observed.check.module
            self._waiting.setdefault(module, []).append(artefact.observed)
        if self._pace.is_due():
            self.flush()
        return kept

    def flush(self) -> None:
        """Write the manifests of the kept values.

        Raises:
            StoreError: The report's folder cannot be written.
        """
        with self._pace.timed():
            for module in list(self._waiting):
                self._store.write(self._context.key, module, self._waiting[module], ())
                del self._waiting[module]

    def _keep(self, evaluation: Evaluation, outcome: Outcome) -> Artefact:
        name = outcome.check.name
        runs = evaluation.agreed_runs(name)
        recording = evaluation.recording(self._context, name)
        observed = recording.baseline(name)
        observed = replace(observed, provenance=replace(observed.provenance, runs=runs))
        assert outcome.observation is not None  # only an exact outcome lets it go
        self._store.write_tensors(record for _, record in outcome.observation.tensors)
        self._store.write_rows(recording.records(name))
        return Artefact(observed, self._growth(outcome))

    def _growth(self, outcome: Outcome) -> tuple[GrowthPoint, ...]:
        baseline, seen = outcome.baseline, outcome.observation
        if baseline is None or baseline.trace is None or seen is None or seen.trace is None:
            return ()
        try:
            rows = self._context.store.rows(baseline.trace)
            return () if rows is None else growth_of(trace_from_rows(rows), seen.trace)
        except BaselineError:
            return ()  # the outcome says already that the baseline's trace cannot be read


class Session:
    """The tests of one run; made once, no pytest.

    Args:
        context: What the run knows.

    Attributes:
        context: The same.
    """

    def __init__(self, context: RunContext) -> None:
        self.context = context
        self._specs = Specs(context.settings)
        self._pipelines = Pipelines(context.settings.weights)
        self._stream_watch = StreamWatch(context.store.shown)
        self._attempts: dict[str, int] = {}
        self._writing = Writing()
        self._pace = Pace()
        report = context.settings.report
        self._artefacts = Artefacts(context, Path(report)) if report else None

    def spec(
        self,
        module: str,
        test: str,
        arguments: Mapping[str, object],
        *,
        marked: bool,
        suite: bool = False,
    ) -> TestSpec:
        """What a test asked for, from its marker's arguments and the settings."""
        return self._specs.spec(module, test, arguments, marked=marked, suite=suite)

    def pipeline(self, family: str, dtype: str) -> Any:
        """The pipeline of a fixture, loaded once."""
        return self._pipelines.load(family, dtype)

    def isolation(self, spec: TestSpec) -> Isolation:
        """Seed every global generator for one test and restore all of them afterwards."""
        return Isolation(spec.asked.seed, self.context.framework, TorchState())

    def guard(self, spec: TestSpec) -> AbstractContextManager[object]:
        """Catch unseeded randomness."""
        return guard_randomness(spec.asked.rng)

    def fixtures_guard(self, spec: TestSpec) -> AbstractContextManager[object]:
        """Catch unseeded generators while fixtures are made.

        Draws from global states pass: every test starts from seeded ones.
        """
        return guard_randomness(spec.asked.rng, globals_may_draw=True)

    def stream_note(self, module: str) -> str:
        """What to say before a test of ``module`` draws; ``""`` where the stream is the recorded.

        Said of the nearest manifest, once, and not where recorded noise is replayed.
        """
        context = self.context
        if context.settings.noise is NoiseMode.REPLAY or context.is_isolated:
            return ""
        reach = context.settings.reference
        return self._stream_watch.note(context.references.nearest_manifest(module, reach))

    def trial(self, spec: TestSpec) -> Trial:
        """The first run of a test.

        Raises:
            CorruptBaseline: Noise is to be replayed, but was not stored or cannot be read.
        """
        return self.further_trial(spec, clean_source(spec, self.context), spec.asked.trace)

    def further_trial(self, spec: TestSpec, source: NoiseSource, level: TraceLevel) -> Trial:
        """A further run of a test with this noise and this level of traces."""
        keep = self.context.settings.noise is NoiseMode.STORE
        book = NoiseBook(source, store=keep, allow_reuse=spec.asked.reuse)
        return Trial(spec, lambda: book, self.context.framework, self._finder(spec), level)

    def _finder(self, spec: TestSpec) -> FindExact:
        """Looks a value up in the indices as they are before the test runs."""
        context = self.context
        if context.is_isolated or context.settings.update is not UpdateMode.NONE:
            return lambda check, entry: (False, None)
        reach = narrower(context.settings.reference, spec.asked.reference)
        try:
            indices = context.references.indices(spec.module, spec.test, reach)
            own = context.references.own_reference(spec.module)
        except BaselineError:
            return lambda check, entry: (False, None)  # said when the test is judged

        def find(check: CheckId, entry: IndexEntry) -> tuple[bool, Reference | None]:
            found = next((one for one in indices if check.entry in one.entries), None)
            if found is None or found.entries[check.entry] != entry:
                return False, None
            return True, own if found.distance is Distance.OWN else None

        return find

    def settled(self, trial: Trial) -> tuple[CheckCall, ...]:
        """The checks of a test if all of them were found exact under our own key.

        Nothing is left to ask then: no reach is narrower than our own key, and no tolerance, policy
        or further run bears on equal bits. Empty where anything else has to be looked at.
        """
        calls = tuple(trial.calls.values())
        if self._artefacts is not None or any(call.exact is None for call in calls):
            return ()
        return calls

    def attempt(self, spec: TestSpec) -> None:
        """Note that a test begins, for the first time or in a rerun."""
        self._attempts[spec.place] = self._attempts.get(spec.place, 0) + 1
        if self._writing and self.is_further_attempt(spec):
            self.flush()  # it is judged by what its first attempt recorded

    def is_further_attempt(self, spec: TestSpec) -> bool:
        """Whether the test already ran in this run; then nothing is recorded."""
        return self._attempts.get(spec.place, 0) > 1

    def keep_artefacts(self, evaluation: Evaluation) -> tuple[Artefact, ...]:
        """Write the observed values into the report's folder, if there is one."""
        return () if self._artefacts is None else self._artefacts.keep(evaluation)

    def commit(self, recorded: Writing) -> None:
        """Take the recordings of a passed test, and write them if that is due.

        Raises:
            BaselineError: They were not written; stored files are intact.
        """
        self._writing.take(recorded)
        if self._writing and self._pace.is_due():
            self.flush()

    def flush(self) -> None:
        """Write everything that is queued.

        Raises:
            BaselineError: Stored files are intact; what was not written is kept.
        """
        with self._pace.timed():
            self._writing.write(self.context.store, self.context.key)
        self.context.references.forget()
        if self._artefacts is not None:
            self._artefacts.flush()


def open_session(
    settings: Settings,
    *,
    root: Path,
    extra_facts: Sequence[Mapping[str, str]] = (),
    wants: Callable[[Candidate], bool] = lambda candidate: True,
    isolated: bool = False,
) -> Session:
    """The session of a run on this machine: observe the environment, open store and policy.

    Raises:
        ReproError: The facts, the folder or the policy are wrong.
    """
    folder = root / settings.baselines
    store, policy = Store(folder, root=root), folder / "policy.yaml"
    framework = default_framework()
    if settings.framework is not Framework.NUMPY and framework.installed():
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
    context = RunContext(
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
    return Session(context)


def _is_cpu(key: EnvironmentKey) -> bool:
    return parse_hardware(key.hardware).kind is HardwareKind.CPU


def _policy_of(path: Path, store: Store) -> Policy:
    if not os.path.lexists(path) and not os.path.lexists(path.with_suffix(".yml")):
        return Policy()
    return load_policy(path, shown=store.shown(path))


def _merged(extra: Sequence[Mapping[str, str]]) -> dict[str, str]:
    return {name: value for facts in extra for name, value in facts.items()}


class StreamWatch:
    """Compares the canary of this process with that of each manifest, once.

    It judges nothing: the draw log of a test does.
    """

    def __init__(self, shown: Callable[[Path], str]) -> None:
        self._shown = shown
        self._looked: set[Path] = set()
        self._said: set[RecordedStream] = set()

    @cached_property
    def _canary(self) -> dict[str, str]:
        return {fact.name: fact.value for fact in noise_canary()}

    def note(self, manifest: Path | None) -> str:
        """What to say about a manifest; ``""`` if nothing changed, or it was said already."""
        if manifest is None or manifest in self._looked:
            return ""
        self._looked.add(manifest)
        for stream in read_streams(manifest):
            changed = [name for name, value in stream.canary if self._canary.get(name) != value]
            if changed and stream not in self._said:
                self._said.add(stream)
                return self._sentence(manifest, stream, changed)
        return ""

    def _sentence(self, manifest: Path, stream: RecordedStream, changed: list[str]) -> str:
        because = f"numpy {stream.numpy} -> {np.__version__}"
        if stream.numpy == np.__version__:
            because = f"both have numpy {np.__version__}: another build or another libm"
        return (
            f"numpy draws different bits here than those recorded in {self._shown(manifest)}: "
            f"{', '.join(changed)} ({because})\n"
            "  next   use stored noise with --repro-noise=replay; "
            "otherwise tests that draw these bits drift with cause noise"
        )
