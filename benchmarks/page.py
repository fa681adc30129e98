"""Writes one section of docs/benchmarks.md, leaving the other sections as they are."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path

__all__ = ["mark", "table", "write_section"]

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
_HEAD = """# Benchmarks

Written by the scripts in `benchmarks/` (`tox -e bench`); nothing here is typed. Variants run
side by side in one session, each round in a new order; figures are medians of CPU time (user and
system), because on a shared machine wall time measures the neighbours. Ratios count, times
do not.
"""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    lines = [list(head), ["---"] * len(head), *map(list, rows)]
    return [f"| {' | '.join(line)} |" for line in lines]


def mark(value: float, limit: float, *, least: bool = False) -> str:
    """``1.42 (at most 1.5: met)``; with ``least`` the limit is a lower one."""
    good = value >= limit if least else value <= limit
    word = "at least" if least else "at most"
    return f"{value:.3g} ({word} {limit:g}: {'met' if good else '**missed**'})"


def write_section(name: str, title: str, lines: Sequence[str]) -> None:
    """Replace the section ``name``, or add it at the end, and print it."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    section = "\n".join([begin, f"## {title}", "", *lines, "", _circumstances(), end])
    page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else _HEAD
    if begin in page:
        head, _, rest = page.partition(begin)
        page = head + section + rest.partition(end)[2]
    else:
        page = f"{page}\n{section}\n"
    PAGE.write_text(page, encoding="utf-8")
    print("\n".join(lines))


def _circumstances() -> str:
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("pytest", "numpy")
    )
    cores = len(os.sched_getaffinity(0))
    today = datetime.now(timezone.utc).date()
    load = os.getloadavg()[0]
    return (
        f"*{today}, {platform.machine()}, {cores} cores, load {load:.0f}, "
        f"Python {platform.python_version()}, {versions}.*"
    )
