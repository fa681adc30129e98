"""What a CI job shows of a run: a Markdown summary, and GitLab's list of problems."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_repro.model.words import Distance, Verdict

if TYPE_CHECKING:
    from pytest_repro.model.ids import CheckId
    from pytest_repro.model.outcome import Outcome, Reference

_LISTED = 50
_SPECIAL = str.maketrans({one: f"\\{one}" for one in "\\`*_{}[]<>()#+-.!|~&"})


def summary_text(
    entries: Sequence[Mapping[str, Any]], idle: Sequence[str], notes: Sequence[str] = ()
) -> str:
    """Counts by verdict, failed checks, fallbacks, and the marked tests that checked nothing.

    ``notes`` are sentences about what is missing in the run.
    """
    lines = ["## pytest-repro", "", _counts(entries), *_keys(entries), ""]
    failing = [one for one in entries if not Verdict(one["verdict"]).passes]
    if failing:
        lines += ["| verdict | cause | rel\\_l2 | check | why |", "| --- | --- | --- | --- | --- |"]
        groups = list(_alike(failing))
        lines += [_row(group) for group in groups[:_LISTED]]
        lines += [""]
        if len(groups) > _LISTED:
            lines += [f"and {sum(map(len, groups[_LISTED:]))} more that failed", ""]
        if any(one.get("runs") for one in failing):
            lines += [
                "Accept with `pytest-repro accept DIR`, where DIR is the report of this run.",
                "",
            ]
    said = (*map(_escape, notes), *_fallbacks(entries), *_idle(idle))
    lines += [f"- {line}" for line in said]
    return "\n".join(lines).rstrip("\n") + "\n"


def code_quality_text(entries: Sequence[Mapping[str, Any]], near: Callable[[str], str]) -> str:
    """The checks that did not pass in GitLab's code quality format, with file and line.

    ``near`` makes a path below pytest's root folder one below the repository.

    Source: GitLab documentation, "Code Quality report format".
    """
    failing = [one for one in entries if not Verdict(one["verdict"]).passes]
    return json.dumps([_problem(one, near) for one in failing], indent=1) + "\n"


def _problem(entry: Mapping[str, Any], near: Callable[[str], str]) -> dict[str, Any]:
    path, _, line = str(entry.get("called_at", "")).rpartition(":")
    distance = _distance([entry])
    said = (entry["verdict"], entry.get("cause", ""), distance and f"rel_l2 {distance}")
    # GitLab finds by it which problems of a branch are new: it names the check, not the numbers.
    named = "\n".join(str(entry[name]) for name in ("check", "key", "verdict"))
    return {
        "description": f"{entry['check']}: {', '.join(filter(None, said))}"[:300],
        "check_name": f"pytest-repro {entry['verdict']}",
        "fingerprint": hashlib.sha256(named.encode("utf-8", "surrogatepass")).hexdigest(),
        "severity": "major",
        "location": {
            "path": near(path or str(entry["check"]).partition("::")[0]),
            "lines": {"begin": int(line) if line.isdecimal() else 1},
        },
    }


def _keys(entries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    keys = sorted({str(one["key"]) for one in entries})
    if keys:
        yield ""
        yield f"key: {', '.join(map(_escape, keys))}"


def _alike(failing: Sequence[Mapping[str, Any]]) -> Iterable[list[Mapping[str, Any]]]:
    """Checks that failed for the same reason, together; in the order of the first of each."""
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for one in failing:
        same = (one["verdict"], one.get("cause", ""), _why(one))
        groups.setdefault(same, []).append(one)
    return groups.values()


def _why(entry: Mapping[str, Any]) -> str:
    said = (*entry.get("evidence", ()), *entry.get("detail", ()), entry.get("noise", ""))
    return next((str(one) for one in said if one), "")


def _counts(entries: Sequence[Mapping[str, Any]]) -> str:
    counted = Counter(str(one["verdict"]) for one in entries)
    parts = [f"{counted[str(word)]} {word}" for word in Verdict if counted[str(word)]]
    noun = "check" if len(entries) == 1 else "checks"
    return f"**{len(entries)} {noun}**" + (f": {', '.join(parts)}" if parts else "")


def _row(group: Sequence[Mapping[str, Any]]) -> str:
    first = group[0]
    more = f" and {len(group) - 1} more" if len(group) > 1 else ""
    cells = (
        first["verdict"],
        first.get("cause", ""),
        _distance(group),
        f"{first['check']}{more}",
        _why(first),
    )
    return "| " + " | ".join(_escape(str(cell)) for cell in cells) + " |"


def _distance(group: Sequence[Mapping[str, Any]]) -> str:
    far = [float(size["rel_l2"]) for one in group for _, size in one.get("differences", ())]
    known = [one for one in far if not math.isnan(one)]
    return f"{max(known):.2g}" if known else ""


def _escape(text: str) -> str:
    # Ids and sentences come from tests: they must not become Markdown, HTML or a new row.
    shown = "".join(one if one.isprintable() else " " for one in text)
    return shown[:300].translate(_SPECIAL)


def _fallbacks(entries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    used = Counter(
        (one["distance"], one["reference"])
        for one in entries
        if one.get("distance", "") not in ("", str(Distance.OWN)) and one.get("reference")
    )
    for (distance, key), count in sorted(used.items()):
        yield f"{count} compared with {_escape(key)} (reference: {distance})"


def _idle(idle: Sequence[str]) -> Iterator[str]:
    for place in idle:
        yield f"checked nothing: {_escape(place)}"


class Row(NamedTuple):
    """One check in the closing lines.

    Attributes:
        check: Id of the check, or of a marked test that checked nothing.
        verdict: The verdict; ``""`` for a marked test that checked nothing.
        distance: ``own``, ``variant``, ``release``, ``any`` or ``""``.
        key: Key of the reference, or ``""``.
        apart: How a variant differs from this machine's key, in words.
        said: Sentences that a passed check needs.
        share: Used share of the tolerance; -1.0 means infinity.
        no_envelope: Why it was recorded without an envelope; ``""`` otherwise.
        value: Digest of the value to write, or ``""``.
    """

    check: str
    verdict: str
    distance: str = ""
    key: str = ""
    share: float = 0.0
    no_envelope: str = ""
    value: str = ""
    apart: str = ""
    said: Sequence[str] = ()

    def plain(self) -> dict[str, Any]:
        """Primitives that every transport between workers accepts."""
        return self._asdict()


def exact_row(check: CheckId, reference: Reference) -> Row:
    """The row of a check that was found exact."""
    return Row(str(check), "exact", str(reference.distance), str(reference.key))


def rows_from(place: str, idle: bool, outcomes: Iterable[Outcome]) -> list[Row]:
    """A row for each check; a marked test that checked nothing gives one without a verdict."""
    rows = [_rows_row(outcome) for outcome in outcomes]
    if not rows and idle:
        return [Row(place, "")]
    return rows


def _rows_row(outcome: Outcome) -> Row:
    reference = outcome.reference
    recorded = outcome.verdict in (Verdict.RECORDED, Verdict.UPDATED)
    return Row(
        check=str(outcome.check),
        verdict=str(outcome.verdict),
        distance="" if reference is None else str(reference.distance),
        key="" if reference is None else str(reference.key),
        share=outcome.share if math.isfinite(outcome.share) else -1.0,
        no_envelope=outcome.detail[0] if recorded and outcome.detail else "",
        value=str(outcome.observation.digest) if recorded and outcome.observation else "",
        apart="" if reference is None else reference.apart,
        said=outcome.detail if outcome.verdict in (Verdict.EXACT, Verdict.WITHIN) else (),
    )


NEAR_SHARE = 0.8
"""A passed check that used more of its tolerance than this is named."""

_REPORT_LISTED = 10
_EXAMPLES = 3


def closing_lines(rows: Sequence[Row]) -> list[str]:
    """The summary of a run; one line if every check is exact under its own key."""
    judged = [row for row in rows if row.verdict]
    return [
        _report_counts(judged),
        *_report_fallbacks(judged),
        *_near(judged),
        *_said(judged),
        *_without_envelope(judged),
        *_named(judged),
        *_empty([row for row in rows if not row.verdict]),
    ]


def _report_counts(rows: Sequence[Row]) -> str:
    counted = Counter(row.verdict for row in rows)
    parts = [f"{counted[str(word)]} {word}" for word in Verdict if counted[str(word)]]
    noun = "check" if len(rows) == 1 else "checks"
    return f"{len(rows)} {noun}" + (f": {', '.join(parts)}" if parts else "")


def _report_fallbacks(rows: Iterable[Row]) -> Iterator[str]:
    used = Counter(
        (row.distance, row.key, row.apart, Verdict(row.verdict).passes)
        for row in rows
        if row.distance not in ("", str(Distance.OWN))
    )
    for (distance, key, apart, passed), count in sorted(used.items()):
        noun, verb = "check" if count == 1 else "checks", "passed" if passed else "failed"
        more = f"; {apart}" if apart else ""
        yield f"{count} {noun} {verb}, compared with {key} (reference: {distance}{more})"


def _near(rows: Iterable[Row]) -> Iterator[str]:
    near = [row for row in rows if row.verdict == str(Verdict.WITHIN) and row.share > NEAR_SHARE]
    for row in sorted(near, key=lambda one: -one.share)[:_REPORT_LISTED]:
        yield f"near its tolerance ({row.share:.2f} of 1.0): {row.check}"


def _said(rows: Iterable[Row]) -> Iterator[str]:
    groups: dict[str, list[str]] = {}
    for row in rows:
        for sentence in row.said:
            groups.setdefault(sentence, []).append(row.check)
    for sentence, checks in groups.items():
        more = f" and {len(checks) - 1} more" if len(checks) > 1 else ""
        yield f"{sentence}: {checks[0]}{more}"


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
    for row in failing[:_REPORT_LISTED]:
        yield f"{row.verdict}: {row.check}"
    if len(failing) > _REPORT_LISTED:
        yield f"and {len(failing) - _REPORT_LISTED} more that failed"


def _empty(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        yield f"checked nothing: {row.check}"
