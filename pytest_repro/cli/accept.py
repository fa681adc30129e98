"""The subcommand that takes over what another machine observed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path

from pytest_repro.cli.arguments import add_check_glob, add_json, add_place
from pytest_repro.cli.command import Context
from pytest_repro.core.artefact import Claim
from pytest_repro.core.errors import ExitCode, StoreError, UsageError
from pytest_repro.core.model import Difference, Statistics
from pytest_repro.report.document import ReadReport, read_report
from pytest_repro.report.tables import count_text, json_text
from pytest_repro.session.accepting import (
    Candidate,
    Change,
    accept,
    candidates_of,
    open_observed,
)
from pytest_repro.session.selection import selects

__all__ = ["accept_", "add_arguments"]

_REPORT = "report.json"
_STATISTICS = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "report", metavar="DIR", help="Folder that pytest --repro-report DIR wrote."
    )
    parser.add_argument("--yes", action="store_true", help="Write; without it nothing changes.")
    parser.add_argument(
        "--interactive", action="store_true", help="Ask about every check, and write what you take."
    )
    add_check_glob(parser)
    add_place(parser)
    add_json(parser)


def accept_(context: Context) -> ExitCode:
    """Show what a report would change, and write it where that is asked for."""
    if context.has("interactive") and context.has("json"):
        raise UsageError("--interactive asks on the terminal; it cannot go with --json")
    folder = Path(context.text("report"))
    report = _read(folder)
    observed, target = open_observed(folder, report.files), context.target()
    found = candidates_of(observed, target, _chosen(report, context.text("check")))
    if context.has("json"):
        context.output.line(_json(found))
    else:
        for one in found:
            context.output.line("\n".join(_lines(one)))
    new = [one for one in found if not one.refusal and not one.is_stored]
    if context.has("interactive"):
        new = list(_asked(new))
    writes = context.has("yes") or context.has("interactive")
    count = accept(observed, target, new) if writes else len(new)
    if not context.has("json"):
        context.output.line(_closing(found, count, writes=writes))
    return ExitCode.DIFFERENT if any(one.refusal for one in found) else ExitCode.OK


def _read(folder: Path) -> ReadReport:
    path = folder / _REPORT
    if not path.is_file():
        raise UsageError(
            f"there is no report in {folder}",
            facts=(f"{path} is absent",),
            next_step="make one: pytest --repro-report DIR",
        )
    try:
        text = path.read_bytes().decode("utf-8", "replace")
    except OSError as error:
        raise StoreError("cannot read a report", facts=(str(error),), where=str(path)) from error
    return read_report(text, where=str(path))


def _chosen(report: ReadReport, pattern: str) -> list[Claim]:
    chosen = [one for one in report.kept if selects(pattern, one.check)]
    if report.kept and not chosen:
        names = tuple(one.check for one in report.kept[:8])
        raise UsageError(f"--check: {pattern!r} selects none of the report's checks", facts=names)
    return chosen


def _asked(candidates: Sequence[Candidate]) -> Iterator[Candidate]:
    every = False
    for one in candidates:
        answer = "y" if every else _answer(f"accept {one.observed.check} under {one.key}?")
        if answer == "q":
            return
        every = every or answer == "a"
        if answer in ("y", "a"):
            yield one


def _answer(question: str) -> str:
    while True:
        sys.stderr.write(f"{question} [y]es, [n]o, [a]ll, [q]uit: ")
        sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            return "q"  # nobody is there to answer
        if line.strip().lower()[:1] in ("y", "n", "a", "q"):
            return line.strip().lower()[:1]


def _lines(one: Candidate) -> Iterator[str]:
    yield f"{one.observed.check}"
    yield f"  key         {one.key}"
    yield f"  observed    {one.observed.provenance.recorded_at}, {_runs(one)}"
    if one.refusal:
        yield f"  refused     {one.refusal}"
    elif one.is_stored:
        yield "  unchanged   the same bits are stored already"
    elif one.baseline is None:
        yield f"  new         {count_text(len(one.observed.tensors), 'tensor')}, no baseline yet"
    else:
        yield f"  replaces    the baseline of {one.baseline.provenance.recorded_at}"
        if one.baseline.index.noise != one.observed.index.noise:
            yield "  noise       the draws differ as well"
    if not one.refusal:
        for change in one.changes:
            yield from _change_lines(change)


def _runs(one: Candidate) -> str:
    return f"bitwise alike in {count_text(one.observed.provenance.runs, 'run')}"


def _change_lines(change: Change) -> Iterator[str]:
    name = change.path or "value"
    if change.difference is None:
        yield f"  {name}: {change.sentence}"
        return
    yield f"  {name}: {_amounts(change.difference)}"
    for line in _moved(change.difference):
        yield f"    {line}"


def _amounts(difference: Difference) -> str:
    psnr = f"psnr {difference.psnr_db:.1f} dB, rel_l2 {difference.rel_l2:.3g}"
    if difference.statistics_only:
        return f"{psnr} (estimated: a tensor is absent)"
    ulp = "-" if difference.worst_ulp is None else f"{difference.worst_ulp.amount:.6g}"
    counts = f"{difference.differing_count:,} of {difference.element_count:,} elements differ"
    return f"{counts}, max ulp {ulp}, {psnr}"


def _moved(difference: Difference) -> list[str]:
    pairs = (
        (one.name, *(getattr(side, one.name) for side in _sides(difference)))
        for one in fields(Statistics)
    )
    moved = [f"{name} {old:.9g} -> {new:.9g}" for name, old, new in pairs if old != new]
    return moved[:_STATISTICS]


def _sides(difference: Difference) -> tuple[Statistics, Statistics]:
    return difference.baseline_statistics, difference.observed_statistics


def _closing(found: Sequence[Candidate], count: int, *, writes: bool) -> str:
    refused = sum(bool(one.refusal) for one in found)
    stored = sum(one.is_stored and not one.refusal for one in found)
    verb = "accepted" if writes else "would be accepted; --yes writes"
    rest = [f"{refused} refused"] * bool(refused) + [f"{stored} unchanged"] * bool(stored)
    return ", ".join([f"{count_text(count, 'check')} {verb}", *rest])


def _json(found: Sequence[Candidate]) -> str:
    rows = [
        {
            "check": one.observed.check,
            "key": one.key,
            "runs": one.observed.provenance.runs,
            "refusal": one.refusal,
            "is_stored": one.is_stored,
            "is_new": one.baseline is None,
            "changes": one.changes,
        }
        for one in found
    ]
    return json_text("accept", checks=rows)
