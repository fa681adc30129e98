"""Values to bytes and back: manifests as YAML, tensors as safetensors; knows no paths.

A manifest is two YAML documents in one text. The first is the index: one line a check, all that an
``exact`` verdict needs. The second holds a block a check and is parsed only when something differs.
Any text that is not what this module would write is `CorruptBaseline`, never a guess.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
import yaml

from pytest_repro.core.digest import digest_array, digest_text
from pytest_repro.core.dtypes import DTYPES
from pytest_repro.core.errors import CorruptBaseline, NewerSchema
from pytest_repro.core.model import (
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
    TensorRecord,
    TensorSummary,
    WeightsDigest,
)
from pytest_repro.core.record import make_record

__all__ = [
    "SCHEMA",
    "Manifest",
    "decode_index",
    "decode_manifest",
    "decode_rows",
    "decode_tensor",
    "encode_manifest",
    "encode_rows",
    "is_lfs_pointer",
    "tensor_arrays",
]

SCHEMA = 1
"""Version of the manifest's layout; a higher one on disk is refused, never guessed at."""

Row = tuple[Any, ...]
_MAX_ROWS_BYTES = 1 << 28
_FREE_ROWS_BYTES = 1 << 24
_MAX_PACKING = 40
_MIN_ROW_BYTES = 16
_SEPARATOR = "\n---\n"
_TENSOR_NAME = "value"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_BASE_60 = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")
_MAX_NUMBER_CHARACTERS = 64
_MAX_DEPTH = 24
_MIN_COLLECTION_BYTES = 16
"""Of a text this long a collection, on average, at least; ours have more than thirty."""
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


@dataclass(frozen=True, slots=True)
class Manifest:
    """All baselines of one test module under one key, sorted by entry."""

    key: EnvironmentKey
    module: str
    baselines: tuple[Baseline, ...]


def is_lfs_pointer(head: bytes) -> bool:
    """Whether a file that begins with ``head`` is a git-lfs pointer instead of its content.

    Source: git-lfs specification, docs/spec.md, "The Pointer".
    """
    return head.startswith(b"version https://git-lfs.github.com/spec/")


def encode_manifest(manifest: Manifest) -> str:
    """The text of a manifest; equal manifests give equal texts, whatever the order given."""
    baselines = sorted(manifest.baselines, key=lambda baseline: baseline.check.entry)
    environments = {
        _environment_digest(one.provenance.environment): one.provenance.environment
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
        "checks": {one.check.entry: _block(one) for one in baselines},
        "environments": {name: _facts_out(environments[name]) for name in sorted(environments)},
    }
    return _dump(index) + "---\n" + _dump(blocks)


def decode_index(text: str, *, where: str) -> Mapping[str, IndexEntry]:
    """The index of a manifest's text: entry (``test::name``) to digests.

    Raises:
        CorruptBaseline: The text is not a manifest.
        NewerSchema: A later pytest-repro wrote it.
    """
    return _index(_load(_halves(text, where)[0], where=where), where)


def _halves(text: str, where: str) -> tuple[str, str]:
    """The two documents; a text cut inside the first would else lose checks without a sign."""
    head, separator, tail = text.partition(_SEPARATOR)
    if not separator and not is_lfs_pointer(text[:64].encode()):
        raise _corrupt(where, "it ends before the second document; the file is truncated")
    return head, tail


def _index(document: Mapping[str, Any], where: str) -> Mapping[str, IndexEntry]:
    _require_schema(document, where=where)
    checks = _mapping(document.get("checks"), "checks", where)
    try:
        return {
            _text(entry, where): IndexEntry(_digest(row["value"]), _digest(row["noise"]))
            for entry, row in checks.items()
        }
    except (KeyError, TypeError, ValueError) as error:
        raise _corrupt(where, f"index: {error}") from error


def decode_manifest(text: str, *, where: str) -> Manifest:
    """The whole of a manifest's text.

    Raises:
        CorruptBaseline: The text is not a manifest, or its two documents disagree.
        NewerSchema: A later pytest-repro wrote it.
    """
    head, tail = _halves(text, where)
    document = _load(head, where=where)
    index = _index(document, where)
    blocks = _load(tail, where=where)
    try:
        key = EnvironmentKey(*str(document["key"]).split("/"))
        module = str(document["module"])
        environments = {
            name: _facts_in(key, facts) for name, facts in blocks["environments"].items()
        }
        checks = _mapping(blocks["checks"], "checks", where)
        if set(checks) != set(index):
            odd = sorted(set(checks) ^ set(index))[0]
            raise ValueError(f"index and blocks disagree about {odd!r}")
        baselines = tuple(
            _baseline(module, entry, index[entry], block, environments)
            for entry, block in checks.items()
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise _corrupt(where, f"{type(error).__name__}: {error}") from error
    return Manifest(key, module, baselines)


def tensor_arrays(record: TensorRecord) -> dict[str, Any]:
    """What safetensors is given for a record: one contiguous, little-endian array, no metadata.

    safetensors 0.8.0 writes non-contiguous arrays wrongly without an error, and several metadata
    keys are not stable between processes; a record is contiguous by construction and the facts
    live in the manifest.
    """
    return {_TENSOR_NAME: np.ascontiguousarray(record.array).reshape(record.shape)}


def decode_tensor(data: bytes, *, digest: Digest, where: str) -> TensorRecord:
    """The record that a safetensors file holds.

    Raises:
        CorruptBaseline: A git-lfs pointer, a truncated or foreign file, or another digest.
    """
    from safetensors import SafetensorError, deserialize

    if is_lfs_pointer(data[:64]):
        raise CorruptBaseline(
            "the tensor is a git-lfs pointer, its content was not pulled",
            where=where,
            next_step="git lfs pull",
        )
    try:
        ((name, view),) = deserialize(data)  # type: ignore[no-untyped-call]
        dtype = next(one for one in DTYPES.values() if one.safetensors_tag == view["dtype"])
        array = np.frombuffer(view["data"], dtype=dtype.numpy).reshape(view["shape"])
    except (SafetensorError, StopIteration, ValueError, TypeError, KeyError) as error:
        raise _corrupt(where, f"not a tensor of ours: {error}") from error
    if name != _TENSOR_NAME or digest_array(dtype.name, array) != digest:
        raise _corrupt(where, f"its content has another digest than {digest}")
    return make_record(array)


def encode_rows(rows: Iterable[Row]) -> bytes:
    """Rows of text, numbers and ``None`` as JSON lines, compressed; equal rows give equal bytes
    with one zlib.
    """
    lines = (json.dumps(row, allow_nan=True, separators=(",", ":")) for row in rows)
    # No time and no name in the header: the bytes must depend on the rows alone.
    return gzip.compress("\n".join(lines).encode(), compresslevel=6, mtime=0)


def decode_rows(data: bytes, *, where: str) -> tuple[Row, ...]:
    """The rows that `encode_rows` was given.

    Raises:
        CorruptBaseline: A git-lfs pointer, or not such bytes, or more than they can hold.
    """
    if is_lfs_pointer(data[:64]):
        raise CorruptBaseline(
            "a trace is a git-lfs pointer, its content was not pulled",
            where=where,
            next_step="git lfs pull",
        )
    try:
        # Rows are full of digests, which pack two to one at best; a bomb packs a thousand to one.
        limit = min(_MAX_ROWS_BYTES, _FREE_ROWS_BYTES + _MAX_PACKING * len(data))
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as opened:
            text = opened.read(limit + 1)
        if len(text) > limit:
            raise ValueError(f"{len(data)} bytes unpack to more than {limit}")
        if text.count(b"\n") * _MIN_ROW_BYTES > 1000 + len(text):
            raise ValueError("too many rows for so few bytes")
        rows = tuple(tuple(json.loads(line)) for line in text.decode().splitlines())
    except (OSError, EOFError, zlib.error, ValueError, TypeError, RecursionError) as error:
        raise _corrupt(where, f"not a trace of ours: {error}") from error
    return rows


def _corrupt(where: str, fact: str) -> CorruptBaseline:
    return CorruptBaseline(
        "a stored baseline cannot be read",
        facts=(fact[:300],),
        where=where,
        next_step=f"git checkout -- {where}   (or delete it and record: pytest --repro-update)",
    )


def _dump(document: object) -> str:
    text: str = yaml.dump(
        document,
        Dumper=_DUMPER,
        default_flow_style=None,
        sort_keys=False,
        allow_unicode=True,
        width=1_000_000,
    )
    return text


def _load(text: str, *, where: str) -> Mapping[str, Any]:
    if is_lfs_pointer(text[:64].encode()):
        raise CorruptBaseline(
            "the manifest is a git-lfs pointer, its content was not pulled",
            where=where,
            next_step="git lfs pull",
        )
    try:
        _refuse_foreign(text)
        document = yaml.load(text, Loader=_LOADER)  # noqa: S506  a safe loader
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise _corrupt(where, " ".join(str(error).split())) from error
    return _mapping(document, "document", where)


def _refuse_foreign(text: str) -> None:
    """Refuse what our writer never writes and what would cost or crash more than it says.

    libyaml builds nested collections by recursion in C, without a limit: a hundred thousand
    brackets end the process. Its events come one by one, so they are looked at first. It also
    expands aliases, and reads ``1:59:59...`` as a number to the base 60, in quadratic time.
    """
    depth = collections = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            collections += 1
            if depth > _MAX_DEPTH or collections * _MIN_COLLECTION_BYTES > 1000 + len(text):
                raise ValueError("nested too deeply, or too often, for a manifest")
        depth -= isinstance(event, yaml.CollectionEndEvent)
        # An alias has the name of its anchor.
        if getattr(event, "anchor", None) or getattr(event, "tag", None):
            raise ValueError("anchors, aliases and tags are not part of a manifest")
        if isinstance(event, yaml.ScalarEvent) and _is_long_number(event.value):
            raise ValueError("a number that is too long for a manifest")


def _is_long_number(text: str) -> bool:
    return len(text) > _MAX_NUMBER_CHARACTERS and _BASE_60.fullmatch(text) is not None


def _mapping(value: object, name: str, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _corrupt(where, f"{name} is {type(value).__name__}, not a mapping")
    return value


def _require_schema(document: Mapping[str, Any], *, where: str) -> None:
    schema = document.get("schema")
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise _corrupt(where, f"schema is {schema!r}")
    if schema > SCHEMA:
        raise NewerSchema(
            f"the manifest has schema {schema}; this pytest-repro reads up to {SCHEMA}",
            where=where,
            next_step="pip install --upgrade pytest-repro",
        )


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or "::" not in value:
        raise _corrupt(where, f"{value!r} is not the id of a check")
    return value


def _digest(value: object) -> Digest:
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise ValueError(f"{value!r} is not a digest")
    return Digest(value)


def _environment_digest(environment: Environment) -> str:
    lines = (f"{fact.name}={fact.value}={fact.changes_bits}" for fact in environment.facts)
    return str(digest_text("\n".join(lines)))[:16]


def _facts_out(environment: Environment) -> dict[str, dict[str, str]]:
    return {
        "changing_bits": {f.name: f.value for f in environment.facts if f.changes_bits},
        "other": {f.name: f.value for f in environment.facts if not f.changes_bits},
    }


def _facts_in(key: EnvironmentKey, facts: Mapping[str, Mapping[str, str]]) -> Environment:
    pairs: Iterable[Fact] = (
        Fact(str(name), str(value), group == "changing_bits")
        for group in ("changing_bits", "other")
        for name, value in facts[group].items()
    )
    return Environment(key, tuple(sorted(pairs, key=lambda fact: fact.name)))


def _block(baseline: Baseline) -> dict[str, Any]:
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
            "environment": _environment_digest(made.environment),
        },
    }
    for name in ("trace", "configuration"):
        if (digest := getattr(baseline, name)) is not None:
            block[name] = str(digest)
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


def _baseline(
    module: str,
    entry: str,
    index: IndexEntry,
    block: Mapping[str, Any],
    environments: Mapping[str, Environment],
) -> Baseline:
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
        weights=tuple(WeightsDigest(str(k), _digest(v)) for k, v in block["weights"].items()),
        provenance=Provenance(
            recorded_at=str(made["at"]),
            runs=int(made["runs"]),
            environment=environments[made["environment"]],
            tool=str(made["tool"]),
        ),
        trace=None if block.get("trace") is None else _digest(block["trace"]),
        configuration=(
            None if block.get("configuration") is None else _digest(block["configuration"])
        ),
    )


def _summary_in(row: Mapping[str, Any]) -> TensorSummary:
    if row["dtype"] not in DTYPES:
        raise ValueError(f"{row['dtype']!r} is not a dtype of ours")
    return TensorSummary(
        path=str(row["path"]),
        dtype=str(row["dtype"]),
        shape=_shape_in(row["shape"]),
        digest=_digest(row["digest"]),
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
    return Draw(**{**row, "shape": _shape_in(shape), "digest": _digest(row["digest"])})


def _envelope_in(row: Mapping[str, Any]) -> Envelope | None:
    if row.get("envelope") is None:
        return None
    statistics = tuple((str(k), float(v)) for k, v in row["envelope_statistics"].items())
    return Envelope(**{**row["envelope"], "statistics": statistics})
