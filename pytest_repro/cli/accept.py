"""The subcommand that takes over what another machine observed."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from pytest_repro.checking.accept import accept, candidates_of, open_observed
from pytest_repro.cli.arguments import add_json, add_place
from pytest_repro.cli.context import Context
from pytest_repro.cli.reports import read_folder
from pytest_repro.errors import ExitCode, UsageError
from pytest_repro.model.artefact import Candidate, Claim
from pytest_repro.report.changes import Questions, candidate_lines
from pytest_repro.report.document import ReadReport
from pytest_repro.report.tables import count_text, json_text
from pytest_repro.store.select import selects


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "report", metavar="DIR", help="Folder that pytest --repro-report DIR wrote."
    )
    parser.add_argument("--yes", action="store_true", help="Write; without it nothing changes.")
    parser.add_argument(
        "--interactive", action="store_true", help="Ask about every check, and write what you take."
    )
    parser.add_argument(
        "--check",
        metavar="GLOB",
        default="*",
        help="Only checks that match: a whole id is that check alone, '*' stands for anything, and "
        "another text without '*' for every check that contains it.",
    )
    add_place(parser)
    add_json(parser)


def accept_(context: Context) -> ExitCode:
    """Show what a report would change, and write it where that is asked for."""
    if context.has("interactive") and context.has("json"):
        raise UsageError("--interactive asks on the terminal; it cannot go with --json")
    folder = Path(context.text("report"))
    report = read_folder(folder)
    observed, target = open_observed(folder, report.files), context.target()
    found = candidates_of(observed, target, _chosen(report, context.text("check")))
    if context.has("json"):
        context.output.line(_json(found))
    else:
        for one in found:
            context.output.line("\n".join(candidate_lines(one)))
    new = [one for one in found if not one.refusal and not one.is_stored]
    named = context.text("check")
    doubtful = [one for one in new if one.warnings and str(one.observed.check) != named]
    if context.has("interactive"):
        doubtful = []
    new = [one for one in new if one not in doubtful]
    if context.has("interactive"):
        questions = _questions()
        new = [one for one in new if questions.wants(one)]
    writes = context.has("yes") or context.has("interactive")
    count = accept(observed, target, new) if writes else len(new)
    if not context.has("json"):
        context.output.line(_closing(found, count, writes=writes))
        if doubtful:
            context.output.line(
                f"{count_text(len(doubtful), 'check')} with a warning left out; after a look: "
                f"pytest-repro accept {shlex.quote(str(folder))} --check "
                f"{shlex.quote(str(doubtful[0].observed.check))} --yes"
            )
    return ExitCode.DIFFERENT if doubtful or any(one.refusal for one in found) else ExitCode.OK


def _chosen(report: ReadReport, pattern: str) -> list[Claim]:
    # The page proposes whole ids; one must not take along the checks whose ids go on from there.
    chosen = [one for one in report.kept if one.check == pattern]
    chosen = chosen or [one for one in report.kept if selects(pattern, one.check)]
    if report.kept and not chosen:
        names = tuple(one.check for one in report.kept[:8])
        raise UsageError(f"--check: {pattern!r} selects none of the report's checks", facts=names)
    return chosen


def _questions() -> Questions:
    def show(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()

    return Questions(sys.stdin.readline, show)


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
            "warnings": one.warnings,
        }
        for one in found
    ]
    return json_text("accept", checks=rows)
