"""The repeatable gate: whether a second run of a test saw the same, and where they part."""

from __future__ import annotations

from pytest_repro.core.compare import compare_records
from pytest_repro.core.divergence import first_divergence
from pytest_repro.core.ledger import compare_ledgers
from pytest_repro.core.model import Difference, Observation, TensorRecord
from pytest_repro.session.trial import CheckCall

__all__ = ["parting"]


def parting(first: Observation, again: CheckCall | None, run: int) -> str:
    """Where run ``run`` parts from the first, in one sentence; ``""`` when they are equal.

    The noise is looked at before the value, because a different draw explains a different value.
    """
    if again is None:
        return f"run {run} did not reach this check"
    second = again.observation
    noise = compare_ledgers(first.ledger, second.ledger)
    if noise is not None:
        return f"run {run} drew other noise: {noise.sentence}"
    if first.digest == second.digest:
        return ""
    return (
        f"run {run} drew the same noise and gave other numbers{_where(first, second)}"
        f"{_step(first, second)}"
    )


def _step(first: Observation, second: Observation) -> str:
    """The first step at which the traces part, where both have one."""
    if first.trace is None or second.trace is None:
        return ""
    divergence = first_divergence(first.trace, second.trace)
    if divergence is None or divergence.step is None:
        return ""
    step = divergence.step.step
    return f"; they part at {step.scheduler} step {step.position}"


def _where(first: Observation, second: Observation) -> str:
    others = dict(second.tensors)
    for path, record in first.tensors:
        other = others.get(path)
        if other is None or other.digest == record.digest:
            continue
        return f": {path + ': ' if path else ''}{_element(record, other)}"
    return ""


def _element(first: TensorRecord, second: TensorRecord) -> str:
    if (first.dtype, first.shape) != (second.dtype, second.shape):
        return f"{first.dtype} {first.shape} became {second.dtype} {second.shape}"
    difference = compare_records(first, second)
    counted = f"{difference.differing_count} of {difference.element_count} elements"
    return counted + _worst(difference)


def _worst(difference: Difference) -> str:
    place = difference.worst_abs
    if place is None:
        return ""
    return f", worst at {place.index}: {place.baseline} then {place.observed}"
