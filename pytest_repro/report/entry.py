"""The entries of a report: outcomes as primitives."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from pytest_repro.model.artefact import Artefact, GrowthPoint
from pytest_repro.tensors.digest import digest_text

if TYPE_CHECKING:
    from pytest_repro.model.baseline import Baseline, Environment, TensorSummary
    from pytest_repro.model.outcome import Outcome


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
