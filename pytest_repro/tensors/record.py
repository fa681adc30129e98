"""Tensor records: arrays as they are judged and stored, read-only, contiguous, little-endian.

Only this module makes arrays contiguous and little-endian; everything after it relies on both
(safetensors 0.8.0 writes a strided array wrongly, without an error).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_repro.errors import ValueRefused
from pytest_repro.model.ids import TensorRecord
from pytest_repro.tensors.digest import digest_array
from pytest_repro.tensors.dtypes import DType, dtype_of


def make_record(array: NDArray[Any] | np.generic) -> TensorRecord:
    """The record of ``array``: same shape, same bits; the caller's array is not changed.

    A contiguous little-endian array is viewed, anything else is copied. A view follows later
    changes of the array; `owned` makes a copy.

    Raises:
        ValueRefused: Not a numpy array, a masked array or matrix, or a dtype that a baseline
            cannot hold.
    """
    plain = _plain(array)
    dtype = dtype_of(plain)
    stored = _canonical(plain, dtype)
    return TensorRecord(dtype.name, stored, digest_array(dtype.name, stored))


def owned(record: TensorRecord) -> TensorRecord:
    """The same record with its own copy of the bytes."""
    return replace(record, array=_read_only(record.array.copy(order="C")))


def _plain(array: object) -> NDArray[Any]:
    if type(array) is np.ndarray:
        return array
    if isinstance(array, np.generic):
        return np.asarray(array)
    if not isinstance(array, np.ndarray):
        raise ValueRefused(
            f"a {type(array).__module__}.{type(array).__qualname__} is not a numpy array",
            next_step="convert it first: numpy.asarray(value)",
        )
    if isinstance(array, np.ma.MaskedArray):
        raise ValueRefused(
            "a baseline cannot hold a masked array: the mask would be lost",
            facts=(f"shape  {array.shape}",),
            next_step="check value.filled(<a number>) and value.mask, each under its own name",
        )
    if isinstance(array, np.matrix):
        raise ValueRefused(
            "a baseline cannot hold a numpy.matrix: its shape changes when it becomes an array",
            next_step="convert it first: numpy.asarray(value)",
        )
    return array.view(np.ndarray)


def _canonical(array: NDArray[Any], dtype: DType) -> NDArray[Any]:
    # Not numpy.ascontiguousarray: it turns 0-d into 1-d.
    ordered = np.asarray(array, dtype=dtype.numpy, order="C")
    if not ordered.flags.aligned:
        ordered = ordered.copy(order="C")
    return _read_only(ordered.view())


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array
