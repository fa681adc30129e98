"""Reads the index of a manifest at the speed of a regular expression, where its text is plain.

What this module cannot read for certain it leaves to `codec`, so that both give the same answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from pytest_repro.model.ids import Digest, IndexEntry
from pytest_repro.store.layout import SCHEMA
from pytest_repro.store.regular_file import open_regular

__all__ = ["read_head", "scan_index"]

_SEPARATOR = b"\n---\n"
_CHUNK_BYTES = 1 << 16
_HEADER = re.compile(rf"schema: {SCHEMA}\nkey: [\w.\-/+]+\nmodule: [\w.\-/+]+\nchecks:\n", re.ASCII)
# A key that begins with a letter, holds "::" and no blank is a plain YAML string whatever follows.
# A digest of decimal digits alone would be an integer in YAML unless quoted.
_DIGEST = r"(?:'([0-9a-f]{64})'|((?![0-9]{64}|0b[01]{62})[0-9a-f]{64}))"
_LINE = re.compile(
    r"^  ([A-Za-z_][\w.\-\[\]/:+=]{0,400}::[\w.\-\[\]/+=]{1,400}): "
    rf"\{{value: {_DIGEST}, noise: {_DIGEST}\}}$",
    re.ASCII | re.MULTILINE,
)


def read_head(path: Path) -> str | None:
    """The first document of a manifest without the second being read; ``None`` when cut short.

    Raises:
        OSError: The file cannot be read.
    """
    head = b""
    with open_regular(path) as file:
        while chunk := file.read(_CHUNK_BYTES):
            begin = max(0, len(head) - len(_SEPARATOR))
            head += chunk
            found = head.find(_SEPARATOR, begin)
            if found >= 0:
                return head[: found + 1].decode("utf-8", "replace")
    return None


def scan_index(head: str) -> Mapping[str, IndexEntry] | None:
    """The index of a manifest's first document (line break at its end included).

    Returns:
        Entry to digests, as `codec.decode_index` gives it; ``None`` when a line is not of the
        plainest form that `codec` writes: then only `codec` can tell what it means.
    """
    header = _HEADER.match(head)
    if header is None or not head.endswith("\n"):
        return None
    rows = _LINE.findall(head, header.end())
    if not rows or len(rows) != head.count("\n", header.end()):
        return None
    index = {
        name: IndexEntry(Digest(quoted or plain), Digest(quoted_noise or plain_noise))
        for name, quoted, plain, quoted_noise, plain_noise in rows
    }
    return index if len(index) == len(rows) else None
