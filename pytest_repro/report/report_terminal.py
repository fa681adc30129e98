"""The closing lines of every run: how many checks, by verdict, by fallback, and what is near."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from pytest_repro.model.words import Distance, Verdict
from pytest_repro.report.rows import Row

__all__ = ["NEAR_SHARE", "closing_lines"]

NEAR_SHARE = 0.8
"""A check that used more of its tolerance than this is named although it passed."""

_LISTED = 10
_EXAMPLES = 3


def closing_lines(rows: Sequence[Row]) -> list[str]:
    """The summary of a run; one line when every check is exact under its own key."""
    judged = [row for row in rows if row.verdict]
    return [
        _counts(judged),
        *_fallbacks(judged),
        *_near(judged),
        *_without_envelope(judged),
        *_named(judged),
        *_empty([row for row in rows if not row.verdict]),
    ]


def _counts(rows: Sequence[Row]) -> str:
    counted = Counter(row.verdict for row in rows)
    parts = [f"{counted[str(word)]} {word}" for word in Verdict if counted[str(word)]]
    noun = "check" if len(rows) == 1 else "checks"
    return f"{len(rows)} {noun}" + (f": {', '.join(parts)}" if parts else "")


def _fallbacks(rows: Iterable[Row]) -> Iterator[str]:
    used = Counter((r.distance, r.key) for r in rows if r.distance not in ("", str(Distance.OWN)))
    for (distance, key), count in sorted(used.items()):
        noun = "check was" if count == 1 else "checks were"
        yield f"{count} {noun} compared with {key} (reference: {distance})"


def _near(rows: Iterable[Row]) -> Iterator[str]:
    near = [row for row in rows if row.verdict == str(Verdict.WITHIN) and row.share > NEAR_SHARE]
    for row in sorted(near, key=lambda one: -one.share)[:_LISTED]:
        yield f"near its tolerance ({row.share:.2f} of 1.0): {row.check}"


def _without_envelope(rows: Iterable[Row]) -> Iterator[str]:
    groups: dict[str, list[str]] = {}
    for row in rows:
        if row.no_envelope:
            groups.setdefault(row.no_envelope, []).append(row.check)
    for reason, checks in groups.items():
        more = f" and {len(checks) - _EXAMPLES} more" if len(checks) > _EXAMPLES else ""
        shown = ", ".join(checks[:_EXAMPLES])
        yield f"recorded without an envelope: {shown}{more}"
        yield f"  because {reason}"


def _named(rows: Iterable[Row]) -> Iterator[str]:
    failing = [row for row in rows if not Verdict(row.verdict).passes]
    for row in failing[:_LISTED]:
        yield f"{row.verdict}: {row.check}"
    if len(failing) > _LISTED:
        yield f"and {len(failing) - _LISTED} more that failed"


def _empty(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        yield f"checked nothing: {row.check}"
