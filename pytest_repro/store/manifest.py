"""Manifests to text and back; knows no paths, and hands on how their tensors and traces are coded.

A manifest is two YAML documents in one text. The first is the index: one line a check, all that an
``exact`` verdict needs. The second holds a block a check and is parsed only when something differs.
Any text that is not what this module would write is `CorruptBaseline`, never a guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pytest_repro.errors import NewerSchema
from pytest_repro.model.baseline import Baseline, EnvironmentKey, IndexEntry
from pytest_repro.store.blocks import (
    baseline_from_block,
    block_of,
    digest_from,
    environment_digest,
    environment_from_facts,
    facts_of,
)
from pytest_repro.store.files import (
    Row,
    corrupt,
    decode_rows,
    decode_tensor,
    encode_rows,
    is_lfs_pointer,
    tensor_arrays,
)
from pytest_repro.store.layout import SCHEMA
from pytest_repro.store.manifest_yaml import dump_yaml, load_yaml, mapping_of

__all__ = [
    "SCHEMA",
    "Manifest",
    "Row",
    "decode_index",
    "decode_manifest",
    "decode_rows",
    "decode_tensor",
    "encode_manifest",
    "encode_rows",
    "is_lfs_pointer",
    "tensor_arrays",
]

_SEPARATOR = "\n---\n"


@dataclass(frozen=True, slots=True)
class Manifest:
    """All baselines of one test module under one key, sorted by entry."""

    key: EnvironmentKey
    module: str
    baselines: tuple[Baseline, ...]


def encode_manifest(manifest: Manifest) -> str:
    """The text of a manifest; equal manifests give equal texts, whatever the order given."""
    baselines = sorted(manifest.baselines, key=lambda baseline: baseline.check.entry)
    environments = {
        environment_digest(one.provenance.environment): one.provenance.environment
        for one in baselines
    }
    index = {
        "schema": SCHEMA,
        "key": str(manifest.key),
        "module": manifest.module,
        "checks": {
            one.check.entry: {"value": str(one.index.value), "noise": str(one.index.noise)}
            for one in baselines
        },
    }
    blocks = {
        "checks": {one.check.entry: block_of(one) for one in baselines},
        "environments": {name: facts_of(environments[name]) for name in sorted(environments)},
    }
    return dump_yaml(index) + "---\n" + dump_yaml(blocks)


def decode_index(text: str, *, where: str) -> Mapping[str, IndexEntry]:
    """The index of a manifest's text: entry (``test::name``) to digests.

    Raises:
        CorruptBaseline: The text is not a manifest.
        NewerSchema: A later pytest-repro wrote it.
    """
    return _index(load_yaml(_halves(text, where)[0], where=where), where)


def _halves(text: str, where: str) -> tuple[str, str]:
    """The two documents; a text cut inside the first would else lose checks without a sign."""
    head, separator, tail = text.partition(_SEPARATOR)
    if not separator and not is_lfs_pointer(text[:64].encode()):
        raise corrupt(where, "it ends before the second document; the file is truncated")
    return head, tail


def _index(document: Mapping[str, Any], where: str) -> Mapping[str, IndexEntry]:
    _require_schema(document, where=where)
    checks = mapping_of(document.get("checks"), "checks", where)
    try:
        return {
            _text(entry, where): IndexEntry(digest_from(row["value"]), digest_from(row["noise"]))
            for entry, row in checks.items()
        }
    except (KeyError, TypeError, ValueError) as error:
        raise corrupt(where, f"index: {error}") from error


def decode_manifest(text: str, *, where: str) -> Manifest:
    """The whole of a manifest's text.

    Raises:
        CorruptBaseline: The text is not a manifest, or its two documents disagree.
        NewerSchema: A later pytest-repro wrote it.
    """
    head, tail = _halves(text, where)
    document = load_yaml(head, where=where)
    index = _index(document, where)
    blocks = load_yaml(tail, where=where)
    try:
        key = EnvironmentKey(*str(document["key"]).split("/"))
        module = _module(document["module"])
        environments = {
            name: environment_from_facts(key, facts)
            for name, facts in blocks["environments"].items()
        }
        checks = mapping_of(blocks["checks"], "checks", where)
        if set(checks) != set(index):
            odd = sorted(set(checks) ^ set(index))[0]
            raise ValueError(f"index and blocks disagree about {odd!r}")
        baselines = tuple(
            baseline_from_block(module, entry, index[entry], block, environments)
            for entry, block in checks.items()
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise corrupt(where, f"{type(error).__name__}: {error}") from error
    return Manifest(key, module, baselines)


def _require_schema(document: Mapping[str, Any], *, where: str) -> None:
    schema = document.get("schema")
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise corrupt(where, f"schema is {schema!r}")
    if schema > SCHEMA:
        raise NewerSchema(
            f"the manifest has schema {schema}; this pytest-repro reads up to {SCHEMA}",
            where=where,
            next_step="pip install --upgrade pytest-repro",
        )


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or "::" not in value:
        raise corrupt(where, f"{value!r} is not the id of a check")
    return value


def _module(value: object) -> str:
    """The path of a test module: text with a name in it that a file may have."""
    if not isinstance(value, str) or "\0" in value or not value.strip("./\\"):
        raise ValueError(f"{value!r} is not a test module")
    return value
