"""Owns sensitivity: how much a pipeline amplifies its noise, as numbers, from stored envelopes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pytest_repro.core.model import CheckId, EnvironmentKey, TensorSummary

__all__ = ["Sensitivity", "sensitivity_of"]


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """How one tensor of a check answers to noise that is disturbed by one ULP.

    Attributes:
        check, key, path: Which tensor, recorded where.
        dtype, shape: Of the tensor.
        runs: Disturbed runs behind the figures.
        input_rel_l2: Mean relative size of the disturbance, dimensionless.
        output_rel_l2: Mean relative movement of the tensor, dimensionless.
        output_rel_l2_max: Largest relative movement.
        amplification: ``output_rel_l2 / input_rel_l2``; ``None`` when nothing was disturbed.
        digits: Significant decimal digits that survive in every run; 0.0 when none does, infinity
            when no bit moved.
    """

    check: CheckId
    key: EnvironmentKey
    path: str
    dtype: str
    shape: tuple[int, ...]
    runs: int
    input_rel_l2: float
    output_rel_l2: float
    output_rel_l2_max: float
    amplification: float | None
    digits: float


def sensitivity_of(
    check: CheckId, key: EnvironmentKey, summary: TensorSummary
) -> Sensitivity | None:
    """The sensitivity of a tensor; ``None`` where no envelope was measured.

    ``digits`` is ``-log10`` of the largest relative movement: Parker's ``-log10(sigma / |mu|)`` of
    Monte Carlo arithmetic with the norm over the whole array instead of a standard deviation an
    element, and the largest of few runs instead of an estimate.
    Source: Sohier, de Oliveira Castro, Fevotte, Lathuiliere, Petit, Jamond, "Confidence Intervals
    for Stochastic Arithmetic", ACM Transactions on Mathematical Software 47(2), 2021, section 2.
    """
    envelope = summary.envelope
    if envelope is None:
        return None
    given = envelope.input_rel_l2
    return Sensitivity(
        check=check,
        key=key,
        path=summary.path,
        dtype=summary.dtype,
        shape=summary.shape,
        runs=envelope.runs,
        input_rel_l2=given,
        output_rel_l2=envelope.rel_l2_mean,
        output_rel_l2_max=envelope.rel_l2_max,
        amplification=envelope.rel_l2_mean / given if given > 0.0 else None,
        digits=_surviving_digits(envelope.rel_l2_max),
    )


def _surviving_digits(moved_rel_l2: float) -> float:
    if moved_rel_l2 == 0.0:
        return math.inf
    return max(0.0, -math.log10(moved_rel_l2)) if math.isfinite(moved_rel_l2) else 0.0
