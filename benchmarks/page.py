"""Writes one section of a page, leaving the other sections as they are."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path

__all__ = ["GOALS", "mark", "replace_section", "table", "write_section"]

PAGE = Path(__file__).resolve().parent.parent / "docs" / "evidence" / "benchmarks.md"
_HEAD = """# Benchmarks

Written by the scripts in `benchmarks/` (`tox -e bench`); nothing here is typed. Variants run
side by side in one session, each round in a new order; figures are medians of CPU time (user and
system), because on a shared machine wall time measures the neighbours. Ratios count, times
do not.
"""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    return [*columns(*head), *(row(*cells) for cells in rows)]


def columns(*names: str) -> list[str]:
    """The first two lines of a Markdown table."""
    return [row(*names), row(*["---"] * len(names))]


def row(*cells: object) -> str:
    """One line of a Markdown table."""
    return f"| {' | '.join(str(cell) for cell in cells)} |"


GOALS = ("goal", "measured", "")
"""The heads of the columns that `mark` fills."""


def mark(value: float, limit: float, *, least: bool = False) -> tuple[str, str, str]:
    """Goal, measured and whether it is met; with ``least`` the limit is a lower one."""
    good = value >= limit if least else value <= limit
    word = "at least" if least else "at most"
    return f"{word} {limit:g}", f"{value:.3g}", "met" if good else "**missed**"


def write_section(
    name: str, title: str, lines: Sequence[str], path: Path = PAGE, page_head: str = _HEAD
) -> None:
    """Replace the section ``name`` of a page, or add it at the end, and print it."""
    if not path.exists():
        path.write_text(page_head, encoding="utf-8")
    replace_section(path, name, [f"## {title}", "", *lines, "", _circumstances()])
    print("\n".join(lines))


def replace_section(page: Path, name: str, lines: Sequence[str]) -> None:
    """Replace what is between the marks of ``name`` in ``page``, or add it at the end."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    section = "\n".join([begin, *lines, end])
    text = page.read_text(encoding="utf-8")
    if begin in text:
        head, _, rest = text.partition(begin)
        text = head + section + rest.partition(end)[2]
    else:
        text = f"{text}\n{section}\n"
    page.write_text(text, encoding="utf-8")


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
