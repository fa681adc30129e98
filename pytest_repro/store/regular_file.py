"""Reads what must be a plain file, wherever a stranger may have put something else.

Opening a named pipe waits for a writer that may never come, and a device may never end.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

__all__ = ["NotAFile", "open_regular", "read_regular"]

_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


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
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
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
