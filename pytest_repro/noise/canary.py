"""The canary: fixed draws whose digests show a changed numpy stream before any model runs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_repro.model.baseline import Fact
from pytest_repro.tensors.record import digest_array

_SEED = 0

# numpy's ziggurat asks libm (log1p) only beyond |x| > 3.654, with probability 2.58e-4 an element;
# 16,384 elements of this seed hold five such, so another libm shows. Source: numpy
# random/src/distributions/ziggurat_constants.h (ziggurat_nor_r); the count is held by a test.
_NORMAL_COUNT = 16_384
_COUNT = 1_024


def noise_canary() -> tuple[Fact, ...]:
    """Digests of five fixed draws from ``PCG64(0)``, sorted by name.

    Each draw has its own generator, so only a changed draw is named: ``canary.raw`` (words of the
    bit generator, which numpy never changes), ``canary.uniform``, ``canary.integers``,
    ``canary.normal`` (float64, enough to reach libm) and ``canary.normal.float32`` (the same, cast
    as pipelines cast it). The value is the first 16 hex digits of the draw's digest.
    """
    normal = _generator().standard_normal(_NORMAL_COUNT)
    draws = (
        ("canary.integers", _generator().integers(0, 1_000, size=_COUNT)),
        ("canary.normal", normal),
        ("canary.normal.float32", normal.astype(np.float32)),
        ("canary.raw", np.asarray(np.random.PCG64(_SEED).random_raw(_COUNT))),
        ("canary.uniform", _generator().uniform(-1.0, 1.0, _COUNT)),
    )
    return tuple(Fact(name, _head(array), changes_bits=True) for name, array in draws)


def _generator() -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(_SEED))


def _head(array: NDArray[Any]) -> str:
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return digest_array(array.dtype.name, little)[:16]
