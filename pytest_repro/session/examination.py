"""One test from its first trial to the outcomes of its checks: the gates in their order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_repro.core.envelope import DISTURBANCE_SEED
from pytest_repro.core.errors import BaselineError
from pytest_repro.core.model import (
    Baseline,
    Cause,
    CheckId,
    Gate,
    IndexEntry,
    Outcome,
    Verdict,
)
from pytest_repro.core.noise import Disturbed, NoiseSource
from pytest_repro.core.settings import NoiseMode, TraceLevel, UpdateMode
from pytest_repro.session.judging import Judging
from pytest_repro.session.recording import Recording
from pytest_repro.session.repeating import parting
from pytest_repro.session.trial import CheckCall, Trial

if TYPE_CHECKING:
    from pytest_repro.session.run import Session

__all__ = ["Examination"]


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is to become of one check, before the repeatable gate."""

    call: CheckCall
    outcome: Outcome | None
    recording: Verdict | None = None

    @property
    def needs_repeat(self) -> bool:
        if self.recording is not None:
            return True
        return self.outcome is not None and self.outcome.verdict is Verdict.DRIFT

    @property
    def is_acceptable(self) -> bool:
        """Whether somebody who reads a report may want to accept it."""
        verdict = None if self.outcome is None else self.outcome.verdict
        return self.needs_repeat or verdict in (Verdict.MISSING, Verdict.WITHIN)


class Examination:
    """Asks for further runs of a test until every gate has been answered.

    Args:
        session: The run.
        trial: The first execution.
        failure: What the test itself raised, if it did; then nothing is recorded.
        may_record: Whether this run of the test may write (not a rerun, an update is on).
    """

    def __init__(
        self, session: Session, trial: Trial, failure: BaseException | None, *, may_record: bool
    ) -> None:
        self._session = session
        self._judging = Judging(session)
        self._failure = failure
        self._may_record = may_record and failure is None
        self._first = trial
        self._repeats: list[Trial] = []
        self._disturbed: list[Trial] = []
        self._errors: list[BaseException | None] = []
        self._parting: dict[str, str] = {}
        self._plans = {name: self._plan(call) for name, call in trial.calls.items()}
        self._adopted = self._adoptable()

    def wants_run(self) -> bool:
        """Whether the test has to run again before it can be concluded."""
        return self._wants_repeat() or self._wants_disturbed()

    def source(self) -> NoiseSource:
        """Where the next run's noise comes from."""
        if self._wants_repeat():
            return self._session.noise_source(self._first.spec)
        return Disturbed(
            seed=DISTURBANCE_SEED + len(self._disturbed),
            computing_dtype=self._first.spec.computing_dtype,
        )

    def trace_level(self) -> TraceLevel:
        """What the next run records of watched pipelines.

        The repeated run records every cell: it has to be made anyway, and only cells tell where a
        drift began; disturbed runs record nothing.
        """
        level = self._first.spec.trace
        watched = self._first.watching.is_watching
        if not watched or not self._wants_repeat() or level is TraceLevel.OFF:
            # Asking whether cells can be traced would import MindSpore into tests without it.
            return TraceLevel.OFF
        return TraceLevel.CELLS if self._session.can_trace_cells() else level

    def add(self, trial: Trial, error: BaseException | None) -> None:
        """Take in one further run and what it raised."""
        if self._wants_repeat():
            self._repeats.append(trial)
            self._errors.append(error)
            self._compare(trial, error)
        else:
            self._disturbed.append(trial)

    def conclude(self) -> tuple[Outcome, ...]:
        """The outcome of every check, in the order of the calls; records what may be recorded."""
        outcomes = [self._conclude(name, plan) for name, plan in self._plans.items()]
        if any(one.verdict is Verdict.NONDETERMINISTIC for one in outcomes):
            # A test is recorded whole or not at all.
            return tuple(self._without_recording(one) for one in outcomes)
        self._record(outcomes)
        return tuple(outcomes)

    def _wants_repeat(self) -> bool:
        if self._parting or not any(self._has_to_repeat(plan) for plan in self._plans.values()):
            return False
        return len(self._repeats) < self._first.spec.runs - 1

    def _has_to_repeat(self, plan: _Plan) -> bool:
        return plan.is_acceptable if self._session.settings.report else plan.needs_repeat

    def agreed_runs(self, name: str) -> int:
        """How many runs saw a check bitwise alike; 1 where it was not repeated, or parted."""
        return 1 if name in self._parting else 1 + len(self._repeats)

    def recording(self, *, agreed: bool = True) -> Recording:
        """Makes baselines of this test's checks; without ``agreed`` of the first run alone."""
        return Recording(
            self._session,
            self._first,
            self._repeats if agreed else [],
            self._disturbed,
            self._adopted,
        )

    def _wants_disturbed(self) -> bool:
        if self._parting or not any(plan.recording for plan in self._plans.values()):
            return False
        if not self._first.book.ledger().draws or self._all_adopted():
            return False
        return len(self._disturbed) < self._session.settings.envelope

    def _all_adopted(self) -> bool:
        """Whether every check to be recorded has equal bits and an envelope in another release."""
        recorded = [name for name, plan in self._plans.items() if plan.recording is not None]
        return all(name in self._adopted for name in recorded)

    def _adoptable(self) -> dict[str, Baseline]:
        if self._session.settings.update is UpdateMode.ALL or not self._session.settings.envelope:
            return {}
        found = {}
        for name, plan in self._plans.items():
            if plan.recording is not None:
                seen = plan.call.observation
                entry = IndexEntry(seen.digest, seen.ledger.digest)
                equal = self._session.references.equal_release(seen.check, entry)
                if equal is not None and all(one.envelope for one in equal.tensors):
                    found[name] = equal
        return found

    def _compare(self, trial: Trial, error: BaseException | None) -> None:
        run = len(self._repeats) + 1
        if error is not None and type(error) is not type(self._failure):
            self._parting = dict.fromkeys(self._plans, f"run {run} raised {error!r}")
            return
        for name, plan in self._plans.items():
            sentence = parting(plan.call.observation, trial.calls.get(name), run)
            if sentence:
                self._parting[name] = sentence

    def _plan(self, call: CheckCall) -> _Plan:
        update = self._session.settings.update
        if update is UpdateMode.NONE or not self._may_record:
            return _Plan(call, self._judging.judge(self._first.spec, call))
        return self._plan_recording(call, update)

    def _plan_recording(self, call: CheckCall, update: UpdateMode) -> _Plan:
        check = call.observation.check
        try:
            own = self._session.references.own(check)
        except BaselineError as error:
            return _Plan(call, self._judging.corrupt(call, error))
        observed = IndexEntry(call.observation.digest, call.observation.ledger.digest)
        if own is None:
            return _Plan(call, None, Verdict.RECORDED)
        if update is UpdateMode.MISSING:
            return _Plan(call, self._judging.judge(self._first.spec, call))
        if own != observed:
            return _Plan(call, None, Verdict.UPDATED)
        if update is UpdateMode.ALL or self._session.settings.noise is NoiseMode.STORE:
            return _Plan(call, None, Verdict.UNCHANGED)
        return _Plan(call, self._outcome(check, Verdict.UNCHANGED, call))

    def _conclude(self, name: str, plan: _Plan) -> Outcome:
        asked = any(one.needs_repeat for one in self._plans.values())
        if plan.outcome is not None and plan.outcome.verdict is Verdict.WITHIN and not asked:
            # Repeated for the report alone, which must not turn a passing check into a failing one.
            return plan.outcome
        if self._parting and (name in self._parting or plan.needs_repeat):
            return self._nondeterministic(name, plan.call)
        if plan.outcome is not None:
            return self._judging.explain(plan.outcome, self._traced(name))
        assert plan.recording is not None
        return self._outcome(plan.call.observation.check, plan.recording, plan.call)

    def _traced(self, name: str) -> Trial:
        """The run that recorded most of what a check's pipelines did: the last equal one."""
        return (
            self._repeats[-1] if self._repeats and name in self._repeats[-1].calls else self._first
        )

    def _nondeterministic(self, name: str, call: CheckCall) -> Outcome:
        sentence = self._parting.get(name) or next(iter(self._parting.values()))
        return Outcome(
            check=call.observation.check,
            verdict=Verdict.NONDETERMINISTIC,
            gate=Gate.REPEATABLE,
            observation=call.observation,
            cause=Cause.NONDETERMINISM,
            detail=(sentence,),
            called_at=call.called_at,
        )

    def _outcome(self, check: CheckId, verdict: Verdict, call: CheckCall) -> Outcome:
        reference = self._session.own_reference(check.module)
        return Outcome(
            check=check,
            verdict=verdict,
            gate=Gate.REPEATABLE,
            reference=reference,
            observation=call.observation,
            called_at=call.called_at,
        )

    def _without_recording(self, outcome: Outcome) -> Outcome:
        if outcome.verdict not in (Verdict.RECORDED, Verdict.UPDATED):
            return outcome
        return replace(
            outcome,
            verdict=Verdict.NONDETERMINISTIC,
            cause=Cause.NONDETERMINISM,
            detail=("another check of this test differs from run to run; nothing was recorded",),
        )

    def _record(self, outcomes: list[Outcome]) -> None:
        recording = self.recording()
        for position, (name, plan) in enumerate(self._plans.items()):
            if plan.recording is not None:
                verdict = recording.record(name, plan.recording)
                outcomes[position] = replace(outcomes[position], verdict=verdict)
        self._session.flush_if_due()
