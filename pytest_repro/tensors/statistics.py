"""Statistics of a tensor: float64, block by block, in an order that is the same on every host.

Sums use `numpy.add.reduce`, whose pairwise order over a contiguous block is fixed; not BLAS, whose
kernels differ by CPU and thread count.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_repro.model.baseline import Statistics
from pytest_repro.model.ids import TensorRecord
from pytest_repro.tensors.dtypes import DTYPES, DType, widen

STATISTIC_NAMES: tuple[str, ...] = tuple(item.name for item in fields(Statistics))
"""Names of all statistics, in the order of `model.Statistics`."""

BLOCK_ELEMENTS = 1 << 17
"""Elements of a block: the fastest size measured (numpy's cost per call against the cache size).

It decides the order of the sums, and so their last bit: changing it changes stored statistics."""

# Below this share of the mean square, the variance has lost 4 of 16 digits to cancellation.
_ILL_CONDITIONED = 1e-4
# Squares of numbers beyond 2**+-400, summed over any array, would leave float64's range.
_SAFE_EXPONENT = 400
_LARGEST_SHIFT = 1000


@dataclass(frozen=True, slots=True)
class Moments:
    """Sums over the finite elements seen so far, and counts of the others.

    Attributes:
        count: Finite elements.
        mean: Their mean, 0.0 when there are none.
        squared_deviations: Sum of ``(x - mean)**2``.
        abs_sum: Sum of ``|x|``.
        min, max: Infinity and minus infinity if there are none.
    """

    count: int = 0
    mean: float = 0.0
    squared_deviations: float = 0.0
    abs_sum: float = 0.0
    min: float = math.inf
    max: float = -math.inf
    nan_count: int = 0
    posinf_count: int = 0
    neginf_count: int = 0

    @property
    def all_finite(self) -> bool:
        """Whether there is no NaN and no infinity."""
        return self.nan_count + self.posinf_count + self.neginf_count == 0

    @property
    def square_sum(self) -> float:
        """Sum of ``x**2``."""
        return self.squared_deviations + self.count * self.mean * self.mean

    @property
    def largest_abs(self) -> float:
        """Largest ``|x|``; 0.0 without finite elements."""
        return max(abs(self.min), abs(self.max)) if self.count else 0.0


NOTHING = Moments()
"""The moments of no elements."""


def summarise(record: TensorRecord) -> Statistics:
    """Statistics over the finite elements of ``record``, computed in float64; bool counts as 0/1.

    One pass with memory for a few blocks. If squares would leave float64's range (elements beyond
    2**400, or all below 2**-400), a second pass runs on elements scaled by a power of two.
    ``abs_sum`` and ``l2`` are infinite only if they exceed float64's range themselves.
    """
    dtype = DTYPES[record.dtype]
    with np.errstate(all="ignore"):
        moments = _accumulate(dtype, record.array, 1.0)
        scale = safe_scale(moments.largest_abs)
        if scale == 1.0:
            return statistics_of(moments)
        scaled = _accumulate(dtype, record.array, scale)
    # A scaled element may round when it becomes subnormal; the extremes are known exactly.
    return replace(statistics_of(scaled, scale), min=moments.min, max=moments.max)


def _accumulate(dtype: DType, array: NDArray[Any], scale: float) -> Moments:
    total = NOTHING
    wide, scratch = kept_work_arrays(array.size, 2)
    for _, block in blocks_of(array):
        values = widen(dtype, block, wide[: block.size])
        if scale != 1.0:
            values = values * scale
        total = merge(total, block_moments(values, scratch[: block.size]))
    return total


def work_arrays(size: int, count: int) -> tuple[NDArray[np.float64], ...]:
    """``count`` arrays, each as long as a block of an array of ``size`` elements.

    Made once for a tensor, not for each block: fresh pages cost more than the arithmetic.
    """
    return tuple(np.empty(min(size, BLOCK_ELEMENTS)) for _ in range(count))


class _Kept(threading.local):
    """The work arrays of a thread, kept from call to call."""

    arrays: tuple[NDArray[np.float64], ...] = ()


_KEPT = _Kept()


def kept_work_arrays(size: int, count: int) -> tuple[NDArray[np.float64], ...]:
    """Like `work_arrays`, but the same arrays for every call of a thread: a few megabytes.

    The caller must not use them after it returns. Fresh pages for 131,072 elements cost three
    times the arithmetic on them, and a trace of cells measures hundreds of tensors.
    """
    wanted = min(size, BLOCK_ELEMENTS)
    if len(_KEPT.arrays) < count or _KEPT.arrays[0].size < wanted:
        _KEPT.arrays = work_arrays(size, count)
    return tuple(array[:wanted] for array in _KEPT.arrays[:count])


def blocks_of(array: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
    """Flat views of at most ``BLOCK_ELEMENTS`` elements, each with its start index."""
    flat = array.ravel()
    for start in range(0, flat.size, BLOCK_ELEMENTS):
        yield start, flat[start : start + BLOCK_ELEMENTS]


def block_moments(values: NDArray[np.float64], scratch: NDArray[np.float64]) -> Moments:
    """Moments of one block of float64 values; overwrites ``scratch`` (of the same length)."""
    if not values.size:
        return NOTHING
    smallest, largest = float(values.min()), float(values.max())
    if math.isfinite(smallest) and math.isfinite(largest):
        return _finite_moments(values, scratch, smallest, largest)
    finite = values[np.isfinite(values)]
    moments = block_moments(finite, np.empty_like(finite))
    return replace(
        moments,
        nan_count=int(np.count_nonzero(np.isnan(values))),
        posinf_count=int(np.count_nonzero(values == np.inf)),
        neginf_count=int(np.count_nonzero(values == -np.inf)),
    )


def _finite_moments(
    values: NDArray[np.float64], scratch: NDArray[np.float64], smallest: float, largest: float
) -> Moments:
    count = values.size
    total = float(np.add.reduce(values))
    mean = min(max(total / count, smallest), largest)
    np.multiply(values, values, out=scratch)
    squares = float(np.add.reduce(scratch))
    deviations = squares - total * mean
    if deviations < _ILL_CONDITIONED * squares:
        np.subtract(values, mean, out=scratch)
        np.multiply(scratch, scratch, out=scratch)
        deviations = float(np.add.reduce(scratch))
    if smallest < 0.0 < largest:
        total = float(np.add.reduce(np.abs(values, out=scratch)))
    return Moments(count, mean, deviations, abs(total), smallest, largest)


def merge(left: Moments, right: Moments) -> Moments:
    """Moments of both together; stable also if the mean is much larger than the deviation.

    Source: Chan, Golub, LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample
    Variances", Stanford STAN-CS-79-773 (1979), equations 2.1.
    """
    count = left.count + right.count
    share = right.count / count if count else 0.0
    shift = right.mean - left.mean
    return Moments(
        count,
        left.mean + shift * share,
        left.squared_deviations + right.squared_deviations + shift * shift * left.count * share,
        left.abs_sum + right.abs_sum,
        min(left.min, right.min),
        max(left.max, right.max),
        left.nan_count + right.nan_count,
        left.posinf_count + right.posinf_count,
        left.neginf_count + right.neginf_count,
    )


def statistics_of(moments: Moments, scale: float = 1.0) -> Statistics:
    """The statistics from ``moments`` of elements that were multiplied by ``scale``."""
    counts = (moments.nan_count, moments.posinf_count, moments.neginf_count)
    if not moments.count:
        return Statistics(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, *counts)
    mean = min(max(moments.mean, moments.min), moments.max)
    return Statistics(
        moments.min / scale,
        moments.max / scale,
        mean / scale,
        math.sqrt(moments.squared_deviations / moments.count) / scale,
        moments.abs_sum / scale,
        math.sqrt(moments.square_sum) / scale,
        *counts,
    )


def safe_scale(largest_abs: float) -> float:
    """The power of two that brings ``largest_abs`` to where squares can be summed; usually 1.0."""
    exponent = math.frexp(largest_abs)[1]
    if abs(exponent) <= _SAFE_EXPONENT:  # frexp gives 0 for 0.0
        return 1.0
    return math.ldexp(1.0, max(-_LARGEST_SHIFT, min(_LARGEST_SHIFT, -exponent)))
