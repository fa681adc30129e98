"""What pytest's terminal shows of failed checks: equal ones as one block, colour, annotations."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_repro.errors import CheckFailed

if TYPE_CHECKING:
    from pytest_repro.model.outcome import Outcome

_FOLDED_FROM = 4
"""From this many on, tests that failed in the same way become one block."""
_COLOURS = {"cause": "yellow", "because": "yellow", "began": "yellow", "next": "green"}


def describe_failure(report: Any, outcomes: Sequence[Outcome]) -> None:
    """Put a short form of the failed checks on a test's report, as primitives."""
    from pytest_repro.report.failure import alike, brief

    failing = [one for one in outcomes if not one.verdict.passes]
    if not failing:
        return
    first = failing[0]
    more = f" (and {len(failing) - 1} more)" if len(failing) > 1 else ""
    crash: Any = getattr(report.longrepr, "reprcrash", None)
    is_ours = crash is not None and crash.message.startswith(f"pytest_repro.{CheckFailed.__name__}")
    if is_ours:
        crash.message = brief(first) + more
    report.repro_failed = {
        "check": str(first.check),
        "brief": brief(first) + more,
        "place": first.called_at,
        "alike": alike(failing) if is_ours else "",
    }


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: Any) -> Generator[None]:
    """Before pytest prints the failures: keep one of each group, and colour it."""
    failed = terminalreporter.stats.get("failed", [])
    terminalreporter.repro_kept = failed
    if failed:
        in_colour = terminalreporter.hasmarkup
        shown = [_shown(group, in_colour=in_colour) for group in _groups(failed)]
        terminalreporter.stats["failed"] = shown
    return (yield)


@pytest.hookimpl(specname="pytest_terminal_summary", tryfirst=True)
def pytest_terminal_summary_after_failures(terminalreporter: Any, config: pytest.Config) -> None:
    """After them: every failure again, for the counts, the short summary and other plugins."""
    if terminalreporter.repro_kept:
        terminalreporter.stats["failed"] = terminalreporter.repro_kept
    if os.environ.get("GITHUB_ACTIONS") == "true":
        reports = [one for kind in terminalreporter.stats.values() for one in kind]
        folder = Path(os.environ.get("GITHUB_WORKSPACE") or config.invocation_params.dir)
        for line in annotation_lines(reports, folder):
            terminalreporter.write_line(line)


def annotation_lines(reports: Sequence[Any], folder: Path) -> Iterator[str]:
    """GitHub's commands that mark the line of each failed check, one for each group."""
    for group in _groups([one for one in reports if hasattr(one, "repro_failed")]):
        failed = group[0].repro_failed
        path, _, line = failed["place"].rpartition(":")
        more = f" and {len(group) - 1} more" if len(group) > 1 else ""
        file = os.path.relpath(path, folder) if path else ""
        where = f"file={_escaped(file, ':,')},line={line}," if path else ""
        text = _escaped(f"{failed['check']}{more}: {failed['brief']}")
        yield f"::error {where}title=pytest-repro::{text}"


def _escaped(text: str, also: str = "") -> str:
    for one in f"%\r\n{also}":  # the percent sign first: the others become one
        text = text.replace(one, f"%{ord(one):02X}")
    return text


def _groups(failed: Sequence[Any]) -> list[list[Any]]:
    """The reports in order; many that failed in the same way are grouped."""
    groups: dict[str, list[Any]] = {}
    for number, report in enumerate(failed):
        name = getattr(report, "repro_failed", {}).get("alike") or f"alone {number}"
        groups.setdefault(name, []).append(report)
    folded: list[list[Any]] = []
    for group in groups.values():
        folded += [group] if len(group) >= _FOLDED_FROM else [[one] for one in group]
    return folded


def _shown(group: Sequence[Any], *, in_colour: bool) -> Any:
    """The printed report of a group: the text of the first, and the names of the others."""
    first = group[0]
    if not getattr(first, "repro_failed", {}).get("alike"):
        return first
    lines = str(first.longrepr).splitlines()
    if len(group) > 1:
        lines.append(f"  alike       {len(group) - 1} more tests failed in the same way:")
        lines += [f"              {one.nodeid}: {one.repro_failed['brief']}" for one in group[1:]]
    shown = copy(first)
    shown.longrepr = _Text(lines, first.longrepr.reprcrash, in_colour=in_colour)
    return shown


class _Text:
    """A failure's text as pytest's terminal prints it."""

    def __init__(self, lines: Sequence[str], reprcrash: object, *, in_colour: bool) -> None:
        self.reprcrash = reprcrash
        self._lines = lines
        self._in_colour = in_colour

    def toterminal(self, writer: Any) -> None:
        """Print the lines; the first two and some labels are coloured."""
        for number, line in enumerate(self._lines):
            label = line.split(maxsplit=1)[0] if line.startswith("  ") and line.strip() else ""
            if self._in_colour and number < len(("place", "headline")):
                writer.line(line, red=True, bold=True)
            elif self._in_colour and label in _COLOURS:
                end = line.index(label) + len(label)
                writer.write(line[:end], **{_COLOURS[label]: True})
                writer.line(line[end:])
            else:
                writer.line(line)
