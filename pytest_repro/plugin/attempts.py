"""Checks that did not pass, of tests that passed: another attempt makes nothing good."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pytest_repro.model.words import Verdict
from pytest_repro.plugin.naming import first_few, test_of

__all__ = ["excused", "excused_text"]


def excused(rows: Iterable[Mapping[str, Any]], passed: Iterable[str]) -> list[str]:
    """Verdict and id of each check that failed in one attempt at a test that passed in another.

    Args:
        rows: Every check of the run, of every attempt.
        passed: The tests (module and name) that passed in some attempt.
    """
    tests = frozenset(passed)
    failing = (row for row in rows if row["verdict"] and not Verdict(row["verdict"]).passes)
    found = [row for row in failing if test_of(row["check"]) in tests]
    return list(dict.fromkeys(f"{row['verdict']}: {row['check']}" for row in found))


def excused_text(found: Sequence[str]) -> str:
    """What the run says of them."""
    what = "a check that did not pass stays so, though its test passed in another attempt"
    next_step = "  next   find what differs from run to run: docs/how-to/flaky.md"
    return "\n".join([what, *first_few(found), next_step])
