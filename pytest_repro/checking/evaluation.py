"""One test from its first run to the outcomes of its checks: judge, repeat, perturb, conclude."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from pytest_repro.checking.accept import changes_of
from pytest_repro.checking.context import RunContext
from pytest_repro.checking.disturb import DisturbedRun, Disturbing
from pytest_repro.checking.isolated import IsolatedTrial
from pytest_repro.checking.judging import Judging
from pytest_repro.checking.recording import Recording, Writing
from pytest_repro.checking.repeat import (
    Raised,
    first_difference,
    name_run,
    raised_by,
    repeated_level,
)
from pytest_repro.checking.trial import CheckCall, Trial, clean_source
from pytest_repro.errors import BaselineError, WatchError
from pytest_repro.model.baseline import Baseline
from pytest_repro.model.outcome import Candidate, Observation, Outcome
from pytest_repro.model.words import Cause, Gate, NoiseMode, TraceLevel, UpdateMode, Verdict
from pytest_repro.noise.sources import NoiseSource
from pytest_repro.tensors.dtypes import DTYPES
from pytest_repro.tolerance.measured import measured_something, runs_wanted


class Runner(Protocol):
    """Runs a test again."""

    def announce(self, runs: int) -> None:
        """Learn how many runs are planned, all in all, the first one included."""
        ...

    def again(self, source: NoiseSource, level: TraceLevel) -> tuple[Trial, BaseException | None]:
        """One more run in this process, with fixtures set up again, and what it raised."""
        ...

    def in_fresh_process(self) -> IsolatedTrial:
        """One more run in a fresh process.

        Raises:
            IsolationError: It did not end there.
        """
        ...


@dataclass(frozen=True, slots=True)
class Ending:
    """How the first run of a test ended.

    Attributes:
        raised: What ended its body; ``None`` if the body completed.
        why_not_recorded: Why nothing may be recorded; ``""`` if it may.
        took_s: Seconds that it took.
    """

    raised: BaseException | None = None
    why_not_recorded: str = ""
    took_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan for one check: an outcome, or a recording with this verdict."""

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
        """Whether a reader of the report may accept it."""
        verdict = None if self.outcome is None else self.outcome.verdict
        return self.needs_repeat or verdict in (Verdict.MISSING, Verdict.WITHIN)


Plans = Mapping[str, Plan]


@dataclass(frozen=True, slots=True)
class Runs:
    """Every clean run of one test.

    Attributes:
        first: The run that is judged.
        repeats: Further runs of this process.
        isolated: Runs in a fresh process.
        differing: By check name, how a further run differs from the first.
        was_refused: Whether it drifted but did not run again, to save time.
    """

    first: Trial
    repeats: tuple[Trial, ...] = ()
    isolated: tuple[IsolatedTrial, ...] = ()
    differing: Mapping[str, str] | None = None
    was_refused: bool = False

    @property
    def count(self) -> int:
        return 1 + len(self.isolated) + len(self.repeats)

    def traced(self, name: str) -> Trial:
        """The run that recorded most of what a check's pipelines did."""
        last = self.repeats[-1] if self.repeats else self.first
        return last if name in last.calls else self.first


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The result of a test.

    Attributes:
        outcomes: One for each check, in the order of the calls.
        runs: All clean runs.
        disturbing: The runs with perturbed noise.
        adopted: By check name, baselines of other keys whose envelopes are used.
    """

    outcomes: tuple[Outcome, ...]
    runs: Runs
    disturbing: Disturbing
    adopted: Mapping[str, Baseline]

    def agreed_runs(self, name: str) -> int:
        """How many runs agree on a check bit for bit; 1 if it was not repeated, or differed."""
        return 1 if name in (self.runs.differing or {}) else self.runs.count

    def recording(self, context: RunContext, name: str) -> Recording:
        """Makes the baseline of a check from the runs that agree on it."""
        agreed = self.agreed_runs(name) > 1
        return _recording(context, self.runs, self.disturbing, self.adopted, agreed=agreed)


def evaluate(
    trial: Trial, runner: Runner | None, context: RunContext, ending: Ending, writing: Writing
) -> Evaluation:
    """Judge the checks of a test, running it again where a gate asks for it.

    Args:
        trial: The first run.
        runner: Runs the test again; ``None`` if the whole run is about to end.
        context: The run.
        ending: How the first run ended.
        writing: Gets what is to be recorded.

    Raises:
        IsolationError: The test could not be run in a fresh process.
    """
    plans = _judge(trial, context, ending)
    runs = Runs(trial)
    adopted = _adoptable(plans, trial, context)
    if runner is not None:
        runner.announce(_planned(plans, trial, adopted, context))
        runs = _repeat(plans, runs, runner, context, ending)
    disturbing = Disturbing(trial, (), context.settings)
    if runner is not None and not runs.differing:
        plans = _ask(plans, runs, disturbing, adopted, context)
        disturbing = _perturb(plans, runs, adopted, runner, context)
    outcomes = _conclude(plans, runs, context)
    if not any(one.verdict is Verdict.NONDETERMINISTIC for one in outcomes):
        recording = _recording(context, runs, disturbing, adopted)
        outcomes = _record(plans, outcomes, recording, writing)
    return Evaluation(outcomes, runs, disturbing, adopted)


# --- judge --------------------------------------------------------------------------------------


def _judge(trial: Trial, context: RunContext, ending: Ending) -> Plans:
    judging = Judging(context)
    return {
        name: _plan(trial, call, judging, ending, context) for name, call in trial.calls.items()
    }


def _plan(
    trial: Trial, call: CheckCall, judging: Judging, ending: Ending, context: RunContext
) -> Plan:
    if context.settings.update is UpdateMode.NONE:
        return Plan(call, judging.judge(trial.spec, call))
    if ending.why_not_recorded:
        outcome = judging.judge(trial.spec, call)
        if not outcome.verdict.passes:
            why = f"not recorded: {ending.why_not_recorded}"
            outcome = replace(outcome, detail=(*outcome.detail, why))
        return Plan(call, outcome)
    return _plan_recording(trial, call, judging, context)


def _plan_recording(trial: Trial, call: CheckCall, judging: Judging, context: RunContext) -> Plan:
    update = context.settings.update
    try:
        own = context.references.own(call.observation.check)
    except BaselineError as error:
        return Plan(call, judging.corrupt(call, error))
    observed = call.observation.index
    if update is UpdateMode.ENVELOPE:
        if own != observed:
            return Plan(call, judging.judge(trial.spec, call))
        return Plan(call, None, Verdict.UNCHANGED)
    if own is None:
        return Plan(call, None, Verdict.RECORDED)
    if update is UpdateMode.MISSING:
        return Plan(call, judging.judge(trial.spec, call))
    if own != observed:
        return Plan(call, None, Verdict.UPDATED)
    if update is UpdateMode.ALL or context.settings.noise is NoiseMode.STORE:
        return Plan(call, None, Verdict.UNCHANGED)
    return Plan(call, _outcome(Verdict.UNCHANGED, call, context))


def _outcome(verdict: Verdict, call: CheckCall, context: RunContext) -> Outcome:
    return Outcome(
        check=call.observation.check,
        verdict=verdict,
        gate=Gate.REPEATABLE,
        reference=context.references.own_reference(call.observation.check.module),
        observation=call.observation,
        called_at=call.called_at,
    )


# --- repeat -------------------------------------------------------------------------------------


def _planned(
    plans: Plans, first: Trial, adopted: Mapping[str, Baseline], context: RunContext
) -> int:
    """How many runs the test makes if all agree; an envelope may need more."""
    is_recorded = bool(_recorded(plans))
    afresh = context.fresh.grants(first.spec.module, is_recorded=is_recorded)
    measures = _needs_envelope(plans, first, adopted)
    return first.spec.asked.runs + afresh + (first.spec.asked.envelope if measures else 0)


def _repeat(plans: Plans, runs: Runs, runner: Runner, context: RunContext, ending: Ending) -> Runs:
    """Run the test again until enough runs agree, or one differs."""
    has_report = bool(context.settings.report)
    if not any(one.is_acceptable if has_report else one.needs_repeat for one in plans.values()):
        return runs
    if not _recorded(plans) and not context.repeats.grants(runs.first.spec.module):
        return replace(runs, was_refused=True)
    before = raised_by(ending.raised)
    if context.fresh.grants(runs.first.spec.module, is_recorded=bool(_recorded(plans))):
        runs = _run_afresh(plans, runs, runner, context, before)
    level = repeated_level(_watched_level(runs.first), ending.took_s)
    while not runs.differing and len(runs.repeats) < runs.first.spec.asked.runs - 1:
        source = clean_source(runs.first.spec, context)
        trial, error = _again(runner, source, level)
        runs = replace(runs, repeats=(*runs.repeats, trial))
        seen = {name: call.observation for name, call in trial.calls.items()}
        differing = _differing(plans, before, seen, raised_by(error), name_run(runs.count))
        runs = replace(runs, differing=differing)
    return runs


def _run_afresh(
    plans: Plans, runs: Runs, runner: Runner, context: RunContext, before: Raised | None
) -> Runs:
    """Run the test in a fresh process.

    Where the run did not ask for that, only other values count against the test: it may depend on
    something that another process does not have.
    """
    module, run = runs.first.spec.module, name_run(2, isolated=True)
    try:
        isolated = runner.in_fresh_process()
    except Exception as error:  # a run that was not asked for fails no recording
        if context.fresh.demands:
            raise
        context.fresh.skip(module, getattr(error, "what", repr(error)))
        return runs
    if isolated.raised is not None and before is None and not context.fresh.demands:
        context.fresh.skip(module, f"a test raised {isolated.raised.shown} there")
        return runs
    differing = _differing(plans, before, isolated.observations, isolated.raised, run)
    if not differing:
        context.fresh.agreed(module)
    return replace(runs, isolated=(isolated,), differing=differing)


def _again(
    runner: Runner, source: NoiseSource, level: TraceLevel
) -> tuple[Trial, BaseException | None]:
    """One more run.

    Raises:
        WatchError: The recording of a trace failed, which is not a verdict about the test.
    """
    trial, error = runner.again(source, level)
    if isinstance(error, WatchError):
        raise error
    return trial, error


def _watched_level(first: Trial) -> TraceLevel:
    return first.spec.asked.trace if first.watching.is_watching else TraceLevel.OFF


def _differing(
    plans: Plans,
    before: Raised | None,
    seen: Mapping[str, Observation],
    raised: Raised | None,
    run: str,
) -> dict[str, str]:
    """By check name, how a run differs from the first."""
    if raised is not None and (before is None or raised.kind != before.kind):
        return dict.fromkeys(plans, f"{run} raised {raised.shown}")
    sentences = {
        name: first_difference(plan.call.observation, seen.get(name), run)
        for name, plan in plans.items()
    }
    return {name: sentence for name, sentence in sentences.items() if sentence}


# --- perturb ------------------------------------------------------------------------------------


def _adoptable(plans: Plans, first: Trial, context: RunContext) -> dict[str, Baseline]:
    """By check name, baselines of other keys whose envelopes are used here.

    Equal draws, weights and settings are one computation: over sixteen keys an adopted envelope
    gave no false alarm in 65,040 judgements (`docs/evidence/envelope_adoption.md`).
    """
    renews = context.settings.update in (UpdateMode.ALL, UpdateMode.ENVELOPE)
    if renews or not first.spec.asked.adopts_envelope:
        return {}
    found = {}
    for name in _recorded(plans):
        seen = plans[name].call.observation
        lender = context.references.equal_inputs(seen.check, seen.index)
        if lender is not None and _fits(lender, seen):
            found[name] = lender
    return found


def _fits(lender: Baseline, seen: Observation) -> bool:
    """Whether a baseline has the tensors of an observation, with envelopes above zero.

    Integers and bool may have none if the noise does not reach them.
    """
    kinds = [(path, record.dtype, record.shape) for path, record in seen.tensors]
    if sorted(kinds) != sorted((one.path, one.dtype, one.shape) for one in lender.tensors):
        return False
    moved = [one for one in lender.tensors if one.envelope or DTYPES[one.dtype].is_float]
    measured = (one.envelope and measured_something(one.envelope, one.dtype) for one in moved)
    return bool(moved) and all(measured)


def _recorded(plans: Plans) -> list[str]:
    return [name for name, plan in plans.items() if plan.recording is not None]


def _needs_envelope(plans: Plans, first: Trial, adopted: Mapping[str, Baseline]) -> bool:
    return first.is_noisy and any(name not in adopted for name in _recorded(plans))


def _perturb(
    plans: Plans,
    runs: Runs,
    adopted: Mapping[str, Baseline],
    runner: Runner,
    context: RunContext,
) -> Disturbing:
    """Run the test with perturbed noise as often as the checks to be recorded need."""
    recorded, first = _recorded(plans), runs.first
    made: tuple[DisturbedRun, ...] = ()
    disturbing = Disturbing(first, made, context.settings)
    if not _needs_envelope(plans, first, adopted):
        return disturbing
    # Perturbed runs record steps, to measure the envelope of each.
    level = TraceLevel.OFF if _watched_level(first) is TraceLevel.OFF else TraceLevel.STEPS
    while disturbing.count < (wanted := _runs_wanted(recorded, plans, disturbing, context)):
        if all(map(disturbing.is_hopeless, recorded)):
            break  # no check can get an envelope any more, and a run may take minutes
        runner.announce(runs.count + wanted)
        made = (*made, DisturbedRun(*_again(runner, disturbing.next_source(), level)))
        disturbing = Disturbing(first, made, context.settings)
    return disturbing


def _runs_wanted(
    recorded: Iterable[str], plans: Plans, disturbing: Disturbing, context: RunContext
) -> int:
    """How many perturbed runs the checks to be recorded need, given the runs so far."""
    asked = disturbing.asked
    if not asked or disturbing.count < asked:
        return asked
    moved: list[tuple[float, ...]] = []
    for name in recorded:
        moved += disturbing.movements(name, context.resolve(plans[name].call.observation.check))
    return runs_wanted(moved, asked)


# --- conclude -----------------------------------------------------------------------------------


def _ask(
    plans: Plans,
    runs: Runs,
    disturbing: Disturbing,
    adopted: Mapping[str, Baseline],
    context: RunContext,
) -> Plans:
    """Ask about what is to be recorded; a check that is declined is judged instead."""
    if context.settings.update is not UpdateMode.ASK:
        return plans
    recording = _recording(context, runs, disturbing, adopted)
    asked = dict(plans)
    for name in _recorded(plans):
        call = plans[name].call
        if not context.wants(_candidate(plans[name], recording.baseline(name), context)):
            asked[name] = Plan(call, Judging(context).judge(runs.first.spec, call))
    return asked


def _candidate(plan: Plan, seen: Baseline, context: RunContext) -> Candidate:
    if plan.recording is Verdict.RECORDED:
        return Candidate(context.key, seen, None, "", is_stored=False, changes=())
    stored = context.store.baseline(context.key, seen.check)
    held = {record.digest: record for _, record in plan.call.observation.tensors}
    changes = tuple(changes_of(stored, context.store.tensor, seen, held.get))
    return Candidate(context.key, seen, stored, "", is_stored=False, changes=changes)


def _conclude(plans: Plans, runs: Runs, context: RunContext) -> tuple[Outcome, ...]:
    outcomes = tuple(_concluded(name, plans, runs, context) for name in plans)
    if any(one.verdict is Verdict.NONDETERMINISTIC for one in outcomes):
        return tuple(map(_without_recording, outcomes))
    return outcomes


def _concluded(name: str, plans: Plans, runs: Runs, context: RunContext) -> Outcome:
    plan, differing = plans[name], runs.differing or {}
    asked = any(one.needs_repeat for one in plans.values())
    if plan.outcome is not None and plan.outcome.verdict is Verdict.WITHIN and not asked:
        # Repeated only for the report, which must not make a passed check fail.
        return plan.outcome
    if differing and (name in differing or plan.needs_repeat):
        return _nondeterministic(plan.call, differing.get(name) or next(iter(differing.values())))
    if plan.outcome is not None:
        outcome = Judging(context).explain(plan.outcome, runs.traced(name))
        if plan.needs_repeat and runs.was_refused:
            outcome = replace(outcome, unrepeated=context.repeats.why_not())
        return outcome
    assert plan.recording is not None
    return _outcome(plan.recording, plan.call, context)


def _nondeterministic(call: CheckCall, sentence: str) -> Outcome:
    return Outcome(
        check=call.observation.check,
        verdict=Verdict.NONDETERMINISTIC,
        gate=Gate.REPEATABLE,
        observation=call.observation,
        cause=Cause.NONDETERMINISM,
        detail=(sentence,),
        called_at=call.called_at,
    )


def _without_recording(outcome: Outcome) -> Outcome:
    """The outcome if another check of the test is nondeterministic: nothing is recorded."""
    if outcome.verdict not in (Verdict.RECORDED, Verdict.UPDATED):
        return outcome
    return replace(
        outcome,
        verdict=Verdict.NONDETERMINISTIC,
        cause=Cause.NONDETERMINISM,
        detail=("another check of this test differs from run to run; nothing was recorded",),
    )


def _recording(
    context: RunContext,
    runs: Runs,
    disturbing: Disturbing,
    adopted: Mapping[str, Baseline],
    *,
    agreed: bool = True,
) -> Recording:
    repeats, count = (list(runs.repeats), runs.count) if agreed else ([], 1)
    return Recording(context, runs.first, repeats, count, disturbing, adopted)


def _record(
    plans: Plans, outcomes: tuple[Outcome, ...], recording: Recording, writing: Writing
) -> tuple[Outcome, ...]:
    recorded = list(outcomes)
    for position, (name, plan) in enumerate(plans.items()):
        if plan.recording is not None:
            verdict = recording.record(name, plan.recording, writing)
            said = recording.absence(name)
            detail = (said,) if said and verdict is not Verdict.UNCHANGED else ()
            recorded[position] = replace(outcomes[position], verdict=verdict, detail=detail)
    return tuple(recorded)
