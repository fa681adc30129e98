"""Reads from the end of a manifest with which numpy stream its baselines were recorded.

It parses no YAML, because it runs before a test and a manifest may hold thousands of blocks. It
skips text that is not in the plain form of `manifest`: the draw log proves the noise anyway.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pytest_repro.store.system import read_regular

_TAIL_BYTES = 1 << 17
_BEGIN = re.compile(r"^environments:\n", re.MULTILINE)
_ENVIRONMENT = re.compile(r"^  '?[0-9a-f]+'?:\n((?:    .*\n?)+)", re.MULTILINE)
_CANARY = re.compile(r"\b(canary\.[\w.]+): '?([0-9a-f]{16})\b")
_NUMPY = re.compile(r"\bnumpy\.version: '?([^\s,}']+)")


@dataclass(frozen=True, slots=True)
class RecordedStream:
    """The numpy stream of one recorded environment.

    Attributes:
        canary: The canary's facts.
        numpy: Version of numpy; ``""`` if none was recorded.
    """

    canary: tuple[tuple[str, str], ...]
    numpy: str


def read_streams(manifest: Path) -> tuple[RecordedStream, ...]:
    """The streams of a manifest's environments; none if the file cannot be read."""
    try:
        tail = read_regular(manifest, _TAIL_BYTES, from_end=True).decode("utf-8", "replace")
    except OSError:
        return ()
    begin = None
    for begin in _BEGIN.finditer(tail):  # noqa: B007  the last one counts
        pass
    if begin is None:
        return ()
    blocks = _ENVIRONMENT.findall(tail, begin.end())
    return tuple(_stream(block) for block in blocks)


def _stream(block: str) -> RecordedStream:
    numpy = _NUMPY.search(block)
    return RecordedStream(tuple(_CANARY.findall(block)), numpy[1] if numpy else "")
