"""Owns standing: how a stored value would be judged, were another stored value its baseline."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pytest_repro.model.baseline import TensorSummary, Verdict
from pytest_repro.survey.agreement import LeafDistance, Stored
from pytest_repro.tolerance.bounds import Tolerance
from pytest_repro.tolerance.choose import Chosen
from pytest_repro.tolerance.judge import elementwise_share, needs_elements, uses, without_elements

__all__ = ["standing_of"]


def standing_of(
    distances: Sequence[LeafDistance],
    baseline: Sequence[TensorSummary],
    other: Sequence[TensorSummary],
    stored: Stored,
    choose: Callable[[TensorSummary], Chosen],
) -> Verdict:
    """``within``, ``drift``, or ``missing`` where the tolerance is so wide that it proves nothing.

    The tolerance gate of a run that observed ``other``; noise and hardware are the caller's affair.

    Args:
        distances: What `leaf_distances` gave for the two.
        baseline: The tensors that count as the baseline.
        other: The tensors that are judged.
        stored: Gives a tensor by digest; ``None`` when absent, then its statistics are judged.
        choose: Gives the tolerance in force for a tensor of the baseline.
    """
    before = {one.path: one for one in baseline}
    after = {one.path: one for one in other}
    compared = [one for one in distances if not one.incomparable]
    chosen = {one.path: choose(before[one.path]) for one in compared}
    if any(one.proves_nothing for one in chosen.values()):
        return Verdict.MISSING
    passes = len(compared) == len(distances) and all(
        _passes(one, chosen[one.path], before[one.path], after[one.path], stored)
        for one in compared
    )
    return Verdict.WITHIN if passes else Verdict.DRIFT


def _passes(
    distance: LeafDistance,
    chosen: Chosen,
    before: TensorSummary,
    after: TensorSummary,
    stored: Stored,
) -> bool:
    difference = distance.difference
    assert difference is not None  # only what cannot be compared has none
    tolerance = chosen.tolerance
    if distance.is_estimate and not chosen.written:
        tolerance = without_elements(tolerance)
    share = None if distance.is_estimate else _share(tolerance, before, after, stored)
    return all(use.share <= 1.0 for use in uses(tolerance, difference, elementwise=share))


def _share(
    tolerance: Tolerance, before: TensorSummary, after: TensorSummary, stored: Stored
) -> float | None:
    if not needs_elements(tolerance):
        return None
    one, two = stored(before.digest), stored(after.digest)
    assert one is not None  # else their distance is an estimate
    assert two is not None
    return elementwise_share(tolerance, one.array, two.array)
