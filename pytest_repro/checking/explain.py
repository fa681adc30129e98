"""Comparing what pipelines are made of, and what they did, with the records of a baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from pytest_repro.checking.trial import Trial
from pytest_repro.checking.watching import Anatomy
from pytest_repro.errors import BaselineError
from pytest_repro.model.baseline import Baseline, WeightsDigest
from pytest_repro.store.store import Store
from pytest_repro.trace.component_rows import configurations_from_rows, weights_from_rows
from pytest_repro.trace.components import (
    ComponentWeights,
    SettingChange,
    WeightsChange,
    compare_configurations,
    compare_weights,
)
from pytest_repro.trace.divergence import Divergence, Within, first_divergence, how_far
from pytest_repro.trace.envelope import StepBounds, step_envelope_from_rows, within_steps
from pytest_repro.trace.msprobe_target import DumpTarget, dump_target
from pytest_repro.trace.records import SignalRecord, Trace, trace_from_rows
from pytest_repro.trace.unpaired_cells import unpaired_sentences
from pytest_repro.trace.wording import all_within_sentence, divergence_sentences

__all__ = ["Anatomies", "Slack"]


@dataclass(frozen=True, slots=True)
class Slack:
    """How far the signals of a fallback's trace may be from the baseline's.

    Attributes:
        factor: By which each step's envelope is multiplied, where the baseline has one.
        otherwise_rel_l2: What holds for every signal where it has none; 0.0 for bitwise.
    """

    factor: float
    otherwise_rel_l2: float


def _uniform(slack: Slack) -> Within | None:
    def within(one: SignalRecord, two: SignalRecord) -> bool:
        return how_far(one, two).rel_l2 <= slack.otherwise_rel_l2

    return within if slack.otherwise_rel_l2 > 0 else None


class Anatomies:
    """The pipelines of a baseline beside those of a trial.

    Records that were not pulled are passed over: what they would say is said less precisely.

    Args:
        store: Where the records lie.
        baseline: The baseline.
        trial: This run.
    """

    def __init__(self, store: Store, baseline: Baseline, trial: Trial) -> None:
        self._store = store
        self._baseline = baseline
        self._trial = trial

    def weights_changes(self, observed: Sequence[WeightsDigest]) -> tuple[WeightsChange, ...]:
        """The components whose weights differ; parameter by parameter where tables exist."""
        before = self._baseline.weights
        if tuple(before) == tuple(observed) or not before or not observed:
            return ()
        return compare_weights(
            before,
            observed,
            baseline_tensors=[table for one in before if (table := self._table(one)) is not None],
            observed_tensors=self._anatomy.weights,
        )

    def setting_changes(self) -> tuple[SettingChange, ...]:
        """The entries of configurations that differ."""
        if self._baseline.configuration is None:
            return ()
        rows = self._store.rows(self._baseline.configuration)
        if rows is None:
            return ()
        return compare_configurations(configurations_from_rows(rows), self._anatomy.configurations)

    def divergence_sentences(self, observed: Trace | None, slack: Slack | None) -> tuple[str, ...]:
        """Where the trace parts from the baseline's, in words; nothing where either is absent.

        Args:
            observed: This run's trace.
            slack: How far a fallback's signals may be apart; ``None`` for bitwise.
        """
        if observed is None or self._baseline.trace is None:
            return ()
        try:
            before = self._before
        except BaselineError as error:
            return (f"the baseline's trace cannot be read: {error.what}",)
        if before is None:
            return ("the baseline's trace was not pulled, so nothing says where this began",)
        found, bounds = self._divergence(before, observed, slack)
        if found is not None:
            unpaired = unpaired_sentences(found, before, observed)
            return divergence_sentences(found, bounds, unpaired=unpaired)
        return () if bounds is None else (all_within_sentence(before, observed, bounds),)

    def dump_target(self, observed: Trace | None, slack: Slack | None) -> DumpTarget | None:
        """What msprobe is to dump of this run; ``None`` where nothing says where it began."""
        try:
            before = self._before
        except BaselineError:
            return None  # the sentences say so
        if observed is None or before is None:
            return None
        found, _ = self._divergence(before, observed, slack)
        return None if found is None else dump_target(found, observed)

    def _divergence(
        self, before: Trace, observed: Trace, slack: Slack | None
    ) -> tuple[Divergence | None, StepBounds | None]:
        """Where the traces part, and the bounds of each step by which that was judged."""
        if slack is None:
            return first_divergence(before, observed), None
        bounds = self._bounds(slack)
        within = _uniform(slack) if bounds is None else within_steps(before, bounds)
        return first_divergence(before, observed, within=within), bounds

    def _bounds(self, slack: Slack) -> StepBounds | None:
        """The bounds of each step, where the baseline measured them and they were pulled."""
        wanted = self._baseline.step_envelope
        try:
            rows = None if wanted is None else self._store.rows(wanted)
            return None if rows is None else StepBounds(step_envelope_from_rows(rows), slack.factor)
        except BaselineError:
            return None

    @cached_property
    def _before(self) -> Trace | None:
        """The baseline's trace; ``None`` where there is none or it was not pulled."""
        if self._baseline.trace is None:
            return None
        rows = self._store.rows(self._baseline.trace)
        return None if rows is None else trace_from_rows(rows)

    @cached_property
    def _anatomy(self) -> Anatomy:
        return self._trial.watching.anatomy()

    def _table(self, one: WeightsDigest) -> ComponentWeights | None:
        rows = self._store.rows(one.digest)
        return None if rows is None else weights_from_rows(one.component, rows)
