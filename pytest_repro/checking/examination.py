"""One test from its first trial to the outcomes of its checks: the gates in their order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_repro.checking.accept import changes_of
from pytest_repro.checking.disturb import DisturbedRun, Disturbing
from pytest_repro.checking.isolated import IsolatedTrial
from pytest_repro.checking.judging import Judging
from pytest_repro.checking.recording import Recording
from pytest_repro.checking.repeat import Raised, name_run, parting, raised_by
from pytest_repro.checking.trial import CheckCall, Trial
from pytest_repro.errors import BaselineError
from pytest_repro.model.artefact import Candidate
from pytest_repro.model.baseline import Baseline
from pytest_repro.model.ids import CheckId, IndexEntry
from pytest_repro.model.outcome import Observation, Outcome
from pytest_repro.model.words import Cause, Gate, NoiseMode, TraceLevel, UpdateMode, Verdict
from pytest_repro.noise.sources import Disturbed, NoiseSource
from pytest_repro.tolerance.measured import runs_wanted

if TYPE_CHECKING:
    from pytest_repro.checking.session import Session


class Examination:
    """Asks for further runs of a test until every gate has been answered.

    Args:
        session: The run.
        trial: The first execution.
        failure: What the test itself raised, if it did; then nothing is recorded.
        is_rerun: Whether this is not the first attempt at the test; then nothing is recorded.
    """

    def __init__(
        self, session: Session, trial: Trial, failure: BaseException | None, *, is_rerun: bool
    ) -> None:
        self._session = session
        self._judging = Judging(session)
        self._failure = raised_by(failure)
        self._why_no_recording = _why_no_recording(failure, is_rerun)
        self._first = trial
        self._isolated: list[IsolatedTrial] = []
        self._repeats: list[Trial] = []
        self._disturbed: list[DisturbedRun] = []
        self._parting: dict[str, str] = {}
        self._asked = False
        self._plans = {name: self._plan(call) for name, call in trial.calls.items()}
        self._adopted = self._adoptable()

    def wants_run(self) -> bool:
        """Whether the test has to run again before it can be concluded."""
        if self._wants_repeat():
            return True
        self._ask()
        return self._wants_disturbed()

    def _ask(self) -> None:
        """Ask about what is to be recorded, once it was seen to repeat itself."""
        if self._asked or self._parting or self._session.settings.update is not UpdateMode.ASK:
            return
        self._asked = True
        for name, plan in self._plans.items():
            if plan.recording is not None and not self._session.wants(self._candidate(name, plan)):
                # What is stored stands, and the check is judged by it.
                outcome = self._judging.judge(self._first.spec, plan.call)
                self._plans[name] = Plan(plan.call, outcome)

    def _candidate(self, name: str, plan: Plan) -> Candidate:
        session, check = self._session, plan.call.observation.check
        key = session.key
        seen = self.recording().baseline(name)
        if plan.recording is Verdict.RECORDED:
            return Candidate(key, seen, None, "", is_stored=False, changes=())
        stored = session.store.baseline(key, check)
        held = {record.digest: record for _, record in plan.call.observation.tensors}
        changes = tuple(changes_of(stored, session.store.tensor, seen, held.get))
        return Candidate(key, seen, stored, "", is_stored=False, changes=changes)

    def wants_fresh_process(self) -> bool:
        """Whether that run has to happen in a process of its own."""
        isolate = self._session.settings.isolate
        return isolate and not self._isolated and self._wants_repeat()

    def source(self) -> NoiseSource:
        """Where the next run's noise comes from."""
        if self._wants_repeat():
            return self._session.noise_source(self._first.spec)
        return Disturbed(
            seed=self._session.settings.envelope_seed + len(self._disturbed),
            computing_dtype=self._first.spec.asked.computing_dtype,
        )

    def trace_level(self) -> TraceLevel:
        """What the next run records of watched pipelines.

        The repeated run records every cell: it has to be made anyway, and only cells tell where a
        drift began; disturbed runs record steps, from which the envelope of each is measured.
        """
        level = self._first.spec.asked.trace
        if not self._first.watching.is_watching or level is TraceLevel.OFF:
            return TraceLevel.OFF
        if not self._wants_repeat():
            # Asking whether cells can be traced would import MindSpore into tests without it.
            return TraceLevel.STEPS
        return TraceLevel.CELLS if self._session.can_trace_cells() else level

    def add(self, trial: Trial, error: BaseException | None) -> None:
        """Take in one further run and what it raised."""
        if self._wants_repeat():
            self._repeats.append(trial)
            seen = {name: call.observation for name, call in trial.calls.items()}
            self._compare(seen, raised_by(error), name_run(self._run_count()))
        else:
            self._disturbed.append(DisturbedRun(trial, error))

    def add_isolated(self, trial: IsolatedTrial) -> None:
        """Take in the run in a fresh process; the runs in this one follow, so it is one more."""
        self._isolated.append(trial)
        run = name_run(self._run_count(), isolated=True)
        self._compare(trial.observations, trial.raised, run)

    def _run_count(self) -> int:
        return 1 + len(self._isolated) + len(self._repeats)

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
        return len(self._repeats) < self._first.spec.asked.runs - 1

    def _has_to_repeat(self, plan: Plan) -> bool:
        return plan.is_acceptable if self._session.settings.report else plan.needs_repeat

    def agreed_runs(self, name: str) -> int:
        """How many runs saw a check bitwise alike; 1 where it was not repeated, or parted."""
        return 1 if name in self._parting else self._run_count()

    def recording(self, *, agreed: bool = True) -> Recording:
        """Makes baselines of this test's checks; without ``agreed`` of the first run alone."""
        return Recording(
            self._session,
            self._first,
            self._repeats if agreed else [],
            self._run_count() if agreed else 1,
            self._disturbing(),
            self._adopted,
        )

    def _disturbing(self) -> Disturbing:
        return Disturbing(self._first, self._disturbed, self._session.settings)

    def _wants_disturbed(self) -> bool:
        recorded = [name for name, plan in self._plans.items() if plan.recording is not None]
        if self._parting or not recorded:
            return False
        if not self._first.is_noisy or self._all_adopted():
            return False
        if self._disturbed and all(map(self._disturbing().absence, recorded)):
            return False  # no check can have an envelope any more, and a run may take minutes
        return len(self._disturbed) < self._runs_wanted(recorded)

    def _runs_wanted(self, recorded: Iterable[str]) -> int:
        """How many disturbed runs the checks to be recorded take, by those that were made."""
        asked = self._session.settings.envelope
        if not asked or len(self._disturbed) < asked:
            return asked
        disturbing = self._disturbing()
        moved: list[tuple[float, ...]] = []
        for name in recorded:
            resolved = self._session.resolve(self._plans[name].call.observation.check)
            moved += disturbing.movements(name, resolved)
        return runs_wanted(moved, asked)

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

    def _compare(self, seen: Mapping[str, Observation], raised: Raised | None, run: str) -> None:
        before = None if self._failure is None else self._failure.kind
        if raised is not None and raised.kind != before:
            self._parting = dict.fromkeys(self._plans, f"{run} raised {raised.shown}")
            return
        for name, plan in self._plans.items():
            sentence = parting(plan.call.observation, seen.get(name), run)
            if sentence:
                self._parting[name] = sentence

    def _plan(self, call: CheckCall) -> Plan:
        update = self._session.settings.update
        if update is UpdateMode.NONE:
            return Plan(call, self._judging.judge(self._first.spec, call))
        if self._why_no_recording:
            return Plan(call, self._unrecorded(self._judging.judge(self._first.spec, call)))
        return self._plan_recording(call, update)

    def _unrecorded(self, outcome: Outcome) -> Outcome:
        """The outcome of a check that was to be recorded, saying why it was not."""
        if outcome.verdict is not Verdict.MISSING:
            return outcome
        return replace(outcome, detail=(*outcome.detail, self._why_no_recording))

    def _plan_recording(self, call: CheckCall, update: UpdateMode) -> Plan:
        check = call.observation.check
        try:
            own = self._session.references.own(check)
        except BaselineError as error:
            return Plan(call, self._judging.corrupt(call, error))
        observed = IndexEntry(call.observation.digest, call.observation.ledger.digest)
        if own is None:
            return Plan(call, None, Verdict.RECORDED)
        if update is UpdateMode.MISSING:
            return Plan(call, self._judging.judge(self._first.spec, call))
        if own != observed:
            return Plan(call, None, Verdict.UPDATED)
        if update is UpdateMode.ALL or self._session.settings.noise is NoiseMode.STORE:
            return Plan(call, None, Verdict.UNCHANGED)
        return Plan(call, self._outcome(check, Verdict.UNCHANGED, call))

    def _conclude(self, name: str, plan: Plan) -> Outcome:
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
                said = recording.absence(name)
                detail = (said,) if said and verdict is not Verdict.UNCHANGED else ()
                outcomes[position] = replace(outcomes[position], verdict=verdict, detail=detail)
        self._session.flush_if_due()


def _why_no_recording(failure: BaseException | None, is_rerun: bool) -> str:
    if is_rerun:
        return "not recorded: this is a further attempt at the test, after one that failed"
    return "" if failure is None else "not recorded: the test itself failed"


@dataclass(frozen=True, slots=True)
class Plan:
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
