"""The sums, counts and worst places over all elements of two tensors, block by block.

`compare` turns a tally into a `model.Difference`. Sums are over the places finite in both tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pytest_repro.model.baseline import TensorRecord
from pytest_repro.tensors.block_pair import NO_PAIRS, BlockPair, Pairs, Place, Work, measured
from pytest_repro.tensors.dtypes import DTYPES, bits_of
from pytest_repro.tensors.statistics import (
    NOTHING,
    Moments,
    block_moments,
    blocks_of,
    merge,
    work_arrays,
)

__all__ = ["Tally", "tally_records"]


@dataclass(frozen=True, slots=True)
class Tally:
    """Everything counted over some blocks of two tensors.

    Attributes:
        differing_count: Elements whose bits differ, the first of them at ``first_differing``.
        non_finite_count: Places where NaN or an infinity stands on one side and not, or not the
            same, on the other; the first of them at ``first_non_finite``.
    """

    baseline: Moments = NOTHING
    observed: Moments = NOTHING
    pairs: Pairs = NO_PAIRS
    differing_count: int = 0
    first_differing: int | None = None
    non_finite_count: int = 0
    first_non_finite: int | None = None


def tally_records(baseline: TensorRecord, observed: TensorRecord, scale: float = 1.0) -> Tally:
    """The tally of two records of equal dtype and shape, all elements times ``scale`` first.

    With a scale other than 1.0 (a power of two, so that squares stay in range) the sums are right
    and the worst places are not to be used. 64-bit integers are never scaled.
    """
    dtype = DTYPES[baseline.dtype]
    total = Tally()
    work = Work(*work_arrays(baseline.array.size, 4))
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
