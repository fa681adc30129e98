"""SHA-256 digests of tensors, of values made of several tensors, and of text."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_repro.model.ids import Digest
from pytest_repro.tensors.dtypes import DTYPES

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
