"""What manifests name, as bytes: tensors as safetensors, traces and tables as packed JSON."""

from __future__ import annotations

import contextlib
import errno
import gzip
import io
import json
import os
import stat
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pytest_repro.errors import CorruptBaseline
from pytest_repro.model.ids import Digest, TensorRecord
from pytest_repro.tensors.digest import digest_array
from pytest_repro.tensors.dtypes import DTYPES
from pytest_repro.tensors.record import make_record

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


def tensor_arrays(record: TensorRecord) -> dict[str, Any]:
    """What safetensors is given for a record: one contiguous, little-endian array, no metadata.

    safetensors 0.8.0 writes non-contiguous arrays wrongly without an error, and several metadata
    keys are not stable between processes; a record is contiguous by construction and the facts
    live in the manifest.
    """
    return {_TENSOR_NAME: np.ascontiguousarray(record.array).reshape(record.shape)}


def decode_tensor(data: bytes, *, digest: Digest, where: str) -> TensorRecord:
    """The record that a safetensors file holds.

    Raises:
        CorruptBaseline: A git-lfs pointer, a truncated or foreign file, or another digest.
    """
    from safetensors import SafetensorError, deserialize

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
        raise corrupt(where, f"not a tensor of ours: {error}") from error
    if name != _TENSOR_NAME or digest_array(dtype.name, array) != digest:
        raise corrupt(where, f"its content has another digest than {digest}")
    return make_record(array)


def encode_rows(rows: Iterable[Row]) -> bytes:
    """Rows of text, numbers and ``None`` as JSON lines, compressed; equal rows give equal bytes
    with one zlib.
    """
    lines = (json.dumps(row, allow_nan=True, separators=(",", ":")) for row in rows)
    # No time and no name in the header: the bytes must depend on the rows alone.
    return gzip.compress("\n".join(lines).encode(), compresslevel=6, mtime=0)


def decode_rows(data: bytes, *, where: str) -> tuple[Row, ...]:
    """The rows that `encode_rows` was given.

    Raises:
        CorruptBaseline: A git-lfs pointer, or not such bytes, or more than they can hold.
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
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as opened:
            text = opened.read(limit + 1)
        if len(text) > limit:
            raise ValueError(f"{len(data)} bytes unpack to more than {limit}")
        if text.count(b"\n") * _MIN_ROW_BYTES > 1000 + len(text):
            raise ValueError("too many rows for so few bytes")
        rows = tuple(tuple(json.loads(line)) for line in text.decode().splitlines())
    except (OSError, EOFError, zlib.error, ValueError, TypeError, RecursionError) as error:
        raise corrupt(where, f"not a trace of ours: {error}") from error
    return rows


def corrupt(where: str, fact: str) -> CorruptBaseline:
    """The error for a stored thing that is not what our writer would have written."""
    return CorruptBaseline(
        "a stored baseline cannot be read",
        facts=(fact[:300],),
        where=where,
        next_step=f"git checkout -- {where}   (or delete it and record: pytest --repro-update)",
    )


_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


_READ_ONLY = os.O_RDONLY
for _name in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY"):
    _READ_ONLY |= getattr(os, _name, 0)  # each system has only some of them


class NotAFile(OSError):
    """What lies there is no plain file; the text says what it is."""


def open_regular(path: Path) -> BinaryIO:
    """A file opened for reading; links are followed. Never waits.

    Raises:
        NotAFile: A folder, a named pipe, a socket or a device lies there.
        OSError: Nothing lies there, or it cannot be opened.
    """
    # Asked before it is opened, because opening a device can do something to it ...
    _refuse_others(path.stat().st_mode)
    # ... and again after that, without waiting, in case it was exchanged in between.
    handle = os.open(path, _READ_ONLY)
    try:
        _refuse_others(os.fstat(handle).st_mode)
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_regular(path: Path) -> bytes:
    """All bytes of a file, under the guarantees of `open_regular`.

    Raises:
        NotAFile: A folder, a named pipe, a socket or a device lies there.
        OSError: Nothing lies there, or it cannot be read.
    """
    with open_regular(path) as file:
        return file.read()


def _refuse_others(mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = next((word for is_kind, word in _KINDS if is_kind(mode)), "something else")
        raise NotAFile(f"{kind} stands in the place of a file")


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write beside the place, sync, rename; on a fault the old file stands and no other is left."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:40]}.", suffix=".tmp", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        # mkstemp makes private files; baselines are shared like any file of the checkout.
        temporary.chmod(0o666 & ~_umask())
        _sync_file(temporary)
        temporary.replace(path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def save_tensors(arrays: dict[str, Any], path: Path) -> None:
    """Write a safetensors file.

    Raises:
        OSError: The operating system refused.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    try:
        save_file(arrays, path)
    except SafetensorError as error:
        # It wraps the operating system's errors, a full disk say, without their number.
        raise OSError(str(error)) from error


def write_bytes(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path``, whole or not at all."""
    write_whole(path, lambda temporary: temporary.write_bytes(data))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_file(path: Path) -> None:
    with path.open("r+b") as file:
        os.fsync(file.fileno())


_CANNOT_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EBADF})


def _sync_folder(path: Path) -> None:
    """Make a rename durable, on systems and disks that can sync a folder."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:  # Windows opens no folder
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise
    finally:
        os.close(handle)


@contextlib.contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold an exclusive lock on a folder, by a file in it that is removed at the end."""
    from filelock import FileLock, UnixFileLock

    path = folder / ".lock.tmp"
    lock = FileLock(path)
    with lock:
        try:
            yield
        finally:
            if isinstance(lock, UnixFileLock):  # the others remove it themselves
                # Still held: who gets the removed file sees that, and makes another.
                path.unlink(missing_ok=True)
