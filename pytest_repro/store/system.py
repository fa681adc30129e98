"""Files by the functions of the operating system as they were before any test.

A test may replace functions of `os`, `io`, `pathlib`, `tempfile` or `time`, and a fixture or a
module may leave them replaced until the run ends. The plugin imports this module when pytest
starts. The functions are kept in one object, because pyfakefs and freezegun look for them among the
names of modules.
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

_os = SimpleNamespace(
    open=os.open,
    read=os.read,
    write=os.write,
    close=os.close,
    fstat=os.fstat,
    stat=os.stat,
    lstat=os.lstat,
    lseek=os.lseek,
    fsync=os.fsync,
    replace=os.replace,
    unlink=os.unlink,
    mkdir=os.mkdir,
    listdir=os.listdir,
    getpid=os.getpid,
    time=time.time,
    gmtime=time.gmtime,
    strftime=time.strftime,
)
_READ, _CREATE = os.O_RDONLY, os.O_WRONLY | os.O_CREAT | os.O_EXCL
for _name in ("O_CLOEXEC", "O_BINARY"):  # each system has only some of them
    _READ |= getattr(os, _name, 0)
    _CREATE |= getattr(os, _name, 0)
for _name in ("O_NONBLOCK", "O_NOCTTY"):
    _READ |= getattr(os, _name, 0)
_CHUNK_BYTES = 1 << 20
_NUMBERS = itertools.count()
_CANNOT_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EBADF})
_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class NotAFile(OSError):
    """The path is no plain file; the text says what it is."""


def now_text() -> str:
    """UTC, ISO 8601 to the second."""
    return str(_os.strftime("%Y-%m-%dT%H:%M:%SZ", _os.gmtime(_os.time())))


def is_file(path: Path) -> bool:
    """Whether a plain file, or a link to one, is there."""
    return _has_mode(path, stat.S_ISREG)


def is_folder(path: Path) -> bool:
    """Whether a folder, or a link to one, is there."""
    return _has_mode(path, stat.S_ISDIR)


def _has_mode(path: Path, is_kind: Callable[[int], bool]) -> bool:
    try:
        return is_kind(_os.stat(str(path)).st_mode)
    except (OSError, ValueError):  # a name with a null byte is a ValueError
        return False


def is_there(path: Path) -> bool:
    """Whether anything is there, a broken link included."""
    try:
        _os.lstat(str(path))
    except (OSError, ValueError):
        return False
    return True


def names_in(folder: Path) -> list[str]:
    """The names in a folder.

    Raises:
        OSError: It cannot be listed.
    """
    return sorted(_os.listdir(str(folder)))


def make_folder(path: Path) -> None:
    """Make a folder and those above it; one that exists is left alone.

    Raises:
        OSError: It cannot be made.
    """
    if is_folder(path):
        return
    if path.parent != path:
        make_folder(path.parent)
    try:
        _os.mkdir(str(path))
    except FileExistsError:
        if not is_folder(path):  # another process may have made it in between
            raise


def remove_file(path: Path) -> None:
    """Delete a file.

    Raises:
        OSError: It cannot be deleted.
    """
    _os.unlink(str(path))


def read_regular(path: Path, limit: int | None = None, *, from_end: bool = False) -> bytes:
    """The bytes of a file, or the first or last ``limit``; links are followed. Never waits.

    Raises:
        NotAFile: A folder, a named pipe, a socket or a device is there.
        OSError: Nothing is there, or it cannot be read.
    """
    # Asked before it is opened, because opening a device can do something to it ...
    _refuse_others(_os.stat(str(path)).st_mode)
    # ... and again after that, without waiting, in case it was exchanged in between.
    handle = _os.open(str(path), _READ)
    try:
        status = _os.fstat(handle)
        _refuse_others(status.st_mode)
        if from_end and limit is not None:
            _os.lseek(handle, max(0, status.st_size - limit), os.SEEK_SET)
        return _read(handle, limit)
    finally:
        _os.close(handle)


def _read(handle: int, limit: int | None) -> bytes:
    parts, left = [], limit
    while left is None or left > 0:
        part = _os.read(handle, _CHUNK_BYTES if left is None else min(left, _CHUNK_BYTES))
        if not part:
            break
        parts.append(part)
        left = None if left is None else left - len(part)
    return b"".join(parts)


def _refuse_others(mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = next((word for is_kind, word in _KINDS if is_kind(mode)), "something else")
        raise NotAFile(f"{kind} is in the place of a file")


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole: beside its place, synced, renamed.

    After a fault the old file is unchanged and no other one is left.

    Raises:
        OSError: The operating system refused.
    """
    temporary, handle = _new_beside(path)
    try:
        try:
            view = memoryview(data)
            while view:
                view = view[_os.write(handle, view) :]
            _os.fsync(handle)
        finally:
            _os.close(handle)
        _os.replace(temporary, str(path))
    except BaseException:
        _os.unlink(temporary)
        raise
    _sync_folder(path.parent)


def _new_beside(path: Path) -> tuple[str, int]:
    """A new file in the same folder, with the permissions of any new file."""
    while True:
        number = f"{_os.getpid()}-{next(_NUMBERS)}"
        temporary = str(path.parent / f".{path.name[:40]}.{number}.tmp")
        try:
            return temporary, _os.open(temporary, _CREATE, 0o666)
        except FileExistsError:
            continue


def _sync_folder(path: Path) -> None:
    """Make a rename durable, on systems and disks that can sync a folder."""
    try:
        handle = _os.open(str(path), os.O_RDONLY)
    except PermissionError:  # Windows opens no folder
        return
    try:
        _os.fsync(handle)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise
    finally:
        _os.close(handle)
