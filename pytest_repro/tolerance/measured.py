"""Tolerances from measurements: from an envelope, or by dtype without one.

Every constant here comes from DDIM and tiny UnCLIP of mindone 0.2.0 with random weights on a
two-core x86-64 CPU. A small trained DDIM, and DDIM in float16, stay within them under other SIMD
levels (docs/evidence/fault_score.md); Ascend was not measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict

from pytest_repro.errors import SettingError
from pytest_repro.model.baseline import Difference, Envelope, TensorSummary
from pytest_repro.settings import ENVELOPE_RUNS
from pytest_repro.tolerance.bounds import COUNT_NAMES, StatisticBound, Tolerance

_EPSILON = {
    "float64": 2.0**-52,
    "float32": 2.0**-23,
    "float16": 2.0**-10,
    "bfloat16": 2.0**-7,
}
_GROWTH = 4096.0
_CEILING = {"float16": 5e-2, "bfloat16": 1e-1}
_CEILING_OTHERWISE = 1e-2
_STATISTIC_PART = 1.0 / 8.0

QUANTIZED = ("uint8",)
"""Dtypes whose elements are rounded to levels from floats: pictures."""
_FEW = 1.0 / 8.0
_SIGMAS = 3.0


def fallback_tolerance(dtype_name: str) -> Tolerance:
    """The tolerance of a fallback without an envelope.

    ``rel_l2 <= min(4096 * epsilon, ceiling / 2)``, and ``abs_sum`` and ``l2`` within an eighth of
    that. float32 gives 4.9e-4. Integers, bool and unknown names: exact.

    Source of 4096: float32 results of equal code on other SIMD levels, core counts and releases
    differ by rel_l2 3e-7 to 6e-7 (DDIM, 2 steps), 1.3e-4 (one ULP of noise, 10 steps) and 8.0e-5
    (UnCLIP): up to 1,100 epsilon, so 4096 leaves 3.7x. The smallest planted regression at 10 steps
    (group norm's eps x 10, cosine distance 7.5e-7) is rel_l2 1.2e-3, 2.5x above it. A DDIM of 50
    steps with random weights is chaotic (0.40), which only an envelope shows. For float16 and
    bfloat16 half of the ceiling holds, because 4096 epsilon exceed 1; float16 instead of float32
    moves DDIM by 1.3e-3 and UnCLIP by 0.11, which this refuses.

    Source of the eighth: in those runs sums move 40 to 200 times less than rel_l2, because rounding
    has both signs; a regression (gamma, brightness) has one. Other statistics are left out, because
    an rtol cannot bound them: a latent's mean, a flat image's std, a clipped image's min can be 0.
    """
    epsilon = _EPSILON.get(dtype_name)
    if epsilon is None:
        return Tolerance.EXACT
    rel_l2 = min(_GROWTH * epsilon, ceiling(dtype_name) / 2.0)
    part = rel_l2 * _STATISTIC_PART
    names = ("abs_sum", "l2")
    return Tolerance(
        rel_l2=rel_l2, statistics=tuple(StatisticBound(name, rtol=part) for name in names)
    )


def quantized_fallback(summary: TensorSummary) -> Tolerance:
    """The tolerance of a fallback for a uint8 picture without an envelope.

    A float near the step between two levels may round to the other one. A float that is off by a
    share d of a level flips with probability d, and the mean of d is at most its root mean square:
    rel_l2 of the floats times the picture's root mean square in levels. With rel_l2 of
    `fallback_tolerance("float32")` that is 6 % of the elements of a picture around 128, each by
    one level.
    """
    count = math.prod(summary.shape)
    floats = fallback_tolerance("float32").rel_l2 or 0.0
    flips = floats * summary.statistics.l2 * math.sqrt(count)
    return _one_level(summary, _most_flips(flips))


def quantized_tolerance(
    summary: TensorSummary, envelope: Envelope, factor: float
) -> Tolerance | None:
    """``factor`` times the flips that one ULP of noise causes, each by one level.

    Flips are rare and independent, so their number is a Poisson variable, of which the envelope
    has the largest of a few runs; `_most_flips` gives the mean that may be behind it. ``None`` if
    elements moved by two levels or more, or if one in eight or more would flip: then the envelope
    bounds the picture like floats. Below one in eight a float is off by 0.16 levels (one sigma; the
    mean of absolute values is 0.8 sigma), and two levels would take more than six sigma.
    """
    count = math.prod(summary.shape)
    if envelope.max_abs_max > 1.0 or factor * envelope.mean_abs_max > _FEW:
        return None
    return _one_level(summary, factor * _most_flips(envelope.mean_abs_max * count))


def _most_flips(seen: float) -> float:
    """The mean of a Poisson variable of which ``seen`` is three standard deviations below.

    The root of a count has a standard deviation of about 1/2 (Anscombe, "The transformation of
    Poisson, binomial and negative-binomial data", Biometrika 35, 1948).
    """
    return (math.sqrt(seen + 1.0) + _SIGMAS / 2.0) ** 2


def _one_level(summary: TensorSummary, flips: float) -> Tolerance:
    count = math.prod(summary.shape)
    share = min(1.0, flips / max(1, count))
    norm = summary.statistics.l2
    rel_l2 = math.sqrt(share * count) / norm if norm else None
    return Tolerance(atol=1.0, differing=share, rel_l2=rel_l2)


def measured_something(envelope: Envelope, dtype_name: str) -> bool:
    """Whether the noise moved, and the result with it.

    A uint8 picture may stay the same, because few of its floats are near a step.
    """
    moved = envelope.max_abs_max > 0.0 or envelope.rel_l2_max > 0.0
    return envelope.input_rel_l2 > 0.0 and (moved or dtype_name in QUANTIZED)


def ceiling(dtype_name: str) -> float:
    """The rel_l2 above which a tolerance proves nothing: 1e-2; float16 5e-2, bfloat16 1e-1.

    Source: a fully decorrelated result has rel_l2 0.40 (DDIM, 50 steps, one ULP), the largest that
    a fault can show. The smallest planted regression was 67 envelopes, 17 tolerances at a factor
    of 4: 0.17 with a tolerance of 1e-2, below that saturation; with 1e-1 it would be lost in it.
    float16 and bfloat16 round 2^13 and 2^16 times more coarsely, so their ceilings only keep gross
    faults (seed, channel swap, flip: 0.4 to 1) visible, by 8x and 4x. These two are chosen by that
    reasoning, not measured.
    """
    return _CEILING.get(dtype_name, _CEILING_OTHERWISE)


def proves_nothing(envelope: Envelope, factor: float, ceiling: float) -> bool:
    """Whether ``factor`` envelopes exceed ``ceiling`` (rel_l2), or are not finite.

    Such a tolerance would pass wrong results, so the check is ``missing``.
    """
    reach = factor * envelope.rel_l2_max
    return not (reach <= ceiling and math.isfinite(factor * envelope.max_abs_max))


def measured_tolerance(envelope: Envelope, factor: float) -> Tolerance:
    """``factor`` times what one ULP of noise does: by rel_l2, by element, and by statistic.

    Each statistic's bound is ``factor`` times its own largest movement plus an eighth of the
    array's movement (``mean`` and ``std``: of the mean absolute difference; ``min`` and ``max``,
    which are single elements: at least the elementwise bound). Without that part, a statistic that
    by chance did not move in four runs would raise false alarms. Counts of NaN and infinity stay
    exact. An envelope of zero (noise does not reach the result) gives `Tolerance.EXACT`.

    Raises:
        SettingError: ``factor`` is not a finite number above 0, or the envelope is not finite (see
            `proves_nothing`).
    """
    movements = dict(envelope.statistics)
    amounts = (envelope.rel_l2_max, envelope.max_abs_max, envelope.mean_abs_max)
    _demand_finite(factor, (*amounts, *movements.values()))
    if not any((*amounts, *movements.values())):
        return Tolerance.EXACT
    bounds = tuple(
        _measured_bound(name, moved, envelope, factor)
        for name, moved in movements.items()
        if name not in COUNT_NAMES
    )
    return Tolerance(
        atol=factor * envelope.max_abs_max,
        rel_l2=factor * envelope.rel_l2_max,
        statistics=bounds,
    )


def _measured_bound(name: str, moved: float, envelope: Envelope, factor: float) -> StatisticBound:
    if name in ("min", "max"):
        return StatisticBound(name, atol=factor * max(moved, envelope.max_abs_max))
    if name in ("mean", "std"):
        part = envelope.mean_abs_max * _STATISTIC_PART
        return StatisticBound(name, atol=factor * (moved + part))
    rtol = factor * envelope.rel_l2_max * _STATISTIC_PART
    return StatisticBound(name, atol=factor * moved, rtol=rtol)


def _demand_finite(factor: float, amounts: tuple[float, ...]) -> None:
    if not (math.isfinite(factor) and factor > 0):
        raise SettingError(f"the factor of a measured tolerance must be above 0, not {factor!r}")
    for amount in amounts:
        if not 0 <= factor * amount < math.inf:
            raise SettingError(
                f"an envelope of {amount!r} cannot become a tolerance",
                next_step="record a baseline of this hardware and framework version",
            )


FEWEST_RUNS = ENVELOPE_RUNS
"""Fewer perturbed runs cannot show whether they move a tensor by similar amounts."""

MOST_RUNS = 16
"""Runs after which the largest movement is trusted, even with one degree of freedom."""

ALIKE = 1.25
"""Largest over smallest movement up to which amounts count as similar."""


def runs_wanted(moved_rel_l2: Sequence[Sequence[float]], asked: int) -> int:
    """How many perturbed runs an envelope takes, given the runs so far; more runs never lower it.

    ``asked`` and at least `FEWEST_RUNS` if every tensor (a sequence of ``moved_rel_l2``, its
    movement in each run) moved by similar amounts in all of them; else at least `MOST_RUNS`.

    Why: rounding moves a tensor linearly, so a movement is the norm of a random vector, and its
    spread depends on its number of directions: the degrees of freedom of the chi-square with the
    mean and variance of its squares (Satterthwaite, "An approximate distribution of estimates of
    variance components", Biometrics Bulletin 2(6), 1946). With thousands (DDIM) all runs move it
    by the same amount. With a few (UnCLIP: 1.6 to 4.7) the largest of four runs may be small by
    chance: with one, a correct result exceeds four times the largest in 0.4 % of recordings, with
    this rule in 0.003 %. ``docs/measure/envelope_choice.py`` computes these figures for
    docs/evidence/envelope.md.
    """
    # Every pair, because max and min overlook a NaN.
    alike = all(a <= ALIKE * b for one in moved_rel_l2 for a in one for b in one)
    return max(asked, FEWEST_RUNS if alike else MOST_RUNS)


def envelope_from(
    differences: Sequence[Difference],
    *,
    method: str,
    seed: int,
    input_rel_l2: float,
) -> Envelope:
    """The envelope of one tensor.

    Args:
        differences: Clean run (as baseline) against each perturbed run; at least one.
        method: How the noise was perturbed, in words.
        seed: Seed of the signs of the first run; run ``i`` used this number plus ``i``.
        input_rel_l2: Mean relative size of the perturbation, dimensionless.
    """
    worst_abs = [_amount(one.worst_abs) for one in differences]
    worst_ulp = [_amount(one.worst_ulp) for one in differences]
    # NaN or infinity in other places gives no finite bound.
    rel_l2 = [one.rel_l2 if one.non_finite is None else math.inf for one in differences]
    return Envelope(
        method=method,
        runs=len(differences),
        seed=seed,
        max_abs_max=max(worst_abs),
        max_abs_mean=_mean(worst_abs),
        rel_l2_max=max(rel_l2),
        rel_l2_mean=_mean(rel_l2),
        ulp_max=max(worst_ulp),
        ulp_mean=_mean(worst_ulp),
        mean_abs_max=max(one.mean_abs for one in differences),
        input_rel_l2=input_rel_l2,
        statistics=_movements(differences),
    )


def _amount(place: object) -> float:
    return float(getattr(place, "amount", 0.0))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _movements(differences: Sequence[Difference]) -> tuple[tuple[str, float], ...]:
    moved: dict[str, float] = {}
    for one in differences:
        before, after = asdict(one.baseline_statistics), asdict(one.observed_statistics)
        for name, value in after.items():
            moved[name] = max(moved.get(name, 0.0), abs(float(value) - float(before[name])))
    return tuple(sorted(moved.items()))
