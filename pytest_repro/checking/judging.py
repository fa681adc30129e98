"""Judging one check against its reference: the gates value, inputs, exact and tolerance."""

from __future__ import annotations

from dataclasses import replace

from pytest_repro.checking.context import RunContext
from pytest_repro.checking.explain import (
    ComponentDiff,
    Evidence,
    Slack,
    decide_cause,
    setting_changes,
    unread_settings,
    weights_tables,
)
from pytest_repro.checking.references import Found, narrower
from pytest_repro.checking.spec import TestSpec
from pytest_repro.checking.trial import CheckCall, Trial
from pytest_repro.environment.kernels import differing, kernels_from_rows, named_kernels
from pytest_repro.environment.key import HardwareKind, compare_facts, parse_hardware
from pytest_repro.errors import BaselineError
from pytest_repro.model.baseline import (
    Baseline,
    Difference,
    DrawLogDifference,
    Environment,
    TensorSummary,
)
from pytest_repro.model.outcome import Observation, Outcome, Reference
from pytest_repro.model.words import Distance, Gate, Verdict
from pytest_repro.noise.draw_log import compare_draw_logs
from pytest_repro.store.system import is_file
from pytest_repro.tolerance.bounds import Tolerance
from pytest_repro.tolerance.choose import (
    Chosen,
    LeafJudgement,
    Structured,
    choose_tolerance,
    described,
    factor_of,
    judge_leaves,
    structure_faults,
    value_faults,
)
from pytest_repro.tolerance.judge import EXACT, passing_tolerance
from pytest_repro.trace.components import SettingChange, WeightsChange, compare_weights
from pytest_repro.trace.jump import LARGEST, largest_jump
from pytest_repro.trace.records import trace_from_rows


class Judging:
    """Judges checks of one run."""

    def __init__(self, context: RunContext) -> None:
        self._context = context

    def judge(self, spec: TestSpec, call: CheckCall) -> Outcome:
        """The outcome of a check after one run."""
        check = call.observation.check
        reach = self.reach(spec, call)
        try:
            found = self._context.references.find(check, reach)
            if found is None:
                return self._missing(call, reach)
            return self._against(spec, call, found)
        except BaselineError as error:
            return self.corrupt(call, error)

    def reach(self, spec: TestSpec, call: CheckCall) -> Distance:
        """How far the reference of this check may be: the narrowest of all requests."""
        resolved = self._context.resolve(call.observation.check)
        return narrower(
            self._context.settings.reference,
            spec.asked.reference,
            call.reference,
            resolved.reference or Distance.ANY,
        )

    def corrupt(self, call: CheckCall, error: BaselineError) -> Outcome:
        """The outcome of a check whose baseline cannot be used; never ``missing``."""
        return Outcome(
            check=call.observation.check,
            verdict=Verdict.CORRUPT,
            gate=Gate.VALUE,
            observation=call.observation,
            detail=tuple(line.strip() for line in str(error).splitlines()),
            called_at=call.called_at,
        )

    def _missing(self, call: CheckCall, reach: Distance) -> Outcome:
        check = call.observation.check
        elsewhere = self._context.references.elsewhere(check)
        key = self._context.key
        why: tuple[str, ...] = ("no baseline has been recorded",)
        if elsewhere:
            keys = ", ".join(str(one) for one in elsewhere[:4])
            more = f" and {len(elsewhere) - 4} more" if len(elsewhere) > 4 else ""
            why = (f"recorded for {keys}{more}; none of them is within `{reach}` of {key}",)
        elif not self._context.store.keys():
            # E.g. if the root folder is not the one of the recording.
            why = (*why, f"there are no baselines in {self._context.store.folder}")
        return Outcome(
            check=check,
            verdict=Verdict.MISSING,
            gate=Gate.VALUE,
            observation=call.observation,
            detail=why,
            called_at=call.called_at,
        )

    def _against(self, spec: TestSpec, call: CheckCall, found: Found) -> Outcome:
        observation = call.observation
        if found.entry == observation.index:
            return self._exact(call, found)
        baseline, reference = self._context.references.load(found, observation.check)
        faults = structure_faults(
            Structured(tuple(one.path for one in baseline.tensors), baseline.structure),
            Structured(tuple(path for path, _ in observation.tensors), observation.structure),
        )
        faults += value_faults(baseline.tensors, observation.tensors)
        facts = compare_facts(baseline.provenance.environment, self._context.environment)
        noise = compare_draw_logs(baseline.draw_log, observation.draw_log, facts)
        weights, renamed = self._weights(baseline, observation)
        settings = self._settings(call, baseline)
        unread = unread_settings(self._context.store, baseline, observation.settings)
        allowed, why = self._relaxed(call)
        relaxed: list[str] = []
        if noise is not None and "noise" in allowed:
            relaxed, noise = [*relaxed, f"other draws ({why})"], None
        if weights and "weights" in allowed:
            named = ", ".join(one.component for one in weights)
            relaxed, weights = [*relaxed, f"other weights of {named} ({why})"], ()
        if (settings or unread) and "settings" in allowed:
            relaxed = [*relaxed, *(f"{one} ({why})" for one in (*settings, *unread))]
            settings = unread = ()
        is_equal = found.entry.value == observation.digest
        if faults or noise is not None or weights or ((settings or unread) and not is_equal):
            early = self._drift_early(call, baseline, reference, faults, noise)
            return replace(early, detail=(*early.detail, *unread))
        if is_equal:
            said = tuple(f"{one}, and the result is equal" for one in (*settings, *unread))
            return replace(self._exact(call, found), detail=(*said, *renamed, *relaxed))
        outcome = self._tolerance(spec, call, baseline, reference)
        return replace(outcome, detail=(*outcome.detail, *renamed, *relaxed))

    def _weights(
        self, baseline: Baseline, seen: Observation
    ) -> tuple[tuple[WeightsChange, ...], tuple[str, ...]]:
        """The components of both sides whose weights differ, and those with other names only."""
        changes = compare_weights(baseline.weights, seen.weights)
        changes = tuple(one for one in changes if one.baseline and one.observed)
        if not changes:
            return (), ()
        tables = weights_tables(self._context.store, baseline.weights)
        known = compare_weights(baseline.weights, seen.weights, baseline_tensors=tables)
        left = {one.component for one in known}
        renamed = tuple(
            f"parameters of {one.component} have other names and the same bits"
            for one in changes
            if one.component not in left
        )
        return tuple(one for one in changes if one.component in left), renamed

    def _relaxed(self, call: CheckCall) -> tuple[tuple[str, ...], str]:
        """The inputs that the policy lets differ, and where and why it does."""
        resolved = self._context.resolve(call.observation.check)
        decision = next((one for one in resolved.decisions if one.field == "inputs"), None)
        if decision is None:
            return (), ""
        why = f"{resolved.origin('inputs')}: {decision.rule.reason}"
        return resolved.inputs or (), why

    def _settings(self, call: CheckCall, baseline: Baseline) -> tuple[SettingChange, ...]:
        """The entries of settings that both sides have and that differ."""
        changes = setting_changes(self._context.store, baseline, call.observation.settings)
        return tuple(one for one in changes if not one.is_one_sided)

    def _exact(self, call: CheckCall, found: Found) -> Outcome:
        check = call.observation.check
        return Outcome(
            check=check,
            verdict=Verdict.EXACT,
            gate=Gate.EXACT,
            reference=self._context.references.reference(found, check.module),
            observation=call.observation,
            called_at=call.called_at,
        )

    def _drift_early(
        self,
        call: CheckCall,
        baseline: Baseline,
        reference: Reference,
        faults: tuple[str, ...],
        noise: DrawLogDifference | None,
    ) -> Outcome:
        return Outcome(
            check=call.observation.check,
            verdict=Verdict.DRIFT,
            gate=Gate.VALUE if faults else Gate.INPUTS,
            reference=reference,
            observation=call.observation,
            baseline=baseline,
            noise=noise,
            detail=faults,
            called_at=call.called_at,
            differences=() if faults else self._differences(call, baseline),
        )

    def _tolerance(
        self, spec: TestSpec, call: CheckCall, baseline: Baseline, reference: Reference
    ) -> Outcome:
        leaves = self._leaves(spec, call, baseline, reference.distance)
        hopeless = next((one.chosen for one in leaves if one.chosen.proves_nothing), None)
        passes = all(leaf.passes for leaf in leaves)
        is_measured = not any(leaf.chosen.written for leaf in leaves)
        jumps: tuple[str, ...] = ()
        if passes and is_measured and reference.distance is not Distance.OWN:
            jumps = self._jumps(call, baseline)
        tolerance, origin = described(leaves)
        # If nothing can be judged, no number may suggest a judgement or a passing tolerance.
        judged = leaves if hopeless is None else ()
        return Outcome(
            check=call.observation.check,
            verdict=_verdict(passes and not jumps, hopeless),
            gate=_gate(leaves),
            reference=reference,
            observation=call.observation,
            baseline=baseline,
            differences=tuple((leaf.path, leaf.difference) for leaf in leaves),
            uses=judged[0].uses if judged else (),
            tolerance=tolerance,
            tolerance_origin=origin,
            passing_tolerance=passing_tolerance(judged[0].difference) if judged else "",
            detail=(*jumps, *_sentences(leaves, hopeless, can_pull=self._can_pull())),
            called_at=call.called_at,
        )

    def _jumps(self, call: CheckCall, baseline: Baseline) -> tuple[str, ...]:
        """The local error of a cell that an envelope of the result does not show.

        It is sought where both runs recorded every cell.
        """
        observed = call.observation.trace
        if observed is None or not observed.cells or baseline.trace is None:
            return ()
        rows = self._context.store.rows(baseline.trace)
        jump = None if rows is None else largest_jump(trace_from_rows(rows), observed)
        return () if jump is None or jump.times <= LARGEST else (jump.sentence,)

    def _leaves(
        self, spec: TestSpec, call: CheckCall, baseline: Baseline, distance: Distance
    ) -> tuple[LeafJudgement, ...]:
        resolved = self._context.resolve(call.observation.check)
        asked = self._asked(spec, call)

        def choose(summary: TensorSummary) -> Chosen:
            return choose_tolerance(asked, resolved, distance, summary, baseline.no_envelope)

        return judge_leaves(
            baseline.tensors, call.observation.tensors, self._context.references.tensor, choose
        )

    def _asked(self, spec: TestSpec, call: CheckCall) -> tuple[tuple[Tolerance | None, str], ...]:
        return (
            (call.tolerance, f"repro_check at {self._context.shown(call.called_at)}"),
            (spec.asked.tolerance, "@pytest.mark.repro"),
        )

    def _differences(
        self, call: CheckCall, baseline: Baseline
    ) -> tuple[tuple[str, Difference], ...]:
        leaves = judge_leaves(
            baseline.tensors,
            call.observation.tensors,
            self._context.references.tensor,
            lambda _: Chosen(Tolerance.EXACT, ""),
        )
        return tuple((leaf.path, leaf.difference) for leaf in leaves)

    def explain(self, outcome: Outcome, trial: Trial) -> Outcome:
        """A drift with its cause and where it began; any other outcome unchanged.

        ``trial`` is the run with the most detailed trace.
        """
        baseline, seen = outcome.baseline, trial.calls[outcome.check.name].observation
        if outcome.verdict is not Verdict.DRIFT or baseline is None:
            return outcome
        before, now = baseline.provenance.environment, self._context.environment
        facts = compare_facts(before, now)
        components = ComponentDiff(self._context.store, baseline, trial)
        finding = decide_cause(
            Evidence(
                noise=outcome.noise,
                weights=components.weights_changes(seen.weights),
                settings=components.setting_changes(seen.settings),
                facts=facts,
                kernels=self._kernels(before),
                first_cell=components.first_cell(seen.trace),
                baseline=before,
                observed=now,
                value_passed=outcome.gate is not Gate.VALUE,
                is_rounding=not _is_below_tolerance(outcome),
            )
        )
        slack = self._slack(outcome, trial)
        begun = components.divergence_sentences(seen.trace, slack)
        is_ascend = parse_hardware(now.key.hardware).kind is HardwareKind.ASCEND
        return replace(
            outcome,
            cause=finding.cause,
            facts=facts,
            evidence=(finding.sentence, *finding.evidence),
            began=begun,
            is_on_hub=any(one.statistics_only for _, one in outcome.differences)
            and self._can_pull(),
            operators=components.dump_lines(seen.trace, slack) if is_ascend else (),
        )

    def _can_pull(self) -> bool:
        return is_file(self._context.store.pin_path)

    def _kernels(self, recorded: Environment) -> tuple[str, ...] | None:
        """The kernels that compute different bits here; ``None`` where none were recorded."""
        digest = named_kernels(recorded)
        rows = None if digest is None else self._context.store.rows(digest)
        return None if rows is None else differing(kernels_from_rows(rows), self._context.kernels())

    def _slack(self, outcome: Outcome, trial: Trial) -> Slack | None:
        if outcome.reference is None or outcome.reference.distance is Distance.OWN:
            return None
        if any(use.measure == EXACT for use in outcome.uses):
            return None  # an exact check shows the first bit that moved
        asked = self._asked(trial.spec, trial.calls[outcome.check.name])
        allowed = (use.allowed for use in outcome.uses if use.measure == "rel_l2")
        return Slack(
            factor=factor_of(asked, self._context.resolve(outcome.check)),
            otherwise_rel_l2=max(allowed, default=0.0),
        )


def _verdict(passes: bool, hopeless: Chosen | None) -> Verdict:
    if hopeless is not None:
        return Verdict.MISSING
    return Verdict.WITHIN if passes else Verdict.DRIFT


def _is_below_tolerance(drift: Outcome) -> bool:
    """Whether a drift is within its tolerance: the local error of a cell made it one."""
    return bool(drift.uses) and all(use.share <= 1.0 for use in drift.uses)


def _gate(leaves: tuple[LeafJudgement, ...]) -> Gate:
    placed = any(leaf.difference.non_finite is not None for leaf in leaves)
    return Gate.VALUE if placed else Gate.TOLERANCE


def _sentences(
    leaves: tuple[LeafJudgement, ...], hopeless: Chosen | None, *, can_pull: bool
) -> tuple[str, ...]:
    sentences = [] if hopeless is None else [hopeless.proves_nothing]
    if any(leaf.difference.statistics_only for leaf in leaves):
        fetch = "; pytest-repro pull fetches it" if can_pull else ""
        said = f"the baseline's tensor was not pulled: only statistics were compared{fetch}"
        sentences.append(said)
    for leaf in leaves:
        sentences.extend(leaf.unjudged)
    return tuple(dict.fromkeys(sentences))
