"""Tensor records and digests: arrays as they are judged: read-only, contiguous, little-endian.

Only this module makes arrays contiguous and little-endian; everything after it relies on both
(safetensors 0.8.0 writes a strided array wrongly, without an error).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from dataclasses import replace
from hashlib import sha256
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from pytest_repro.errors import ValueRefused
from pytest_repro.model.ids import Digest, TensorRecord
from pytest_repro.tensors.dtypes import DTYPES, DType, dtype_of

# The first line says what is hashed, so a text never has the digest of a tensor.
_TENSOR = "pytest-repro tensor 1"
_VALUE = "pytest-repro value 1"
_STRUCTURED = "pytest-repro value 2"
_TEXT = "pytest-repro text 1"


def digest_array(dtype_name: str, array: NDArray[Any]) -> Digest:
    r"""SHA-256 over dtype, shape and the raw little-endian bytes in C order; nothing is copied.

    What is hashed: the line ``pytest-repro tensor 1``, the line with ``dtype_name``, the line with
    the lengths joined by commas (empty for 0-d), all in ASCII with ``\n``, then the bytes.

    Raises:
        ValueError: The array is not C-contiguous, or not of exactly that little-endian dtype.
    """
    if array.dtype != DTYPES[dtype_name].numpy:
        raise ValueError(f"array is {array.dtype.str}, not the little-endian {dtype_name}")
    if not array.flags.c_contiguous:
        raise ValueError("array is not C-contiguous; make a record of it first")
    shape = ",".join(str(length) for length in array.shape)
    hasher = sha256(f"{_TENSOR}\n{dtype_name}\n{shape}\n".encode("ascii"))
    # Through uint8, because the buffer protocol knows no bfloat16; flat, because it casts no 0-d.
    hasher.update(array.ravel().view(np.uint8).data)
    return Digest(hasher.hexdigest())


def digest_leaves(
    leaves: Iterable[tuple[str, Digest]], structure: Iterable[tuple[str, str]] = ()
) -> Digest:
    """Digest of a value from its leaves ``(path, digest)`` and structure, in the given order.

    A single tensor (one leaf with path ``""``, no structure) keeps its own digest. Otherwise
    SHA-256 over the line ``pytest-repro value 1`` and, for each leaf, a line
    ``<length of path in bytes>:<path>=<digest>``; the length makes every line unambiguous. With a
    structure the first line is ``pytest-repro value 2``, and each entry of it is a line
    ``<length>:<path>~<length of kind in bytes>:<kind>`` before the leaves.
    """
    pairs, kinds = tuple(leaves), tuple(structure)
    if len(pairs) == 1 and pairs[0][0] == "" and not kinds:
        return pairs[0][1]
    hasher = sha256(f"{_STRUCTURED if kinds else _VALUE}\n".encode("ascii"))
    for path, kind in kinds:
        hasher.update(b"%b~%b\n" % (_framed(path), _framed(kind)))
    for path, digest in pairs:
        hasher.update(b"%b=%b\n" % (_framed(path), digest.encode("ascii")))
    return Digest(hasher.hexdigest())


def _framed(text: str) -> bytes:
    encoded = _encode(text)
    return b"%d:%b" % (len(encoded), encoded)


def digest_text(text: str) -> Digest:
    """SHA-256 over the line ``pytest-repro text 1`` and ``text`` in UTF-8."""
    return Digest(sha256(f"{_TEXT}\n".encode("ascii") + _encode(text)).hexdigest())


def _encode(text: str) -> bytes:
    # Keys of a user's dict may hold lone surrogates, e.g. from undecodable file names.
    return text.encode("utf-8", "surrogatepass")


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


_Result = TypeVar("_Result")
_MAX_ENTRIES = 100_000


class ContentMemo(Generic[_Result]):
    """Remembers a result for each content, whichever array holds it.

    The content is known by 128 bits of XXH3 over dtype, shape and bytes, with a random seed for
    each process. Every call reads the bytes, so a change in place is always seen. Without the
    package ``xxhash`` every call computes. ``compute`` must depend on the content alone.
    """

    def __init__(self, compute: Callable[[NDArray[Any]], _Result]) -> None:
        self._compute = compute
        self._fingerprint = _fast_fingerprint()
        self._results: dict[bytes, _Result] = {}

    def of(self, array: NDArray[Any]) -> _Result:
        """The result for ``array``."""
        if self._fingerprint is None or not array.flags.c_contiguous:
            return self._compute(array)
        head = f"{array.dtype.str} {array.dtype.name} {array.shape} ".encode()
        content = head + self._fingerprint(array.reshape(-1).view(np.uint8).data)
        if content not in self._results:
            if len(self._results) >= _MAX_ENTRIES:
                self._results.clear()
            self._results[content] = self._compute(array)
        return self._results[content]


def _fast_fingerprint() -> Callable[[Any], bytes] | None:
    try:
        from xxhash import xxh3_128_digest
    except ImportError:
        return None
    seed = secrets.randbits(64)
    return lambda data: bytes(xxh3_128_digest(data, seed))
