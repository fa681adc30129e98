"""The current test: its trial, the global states around it, and how it is judged.

One object for each pytest item, made before its fixtures and ended after them; does not use pytest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from time import monotonic

from pytest_repro.checking.batch import BatchImage, Maker, check_batch
from pytest_repro.checking.context import RunContext
from pytest_repro.checking.evaluation import Ending, Runner, evaluate
from pytest_repro.checking.parity import Parity, check_parity
from pytest_repro.checking.recording import Writing
from pytest_repro.checking.repeat import Cost
from pytest_repro.checking.spec import TestSpec
from pytest_repro.checking.trial import CheckCall, Trial, first_trial, further_trial
from pytest_repro.checking.writer import Writer
from pytest_repro.errors import UsageError
from pytest_repro.frameworks.torch import TorchState
from pytest_repro.guard.guard import Isolation, guard_randomness
from pytest_repro.model.outcome import Artefact, Outcome
from pytest_repro.model.words import TraceLevel
from pytest_repro.noise.sources import NoiseSource
from pytest_repro.plugin.decorator import TRIAL

_now_s = monotonic
"""Taken before a test can replace it."""


class ActiveTest:
    """One test from its fixtures to its outcomes.

    Attributes:
        settled: Its checks, if all are exact and nothing is left to judge.
        outcomes: Of its judged checks; empty if they are settled.
        artefacts: What a report keeps of them, if there is a report.
        recorded: What is written after the test passed and its fixtures are torn down.
        idle: Whether it ended well, is marked, and checked nothing.
        is_concluded: Whether it was judged; whatever comes later is not.
        refused: Why its first refused check was refused; ``None`` without one.
        subtest: What the first failing subtest of the current run raised.
        teardown_error: What the fixtures of the first run raised when they were torn down.
        has_compared: Whether it compared a port with its original, which leaves no outcome.
        is_in_body: Whether its body runs, not its fixtures.
        runs, first_run_s: How often it ran, and the seconds of its first run.
        perturbed_runs, perturbed_s: How many runs were for its envelope, and their seconds.
        has_passed: Whether the report of its call says so, after every plugin has seen it.
    """

    def __init__(self, context: RunContext, writer: Writer, spec: TestSpec) -> None:
        self.context = context
        self.writer = writer
        self.spec = spec
        self.settled: tuple[CheckCall, ...] = ()
        self.outcomes: tuple[Outcome, ...] = ()
        self.artefacts: tuple[Artefact, ...] = ()
        self.recorded = Writing()
        self.idle = False
        self.is_concluded = False
        self.refused: BaseException | None = None
        self.subtest: BaseException | None = None
        self.teardown_error: BaseException | None = None
        self.has_passed = False
        self.has_compared = False
        self.is_in_body = False
        self.runs = 1
        self.first_run_s = 0.0
        self.perturbed_runs = 0
        self.perturbed_s = 0.0
        self._isolation: Isolation | None = None
        self._is_held = False
        self._trial: Trial | None = None
        self._begun_s = _now_s()
        writer.attempt(spec.place)

    @property
    def trial(self) -> Trial:
        """The current execution."""
        if self._trial is None:
            raise UsageError(f"{self.spec.place}: a repro fixture was used outside the test")
        return self._trial

    @property
    def age_s(self) -> float:
        """Seconds since its fixtures began to be set up."""
        return _now_s() - self._begun_s

    @property
    def cost(self) -> Cost:
        """What its runs cost."""
        return self.runs, self.first_run_s, self.age_s, self.perturbed_runs, self.perturbed_s

    def begin(self, trial: Trial | None = None) -> None:
        """Start an execution: isolate the global generators, make a new trial."""
        self.end()
        isolation = Isolation(self.spec.asked.seed, self.context.framework, TorchState())
        isolation.__enter__()
        self._isolation = isolation
        self.subtest = None
        self._trial = first_trial(self.spec, self.context) if trial is None else trial
        self._trial.begin()
        self.hold_globals()

    def begin_again(self, source: NoiseSource, level: TraceLevel) -> None:
        """Start a further execution."""
        self.begin(further_trial(self.spec, self.context, source, level))

    def check_batch(
        self,
        images: object,
        alone: Maker,
        *,
        name: str,
        seeds: Sequence[int] | None,
        tolerance: object,
    ) -> tuple[BatchImage, ...]:
        """Compare a batch with its images made alone; see `checking.batch.check_batch`."""
        return check_batch(
            self.context,
            self.trial,
            images,
            alone,
            name=name,
            seeds=seeds,
            tolerance=tolerance,
            framework=self.context.framework,
        )

    def check_parity(
        self,
        ours: Maker,
        theirs: Maker,
        *,
        name: str,
        pipelines: tuple[object, object] | None,
        tolerance: object,
    ) -> Parity | None:
        """Compare a port with its original; see `checking.parity.check_parity`."""
        found = check_parity(
            self.context,
            self.trial,
            ours,
            theirs,
            name=name,
            pipelines=pipelines,
            tolerance=tolerance,
        )
        self.has_compared = True
        return found

    @contextmanager
    def fixtures(self) -> Iterator[None]:
        """Runs around the setup of the test's fixtures: they may draw from seeded states."""
        with guard_randomness(self.spec.asked.rng, globals_may_draw=True):
            yield
        self.hold_globals()

    @contextmanager
    def body(self) -> Iterator[None]:
        """Runs around the test's body: the guard against unseeded randomness."""
        with guard_randomness(self.spec.asked.rng):
            trial = self.trial
            trial.begin_body()
            self.is_in_body = True
            token = TRIAL.set(trial)
            try:
                yield
            finally:
                TRIAL.reset(token)
                self.is_in_body = False
                trial.end_body()

    def hold_globals(self) -> None:
        """Undo changes of global states by others, until `release_globals`."""
        if self._isolation is not None:
            self._isolation.hold()
            self._is_held = True

    def release_globals(self) -> None:
        """Restore the global states that the last step of the test left.

        Plugins (pytest-randomly) seed them in hooks of a phase; a repeated run has no such hooks.
        """
        if self._is_held and self._isolation is not None:
            self._is_held = False
            self._isolation.release()

    def end(self) -> None:
        """Restore every global state."""
        if self._isolation is None:
            return
        isolation, self._isolation = self._isolation, None
        trial, self._trial = self._trial, None
        try:
            if trial is not None:
                trial.end()
        finally:
            isolation.__exit__(None, None, None)

    @property
    def has_unjudged(self) -> bool:
        """Whether it made a check, or tried to, and was not judged."""
        return not self.is_concluded and (bool(self.trial.calls) or self.refused is not None)

    def refuse(self, error: BaseException) -> None:
        """Remember that a check was refused: nothing was compared, although the test may go on."""
        if self.refused is None:
            self.refused = error

    def note_subtest(self, error: BaseException) -> None:
        """Remember what the first failing subtest raised."""
        if self.subtest is None:
            self.subtest = error

    def settle(self) -> bool:
        """Whether every check is exact under our own key, so nothing is left to `judge`.

        No reach is narrower than our own key, and no tolerance, policy or further run bears on
        equal bits. A report looks at everything.
        """
        calls = tuple(self.trial.calls.values())
        if not self.context.settings.report and all(call.exact for call in calls):
            self.settled = calls
        return bool(self.settled)

    def judge(self, ending: Ending, runner: Runner | None) -> None:
        """Judge the checks of the first execution, and run the test again if a gate needs it.

        Raises:
            IsolationError: It could not be run in a fresh process.
        """
        if not ending.why_not_recorded and self.writer.is_further_attempt(self.spec.place):
            why = "this is a rerun of the test"
            ending = replace(ending, why_not_recorded=why)
        evaluation = evaluate(self.trial, runner, self.context, ending, self.recorded)
        self.outcomes = evaluation.outcomes
        self.artefacts = self.writer.keep_artefacts(evaluation)
