"""An order-aware sketch of a tensor: random projections from which distances are estimated."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_repro.model.ids import TensorRecord
from pytest_repro.tensors.dtypes import DTYPES, widen
from pytest_repro.tensors.statistics import BLOCK_ELEMENTS, blocks_of, kept_work_arrays

PROJECTIONS = 16
"""How many projections (k); the estimate's relative standard deviation is about sqrt(1/(2k))."""

SKETCH_DIGITS = 9
"""Significant decimal digits that are kept of a projection (float32 has 7 to 9)."""

_BITS_A_TABLE = 8
_ELEMENTS_A_HASH = 64 // PROJECTIONS
# splitmix64's increment and multipliers. Source: Steele, Lea, Flood, "Fast Splittable Pseudorandom
# Number Generators", OOPSLA 2014; constants of Vigna's public-domain splitmix64.c.
_INCREMENT = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def sketch_array(record: TensorRecord) -> tuple[float, ...]:
    """``PROJECTIONS`` sums over all elements, each with its own fixed pseudo-random signs.

    The signs depend only on an element's flat index, so a flip, transpose, channel swap or any
    other permutation changes the sums. NaN and infinity count as 0. Sums are in float64, in an
    order that does not depend on the SIMD width, and rounded to ``SKETCH_DIGITS`` digits. Float64
    elements beyond about 1e300 may saturate a projection at float64's largest number.

    The elements are first added up by their 16 signs (two tables of 256), then the tables are
    projected: the same sums as 16 passes over all elements, at the cost of one.
    """
    dtype = DTYPES[record.dtype]
    tables = np.zeros((2, 1 << _BITS_A_TABLE))
    with np.errstate(all="ignore"):
        (wide,) = kept_work_arrays(record.array.size, 1)
        for start, block in blocks_of(record.array):
            values = widen(dtype, block, wide[: block.size])
            if dtype.is_float:
                values = _finite_or_zero(values)
            for half, codes in enumerate(_sign_codes(start, values.size)):
                tables[half] += np.bincount(codes, weights=values, minlength=1 << _BITS_A_TABLE)
        return tuple(_rounded(value) for value in _project(tables))


def estimate_distance(baseline: tuple[float, ...], observed: tuple[float, ...]) -> float:
    """Estimate of ``||observed - baseline||_2`` from two sketches of arrays of one shape.

    The mean of the squared differences is an unbiased estimate of the squared distance with
    variance at most 2/k of its square. So the distance is right to about 18 % (one sigma) for k =
    16, and exact if one element differs. Distances below `estimate_floor` are not seen.
    Source: Alon, Matias, Szegedy, "The Space Complexity of Approximating the Frequency Moments",
    STOC 1996, section 2.2; signs as a Johnson-Lindenstrauss map: Achlioptas, JCSS 66 (2003).

    Raises:
        ValueError: The sketches have different lengths, or none.
    """
    if len(baseline) != len(observed) or not baseline:
        raise ValueError(f"sketches of {len(baseline)} and {len(observed)} projections")
    return _root_mean_square([o - b for b, o in zip(baseline, observed, strict=True)])


def estimate_floor(sketch: tuple[float, ...]) -> float:
    """The distance that rounding to ``SKETCH_DIGITS`` digits may hide or simulate.

    Two half units in the last kept digit, root mean square: 1e-9 to 1e-8 of the l2 norm.
    """
    return _root_mean_square([_unit_in_last_digit(projection) for projection in sketch])


def _unit_in_last_digit(projection: float) -> float:
    if projection == 0.0:
        return 0.0
    return math.pow(10.0, math.floor(math.log10(abs(projection))) - SKETCH_DIGITS + 1)


def _root_mean_square(amounts: list[float]) -> float:
    # hypot avoids overflow and underflow.
    return math.hypot(*amounts) / math.sqrt(len(amounts)) if amounts else 0.0


def _finite_or_zero(values: NDArray[np.float64]) -> NDArray[np.float64]:
    # The sum of almost every block is finite, and then nothing else needs a look.
    if math.isfinite(float(np.add.reduce(values))):
        return values
    return np.where(np.isfinite(values), values, 0.0)


def _sign_codes(start: int, count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The signs of ``count`` elements from ``start`` on (a multiple of 4), as two 8-bit codes."""
    if start:
        return _made_codes(start, count)
    first, second = _first_codes()
    return first[:count], second[:count]


@functools.cache
def _first_codes() -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The codes of the first block (two megabytes), often the only one."""
    return _made_codes(0, BLOCK_ELEMENTS)


def _made_codes(start: int, count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    first = start // _ELEMENTS_A_HASH
    counter = np.arange(first, first + -(-count // _ELEMENTS_A_HASH), dtype=np.uint64)
    pairs = _splitmix64(counter).astype("<u8").view(np.uint8).reshape(-1, 2)[:count]
    return pairs[:, 0].astype(np.intp), pairs[:, 1].astype(np.intp)


def _splitmix64(counter: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = (counter + np.uint64(1)) * _INCREMENT
    state = (state ^ (state >> np.uint64(30))) * _FIRST
    state = (state ^ (state >> np.uint64(27))) * _SECOND
    mixed: NDArray[np.uint64] = state ^ (state >> np.uint64(31))
    return mixed


# Row j has sign + at entry c where bit j of c is set, else -.
_TABLE_SIGNS = np.where(
    (np.arange(1 << _BITS_A_TABLE) >> np.arange(_BITS_A_TABLE)[:, np.newaxis]) & 1, 1.0, -1.0
)


def _project(tables: NDArray[Any]) -> list[float]:
    """Projection j adds the entries of its table under the signs of row j."""
    signed = tables[:, np.newaxis, :] * _TABLE_SIGNS
    return [float(projection) for projection in np.add.reduce(signed, axis=2).ravel()]


def _rounded(value: float) -> float:
    # nan_to_num costs more than all sums of a small tensor.
    finite = value if math.isfinite(value) else float(np.nan_to_num(value, nan=0.0))
    return float(f"{finite:.{SKETCH_DIGITS - 1}e}")
