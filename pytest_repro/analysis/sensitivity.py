"""How much a pipeline amplifies its noise, as numbers, from stored envelopes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pytest_repro.model.baseline import TensorSummary
from pytest_repro.model.ids import CheckId, EnvironmentKey


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """How one tensor of a check reacts to noise that is perturbed by one ULP.

    Attributes:
        check, key, path: The tensor, and where it was recorded.
        dtype, shape: Of the tensor.
        runs: Perturbed runs.
        input_rel_l2: Mean relative size of the perturbation, dimensionless.
        output_rel_l2: Mean relative movement of the tensor, dimensionless.
        output_rel_l2_max: Largest relative movement.
        amplification: ``output_rel_l2 / input_rel_l2``; ``None`` if nothing was perturbed.
        digits: Significant decimal digits that survive in every run; 0.0 if none does, infinity
            if no bit moved.
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
    """The sensitivity of a tensor; ``None`` without an envelope.

    ``digits`` is the estimator for any distribution, ``max{k: |Z_i| <= 10^-k for all runs i}``,
    with the relative movement of the whole array (rel_l2) as ``Z_i``, because an element near zero
    has no digits to lose. ``k`` is a real number; the package significantdigits
    (``method="general"``) counts whole bits, so its figure is at most 0.30 digits smaller.
    `least_probability` says how certain the figure is with few runs.
    Source: Sohier, de Oliveira Castro, Fevotte, Lathuiliere, Petit, Jamond, "Confidence Intervals
    for Stochastic Arithmetic", ACM Transactions on Mathematical Software 47(2), 2021: significant
    digits of a general distribution, by a Bernoulli trial a run.
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


def least_probability(runs: int, confidence: float = 0.95) -> float:
    """The least probability that one more perturbed run keeps as many digits.

    All ``runs`` (at least 1) independent perturbations did, so a probability below
    ``(1 - confidence)^(1 / runs)`` is refuted at that confidence: 0.47 for 4 runs, 0.95 for 59.
    Source: as for `sensitivity_of`.
    """
    return float((1.0 - confidence) ** (1.0 / runs))


def _surviving_digits(moved_rel_l2: float) -> float:
    if moved_rel_l2 == 0.0:
        return math.inf
    return max(0.0, -math.log10(moved_rel_l2)) if math.isfinite(moved_rel_l2) else 0.0
