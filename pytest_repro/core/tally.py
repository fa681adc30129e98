"""The sums, counts and worst places over all elements of two tensors, block by block.

`compare` turns a tally into a `model.Difference`. Sums are over the places finite in both tensors.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_repro.core.dtypes import DTYPES, DType, DTypeKind, bits_of, ordered_integers, widen
from pytest_repro.core.model import TensorRecord
from pytest_repro.core.statistics import (
    NOTHING,
    Moments,
    block_moments,
    blocks_of,
    merge,
    work_arrays,
)

__all__ = ["Pairs", "Place", "Tally", "tally_records"]

_WIDEST = 8


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
        worst_abs, worst_rel, worst_ulp: First of the largest; ``None`` where nothing differs in
            value, ``worst_ulp`` also for integers and bool.
    """

    count: int = 0
    abs_sum: float = 0.0
    square_sum: float = 0.0
    baseline_squares: float = 0.0
    observed_squares: float = 0.0
    worst_abs: Place | None = None
    worst_rel: Place | None = None
    worst_ulp: Place | None = None


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
    pairs: Pairs = Pairs()
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
    work = _Work(*work_arrays(baseline.array.size, 4))
    blocks = zip(blocks_of(baseline.array), blocks_of(observed.array), strict=True)
    with np.errstate(all="ignore"):
        for (start, baseline_block), (_, observed_block) in blocks:
            pair = _Pair(dtype, baseline_block, observed_block, scale, work)
            total = _joined(total, _moved(_tally_block(pair), start))
    return total


@dataclass(frozen=True, slots=True)
class _Work:
    """Four float64 arrays of a block's length, overwritten by every block."""

    baseline: NDArray[np.float64]
    observed: NDArray[np.float64]
    gap: NDArray[np.float64]
    scratch: NDArray[np.float64]

    def cut(self, size: int) -> _Work:
        return _Work(
            self.baseline[:size], self.observed[:size], self.gap[:size], self.scratch[:size]
        )


@dataclass(frozen=True, slots=True)
class _Pair:
    """One block of both tensors as stored, and where to work on it."""

    dtype: DType
    baseline: NDArray[Any]
    observed: NDArray[Any]
    scale: float
    work: _Work

    def wide(self, block: NDArray[Any], out: NDArray[np.float64]) -> NDArray[np.float64]:
        values = widen(self.dtype, block, out)
        return values if self.scale == 1.0 else np.multiply(values, self.scale, out=out)


def _tally_block(pair: _Pair) -> Tally:
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
        first_differing=int(differing.argmax()),
    )
    if not (tally.baseline.all_finite and tally.observed.all_finite):
        return _partly_finite(tally, pair, baseline, observed)
    pairs = replace(
        _measured(pair, baseline, observed),
        baseline_squares=tally.baseline.square_sum,
        observed_squares=tally.observed.square_sum,
    )
    return replace(tally, pairs=pairs)


def _partly_finite(
    tally: Tally, pair: _Pair, baseline: NDArray[np.float64], observed: NDArray[np.float64]
) -> Tally:
    finite = np.isfinite(baseline) & np.isfinite(observed)
    both_nan = np.isnan(baseline) & np.isnan(observed)
    disagreeing = ~(finite | both_nan | (baseline == observed))
    kept = np.flatnonzero(finite)
    count = int(np.count_nonzero(disagreeing))
    return replace(
        tally,
        pairs=_measured_where(kept, pair, baseline[kept], observed[kept]),
        non_finite_count=count,
        first_non_finite=int(disagreeing.argmax()) if count else None,
    )


def _measured_where(
    kept: NDArray[np.intp],
    pair: _Pair,
    baseline: NDArray[np.float64],
    observed: NDArray[np.float64],
) -> Pairs:
    if not kept.size:
        return Pairs()
    part = replace(pair, baseline=pair.baseline[kept], observed=pair.observed[kept])
    scratch = np.empty_like(baseline)
    return replace(
        _relocated(_measured(part, baseline, observed), lambda index: int(kept[index])),
        baseline_squares=block_moments(baseline, scratch).square_sum,
        observed_squares=block_moments(observed, scratch).square_sum,
    )


def _measured(pair: _Pair, baseline: NDArray[np.float64], observed: NDArray[np.float64]) -> Pairs:
    """Measures of one block that is finite throughout; the sums of its squares are left out."""
    work = pair.work.cut(baseline.size)
    gap = _gaps(pair, baseline, observed, work.gap)
    square_sum = float(np.add.reduce(np.multiply(gap, gap, out=work.scratch)))
    return Pairs(
        gap.size,
        float(np.add.reduce(gap)),
        square_sum,
        worst_abs=_largest(gap),
        worst_rel=_largest_ratio(gap, np.abs(baseline, out=work.scratch)),
        worst_ulp=_largest(_steps(pair, work)) if pair.dtype.is_float else None,
    )


def _gaps(
    pair: _Pair,
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


def _steps(pair: _Pair, work: _Work) -> NDArray[Any]:
    """Distances in units in the last place; overwrites ``work``."""
    signed = np.dtype(f"<i{pair.dtype.itemsize}")
    baseline, observed = pair.baseline.view(signed), pair.observed.view(signed)
    out = work.scratch.view(signed)[: baseline.size]
    if int(np.bitwise_xor(baseline, observed, out=out).min()) < 0:  # some signs differ
        return _distances(
            ordered_integers(pair.dtype, pair.baseline), ordered_integers(pair.dtype, pair.observed)
        )
    np.subtract(observed, baseline, out=out)
    np.abs(out, out=out)
    return out


def _distances(baseline: NDArray[Any], observed: NDArray[Any]) -> NDArray[Any]:
    """Exact ``|o - b|`` of integers, in the unsigned dtype of their size, which always holds it."""
    unsigned = np.dtype(f"<u{baseline.dtype.itemsize}")
    larger = np.maximum(baseline, observed).view(unsigned)
    return np.subtract(larger, np.minimum(baseline, observed).view(unsigned), out=larger)


def _largest(amounts: NDArray[Any]) -> Place | None:
    index = int(amounts.argmax())
    amount = float(amounts[index])
    return Place(amount, index) if amount > 0.0 else None


def _largest_ratio(gap: NDArray[np.float64], size: NDArray[np.float64]) -> Place | None:
    ratio = np.divide(gap, size, out=size)
    if math.isnan(float(ratio[int(ratio.argmax())])):  # 0/0: both are zero, nothing differs
        ratio[np.isnan(ratio)] = 0.0
    return _largest(ratio)


def _relocated(pairs: Pairs, locate: Callable[[int], int]) -> Pairs:
    def moved(place: Place | None) -> Place | None:
        return place and Place(place.amount, locate(place.index))

    return replace(
        pairs,
        worst_abs=moved(pairs.worst_abs),
        worst_rel=moved(pairs.worst_rel),
        worst_ulp=moved(pairs.worst_ulp),
    )


def _moved(tally: Tally, start: int) -> Tally:
    def locate(index: int) -> int:
        return index + start

    def moved(index: int | None) -> int | None:
        return None if index is None else locate(index)

    if not tally.differing_count:
        return tally
    return replace(
        tally,
        first_differing=moved(tally.first_differing),
        first_non_finite=moved(tally.first_non_finite),
        pairs=_relocated(tally.pairs, locate),
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
