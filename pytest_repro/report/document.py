"""The JSON document of a run: its entries, its text, its schema, and reading it with checks.

The layout is documented in docs/report.md; `SCHEMA` is raised with every change of it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from pytest_repro.errors import CorruptBaseline, NewerSchema
from pytest_repro.model.ids import Digest, IndexEntry
from pytest_repro.model.outcome import Artefact, CellPoint, Claim, GrowthPoint, Judged
from pytest_repro.model.words import Verdict
from pytest_repro.tensors.record import digest_text

if TYPE_CHECKING:
    from pytest_repro.model.baseline import Baseline, Environment, TensorSummary
    from pytest_repro.model.outcome import Outcome

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
        entries: What `entries_from` gave, of all tests.
        sites: What `sites_from` gave.
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


_MAX_DRAWS = 200
"""Draws of a draw log that an entry lists; the observed manifest holds all of them."""


@dataclass(frozen=True, slots=True)
class Site:
    """An environment as the report holds it, once, under ``id``."""

    id: str
    key: str
    facts: tuple[tuple[str, str, bool], ...]


@dataclass(frozen=True, slots=True)
class Leaf:
    """One tensor of a check; digests are ``""`` where there is none on that side."""

    path: str
    dtype: str
    shape: tuple[int, ...]
    observed: str
    baseline: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One check in the report.

    Attributes:
        check: Its id; ``verdict``, ``gate``, ``cause``, ``distance`` are words of the glossary.
        key: Key of the environment that computed it.
        reference: Key of the baseline it was compared with, or ``""``.
        share: Largest used share of the tolerance; infinity where it allows nothing.
        value, ledger: Digests of value and draw log, also if it was exact and not kept.
        runs: How many runs agree bit for bit; 0 if nothing was kept.
        site, baseline_site: Ids of environments, or ``""``.
        differences: Path and figures of every tensor that differs (`model.Difference`).
        draws: The draw log's generators and draws, a line each.
    """

    check: str
    verdict: str
    gate: str
    key: str
    cause: str = ""
    distance: str = ""
    reference: str = ""
    manifest: str = ""
    share: float = 0.0
    tolerance: str = ""
    tolerance_origin: str = ""
    passing_tolerance: str = ""
    called_at: str = ""
    value: str = ""
    ledger: str = ""
    runs: int = 0
    recorded_at: str = ""
    noise: str = ""
    detail: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    began: tuple[str, ...] = ()
    site: str = ""
    baseline_site: str = ""
    leaves: tuple[Leaf, ...] = ()
    differences: tuple[tuple[str, Any], ...] = ()
    growth: tuple[GrowthPoint, ...] = ()
    cells: tuple[CellPoint, ...] = ()
    draws: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """Primitives that JSON and every transport between workers accept; no empty fields."""
        found: dict[str, Any] = _plain(self)
        return {name: value for name, value in found.items() if value not in ("", [], 0)}


def entries_from(
    outcomes: Iterable[Outcome], artefacts: Iterable[Artefact], key: str
) -> list[dict[str, Any]]:
    """An entry a check, as primitives.

    Args:
        outcomes: Of one test.
        artefacts: What was kept of them.
        key: Of the environment that computed them.
    """
    kept = {artefact.observed.check: artefact for artefact in artefacts}
    return [_entry(one, kept.get(one.check), key).plain() for one in outcomes]


def sites_from(
    outcomes: Iterable[Outcome], artefacts: Iterable[Artefact]
) -> dict[str, dict[str, Any]]:
    """Every environment that entries of these outcomes mention, by id, as primitives."""
    seen = [artefact.observed.provenance.environment for artefact in artefacts]
    seen += [one.baseline.provenance.environment for one in outcomes if one.baseline is not None]
    sites = (_site(environment) for environment in seen)
    return {site.id: _plain(site) for site in sites}


def _site(environment: Environment) -> Site:
    facts = tuple((fact.name, fact.value, fact.changes_bits) for fact in environment.facts)
    text = f"{environment.key}\n{facts!r}"
    return Site(digest_text(text)[:16], str(environment.key), facts)


def _entry(outcome: Outcome, kept: Artefact | None, key: str) -> Entry:
    reference, baseline, seen = outcome.reference, outcome.baseline, outcome.observation
    return Entry(
        check=str(outcome.check),
        verdict=str(outcome.verdict),
        gate=str(outcome.gate),
        key=key,
        cause="" if outcome.cause is None else str(outcome.cause),
        distance="" if reference is None else str(reference.distance),
        reference="" if reference is None else str(reference.key),
        manifest="" if reference is None else reference.manifest,
        share=outcome.share,
        tolerance=outcome.tolerance if outcome.uses else "",
        tolerance_origin=outcome.tolerance_origin,
        passing_tolerance=outcome.passing_tolerance if outcome.uses else "",
        called_at=outcome.called_at,
        value="" if seen is None else str(seen.digest),
        ledger="" if seen is None else str(seen.draw_log.digest),
        runs=0 if kept is None else kept.observed.provenance.runs,
        recorded_at="" if baseline is None else baseline.provenance.recorded_at,
        noise="" if outcome.noise is None else outcome.noise.sentence,
        detail=outcome.sentences,
        evidence=outcome.evidence,
        began=outcome.began,
        site="" if kept is None else _site(kept.observed.provenance.environment).id,
        baseline_site="" if baseline is None else _site(baseline.provenance.environment).id,
        leaves=() if kept is None else _leaves(kept.observed.tensors, baseline),
        differences=outcome.differences,
        growth=() if kept is None else kept.growth,
        cells=() if kept is None else kept.cells,
        draws=() if kept is None else _draws(kept.observed),
    )


def _leaves(observed: Sequence[TensorSummary], baseline: Baseline | None) -> tuple[Leaf, ...]:
    before = {} if baseline is None else {one.path: one for one in baseline.tensors}
    now = {one.path: one for one in observed}
    leaves = []
    for path, one in {**before, **now}.items():
        digests = [str(side[path].digest) if path in side else "" for side in (now, before)]
        leaves.append(Leaf(path, one.dtype, one.shape, *digests))
    return tuple(leaves)


def _draws(observed: Baseline) -> tuple[str, ...]:
    draw_log = observed.draw_log
    lines = [f"generator {number}: {text}" for number, text in enumerate(draw_log.generators)]
    lines += [
        f"draw {number}: generator {draw.generator} {draw.method}{draw.shape} {draw.dtype} "
        f"{draw.arguments} {draw.digest[:16]}"
        for number, draw in enumerate(draw_log.draws[:_MAX_DRAWS])
    ]
    more = len(draw_log.draws) - _MAX_DRAWS
    return (*lines, f"and {more} more draws") if more > 0 else tuple(lines)


def _plain(value: object) -> Any:
    """``value`` as primitives; numbers that JSON lacks become texts."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value
