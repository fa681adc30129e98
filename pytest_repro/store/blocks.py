"""One baseline as the block of a manifest, and back; a block is primitives only."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, cast

from pytest_repro.model.baseline import (
    Baseline,
    CheckId,
    Digest,
    Draw,
    Envelope,
    Environment,
    EnvironmentKey,
    Fact,
    IndexEntry,
    Ledger,
    Provenance,
    Statistics,
    TensorSummary,
    WeightsDigest,
)
from pytest_repro.tensors.digest import digest_text
from pytest_repro.tensors.dtypes import DTYPES

__all__ = [
    "baseline_from_block",
    "block_of",
    "digest_from",
    "environment_digest",
    "environment_from_facts",
    "facts_of",
]

_DIGEST = re.compile(r"[0-9a-f]{64}")
_RECORDS = ("trace", "configuration", "step_envelope")


def digest_from(value: object) -> Digest:
    """A digest as text, checked; anything else is a `ValueError`."""
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise ValueError(f"{value!r} is not a digest")
    return Digest(value)


def environment_digest(environment: Environment) -> str:
    """The name under which a manifest holds an environment: 16 characters of its digest."""
    lines = (f"{fact.name}={fact.value}={fact.changes_bits}" for fact in environment.facts)
    return str(digest_text("\n".join(lines)))[:16]


def facts_of(environment: Environment) -> dict[str, dict[str, str]]:
    """The facts of an environment in two groups: those that change bits, and others."""
    return {
        "changing_bits": {f.name: f.value for f in environment.facts if f.changes_bits},
        "other": {f.name: f.value for f in environment.facts if not f.changes_bits},
    }


def environment_from_facts(
    key: EnvironmentKey, facts: Mapping[str, Mapping[str, str]]
) -> Environment:
    """The environment that `facts_of` was given."""
    pairs: Iterable[Fact] = (
        Fact(str(name), str(value), group == "changing_bits")
        for group in ("changing_bits", "other")
        for name, value in facts[group].items()
    )
    return Environment(key, tuple(sorted(pairs, key=lambda fact: fact.name)))


def block_of(baseline: Baseline) -> dict[str, Any]:
    """What a manifest says of a baseline, as primitives."""
    made = baseline.provenance
    block: dict[str, Any] = {
        "tensors": [_summary_out(one) for one in baseline.tensors],
        "ledger": {
            "generators": list(baseline.ledger.generators),
            "draws": [_draw_out(draw) for draw in baseline.ledger.draws],
        },
        "weights": {one.component: str(one.digest) for one in baseline.weights},
        "recorded": {
            "at": made.recorded_at,
            "runs": made.runs,
            "tool": made.tool,
            "environment": environment_digest(made.environment),
        },
    }
    for name in _RECORDS:
        if (digest := getattr(baseline, name)) is not None:
            block[name] = str(digest)
    if baseline.no_envelope:
        block["no_envelope"] = baseline.no_envelope
    return block


def _summary_out(one: TensorSummary) -> dict[str, Any]:
    row: dict[str, Any] = {
        "path": one.path,
        "dtype": one.dtype,
        "shape": list(one.shape),
        "digest": str(one.digest),
        "statistics": asdict(one.statistics),
        "sketch": list(one.sketch),
    }
    if one.envelope is not None:
        row["envelope"] = _envelope_out(one.envelope)
        row["envelope_statistics"] = dict(one.envelope.statistics)
    return row


def _draw_out(draw: Draw) -> dict[str, Any]:
    # The shape as text keeps a draw on one line, which is what a reviewer reads.
    return {**asdict(draw), "shape": "x".join(map(str, draw.shape)), "digest": str(draw.digest)}


def _envelope_out(envelope: Envelope) -> dict[str, Any]:
    row = asdict(envelope)
    del row["statistics"]
    return row


def baseline_from_block(
    module: str,
    entry: str,
    index: IndexEntry,
    block: Mapping[str, Any],
    environments: Mapping[str, Environment],
) -> Baseline:
    """The baseline that `block_of` was given; any other block is a `ValueError` or the like."""
    test, _, name = entry.rpartition("::")
    made = block["recorded"]
    ledger = block["ledger"]
    return Baseline(
        check=CheckId(module, test, name),
        index=index,
        tensors=tuple(_summary_in(row) for row in block["tensors"]),
        ledger=Ledger(
            generators=tuple(str(one) for one in ledger["generators"]),
            draws=tuple(_draw_in(row) for row in ledger["draws"]),
            digest=index.noise,
        ),
        weights=tuple(WeightsDigest(str(k), digest_from(v)) for k, v in block["weights"].items()),
        provenance=Provenance(
            recorded_at=str(made["at"]),
            runs=int(made["runs"]),
            environment=environments[made["environment"]],
            tool=str(made["tool"]),
        ),
        **{name: digest_from(block[name]) for name in _RECORDS if block.get(name) is not None},
        no_envelope=str(block.get("no_envelope", "")),
    )


def _summary_in(row: Mapping[str, Any]) -> TensorSummary:
    if row["dtype"] not in DTYPES:
        raise ValueError(f"{row['dtype']!r} is not a dtype of ours")
    return TensorSummary(
        path=str(row["path"]),
        dtype=str(row["dtype"]),
        shape=_shape_in(row["shape"]),
        digest=digest_from(row["digest"]),
        statistics=Statistics(**row["statistics"]),
        sketch=tuple(float(value) for value in row["sketch"]),
        envelope=_envelope_in(row),
    )


def _shape_in(row: Iterable[object]) -> tuple[int, ...]:
    shape = tuple(row)
    if not all(isinstance(size, int) and 0 <= size < 2**48 for size in shape):
        raise ValueError(f"{shape!r} is not a shape")
    return cast("tuple[int, ...]", shape)


def _draw_in(row: Mapping[str, Any]) -> Draw:
    shape = tuple(int(size) for size in str(row["shape"]).split("x") if size)
    return Draw(**{**row, "shape": _shape_in(shape), "digest": digest_from(row["digest"])})


def _envelope_in(row: Mapping[str, Any]) -> Envelope | None:
    if row.get("envelope") is None:
        return None
    statistics = tuple((str(k), float(v)) for k, v in row["envelope_statistics"].items())
    return Envelope(**{**row["envelope"], "statistics": statistics})
