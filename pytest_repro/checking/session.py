"""What lives for one run: environment, store, policy, and what a passing check asks of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pytest_repro.checking.references import References, narrower
from pytest_repro.checking.spec import Specs, TestSpec
from pytest_repro.checking.trial import CheckCall, FindExact, Trial
from pytest_repro.frameworks.framework import FrameworkAdapter, default_framework
from pytest_repro.guard.guard import Isolation, guard_randomness
from pytest_repro.model.ids import CheckId, Digest, EnvironmentKey
from pytest_repro.model.outcome import Reference
from pytest_repro.model.words import Framework, NoiseMode, UpdateMode
from pytest_repro.noise.canary import noise_canary
from pytest_repro.settings import Settings
from pytest_repro.store.store import Store
from pytest_repro.store.stream import RecordedStream, read_streams

if TYPE_CHECKING:
    from pytest_repro.checking.examination import Examination
    from pytest_repro.checking.recording import Writing
    from pytest_repro.model.artefact import Artefact, Candidate
    from pytest_repro.model.baseline import Baseline, Environment
    from pytest_repro.model.ids import TensorRecord
    from pytest_repro.model.outcome import Outcome
    from pytest_repro.noise.generator import NoiseBook
    from pytest_repro.noise.sources import NoiseSource
    from pytest_repro.pipelines.registry import Pipelines
    from pytest_repro.store.files import Row
    from pytest_repro.tolerance.policy import Policy, Resolved


class Session:
    """The use cases of one run; made once, no pytest.

    Args:
        settings: The run's settings.
        root: The root folder of the tests.
        key: Our environment's.
        observe: Sees every fact of our environment; called when the first fact is asked for, which
            no exact check does.
        store: The baselines.
        policy: ``policy.yaml``; ``None`` where there is none.
        mindspore: Reads tensors and global state of MindSpore where it is installed.
        wants: Asks whether a value shall be recorded; asked with `UpdateMode.ASK` only.
        isolated: Whether this process makes one trial for another process, which judges it: then
            everything that is observed is kept.
        clock: Gives the UTC time.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        root: Path,
        key: EnvironmentKey,
        observe: Callable[[], Environment],
        store: Store,
        policy: Policy | None,
        mindspore: FrameworkAdapter,
        wants: Callable[[Candidate], bool] = lambda candidate: True,
        isolated: bool = False,
        clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self.settings = settings
        self.key = key
        self.store = store
        self.references = References(store, key, lambda: self.environment)
        self._observe = observe
        self._environment: Environment | None = None
        self._pipelines: Pipelines | None = None
        self._root = root
        self._policy = policy
        self._mindspore = mindspore
        self._isolated = isolated
        self._clock = clock
        self.wants = wants
        self._stream_watch: StreamWatch | None = None
        self._writing: Writing | None = None
        self._attempts: dict[str, int] = {}
        self._specs = Specs(settings)
        self._artefacts = None
        if settings.report:
            from pytest_repro.checking.artefacts import Artefacts

            self._artefacts = Artefacts(self, Path(settings.report))

    @property
    def environment(self) -> Environment:
        """Every fact that was seen about this machine and its software, and the key."""
        if self._environment is None:
            # The number of allowed cores, say, may have changed since.
            self._environment = replace(self._observe(), key=self.key)
        return self._environment

    @property
    def tool(self) -> str:
        """Our name and version."""
        from pytest_repro.frameworks.installed import package_version

        return f"pytest-repro {package_version('pytest-repro') or 'unknown'}"

    @property
    def pipelines(self) -> Pipelines:
        """The pipelines of the fixtures, loaded once."""
        if self._pipelines is None:
            from pytest_repro.pipelines.registry import Pipelines

            self._pipelines = Pipelines(self.settings.weights)
        return self._pipelines

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

    @property
    def framework(self) -> FrameworkAdapter:
        """Reads tensors of the framework."""
        return self._mindspore

    def now(self) -> str:
        """UTC, ISO 8601 to the second."""
        return self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")

    def shown(self, place: str) -> str:
        """A ``file:line`` as messages show it."""
        path, _, line = place.rpartition(":")
        return f"{self.store.shown(Path(path))}:{line}" if path else place

    def resolve(self, check: CheckId) -> Resolved:
        """What the policy says of a check."""
        from pytest_repro.tolerance.policy import Policy, resolve

        return resolve(self._policy or Policy(), str(check))

    def own_reference(self, module: str) -> Reference:
        """Where our own key's baselines of a module lie."""
        return self.references.own_reference(module)

    def isolation(self, spec: TestSpec) -> Isolation:
        """Seed every global generator for one test and give all of them back afterwards."""
        return Isolation(spec.asked.seed, self._mindspore)

    def guard(self, spec: TestSpec) -> AbstractContextManager[object]:
        """Catch randomness that no seed of the test decides."""
        return guard_randomness(spec.asked.rng)

    def fixtures_guard(self, spec: TestSpec) -> AbstractContextManager[object]:
        """Catch, while fixtures are made, generators that no seed decides.

        Global states may draw there: every test starts from seeded ones.
        """
        return guard_randomness(spec.asked.rng, globals_may_draw=True)

    def noise_source(self, spec: TestSpec) -> NoiseSource:
        """Where the generators' numbers of a test come from.

        Raises:
            CorruptBaseline: Noise is to be replayed, and it was not stored or cannot be read.
        """
        if self.settings.noise is NoiseMode.REPLAY:
            return self.references.recorded_noise(spec.module, spec.test, self.settings.reference)
        from pytest_repro.noise.sources import Fresh

        return Fresh()

    def stream_note(self, module: str) -> str:
        """What to say before a test of ``module`` draws; ``""`` where the stream is the recorded.

        Said of the nearest manifest, once, and not where recorded noise is replayed.
        """
        if self.settings.noise is NoiseMode.REPLAY or self._isolated:
            return ""
        if self._stream_watch is None:
            self._stream_watch = StreamWatch(self.store.shown)
        manifest = self.references.nearest_manifest(module, self.settings.reference)
        return self._stream_watch.note(manifest)

    def trial(self, spec: TestSpec, examination: Examination | None = None) -> Trial:
        """A fresh execution of a test: its first, or the one that an examination asks for."""
        level = spec.asked.trace if examination is None else examination.trace_level()
        open_book = self._opener(spec, examination)
        return Trial(spec, open_book, self._mindspore, self._finder(spec), level)

    def _opener(self, spec: TestSpec, examination: Examination | None) -> Callable[[], NoiseBook]:
        if examination is None and self.settings.noise is not NoiseMode.REPLAY:
            return lambda: self._book(self.noise_source(spec), spec)
        # Now: whether there is noise to replay is known, and what the examination asks for changes.
        source = self.noise_source(spec) if examination is None else examination.source()
        return lambda: self._book(source, spec)

    def _book(self, source: NoiseSource, spec: TestSpec) -> NoiseBook:
        from pytest_repro.noise.generator import NoiseBook

        keep = self.settings.noise is NoiseMode.STORE
        return NoiseBook(source, store=keep, allow_reuse=spec.asked.reuse)

    def can_trace_cells(self) -> bool:
        """Whether cells can be hooked: MindSpore's GRAPH mode has no hooks."""
        return self._mindspore.mode() == "PYNATIVE"

    def _finder(self, spec: TestSpec) -> FindExact:
        if self._isolated or self.settings.update is not UpdateMode.NONE:
            return lambda check, value, noise: (False, None)

        def find(check: CheckId, value: Digest, noise: Digest) -> tuple[bool, Reference | None]:
            try:
                own = self.references.own_equal(check, value, noise)
                if own is not None:
                    return True, own
                reach = narrower(self.settings.reference, spec.asked.reference)
                return self.references.find_equal(check, reach, value, noise) is not None, None
            except Exception:  # noqa: BLE001  judged, and worded, when the test ends
                return False, None

        return find

    def settled(self, trial: Trial) -> tuple[CheckCall, ...]:
        """The checks of a test if all of them were found exact under our own key.

        Nothing is left to ask then: no reach is narrower than our own key, and no tolerance, policy
        or further run bears on equal bits. Empty where anything else has to be looked at.
        """
        if self._artefacts is not None:
            return ()
        calls = tuple(trial.calls.values())
        for call in calls:
            if call.exact is None:
                return ()
        return calls

    def attempt(self, spec: TestSpec) -> None:
        """A test begins, for the first time in this run or because something runs it again."""
        self._attempts[spec.place] = self._attempts.get(spec.place, 0) + 1

    def examine(self, trial: Trial, failure: BaseException | None) -> Examination:
        """Start judging a test; in a further attempt at the same test nothing is recorded."""
        is_rerun = self._attempts.get(trial.spec.place, 0) > 1
        from pytest_repro.checking.examination import Examination

        return Examination(self, trial, failure, is_rerun=is_rerun)

    def keep_artefacts(
        self, examination: Examination, outcomes: Sequence[Outcome]
    ) -> tuple[Artefact, ...]:
        """Put what was observed into the report's folder, where a report was asked for."""
        return () if self._artefacts is None else self._artefacts.keep(examination, outcomes)

    @property
    def writing(self) -> Writing:
        """What waits to be written."""
        if self._writing is None:
            from pytest_repro.checking.recording import Writing

            self._writing = Writing(self.store, self.key)
        return self._writing

    def queue(self, baseline: Baseline, tensors: Sequence[TensorRecord]) -> None:
        """Remember a baseline to be written."""
        self.writing.queue(baseline, tensors)

    def queue_tensors(self, tensors: Sequence[TensorRecord]) -> None:
        """Remember tensors to be written that a stored baseline names already."""
        self.writing.queue_tensors(tensors)

    def queue_records(self, records: Mapping[Digest, Sequence[Row]]) -> None:
        """Remember traces and tables of weights to be written."""
        self.writing.queue_records(records)

    def flush_if_due(self) -> None:
        """Write what waits, unless writing would take a large part of the run's time."""
        if self._writing is not None and self._writing.is_due():
            self.flush()

    def flush(self) -> None:
        """Write everything that waits, tensors before the manifests that name them.

        Raises:
            BaselineError: Nothing that was stored is lost; what was not written is still queued.
        """
        if self._writing is not None:
            self._writing.flush()
        self.references.forget()
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
    mindspore = default_framework()
    has_mindspore = settings.framework is not Framework.NUMPY and mindspore.installed()
    if has_mindspore:
        # Before the first kernel, and before the facts are read: the switch is one of them.
        mindspore.enable_determinism()
    extra = _merged(extra_facts)
    observe = _observer(settings, root, extra, mindspore)
    # They wait where nothing that a test does can change them.
    may_wait = settings.update is UpdateMode.NONE and not extra
    if has_mindspore or settings.framework is Framework.MINDSPORE or not may_wait:
        environment = observe()
        key, observe = environment.key, lambda: environment
    else:
        key = _numpy_key()
    return Session(
        settings,
        root=root,
        key=key,
        observe=observe,
        store=store,
        policy=_policy_of(policy, store),
        mindspore=mindspore,
        wants=wants,
        isolated=isolated,
    )


def _observer(
    settings: Settings, root: Path, extra: Mapping[str, str], mindspore: FrameworkAdapter
) -> Callable[[], Environment]:
    """What sees every fact, now or later, with the environment variables of now."""
    variables = dict(os.environ)

    def observe() -> Environment:
        from pytest_repro.environment.observe import observe_environment

        return observe_environment(
            framework=str(settings.framework),
            root=root,
            extra=extra,
            mindspore=mindspore,
            variables=variables,
        )

    return observe


def _numpy_key() -> EnvironmentKey:
    from pytest_repro.environment.cpu import numpy_key

    return numpy_key(os.environ)


def _policy_of(path: Path, store: Store) -> Policy | None:
    if not os.path.lexists(path) and not os.path.lexists(path.with_suffix(".yml")):
        return None
    from pytest_repro.store.policy_file import load_policy

    return load_policy(path, shown=store.shown(path))


def _merged(extra: Sequence[Mapping[str, str]]) -> dict[str, str]:
    return {name: value for facts in extra for name, value in facts.items()}


class StreamWatch:
    """Compares the canary of this process with the recorded ones, a manifest once.

    It judges nothing: which draws a test makes, its ledger knows.

    Args:
        shown: Gives a path as messages show it.
    """

    def __init__(self, shown: Callable[[Path], str]) -> None:
        self._shown = shown
        self._looked: set[Path] = set()
        self._said: set[RecordedStream] = set()

    @cached_property
    def _canary(self) -> dict[str, str]:
        return {fact.name: fact.value for fact in noise_canary()}

    def note(self, manifest: Path | None) -> str:
        """What to say of a manifest; ``""`` where nothing changed, or was said already."""
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
            because = f"numpy {np.__version__} in both: another build or another libm"
        return (
            f"numpy draws other bits here than those recorded in {self._shown(manifest)}: "
            f"{', '.join(changed)} ({because})\n"
            "  next   --repro-noise=replay computes from stored noise; "
            "a test that draws otherwise drifts with cause noise"
        )
