"""Comparing what pipelines are made of, and what they did, with the records of a baseline."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from pytest_repro.adapters.store import Store
from pytest_repro.core.component_rows import configurations_from_rows, weights_from_rows
from pytest_repro.core.components import (
    ComponentWeights,
    SettingChange,
    WeightsChange,
    compare_configurations,
    compare_weights,
)
from pytest_repro.core.divergence import first_divergence, how_far
from pytest_repro.core.divergence_words import divergence_sentences
from pytest_repro.core.errors import BaselineError
from pytest_repro.core.model import Baseline, WeightsDigest
from pytest_repro.core.trace import SignalRecord, Trace, trace_from_rows
from pytest_repro.session.trial import Trial
from pytest_repro.session.watching import Anatomy

__all__ = ["Anatomies"]


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

    def divergence_sentences(self, observed: Trace | None, agreement: float) -> tuple[str, ...]:
        """Where the trace parts from the baseline's, in words; nothing where either is absent.

        Args:
            observed: This run's trace.
            agreement: rel_l2 up to which signals agree; 0.0 for bitwise.
        """
        if observed is None or self._baseline.trace is None:
            return ()
        try:
            rows = self._store.rows(self._baseline.trace)
            before = None if rows is None else trace_from_rows(rows)
        except BaselineError as error:
            return (f"the baseline's trace cannot be read: {error.what}",)
        if before is None:
            return ("the baseline's trace was not pulled, so nothing says where this began",)

        def within(one: SignalRecord, two: SignalRecord) -> bool:
            return how_far(one, two).rel_l2 <= agreement

        found = first_divergence(before, observed, within=within if agreement > 0 else None)
        return () if found is None else divergence_sentences(found)

    @cached_property
    def _anatomy(self) -> Anatomy:
        return self._trial.watching.anatomy()

    def _table(self, one: WeightsDigest) -> ComponentWeights | None:
        rows = self._store.rows(one.digest)
        return None if rows is None else weights_from_rows(one.component, rows)
