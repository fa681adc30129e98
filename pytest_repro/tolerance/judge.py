"""Judges a difference by a tolerance: how much of each bound it uses, and what would pass."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from decimal import ROUND_CEILING, Context, Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_repro.errors import SettingError, ValueRefused
from pytest_repro.model.baseline import Difference, ElementDifference, ToleranceUse
from pytest_repro.tolerance.bounds import (
    BOUNDS,
    COUNT_NAMES,
    Bound,
    StatisticBound,
    Tolerance,
)

EXACT = "exact"
"""The measure of a tolerance that allows nothing, as `ToleranceUse` names it."""

# A power may round to 1.0 even if it exceeds the bound by one ULP of a dB.
_ABOVE_ONE = math.nextafter(1.0, math.inf)
_DIGITS = 3
_LARGEST_EXPONENT = 300.0
_PLAIN_INTEGERS_BELOW = 1e6


def uses(
    tolerance: Tolerance, difference: Difference, *, elementwise: float | None = None
) -> tuple[ToleranceUse, ...]:
    """How much of every bound the difference uses, worst first; above 1.0 the bound is exceeded.

    NaN and infinity are always judged, too: each count by its own bound (0 if none is given), and
    the places (``non_finite``) by the sum that the counts' bounds allow. ``psnr`` counts as the
    error in amplitude, ``10^((bound - dB) / 20)``. A bound that cannot be judged has a share of
    infinity; `unjudged` says why.

    Args:
        tolerance: Not in the form ``measured``.
        difference: Between the baseline and the observed tensor.
        elementwise: The result of `elementwise_share`. Without it, a tolerance with both atol and
            rtol (see `needs_elements`) is judged by an upper limit: it may refuse what the elements
            would pass, but never the other way round.

    Raises:
        SettingError: The tolerance is in the form ``measured``.
    """
    if tolerance.is_measured:
        raise SettingError("a measured tolerance needs the bounds of an envelope first")
    judged = [
        *_non_finite_uses(tolerance, difference),
        *_array_uses(tolerance, difference, elementwise),
        *(_statistic_use(bound, difference) for bound in tolerance.statistics),
    ]
    return tuple(sorted(judged, key=lambda use: -use.share))


def needs_elements(tolerance: Tolerance) -> bool:
    """Whether only `elementwise_share` judges it exactly: atol and rtol are both above zero."""
    return bool(tolerance.atol) and bool(tolerance.rtol)


def unjudged(tolerance: Tolerance, difference: Difference) -> tuple[str, ...]:
    """A sentence for each bound that `uses` cannot judge and so counts as exceeded."""
    sentences = []
    if _lacks_elements(difference):
        sentences += [
            f"{name} cannot be judged: the baseline's tensor is absent, so only its statistics "
            "were compared"
            for name in _element_bounds(tolerance)
        ]
    elif _has_no_ulp(difference):
        sentences += [
            f"{bound.name} cannot be judged: integers and bool have no ULP; use atol"
            for bound, _ in tolerance.bounds()
            if bound.needs_floats
        ]
    return tuple(sentences)


def without_elements(tolerance: Tolerance) -> Tolerance:
    """The part of a tolerance that needs no tensor.

    For tolerances that no person wrote (measured, by dtype), if the baseline's tensor is absent.
    If nothing remains it is `Tolerance.EXACT`, so nothing passes unjudged.
    """
    names: dict[str, Any] = {bound.name: None for bound in BOUNDS if bound.needs_elements}
    return replace(tolerance, **names)


def passing_tolerance(difference: Difference) -> str:
    """The smallest tolerance that would pass, to be pasted into ``tolerance=`` or the policy.

    E.g. ``{"atol": 2.33e-06, "rel_l2": 6.01e-07}``, rounded up to three digits; ``{"atol": 0}`` if
    only bits differ (-0.0, NaN payloads); ``"exact"`` if nothing does. From statistics it is rel_l2
    alone. ``""`` if no tolerance would pass: NaN or infinity are in other places.
    """
    if _non_finite_uses(Tolerance.EXACT, difference):
        return ""
    if not difference.differing_count:
        return '"exact"'
    bounds = [] if difference.statistics_only else [("atol", _amount(difference.worst_abs))]
    if difference.rel_l2 > 0 or difference.statistics_only:
        bounds.append(("rel_l2", difference.rel_l2))
    texts = [(name, _rounded_up(bound)) for name, bound in bounds if math.isfinite(bound)]
    if not texts:
        return ""
    return "{" + ", ".join(f'"{name}": {text}' for name, text in texts) + "}"


def _array_uses(
    tolerance: Tolerance, difference: Difference, elementwise: float | None
) -> Iterator[ToleranceUse]:
    if tolerance.is_exact:
        yield _use(EXACT, float(difference.differing_count), 0.0)
    if tolerance.is_elementwise:
        yield _elementwise_use(tolerance, difference, elementwise)
    for bound, number in tolerance.bounds():
        yield _bound_use(bound, number, difference)


def _elementwise_use(
    tolerance: Tolerance, difference: Difference, elementwise: float | None
) -> ToleranceUse:
    if _lacks_elements(difference):
        return _use("atol/rtol", math.inf, tolerance.atol or tolerance.rtol or 0.0)
    absolute = _use("atol/rtol", _amount(difference.worst_abs), tolerance.atol or 0.0)
    if not tolerance.rtol:
        return absolute
    if elementwise is not None:
        return _use("atol/rtol", elementwise, 1.0)
    relative = _use("atol/rtol", _amount(difference.worst_rel), tolerance.rtol)
    return min(relative, absolute, key=lambda use: use.share)


def _bound_use(bound: Bound, number: float, difference: Difference) -> ToleranceUse:
    observed = bound.measure(difference)
    if bound.is_least:
        return _least_use(bound.name, number, observed)
    lacks_elements = bound.needs_elements and _lacks_elements(difference)
    if lacks_elements or (bound.needs_floats and _has_no_ulp(difference)):
        observed = math.inf
    return _use(bound.name, observed, number)


def _least_use(name: str, least_db: float, observed_db: float) -> ToleranceUse:
    if observed_db >= least_db:
        share = 10.0 ** ((least_db - observed_db) / 20.0)
        return ToleranceUse(name, observed_db, least_db, share)
    excess = (least_db - observed_db) / 20.0
    share = max(_ABOVE_ONE, 10.0**excess) if excess < _LARGEST_EXPONENT else math.inf
    return ToleranceUse(name, observed_db, least_db, share)


def _statistic_use(bound: StatisticBound, difference: Difference) -> ToleranceUse:
    baseline = float(getattr(difference.baseline_statistics, bound.name))
    observed = float(getattr(difference.observed_statistics, bound.name))
    amount = 0.0 if observed == baseline else abs(observed - baseline)
    return _use(bound.name, amount, bound.atol + bound.rtol * abs(baseline))


def _non_finite_uses(tolerance: Tolerance, difference: Difference) -> list[ToleranceUse]:
    counts = [
        _statistic_use(tolerance.statistic(name) or StatisticBound(name), difference)
        for name in COUNT_NAMES
    ]
    judged = [
        use for use in counts if use.observed > 0 and tolerance.statistic(use.measure) is None
    ]
    if difference.non_finite is not None:
        allowed = sum(use.allowed for use in counts)
        judged.append(_use("non_finite", float(difference.non_finite.count), allowed))
    return judged


def _use(measure: str, observed: float, allowed: float) -> ToleranceUse:
    return ToleranceUse(measure, observed, allowed, _share(observed, allowed))


def _share(observed: float, allowed: float) -> float:
    if math.isnan(observed) or math.isnan(allowed):
        return math.inf
    if observed <= 0.0:
        return 0.0
    if allowed == 0.0 or math.isinf(observed):
        return math.inf
    # A correctly rounded quotient of two floats is above 1.0 only if the first is larger.
    return observed / allowed


def _amount(place: ElementDifference | None) -> float:
    return 0.0 if place is None else place.amount


def _has_no_ulp(difference: Difference) -> bool:
    return difference.worst_ulp is None and _amount(difference.worst_abs) > 0.0


def _lacks_elements(difference: Difference) -> bool:
    return difference.statistics_only and difference.differing_count > 0


def _element_bounds(tolerance: Tolerance) -> tuple[str, ...]:
    elementwise = ("atol/rtol",) if tolerance.is_elementwise else ()
    given = (bound.name for bound, _ in tolerance.bounds() if bound.needs_elements)
    return (*elementwise, *given)


def _rounded_up(bound: float) -> str:
    context = Context(prec=_DIGITS, rounding=ROUND_CEILING)
    rounded = float(context.plus(Decimal(bound)))
    plain = rounded.is_integer() and rounded < _PLAIN_INTEGERS_BELOW
    return f"{int(rounded)}" if plain else repr(rounded)


_BLOCK_ELEMENTS = 1 << 17


def elementwise_share(
    tolerance: Tolerance, baseline_array: NDArray[Any], observed_array: NDArray[Any]
) -> float:
    """Largest ``|o - b| / (atol + rtol * |b|)`` over the places finite in both; 0.0 when none.

    Computed in float64 block by block (a few MB of memory); integers do not wrap around. Above 1.0
    exactly if some element exceeds its bound. `uses` judges places that are not finite.

    Args:
        tolerance: Gives atol and rtol; the one not given is 0.
        baseline_array: bool, integers or floats (float16 and bfloat16 too), any shape.
        observed_array: Of the same shape and dtype.

    Raises:
        ValueRefused: Shape or dtype differ.
    """
    baseline, observed = np.asarray(baseline_array), np.asarray(observed_array)
    if (baseline.shape, baseline.dtype) != (observed.shape, observed.dtype):
        raise ValueRefused(
            "arrays of different dtype or shape cannot be compared",
            facts=(
                f"baseline {baseline.dtype} {baseline.shape}",
                f"observed {observed.dtype} {observed.shape}",
            ),
        )
    atol, rtol = tolerance.atol or 0.0, tolerance.rtol or 0.0
    blocks = _blocks(baseline.ravel(), observed.ravel())
    return max((_block_share(atol, rtol, one, other) for one, other in blocks), default=0.0)


def _blocks(
    baseline: NDArray[Any], observed: NDArray[Any]
) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    for start in range(0, baseline.size, _BLOCK_ELEMENTS):
        block = slice(start, start + _BLOCK_ELEMENTS)
        yield baseline[block], observed[block]


def _block_share(atol: float, rtol: float, baseline: NDArray[Any], observed: NDArray[Any]) -> float:
    apart, magnitude = _apart_and_magnitude(baseline, observed)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        allowed = atol + rtol * magnitude
        shares = np.where(apart == 0.0, 0.0, apart / allowed)
    # inf / inf: both overflowed, so they are far apart.
    return float(np.max(np.where(np.isnan(shares), np.inf, shares), initial=0.0))


def _apart_and_magnitude(
    baseline: NDArray[Any], observed: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if baseline.dtype.kind in "biu":
        return _integers_apart(baseline, observed), np.abs(baseline.astype(np.float64))
    left, right = baseline.astype(np.float64), observed.astype(np.float64)
    finite = np.isfinite(left) & np.isfinite(right)
    with np.errstate(over="ignore"):
        apart: NDArray[np.float64] = np.abs(right[finite] - left[finite])
    return apart, np.abs(left[finite])


def _integers_apart(baseline: NDArray[Any], observed: NDArray[Any]) -> NDArray[np.float64]:
    # Two's complement: the bits of larger minus smaller are the distance, even beyond the signed
    # range; only float64 rounds it afterwards.
    signed = baseline.dtype.kind == "i"
    wide = np.int64 if signed else np.uint64
    left, right = baseline.astype(wide), observed.astype(wide)
    larger = np.maximum(left, right).view(np.uint64)
    return (larger - np.minimum(left, right).view(np.uint64)).astype(np.float64)
