"""Tensors as safetensors, and traces and tables of weights as compressed JSON lines."""

from __future__ import annotations

import contextlib
import io
import zlib
from collections.abc import Iterable, Iterator
from gzip import GzipFile, compress
from json import dumps, loads
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from pytest_repro.errors import CorruptBaseline
from pytest_repro.model.ids import Digest, TensorRecord
from pytest_repro.store.system import remove_file
from pytest_repro.tensors.dtypes import DTYPES
from pytest_repro.tensors.record import digest_array, make_record

Row = tuple[Any, ...]
_MAX_ROWS_BYTES = 1 << 28
_FREE_ROWS_BYTES = 1 << 24
_MAX_PACKING = 40
_MIN_ROW_BYTES = 16
_TENSOR_NAME = "value"


def is_lfs_pointer(head: bytes) -> bool:
    """Whether a file that begins with ``head`` is a git-lfs pointer instead of its content.

    Source: git-lfs specification, docs/spec.md, "The Pointer".
    """
    return head.startswith(b"version https://git-lfs.github.com/spec/")


def encode_tensor(record: TensorRecord) -> bytes:
    """A record as safetensors: one contiguous, little-endian array, no metadata.

    safetensors 0.8.0 writes non-contiguous arrays wrongly without an error, and its order of
    metadata keys differs between processes. So a record is contiguous, and facts are in manifests.
    """
    array = np.ascontiguousarray(record.array).reshape(record.shape)
    data: bytes = save({_TENSOR_NAME: array})
    return data


def decode_tensor(data: bytes, *, digest: Digest, where: str) -> TensorRecord:
    """The record that a safetensors file holds.

    Raises:
        CorruptBaseline: A git-lfs pointer, a truncated or unknown file, or another digest.
    """
    if is_lfs_pointer(data[:64]):
        raise CorruptBaseline(
            "the tensor is a git-lfs pointer, its content was not pulled",
            where=where,
            next_step="git lfs pull",
        )
    try:
        ((name, view),) = deserialize(data)  # type: ignore[no-untyped-call]
        dtype = next(one for one in DTYPES.values() if one.safetensors_tag == view["dtype"])
        array = np.frombuffer(view["data"], dtype=dtype.numpy).reshape(view["shape"])
    except (SafetensorError, StopIteration, ValueError, TypeError, KeyError) as error:
        raise corrupt(where, f"not a tensor that pytest-repro wrote: {error}") from error
    if name != _TENSOR_NAME or digest_array(dtype.name, array) != digest:
        raise corrupt(where, f"its content has another digest than {digest}")
    return make_record(array)


def encode_rows(rows: Iterable[Row]) -> bytes:
    """Rows of text, numbers and ``None`` as JSON lines, compressed; equal rows give equal bytes
    with one zlib.
    """
    lines = (dumps(row, allow_nan=True, separators=(",", ":")) for row in rows)
    # No time and no name in the header: the bytes depend on the rows alone.
    return compress("\n".join(lines).encode(), compresslevel=6, mtime=0)


def decode_rows(data: bytes, *, where: str) -> tuple[Row, ...]:
    """The inverse of `encode_rows`.

    Raises:
        CorruptBaseline: A git-lfs pointer, other bytes, or a decompression bomb.
    """
    if is_lfs_pointer(data[:64]):
        raise CorruptBaseline(
            "a trace is a git-lfs pointer, its content was not pulled",
            where=where,
            next_step="git lfs pull",
        )
    try:
        # Rows are full of digests, which pack two to one at best; a bomb packs a thousand to one.
        limit = min(_MAX_ROWS_BYTES, _FREE_ROWS_BYTES + _MAX_PACKING * len(data))
        with GzipFile(fileobj=io.BytesIO(data)) as opened:
            text = opened.read(limit + 1)
        if len(text) > limit:
            raise ValueError(f"{len(data)} bytes unpack to more than {limit}")
        if text.count(b"\n") * _MIN_ROW_BYTES > 1000 + len(text):
            raise ValueError("too many rows for so few bytes")
        rows = tuple(tuple(loads(line)) for line in text.decode().splitlines())
    except (OSError, EOFError, zlib.error, ValueError, TypeError, RecursionError) as error:
        raise corrupt(where, f"not a record that pytest-repro wrote: {error}") from error
    return rows


def corrupt(where: str, fact: str) -> CorruptBaseline:
    """The error for a stored file that pytest-repro did not write in this form."""
    return CorruptBaseline(
        "a stored baseline cannot be read",
        facts=(fact[:300],),
        where=where,
        next_step=f"git checkout -- {where}   # or delete it and record: pytest --repro-update",
    )


@contextlib.contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold an exclusive lock on a folder, by a file in it that is removed afterwards."""
    from filelock import FileLock, UnixFileLock

    path = folder / ".lock.tmp"
    lock = FileLock(path)
    with lock:
        try:
            yield
        finally:
            if isinstance(lock, UnixFileLock):  # the others remove it themselves
                # Still locked: a process that gets the removed file sees that, and makes another.
                with contextlib.suppress(FileNotFoundError):
                    remove_file(path)
