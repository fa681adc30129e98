"""Files that `verify` found intact, remembered in the user's cache by size, time and inode."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Collection
from pathlib import Path

from pytest_repro.store.inventory import FoundFile
from pytest_repro.store.layout import SCHEMA
from pytest_repro.store.system import write_bytes

_FORMAT = 1
_SETTLED_S = 2.0
"""A file written less than this before now may change again within one clock tick."""

Seen = tuple[int, int, int, int]
"""Size, time of the last change in nanoseconds, inode, and how many checks the file holds."""


class Memory:
    """Files that were intact, by their path from the baselines folder."""

    def __init__(self, seen: dict[str, Seen]) -> None:
        self._seen = seen
        self._now_ns = time.time_ns()

    def knows(self, file: FoundFile) -> bool:
        """Whether the file was intact and has not been written since."""
        found = self._seen.get(str(file.relative))
        return found is not None and found[:3] == _stamp(file)

    def check_count(self, file: FoundFile) -> int:
        """How many checks a known file holds."""
        return self._seen[str(file.relative)][3] if self.knows(file) else 0

    def remember(self, file: FoundFile, check_count: int) -> None:
        """Remember an intact file."""
        stamp = _stamp(file)
        is_settled = self._now_ns - stamp[1] > _SETTLED_S * 1e9
        if is_settled and not file.path.is_symlink():
            self._seen[str(file.relative)] = (*stamp, check_count)

    def lost(self, present: Collection[str]) -> bool:
        """Whether a remembered file is gone."""
        return not self._seen.keys() <= set(present)

    def forget_all(self) -> None:
        """Forget every file."""
        self._seen.clear()

    def save(self, folder: Path, cache: Path) -> None:
        """Write it for the next run; if that fails, the next run reads everything."""
        text = json.dumps({"format": [_FORMAT, SCHEMA], "seen": self._seen})
        with contextlib.suppress(OSError):
            path = _place(folder, cache)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, text.encode())


def load_memory(folder: Path, cache: Path) -> Memory:
    """What was remembered of a baselines folder; nothing if it cannot be read."""
    try:
        document = json.loads(_place(folder, cache).read_bytes())
        if document["format"] != [_FORMAT, SCHEMA]:
            return Memory({})
        return Memory({str(name): _seen(row) for name, row in document["seen"].items()})
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return Memory({})


def _seen(row: list[object]) -> Seen:
    size, time_ns, inode, checks = row
    if not all(isinstance(one, int) for one in row):
        raise TypeError
    return int(str(size)), int(str(time_ns)), int(str(inode)), int(str(checks))


def _stamp(file: FoundFile) -> tuple[int, int, int]:
    return file.size_bytes, file.modified_ns, file.inode


def _place(folder: Path, cache: Path) -> Path:
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:32]
    return cache / "verified" / f"{name}.json"
