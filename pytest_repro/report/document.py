"""The JSON document of a run: its text, its schema, and reading it with checks.

The layout is documented in docs/report.md; `SCHEMA` is raised with every change of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_repro.errors import CorruptBaseline, NewerSchema
from pytest_repro.model.artefact import Claim, Judged
from pytest_repro.model.ids import Digest, IndexEntry
from pytest_repro.model.words import Verdict

SCHEMA = 2
"""Version of report.json; a higher one is refused."""

_KIND = "pytest-repro report"


def report_text(
    entries: Sequence[Mapping[str, Any]],
    sites: Mapping[str, Mapping[str, Any]],
    *,
    tool: str,
    made_at: str,
    files: Mapping[str, str],
    notes: Sequence[str] = (),
    idle: Sequence[str] = (),
) -> str:
    """The text of report.json; equal parts give equal texts.

    Args:
        entries: What `artefact.entries_from` gave, of all tests.
        sites: What `artefact.sites_from` gave.
        tool: ``pytest-repro <version>``.
        made_at: UTC, ISO 8601.
        files: SHA-256 of every observed manifest, by its path from the report's folder.
        notes: What the report lacks, in sentences.
        idle: Marked tests that checked nothing.
    """
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "kind": _KIND,
        "tool": tool,
        "made_at": made_at,
        "notes": list(notes),
        "idle": sorted(idle),
        "environments": {name: sites[name] for name in sorted(sites)},
        "files": {name: files[name] for name in sorted(files)},
        "checks": sorted(entries, key=lambda entry: str(entry["check"])),
    }
    document["digest"] = seal(document)
    return json.dumps(document, indent=1, ensure_ascii=True, allow_nan=False) + "\n"


def seal(document: Mapping[str, Any]) -> str:
    """SHA-256 over the canonical text of all other fields: it finds edits but proves no author."""
    body = {name: value for name, value in document.items() if name != "digest"}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


@dataclass(frozen=True, slots=True)
class ReadReport:
    """A report that was read and is intact.

    Attributes:
        tool, made_at: Which version wrote it, and when.
        files: SHA-256 of every observed manifest.
        kept: The entries whose values were kept.
        judged: All entries, sorted by id.
        document: All of it, for the page.
    """

    tool: str
    made_at: str
    files: Mapping[str, str]
    kept: tuple[Claim, ...]
    judged: tuple[Judged, ...]
    document: Mapping[str, Any]


def read_report(text: str, *, where: str) -> ReadReport:
    """The report in the text of `report_text`.

    Raises:
        CorruptBaseline: Not such a text, or it was changed.
        NewerSchema: A later pytest-repro wrote it.
    """
    try:
        document = json.loads(text)
        if not isinstance(document, dict) or document.get("kind") != _KIND:
            raise ValueError("it is not a report of pytest-repro")
    except (ValueError, RecursionError) as error:
        raise _corrupt(where, str(error)) from error
    _require_schema(document.get("schema"), where)
    if document.get("digest") != seal(document):
        raise _corrupt(where, "it was changed after the run: its digest does not match")
    try:
        return _read(document)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise _corrupt(where, f"{type(error).__name__}: {error}") from error


def _read(document: Mapping[str, Any]) -> ReadReport:
    kept = tuple(
        Claim(str(one["check"]), Verdict(one["verdict"]), str(one["key"]), int(one["runs"]))
        for one in document["checks"]
        if one.get("runs")
    )
    files = {str(name): str(digest) for name, digest in document["files"].items()}
    judged = tuple(_judged(one) for one in document["checks"])
    return ReadReport(
        str(document["tool"]), str(document["made_at"]), files, kept, judged, document
    )


def _judged(entry: Mapping[str, Any]) -> Judged:
    digests = entry.get("value"), entry.get("ledger")
    return Judged(
        check=str(entry["check"]),
        verdict=Verdict(entry["verdict"]),
        key=str(entry["key"]),
        index=IndexEntry(*(Digest(str(one)) for one in digests)) if all(digests) else None,
        cause=str(entry.get("cause", "")),
        distance=str(entry.get("distance", "")),
        reference=str(entry.get("reference", "")),
        share=float(entry.get("share", 0.0)),
        runs=int(entry.get("runs", 0)),
    )


def _require_schema(schema: object, where: str) -> None:
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise _corrupt(where, f"schema is {schema!r}")
    if schema > SCHEMA:
        raise NewerSchema(
            f"the report has schema {schema}; this pytest-repro reads up to {SCHEMA}",
            where=where,
            next_step="pip install --upgrade pytest-repro",
        )


def _corrupt(where: str, fact: str) -> CorruptBaseline:
    return CorruptBaseline(
        "a report cannot be used",
        facts=(fact[:300],),
        where=where,
        next_step="fetch the report again, or write it again: pytest --repro-report DIR",
    )
