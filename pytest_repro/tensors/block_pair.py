"""What one block of two tensors says about their difference, where both are finite throughout.

`tally` cuts the tensors into blocks and adds up what is said here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_repro.tensors.dtypes import DType, DTypeKind, ordered_integers, widen

__all__ = ["NO_PAIRS", "BlockPair", "Pairs", "Place", "Work", "measured"]

_WIDEST = 8
# For the rounding of a limit itself, far above float64's 1e-16.
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
    """Measures of one block that is finite throughout; the sums of its squares are left out.

    ``worst_rel`` and ``worst_ulp`` are given only where they may exceed those of ``so_far``. All of
    ``pair.work`` is overwritten, ``baseline`` and ``observed`` too where they lie in it.
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
    """The largest ``gap / size``; divides only where it can exceed ``so_far``."""
    near = np.flatnonzero(size <= (widest / so_far.amount * _SLACK if so_far else math.inf))
    ratio = gap[near] / size[near]
    ratio[np.isnan(ratio)] = 0.0  # 0/0: both are zero, nothing differs
    return _largest(pair, ratio, near)


def _worst_ulp(
    pair: BlockPair, size: NDArray[np.float64], so_far: Place | None, widest: float
) -> Place | None:
    """The largest distance in ULPs; looks only where it can exceed ``so_far``.

    Floats of precision p are at least ``m * 2**-p`` apart at magnitude m. So n steps over a gap g
    with one sign begin at ``m <= g * 2**p / n``, the baseline lies at most g further out, and where
    the signs differ it is no larger than g. To count, it must be one step more than ``so_far``: a
    margin of 2e-8 or more, which no rounding of the limit uses up.
    """
    if not pair.dtype.is_float:
        return None
    limit = math.inf
    if so_far:
        limit = widest * (1.0 + 2.0**pair.dtype.significand_bits / so_far.amount)
    near = np.flatnonzero(size <= limit)
    if near.size < size.size:
        baseline, observed = pair.baseline[near], pair.observed[near]
    else:
        baseline, observed = pair.baseline, pair.observed
    return _largest(pair, _steps(pair, baseline, observed), near)


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


def _largest(pair: BlockPair, amounts: NDArray[Any], places: NDArray[np.intp]) -> Place | None:
    if not amounts.size:
        return None
    index = int(amounts.argmax())
    amount = float(amounts[index])
    return Place(amount, pair.start + int(places[index])) if amount > 0.0 else None


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
