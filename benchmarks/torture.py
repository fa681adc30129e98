"""Writes docs/evidence/torture.md from what the tortures counted.

``python benchmarks/torture.py LOG``: the file that PYTEST_REPRO_TORTURE_LOG named.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from page import table, write_section

PAGE = Path(__file__).resolve().parent.parent / "docs" / "evidence" / "torture.md"
HEAD = """# Torture

Written by `benchmarks/torture.py` from what `tox -e torture` counted; nothing here is typed. A
suite whose every value has changed is recorded again (`--repro-update`) while something goes wrong.
After each fault every manifest and tensor is read back and its digest taken: each baseline must be
the old or the new one, or the test fails and counts nothing. Some of the runs are followed by an
undisturbed update and a check, without any repair ("next run").

Not tried: a file system that does not tell `A` from `a`; the machine that ran this could mount
none.
"""
ROOMS = (
    ("kills", "Killed", "kill -9"),
    ("errors", "Full, forbidden, broken", ""),
)


def rows_of(counted: Iterable[Mapping[str, Any]]) -> list[Sequence[str]]:
    """A row for each fault and suite: how often, and what was left."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for one in counted:
        groups[one["fault"], one["suite"]].append(one)
    return [
        (
            fault,
            suite,
            str(len(group)),
            str(sum(one["checks"] - one["new"] for one in group)),
            str(sum(one["new"] for one in group)),
            str(sum(0 < one["new"] < one["checks"] for one in group)),
            str(sum(one["goes_on"] for one in group)),
        )
        for (fault, suite), group in sorted(groups.items())
    ]


def main() -> None:
    lines = Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
    counted = [json.loads(line) for line in lines]
    head = ("what goes wrong", "suite", "times", "old", "new", "runs with both")
    for name, title, begins in ROOMS:
        chosen = [one for one in counted if one["fault"].startswith("kill -9") == bool(begins)]
        total = f"{len(chosen)} runs."
        rows = rows_of(chosen)
        write_section(name, title, [total, "", *table((*head, "next run"), rows)], PAGE, HEAD)


if __name__ == "__main__":
    main()
