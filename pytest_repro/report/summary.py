"""The Markdown summary of a run, for the page of a CI job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pytest_repro.model.words import Distance, Verdict

__all__ = ["summary_text"]

_LISTED = 50
_SPECIAL = str.maketrans({one: f"\\{one}" for one in "\\`*_{}[]<>()#+-.!|~&"})


def summary_text(
    entries: Sequence[Mapping[str, Any]], idle: Sequence[str], notes: Sequence[str] = ()
) -> str:
    """Counts by verdict, the checks that failed, the fallbacks, the tests that checked nothing.

    Args:
        entries: The checks of a report (`artefact.Entry`), as primitives.
        idle: Marked tests that checked nothing.
        notes: What the run lacks, in sentences.
    """
    lines = ["## pytest-repro", "", _counts(entries), ""]
    failing = [one for one in entries if not Verdict(one["verdict"]).passes]
    if failing:
        lines += ["| verdict | cause | check | why |", "| --- | --- | --- | --- |"]
        lines += [_row(one) for one in failing[:_LISTED]]
        lines += [""]
    if len(failing) > _LISTED:
        lines += [f"and {len(failing) - _LISTED} more that failed", ""]
    said = (*map(_escape, notes), *_fallbacks(entries), *_idle(idle))
    lines += [f"- {line}" for line in said]
    return "\n".join(lines).rstrip("\n") + "\n"


def _counts(entries: Sequence[Mapping[str, Any]]) -> str:
    counted = Counter(str(one["verdict"]) for one in entries)
    parts = [f"{counted[str(word)]} {word}" for word in Verdict if counted[str(word)]]
    noun = "check" if len(entries) == 1 else "checks"
    return f"**{len(entries)} {noun}**" + (f": {', '.join(parts)}" if parts else "")


def _row(entry: Mapping[str, Any]) -> str:
    said = (*entry.get("evidence", ()), *entry.get("detail", ()), entry.get("noise", ""))
    why = next((one for one in said if one), "")
    cells = (entry["verdict"], entry.get("cause", ""), entry["check"], why)
    return "| " + " | ".join(_escape(str(cell)) for cell in cells) + " |"


def _escape(text: str) -> str:
    # Ids and sentences come from tests: nothing in them may become Markdown, HTML or a new row.
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
