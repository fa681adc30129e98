"""Measures the difference between two tensors of equal dtype and shape; judges nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_repro.model.baseline import (
    Difference,
    ElementDifference,
    NonFiniteDifference,
    Statistics,
    TensorSummary,
)
from pytest_repro.model.ids import TensorRecord
from pytest_repro.tensors.dtypes import (
    DTYPES,
    DType,
    DTypeKind,
    bits_of,
    bits_text,
    element_text,
    ordered_integers,
    widen,
)
from pytest_repro.tensors.sketch import estimate_distance, estimate_floor, sketch_array
from pytest_repro.tensors.statistics import (
    NOTHING,
    Moments,
    block_moments,
    blocks_of,
    kept_work_arrays,
    merge,
    safe_scale,
    statistics_of,
    summarise,
)


def summary_of(path: str, record: TensorRecord) -> TensorSummary:
    """What a manifest says about the tensor at ``path`` of a checked value."""
    return TensorSummary(
        path, record.dtype, record.shape, record.digest, summarise(record), sketch_array(record)
    )


def compare_records(baseline: TensorRecord, observed: TensorRecord) -> Difference:
    """The difference between two tensors of equal dtype and shape, over all elements.

    ``differing_count`` is bitwise; everything else is measured in float64, 64-bit integers by
    their exact distance. Measures skip places that are not finite in both. NaN agrees with NaN,
    and infinity with the same infinity.

    The ``worst_*`` places are the first of the largest, ``None`` if no value differs;
    ``worst_rel`` is infinite if only the baseline is zero; ``worst_ulp`` counts steps of the
    dtype's own floats, through zero, with -0.0 = 0.0. If only bits differ (-0.0, the payload of a
    NaN), ``worst_abs`` is the first such place, with amount 0.0 and the bits in its texts.
    ``psnr_db`` uses max - min of the baseline's finite elements as the range, 1.0 if that is zero.

    One pass with memory for a few blocks; a second one if squares would leave float64's range
    (see `statistics.summarise`).

    Raises:
        ValueError: dtype or shape differ.
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
    """The difference that two summaries show, ``statistics_only``.

    With equal digests nothing differs. Otherwise ``differing_count`` is all elements, the worst
    places are ``None``, and the rest follows from the distance that the sketches estimate (at
    least the sketches' rounding): ``mean_abs`` is the root mean square, an upper bound of the
    mean. ``non_finite`` is the least number of places that explains the counts; its index is
    ``()``, because the place is unknown.

    Raises:
        ValueError: dtype or shape differ.
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
    """``1 - cos`` by the law of cosines: ``1 - <o, b> / ...`` loses everything below 1e-16."""
    if baseline_norm == 0.0 or observed_norm == 0.0:
        return float(baseline_norm != observed_norm)
    # Divide before multiplying: norms may be near the ends of float64's range.
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


_WIDEST = 8
# Margin for the rounding of a limit, far above float64's 1e-16.
_SLACK = 1.0 + 1e-12


@dataclass(frozen=True, slots=True)
class Place:
    """An amount and the flat index at which it was first seen."""

    amount: float
    index: int


@dataclass(frozen=True, slots=True)
class Pairs:
    """Measures over places that are finite in both tensors.

    Attributes:
        count: How many places.
        abs_sum, square_sum: Sums of ``|o - b|`` and its square.
        baseline_squares, observed_squares: Sums of the squares of the elements themselves.
        worst_abs, worst_rel, worst_ulp: First of the largest; ``None`` if no value differs,
            ``worst_ulp`` also for integers and bool.
    """

    count: int = 0
    abs_sum: float = 0.0
    square_sum: float = 0.0
    baseline_squares: float = 0.0
    observed_squares: float = 0.0
    worst_abs: Place | None = None
    worst_rel: Place | None = None
    worst_ulp: Place | None = None


NO_PAIRS = Pairs()
"""The measures over no places at all."""


@dataclass(frozen=True, slots=True)
class Work:
    """Four float64 arrays of a block's length, overwritten by every block."""

    baseline: NDArray[np.float64]
    observed: NDArray[np.float64]
    gap: NDArray[np.float64]
    scratch: NDArray[np.float64]

    def cut(self, size: int) -> Work:
        if size == self.gap.size:
            return self
        return Work(
            self.baseline[:size], self.observed[:size], self.gap[:size], self.scratch[:size]
        )


@dataclass(frozen=True, slots=True)
class BlockPair:
    """One block of both tensors as stored, beginning at flat index ``start``, and where to work."""

    dtype: DType
    baseline: NDArray[Any]
    observed: NDArray[Any]
    start: int
    scale: float
    work: Work

    def wide(self, block: NDArray[Any], out: NDArray[np.float64]) -> NDArray[np.float64]:
        values = widen(self.dtype, block, out)
        return values if self.scale == 1.0 else np.multiply(values, self.scale, out=out)


def measured(
    pair: BlockPair, baseline: NDArray[np.float64], observed: NDArray[np.float64], so_far: Pairs
) -> Pairs:
    """Measures of one block without NaN or infinity, except the sums of its squares.

    ``worst_rel`` and ``worst_ulp`` are given only if they may exceed those of ``so_far``.
    Overwrites ``pair.work``, which may hold ``baseline`` and ``observed``.
    """
    work = pair.work.cut(baseline.size)
    gap = _gaps(pair, baseline, observed, work.gap)
    abs_sum = float(np.add.reduce(gap))
    square_sum = float(np.add.reduce(np.multiply(gap, gap, out=work.scratch)))
    index = int(gap.argmax())
    widest = float(gap[index])
    if widest == 0.0:
        return Pairs(gap.size)
    size = np.abs(baseline, out=work.scratch)
    return Pairs(
        gap.size,
        abs_sum,
        square_sum,
        worst_abs=Place(widest, pair.start + index),
        worst_rel=_worst_rel(pair, gap, size, so_far.worst_rel, widest),
        worst_ulp=_worst_ulp(pair, size, so_far.worst_ulp, widest),
    )


def _worst_rel(
    pair: BlockPair,
    gap: NDArray[np.float64],
    size: NDArray[np.float64],
    so_far: Place | None,
    widest: float,
) -> Place | None:
    """The largest ``gap / size``; divides only places that can exceed ``so_far``.

    Overwrites ``pair.work.baseline``.
    """
    near = _up_to(size, widest / so_far.amount * _SLACK if so_far else math.inf)
    sizes = size[near]
    ratio = np.divide(gap[near], sizes, out=pair.work.baseline[: sizes.size])
    if ratio.size and np.isnan(ratio.max()):
        ratio[np.isnan(ratio)] = 0.0  # 0/0: both are zero, nothing differs
    return _largest(pair, ratio, near)


def _worst_ulp(
    pair: BlockPair, size: NDArray[np.float64], so_far: Place | None, widest: float
) -> Place | None:
    """The largest distance in ULPs; looks only at places that can exceed ``so_far``.

    Floats of precision p are at least ``m * 2**-p`` apart at magnitude m. So n steps over a gap g
    of one sign begin at ``m <= g * 2**p / n``, and the baseline is at most g further out; with two
    signs it is at most g. A new worst place needs one step more than ``so_far``: a margin of 2e-8
    or more, above any rounding of the limit.
    """
    if not pair.dtype.is_float:
        return None
    limit = math.inf
    if so_far:
        limit = widest * (1.0 + 2.0**pair.dtype.significand_bits / so_far.amount)
    near = _up_to(size, limit)
    return _largest(pair, _steps(pair, pair.baseline[near], pair.observed[near]), near)


Places = slice | NDArray[np.intp]


def _up_to(size: NDArray[np.float64], limit: float) -> Places:
    """The places of magnitudes up to ``limit``; all of them are a slice, which copies nothing."""
    is_near = size <= limit
    return slice(None) if is_near.all() else np.flatnonzero(is_near)


def _steps(pair: BlockPair, baseline: NDArray[Any], observed: NDArray[Any]) -> NDArray[Any]:
    """Distances in units in the last place; overwrites all of ``pair.work`` but ``scratch``."""
    signed = np.dtype(f"<i{pair.dtype.itemsize}")
    work = pair.work
    one, two, three = (
        array.view(signed)[: baseline.size] for array in (work.baseline, work.observed, work.gap)
    )
    ordered_integers(pair.dtype, baseline, one, three)
    ordered_integers(pair.dtype, observed, two, three)
    return _distances(one, two, three)


def _largest(pair: BlockPair, amounts: NDArray[Any], places: Places) -> Place | None:
    if not amounts.size:
        return None
    index = int(amounts.argmax())
    amount = float(amounts[index])
    place = index if isinstance(places, slice) else int(places[index])
    return Place(amount, pair.start + place) if amount > 0.0 else None


def _gaps(
    pair: BlockPair,
    baseline: NDArray[np.float64],
    observed: NDArray[np.float64],
    out: NDArray[np.float64],
) -> NDArray[np.float64]:
    """``|o - b|``, rounded once."""
    if pair.dtype.kind is DTypeKind.INTEGER and pair.dtype.itemsize == _WIDEST:
        # float64 merges neighbours beyond 2**53.
        np.copyto(out, _distances(pair.baseline, pair.observed))
        return out
    np.subtract(observed, baseline, out=out)
    np.abs(out, out=out)
    return out


def _distances(
    baseline: NDArray[Any], observed: NDArray[Any], out: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Exact ``|o - b|`` of integers, in the unsigned dtype of their size, which always holds it."""
    unsigned = np.dtype(f"<u{baseline.dtype.itemsize}")
    larger: NDArray[Any] = np.maximum(baseline, observed, out=out).view(unsigned)
    np.subtract(larger, np.minimum(baseline, observed).view(unsigned), out=larger)
    return larger


@dataclass(frozen=True, slots=True)
class Tally:
    """Everything counted over some blocks of two tensors.

    Attributes:
        differing_count: Elements whose bits differ, the first of them at ``first_differing``.
        non_finite_count: Places with NaN or infinity on one side only, or different ones; the
            first of them at ``first_non_finite``.
    """

    baseline: Moments = NOTHING
    observed: Moments = NOTHING
    pairs: Pairs = NO_PAIRS
    differing_count: int = 0
    first_differing: int | None = None
    non_finite_count: int = 0
    first_non_finite: int | None = None


def tally_records(baseline: TensorRecord, observed: TensorRecord, scale: float = 1.0) -> Tally:
    """The tally of two records of equal dtype and shape, with all elements times ``scale``.

    With a scale other than 1.0 (a power of two that keeps squares in range) only the sums are
    valid, not the worst places. 64-bit integers are never scaled.
    """
    dtype = DTYPES[baseline.dtype]
    total = Tally()
    work = Work(*kept_work_arrays(baseline.array.size, 4))
    blocks = zip(blocks_of(baseline.array), blocks_of(observed.array), strict=True)
    with np.errstate(all="ignore"):
        for (start, baseline_block), (_, observed_block) in blocks:
            pair = BlockPair(dtype, baseline_block, observed_block, start, scale, work)
            total = _joined(total, _tally_block(pair, total.pairs))
    return total


def _tally_block(pair: BlockPair, so_far: Pairs) -> Tally:
    work = pair.work.cut(pair.baseline.size)
    baseline = pair.wide(pair.baseline, work.baseline)
    moments = block_moments(baseline, work.scratch)
    differing = bits_of(pair.dtype, pair.baseline) != bits_of(pair.dtype, pair.observed)
    count = int(np.count_nonzero(differing))
    if not count:
        squares = moments.square_sum
        pairs = Pairs(moments.count, baseline_squares=squares, observed_squares=squares)
        return Tally(moments, moments, pairs)
    observed = pair.wide(pair.observed, work.observed)
    tally = Tally(
        moments,
        block_moments(observed, work.scratch),
        differing_count=count,
        first_differing=pair.start + int(differing.argmax()),
    )
    if not (tally.baseline.all_finite and tally.observed.all_finite):
        return _partly_finite(tally, pair, so_far, baseline, observed)
    pairs = replace(
        measured(pair, baseline, observed, so_far),
        baseline_squares=tally.baseline.square_sum,
        observed_squares=tally.observed.square_sum,
    )
    return replace(tally, pairs=pairs)


def _partly_finite(
    tally: Tally,
    pair: BlockPair,
    so_far: Pairs,
    baseline: NDArray[np.float64],
    observed: NDArray[np.float64],
) -> Tally:
    finite = np.isfinite(baseline) & np.isfinite(observed)
    both_nan = np.isnan(baseline) & np.isnan(observed)
    disagreeing = ~(finite | both_nan | (baseline == observed))
    kept = np.flatnonzero(finite)
    count = int(np.count_nonzero(disagreeing))
    return replace(
        tally,
        pairs=_measured_where(kept, pair, so_far, baseline[kept], observed[kept]),
        non_finite_count=count,
        first_non_finite=pair.start + int(disagreeing.argmax()) if count else None,
    )


def _measured_where(
    kept: NDArray[np.intp],
    pair: BlockPair,
    so_far: Pairs,
    baseline: NDArray[np.float64],
    observed: NDArray[np.float64],
) -> Pairs:
    if not kept.size:
        return NO_PAIRS
    part = replace(pair, baseline=pair.baseline[kept], observed=pair.observed[kept], start=0)
    scratch = np.empty_like(baseline)
    part_pairs = measured(part, baseline, observed, so_far)
    return replace(
        _relocated(part_pairs, lambda index: pair.start + int(kept[index])),
        baseline_squares=block_moments(baseline, scratch).square_sum,
        observed_squares=block_moments(observed, scratch).square_sum,
    )


def _relocated(pairs: Pairs, locate: Callable[[int], int]) -> Pairs:
    def moved(place: Place | None) -> Place | None:
        return place and Place(place.amount, locate(place.index))

    return replace(
        pairs,
        worst_abs=moved(pairs.worst_abs),
        worst_rel=moved(pairs.worst_rel),
        worst_ulp=moved(pairs.worst_ulp),
    )


def _joined(left: Tally, right: Tally) -> Tally:
    def first(one: int | None, other: int | None) -> int | None:
        return other if one is None else one

    return Tally(
        merge(left.baseline, right.baseline),
        merge(left.observed, right.observed),
        _joined_pairs(left.pairs, right.pairs),
        left.differing_count + right.differing_count,
        first(left.first_differing, right.first_differing),
        left.non_finite_count + right.non_finite_count,
        first(left.first_non_finite, right.first_non_finite),
    )


def _joined_pairs(left: Pairs, right: Pairs) -> Pairs:
    return Pairs(
        left.count + right.count,
        left.abs_sum + right.abs_sum,
        left.square_sum + right.square_sum,
        left.baseline_squares + right.baseline_squares,
        left.observed_squares + right.observed_squares,
        _worse(left.worst_abs, right.worst_abs),
        _worse(left.worst_rel, right.worst_rel),
        _worse(left.worst_ulp, right.worst_ulp),
    )


def _worse(left: Place | None, right: Place | None) -> Place | None:
    if left is None or right is None:
        return left or right
    return right if right.amount > left.amount else left
