"""How far two tensors of equal dtype and shape are apart; measures only, judges nothing."""

from __future__ import annotations

import math

import numpy as np

from pytest_repro.model.baseline import (
    Difference,
    ElementDifference,
    NonFiniteDifference,
    Statistics,
    TensorRecord,
    TensorSummary,
)
from pytest_repro.tensors.block_pair import Pairs, Place
from pytest_repro.tensors.dtypes import DTYPES, bits_text, element_text
from pytest_repro.tensors.sketch import estimate_distance, estimate_floor, sketch_array
from pytest_repro.tensors.statistics import Moments, safe_scale, statistics_of, summarise
from pytest_repro.tensors.tally import Tally, tally_records

__all__ = ["compare_records", "compare_summaries", "summary_of"]


def summary_of(path: str, record: TensorRecord) -> TensorSummary:
    """All that a manifest says about the tensor at ``path`` of a checked value."""
    return TensorSummary(
        path, record.dtype, record.shape, record.digest, summarise(record), sketch_array(record)
    )


def compare_records(baseline: TensorRecord, observed: TensorRecord) -> Difference:
    """The difference between two tensors of equal dtype and shape, over all elements.

    ``differing_count`` is bitwise; everything else is measured in float64, 64-bit integers by
    their exact distance. Every measure leaves out places that are not finite in both; NaN against
    NaN and infinity against the same infinity is agreement.

    The ``worst_*`` places are the first of the largest, ``None`` where no value differs;
    ``worst_rel`` is infinite where only the baseline is zero; ``worst_ulp`` counts steps of the
    dtype's own floats, through zero, with -0.0 = 0.0. Where bits differ and no value does (-0.0,
    the payload of a NaN) ``worst_abs`` is the first such place, with amount 0.0 and with the bits
    in its texts. ``psnr_db`` takes max - min of the baseline's finite elements as the range, 1.0
    when that is zero.

    One pass with memory for a few blocks; a second one where squares would leave float64's range
    (see `statistics.summarise`).

    Raises:
        ValueError: dtype or shape differ; the value gate comes first.
    """
    _require_same(baseline.dtype, baseline.shape, observed.dtype, observed.shape)
    tally = tally_records(baseline, observed)
    scale = safe_scale(max(tally.baseline.largest_abs, tally.observed.largest_abs))
    sums = (tally if scale == 1.0 else tally_records(baseline, observed, scale)).pairs
    baseline_statistics = _statistics(baseline, tally.baseline)
    return Difference(
        element_count=baseline.array.size,
        differing_count=tally.differing_count,
        worst_abs=_element(baseline, observed, tally.pairs.worst_abs or _bits_only(tally)),
        worst_rel=_element(baseline, observed, tally.pairs.worst_rel),
        worst_ulp=_element(baseline, observed, tally.pairs.worst_ulp),
        mean_abs=sums.abs_sum / sums.count / scale if sums.count else 0.0,
        rel_l2=_rel_l2(math.sqrt(sums.square_sum), math.sqrt(sums.baseline_squares)),
        cosine=_cosine(sums),
        psnr_db=_psnr_db(baseline_statistics, _root_mean_square(sums), scale),
        non_finite=_non_finite(baseline, observed, tally),
        baseline_statistics=baseline_statistics,
        observed_statistics=_statistics(observed, tally.observed),
    )


def compare_summaries(baseline: TensorSummary, observed: TensorSummary) -> Difference:
    """The difference as far as two summaries tell it, ``statistics_only``.

    With equal digests nothing differs. Otherwise ``differing_count`` is all elements, the worst
    places are ``None``, and the rest follows from the distance that the sketches estimate (never
    less than the sketches' rounding, which hides smaller ones): ``mean_abs`` is the root mean
    square, which the mean never exceeds. ``non_finite`` counts the fewest places that explain the
    counts; its index is ``()``, for the place is not known.

    Raises:
        ValueError: dtype or shape differ; the value gate comes first.
    """
    _require_same(baseline.dtype, baseline.shape, observed.dtype, observed.shape)
    count = math.prod(baseline.shape)
    same = baseline.digest == observed.digest
    distance = 0.0 if same else _estimated(baseline.sketch, observed.sketch)
    norms = (baseline.statistics.l2, observed.statistics.l2)
    root_mean_square = distance / math.sqrt(count) if count else 0.0
    return Difference(
        element_count=count,
        differing_count=0 if same else count,
        worst_abs=None,
        worst_rel=None,
        worst_ulp=None,
        mean_abs=root_mean_square,
        rel_l2=_rel_l2(distance, norms[0]),
        cosine=0.0 if same else _cosine_of(distance, *norms),
        psnr_db=_psnr_db(baseline.statistics, root_mean_square, 1.0),
        non_finite=_counted_non_finite(baseline.statistics, observed.statistics),
        baseline_statistics=baseline.statistics,
        observed_statistics=observed.statistics,
        statistics_only=True,
    )


def _require_same(
    baseline_dtype: str,
    baseline_shape: tuple[int, ...],
    observed_dtype: str,
    observed_shape: tuple[int, ...],
) -> None:
    if (baseline_dtype, baseline_shape) != (observed_dtype, observed_shape):
        raise ValueError(
            f"baseline is {baseline_dtype} {baseline_shape}, observed is {observed_dtype} "
            f"{observed_shape}: only tensors of equal dtype and shape can be compared"
        )


def _statistics(record: TensorRecord, moments: Moments) -> Statistics:
    if safe_scale(moments.largest_abs) == 1.0:
        return statistics_of(moments)
    return summarise(record)


def _bits_only(tally: Tally) -> Place | None:
    if tally.first_differing is None or tally.non_finite_count:
        return None
    return Place(0.0, tally.first_differing)


def _element(
    baseline: TensorRecord, observed: TensorRecord, place: Place | None
) -> ElementDifference | None:
    if place is None:
        return None
    index = _index(place.index, baseline.shape)
    with_bits = place.amount == 0.0
    return ElementDifference(
        place.amount,
        index,
        _text(baseline, place.index, with_bits=with_bits),
        _text(observed, place.index, with_bits=with_bits),
    )


def _text(record: TensorRecord, flat_index: int, *, with_bits: bool = False) -> str:
    dtype = DTYPES[record.dtype]
    element = record.array.ravel()[flat_index : flat_index + 1]
    text = element_text(dtype, element)
    return f"{text} ({bits_text(dtype, element)})" if with_bits else text


def _index(flat_index: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(part) for part in np.unravel_index(flat_index, shape)) if shape else ()


def _non_finite(
    baseline: TensorRecord, observed: TensorRecord, tally: Tally
) -> NonFiniteDifference | None:
    place = tally.first_non_finite
    if place is None:
        return None
    return NonFiniteDifference(
        tally.non_finite_count,
        _index(place, baseline.shape),
        _text(baseline, place),
        _text(observed, place),
    )


def _counted_non_finite(baseline: Statistics, observed: Statistics) -> NonFiniteDifference | None:
    before = (baseline.nan_count, baseline.posinf_count, baseline.neginf_count)
    after = (observed.nan_count, observed.posinf_count, observed.neginf_count)
    if before == after:
        return None
    risen = sum(max(0, new - old) for old, new in zip(before, after, strict=True))
    fallen = sum(max(0, old - new) for old, new in zip(before, after, strict=True))
    texts = ("{} nan, {} inf, {} -inf".format(*counts) for counts in (before, after))
    return NonFiniteDifference(max(risen, fallen), (), *texts)


def _estimated(baseline: tuple[float, ...], observed: tuple[float, ...]) -> float:
    floor = max(estimate_floor(baseline), estimate_floor(observed))
    return max(estimate_distance(baseline, observed), floor)


def _rel_l2(distance: float, baseline_norm: float) -> float:
    if distance == 0.0:
        return 0.0
    return distance / baseline_norm if baseline_norm else math.inf


def _cosine(sums: Pairs) -> float:
    squares = (sums.square_sum, sums.baseline_squares, sums.observed_squares)
    return _cosine_of(*(math.sqrt(square) for square in squares))


def _cosine_of(distance: float, baseline_norm: float, observed_norm: float) -> float:
    """``1 - cos`` by the law of cosines: ``1 - <o, b> / ...`` would round away all below 1e-16."""
    if baseline_norm == 0.0 or observed_norm == 0.0:
        return float(baseline_norm != observed_norm)
    # Divided before they are multiplied, for norms near the ends of float64's range.
    ratio = observed_norm / baseline_norm
    apart = distance / baseline_norm
    angle = (apart * apart - (ratio - 1.0) * (ratio - 1.0)) / (2.0 * ratio)
    return min(max(angle, 0.0), 2.0)


def _root_mean_square(sums: Pairs) -> float:
    return math.sqrt(sums.square_sum / sums.count) if sums.count else 0.0


def _psnr_db(baseline: Statistics, root_mean_square: float, scale: float) -> float:
    """``20 log10(range / rms)``, with ``root_mean_square`` given times ``scale``."""
    if root_mean_square == 0.0:
        return math.inf
    noise = math.log10(root_mean_square) - math.log10(scale)
    return 20.0 * (_range_log10(baseline) - noise)


def _range_log10(statistics: Statistics) -> float:
    span = statistics.max - statistics.min
    if span == 0.0:
        return 0.0
    if math.isinf(span):
        return math.log10(statistics.max / 2 - statistics.min / 2) + math.log10(2.0)
    return math.log10(span)
