"""Owns the elementwise bound ``|o - b| <= atol + rtol * |b|``, judged over two whole arrays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_repro.errors import ValueRefused
from pytest_repro.tolerance.bounds import Tolerance

__all__ = ["elementwise_share"]

_BLOCK_ELEMENTS = 1 << 17


def elementwise_share(
    tolerance: Tolerance, baseline_array: NDArray[Any], observed_array: NDArray[Any]
) -> float:
    """Largest ``|o - b| / (atol + rtol * |b|)`` over the places finite in both; 0.0 when none.

    Computed in float64 block by block (a few MB beside the arrays); integers are subtracted without
    wrap-around. Above 1.0 exactly when some element exceeds its bound. Places that are not finite
    are the value gate's and `uses`'s.

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
            "elements of unlike arrays cannot be compared",
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
    # inf / inf: both overflowed, so nothing is known but that they are far apart.
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
    # Two's complement: the bits of larger minus smaller are the distance, also where it exceeds
    # the signed range; float64 rounds it only afterwards.
    signed = baseline.dtype.kind == "i"
    wide = np.int64 if signed else np.uint64
    left, right = baseline.astype(wide), observed.astype(wide)
    larger = np.maximum(left, right).view(np.uint64)
    return (larger - np.minimum(left, right).view(np.uint64)).astype(np.float64)
