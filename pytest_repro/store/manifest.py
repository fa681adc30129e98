"""Manifests to text and back.

A manifest is two YAML documents in one text. The first is the index: one line for each check with
all that an ``exact`` verdict needs and a digest of the check's block. The second has a block for
each check and is parsed only if something differs; its last line is the end mark. So a line and a
block that disagree, and a text that was cut, are found without parsing. Any text that this module
would not write is `CorruptBaseline`, but one that a formatter rewrote is read.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from itertools import pairwise
from typing import Any, cast

import yaml

from pytest_repro.errors import CorruptBaseline, NewerSchema, OlderSchema
from pytest_repro.model.baseline import (
    Baseline,
    Envelope,
    Environment,
    Fact,
    Provenance,
    Statistics,
    TensorSummary,
    WeightsDigest,
)
from pytest_repro.model.ids import CheckId, Digest, Draw, DrawLog, EnvironmentKey, IndexEntry
from pytest_repro.noise.draw_log import make_draw_log
from pytest_repro.store.files import (
    corrupt,
    is_lfs_pointer,
)
from pytest_repro.store.layout import SCHEMA
from pytest_repro.tensors.dtypes import DTYPES
from pytest_repro.tensors.record import digest_leaves, digest_text
from pytest_repro.trace.components import digest_inputs

_SEPARATOR = "\n---\n"
_END = "...\n"
"""YAML's mark for the end of a document; without it the text was cut."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """All baselines of one test module under one key, sorted by entry."""

    key: EnvironmentKey
    module: str
    baselines: tuple[Baseline, ...]


@dataclass(frozen=True, slots=True)
class Index:
    """The first document: key, module, and a line for each check.

    Attributes:
        blocks: The digest of each check's block, where the text is in its plainest form.
    """

    key: EnvironmentKey
    module: str
    entries: Mapping[str, IndexEntry]
    blocks: tuple[str, ...] = field(default=(), compare=False)


def text_from(data: bytes, *, where: str) -> str:
    """The text of a manifest's file; CRLF line ends become LF.

    Raises:
        CorruptBaseline: It is not UTF-8.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise corrupt(where, f"not UTF-8: {error}") from error
    return text.replace("\r\n", "\n") if "\r" in text else text


def encode_manifest(manifest: Manifest) -> str:
    """The text of a manifest; equal manifests give equal texts in any order."""
    baselines = sorted(manifest.baselines, key=lambda baseline: baseline.check.entry)
    environments = {
        environment_digest(one.provenance.environment): one.provenance.environment
        for one in baselines
    }
    blocks = dump_yaml(
        {
            "checks": {one.check.entry: block_of(one) for one in baselines},
            "environments": {name: facts_of(environments[name]) for name in sorted(environments)},
        }
    )
    digests = [_block_digest(text) for text in _pieces(_checks_of(blocks))]
    index = {
        "schema": SCHEMA,
        "key": str(manifest.key),
        "module": manifest.module,
        "checks": {
            one.check.entry: {**_index_out(one.index), "block": digest}
            for one, digest in zip(baselines, digests, strict=True)
        },
    }
    return f"{dump_yaml(index)}---\n{blocks}{_END}"


def _index_out(entry: IndexEntry) -> dict[str, str]:
    return {name: str(digest) for name, digest in entry._asdict().items()}


def decode_index(text: str, *, where: str) -> Index:
    """The index of a manifest's text; every block agrees with its line.

    Raises:
        CorruptBaseline: The text is not a manifest, or was cut, or its documents disagree.
        NewerSchema, OlderSchema: Another pytest-repro wrote it.
    """
    index, agrees = _indexed(*halves(text, where), where)
    if not agrees:
        decode_manifest(text, where=where)  # accepts a formatter's changes, refuses a fault
    return index


def _indexed(head: str, tail: str, where: str) -> tuple[Index, bool]:
    """The index, and whether every line has its block and the text has its end."""
    index = scan_index(f"{head}\n")
    if index is None:
        return _index(load_yaml(head, where=where), where), _blocks_agree(head, tail)
    return index, _is_as_written(index, _pieces(_checks_of(tail)), tail)


def halves(text: str, where: str) -> tuple[str, str]:
    """The two documents.

    Raises:
        CorruptBaseline: There is only one (the text was cut), or it is a git-lfs pointer.
    """
    head, separator, tail = text.partition(_SEPARATOR)
    if not separator and not is_lfs_pointer(text[:64].encode()):
        raise corrupt(where, "it ends before the second document; the file is truncated")
    return head, tail


def _index(document: Mapping[str, Any], where: str) -> Index:
    _require_schema(document, where=where)
    checks = mapping_of(document.get("checks"), "checks", where)
    try:
        key = EnvironmentKey(*str(document["key"]).split("/"))
        entries = {
            _text(entry, where): IndexEntry(*(digest_from(row[name]) for name in _INDEX_NAMES))
            for entry, row in checks.items()
        }
        return Index(key, _module(document["module"]), entries)
    except (KeyError, TypeError, ValueError) as error:
        raise corrupt(where, f"index: {error}") from error


def decode_manifest(text: str, *, where: str) -> Manifest:
    """The whole of a manifest's text.

    Raises:
        CorruptBaseline: The text is not a manifest, or its two documents disagree.
        NewerSchema, OlderSchema: Another pytest-repro wrote it.
    """
    head, tail = halves(text, where)
    index, agrees = _indexed(head, tail, where)
    blocks = load_yaml(tail, where=where)
    try:
        environments = {
            name: environment_from_facts(index.key, facts)
            for name, facts in blocks["environments"].items()
        }
        checks = mapping_of(blocks["checks"], "checks", where)
        if set(checks) != set(index.entries):
            odd = sorted(set(checks) ^ set(index.entries))[0]
            raise ValueError(f"index and blocks disagree about {odd!r}")
        baselines = tuple(
            baseline_from_block(index.module, entry, index.entries[entry], block, environments)
            for entry, block in checks.items()
        )
    except _NOT_BLOCKS as error:
        raise corrupt(where, f"{type(error).__name__}: {error}") from error
    manifest = Manifest(index.key, index.module, baselines)
    _demand_agreement(manifest, environments, where)
    if not agrees:
        _demand_same_content(manifest, load_yaml(head, where=where)["checks"], text, where)
    return manifest


@dataclass(frozen=True, slots=True)
class Blocks:
    """The second document of a manifest, cut into the texts of its blocks."""

    index: Index
    texts: Mapping[str, str]
    environments: Mapping[str, Environment]


def slice_blocks(text: str, *, where: str) -> Blocks | None:
    """A manifest whose blocks can be parsed one by one; ``None`` if a formatter rewrote the text.

    Raises:
        CorruptBaseline: The text is not a manifest.
    """
    head, tail = halves(text, where)
    index = scan_index(f"{head}\n")
    pieces = _pieces(_checks_of(tail))
    if index is None or not _is_as_written(index, pieces, tail):
        return None
    texts = dict(zip(index.entries, pieces, strict=True))
    stored = load_yaml(tail.partition("\nenvironments:")[2].removesuffix(_END), where=where)
    try:
        environments = {
            name: environment_from_facts(index.key, facts) for name, facts in stored.items()
        }
    except _NOT_BLOCKS as error:
        raise corrupt(where, f"{type(error).__name__}: {error}") from error
    return Blocks(index, texts, environments)


def decode_block(blocks: Blocks, entry: str, *, where: str) -> Baseline:
    """One baseline out of its block.

    Raises:
        CorruptBaseline: The block is not one, or disagrees with its line of the index.
        KeyError: There is no such entry.
    """
    line, text = blocks.index.entries[entry], blocks.texts[entry]
    block = load_yaml(text, where=where)
    try:
        (held,) = block.values()
        found = baseline_from_block(blocks.index.module, entry, line, held, blocks.environments)
    except _NOT_BLOCKS as error:
        raise corrupt(where, f"{type(error).__name__}: {error}") from error
    made_by = found.provenance.environment
    named = {held["recorded"]["environment"]: made_by}
    _demand_agreement(Manifest(blocks.index.key, blocks.index.module, (found,)), named, where)
    return found


def _demand_agreement(
    manifest: Manifest, environments: Mapping[str, Environment], where: str
) -> None:
    odd = [line for one in manifest.baselines for line in _disagreement(one)]
    odd += [
        f"environment {name}: its facts were changed"
        for name, environment in environments.items()
        if environment_digest(environment) != name
    ]
    if odd:
        raise _disagree(odd, where)


def _disagreement(baseline: Baseline) -> Iterator[str]:
    held = _index_out(index_of(baseline))
    for name, says in _index_out(baseline.index).items():
        if says != held[name]:
            yield f"{baseline.check.entry}: index {name} {says}, block {held[name]}"


def _disagree(odd: Sequence[str], where: str) -> CorruptBaseline:
    more = len(odd) - _SHOWN_FAULTS
    return CorruptBaseline(
        "index and blocks of a manifest disagree",
        facts=(*odd[:_SHOWN_FAULTS], *((f"and {more} more",) if more > 0 else ())),
        where=where,
        next_step=f"git checkout -- {where}   # after a merge: pytest --repro-update",
    )


def _demand_same_content(
    manifest: Manifest, rows: Mapping[str, Any], text: str, where: str
) -> None:
    """A formatter may change the form of a text, but not its content."""
    canonical = encode_manifest(manifest)
    if canonical.startswith(text):
        raise corrupt(where, "its last line is missing; the file is truncated")
    written = load_yaml(halves(canonical, where)[0], where=where)["checks"]
    odd = [
        f"{entry}: its block was edited by hand"
        for entry, row in written.items()
        if rows[entry].get("block") != row["block"]
    ]
    if odd:
        raise _disagree(odd, where)


_NOT_BLOCKS = (KeyError, TypeError, ValueError, AttributeError, OverflowError)
_PIECE = re.compile(r"\n  (?=[^ :\n])")
"""The start of an entry one level deep."""


def _pieces(text: str) -> list[str]:
    starts = [found.start() for found in _PIECE.finditer(f"\n{text}")]
    return [text[begin:end] for begin, end in pairwise([*starts, len(text)])]


def _checks_of(document: str) -> str:
    """The text between ``checks:`` and ``environments:``."""
    return document.partition("checks:\n")[2].partition("\nenvironments:")[0] + "\n"


def _block_digest(block: str) -> str:
    return sha256(block.encode()).hexdigest()[:_BLOCK_DIGITS]


def _blocks_agree(head: str, tail: str) -> bool:
    """Whether every line has its block and the text has its end."""
    lines, blocks = _pieces(_checks_of(head)), _pieces(_checks_of(tail))
    return _is_whole(tail) and len(lines) == len(blocks) and all(map(_agrees, lines, blocks))


def _is_whole(tail: str) -> bool:
    sections = _SECTIONS.findall(f"\n{tail}")
    return sections == ["checks:", "environments:", "..."] and tail.endswith(_END)


def _is_as_written(index: Index, blocks: Sequence[str], tail: str) -> bool:
    """The same as `_blocks_agree` for an index in its plainest form."""
    lines = zip(index.entries, index.blocks, blocks, strict=False)
    return (
        _is_whole(tail)
        and len(index.entries) == len(blocks)
        and all(
            block.startswith(f"  {name}:\n") and _block_digest(block) == digest
            for name, digest, block in lines
        )
    )


def _agrees(line: str, block: str) -> bool:
    named = block.partition("\n")[0]
    found = _BLOCK.search(line)
    return line.startswith(named) and found is not None and found[1] == _block_digest(block)


def _require_schema(document: Mapping[str, Any], *, where: str) -> None:
    schema = document.get("schema")
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise corrupt(where, f"schema is {schema!r}")
    if schema > SCHEMA:
        raise NewerSchema(
            f"the manifest has schema {schema}; this pytest-repro reads {SCHEMA}",
            where=where,
            next_step="pip install --upgrade pytest-repro",
        )
    if schema < SCHEMA:
        raise OlderSchema(
            f"the manifest has schema {schema}; this pytest-repro reads {SCHEMA}",
            where=where,
            next_step="pytest-repro migrate   # shows what it does; then with --yes",
        )


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or "::" not in value:
        raise corrupt(where, f"{value!r} is not the id of a check")
    return value


def _module(value: object) -> str:
    """The path of a test module, checked."""
    if not isinstance(value, str) or "\0" in value or not value.strip("./\\"):
        raise ValueError(f"{value!r} is not a test module")
    return value


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
    """The facts of an environment in two groups: those that change bits, and the others."""
    return {
        "changing_bits": {f.name: f.value for f in environment.facts if f.changes_bits},
        "other": {f.name: f.value for f in environment.facts if not f.changes_bits},
    }


def environment_from_facts(
    key: EnvironmentKey, facts: Mapping[str, Mapping[str, str]]
) -> Environment:
    """The inverse of `facts_of`."""
    pairs: Iterable[Fact] = (
        Fact(str(name), str(value), group == "changing_bits")
        for group in ("changing_bits", "other")
        for name, value in facts[group].items()
    )
    return Environment(key, tuple(sorted(pairs, key=lambda fact: fact.name)))


def block_of(baseline: Baseline) -> dict[str, Any]:
    """What a manifest says about a baseline, as primitives."""
    made = baseline.provenance
    block: dict[str, Any] = {
        "tensors": [_summary_out(one) for one in baseline.tensors],
        "ledger": {
            "generators": list(baseline.draw_log.generators),
            "draws": [_draw_out(draw) for draw in baseline.draw_log.draws],
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
    if baseline.structure:
        block["structure"] = dict(baseline.structure)
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
    # The shape as text keeps a draw on one line, for the reviewer.
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
    """The inverse of `block_of`; any other block raises `ValueError` or a similar error."""
    test, _, name = entry.rpartition("::")
    made = block["recorded"]
    draw_log = block["ledger"]
    return Baseline(
        check=CheckId(module, test, name),
        index=index,
        tensors=tuple(_summary_in(row) for row in block["tensors"]),
        draw_log=DrawLog(
            generators=tuple(str(one) for one in draw_log["generators"]),
            draws=tuple(_draw_in(row) for row in draw_log["draws"]),
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
        structure=_structure_in(block),
    )


def _structure_in(block: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    kinds = block.get("structure", {})
    if not all(isinstance(text, str) for pair in kinds.items() for text in pair):
        raise ValueError("structure: a place and its kind are text")
    return tuple(sorted(kinds.items()))


def _summary_in(row: Mapping[str, Any]) -> TensorSummary:
    if row["dtype"] not in DTYPES:
        raise ValueError(f"{row['dtype']!r} is not a known dtype")
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
    amounts = dict(row["envelope"])
    method = amounts.pop("method")
    if not isinstance(method, str):
        raise ValueError(f"envelope.method is {method!r}, not text")
    numbers = {key: _amount(f"envelope.{key}", value) for key, value in amounts.items()}
    for key in ("runs", "seed"):
        if not isinstance(amounts[key], int):
            raise ValueError(f"envelope.{key} is {amounts[key]!r}, not a whole number")
        numbers[key] = amounts[key]
    statistics = tuple(
        (str(key), _amount(f"envelope_statistics.{key}", value))
        for key, value in row["envelope_statistics"].items()
    )
    return Envelope(method=method, statistics=statistics, **numbers)


_MAY_BE_INFINITE = ("envelope.rel_l2_max", "envelope.rel_l2_mean")
"""Infinite if NaN or infinity moved."""


def _amount(key: str, value: object) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{key} is {value!r}, not a number")
    if not (0 <= value < math.inf or (value == math.inf and key in _MAY_BE_INFINITE)):
        raise ValueError(f"{key} is {value!r}, not a finite number of at least 0")
    return float(value)


_INDEX_NAMES = IndexEntry._fields
_BLOCK_DIGITS = 16
_SHOWN_FAULTS = 8
_SECTIONS = re.compile(r"\n([^ \n].*)")
_BLOCK = re.compile(rf"block: '?([0-9a-f]{{{_BLOCK_DIGITS}}})'?\}}\n*$")
_HEADER = re.compile(
    rf"schema: {SCHEMA}\nkey: ([\w.\-+]+)/([\w.\-+~]+)\nmodule: ([\w.\-/+]+)\nchecks:\n", re.ASCII
)
# A key that begins with a letter, holds "::" and no blank is a plain YAML string whatever follows.
# A digest of decimal digits alone would be an integer in YAML unless quoted.
_INDEX_DIGEST = r"(?:'[0-9a-f]{64}'|(?![0-9]{64}|0b[01]{62})[0-9a-f]{64})"
_LINE = re.compile(
    r"^  ([A-Za-z_][\w.\-\[\]/:+=]{0,400}::[\w.\-\[\]/+=]{1,400}): "
    rf"\{{value: ({_INDEX_DIGEST}), noise: ({_INDEX_DIGEST}), inputs: ({_INDEX_DIGEST}), "
    rf"block: '?([0-9a-f]{{{_BLOCK_DIGITS}}})'?\}}$",
    re.ASCII | re.MULTILINE,
)


def scan_index(head: str) -> Index | None:
    """The index of a manifest's first document (line break at its end included).

    The same as `decode_index`, without YAML; ``None`` if a line is not in the plain form that
    `encode_manifest` writes.
    """
    header = _HEADER.match(head)
    if header is None or not head.endswith("\n"):
        return None
    rows = _LINE.findall(head, header.end())
    if not rows or len(rows) != head.count("\n", header.end()):
        return None
    if "'" in head:
        rows = [tuple(part.strip("'") for part in row) for row in rows]
    entries = {
        name: IndexEntry(Digest(value), Digest(noise), Digest(inputs))
        for name, value, noise, inputs, _ in rows
    }
    key = EnvironmentKey(header[1], header[2])
    blocks = tuple(block for *_, block in rows)
    return Index(key, header[3], entries, blocks) if len(entries) == len(rows) else None


_BASE_60 = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")
_CONFLICT = re.compile(r"^(?:<{7}|>{7}) .*", re.MULTILINE)
_MAX_NUMBER_CHARACTERS = 64
_MAX_DEPTH = 24
_MIN_COLLECTION_BYTES = 16
"""Least average length of a collection in a manifest; real ones have more than thirty."""
# Taken before a test can replace them.
_dump, _events = yaml.dump, yaml.parse
_YAML_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def dump_yaml(document: object) -> str:
    """One document as text; keys stay in their order."""
    text: str = _dump(
        document,
        Dumper=_DUMPER,
        default_flow_style=None,
        sort_keys=False,
        allow_unicode=True,
        width=1_000_000,
    )
    return text


def load_yaml(text: str, *, where: str) -> Mapping[str, Any]:
    """One document, which must be a mapping.

    Raises:
        CorruptBaseline: It is something else, or has parts that `dump_yaml` never writes.
    """
    if is_lfs_pointer(text[:64].encode()):
        raise CorruptBaseline(
            "the manifest is a git-lfs pointer, its content was not pulled",
            where=where,
            next_step="git lfs pull",
        )
    try:
        document = _value_of(text)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        _refuse_conflict(text, where)
        raise corrupt(where, " ".join(str(error).split())) from error
    return mapping_of(document, "document", where)


def _refuse_conflict(text: str, where: str) -> None:
    """Say so if the text has conflict marks: plain git checkout does not restore such a file."""
    mark = _CONFLICT.search(text)
    if mark is None:
        return
    raise CorruptBaseline(
        "a merge left both sides in a manifest",
        facts=(f"line {text.count(chr(10), 0, mark.start()) + 1}: {mark[0]!r}",),
        where=where,
        next_step=f"git checkout --ours -- {where}   # or --theirs; then pytest --repro-update "
        "records what that side does not have",
    )


def _value_of(text: str) -> object:
    """The one document of a text, built from the parser's events.

    Refuses what pytest-repro never writes and what could crash or take long: deep nesting,
    aliases, tags, equal keys, long numbers. A loader meets those too late: libyaml recurses in C,
    without a limit.
    """
    top = _Collection(is_mapping=False, items=[], line=1)
    unclosed = [top]
    add, collections = top.items.append, 0
    for event in _events(text, Loader=_YAML_LOADER):
        if isinstance(event, yaml.ScalarEvent):
            _refuse_marks(event)
            is_plain = event.implicit[0]
            add(_scalar(event.value) if is_plain else event.value)
        elif isinstance(event, yaml.CollectionEndEvent):
            done = unclosed.pop()
            add = unclosed[-1].items.append
            add(done.mapping() if done.is_mapping else done.items)
        elif isinstance(event, yaml.NodeEvent):
            _refuse_marks(event)
            collections += 1
            if len(unclosed) > _MAX_DEPTH or collections * _MIN_COLLECTION_BYTES > 1000 + len(text):
                raise ValueError("too deeply nested, or too many collections, for a manifest")
            mark: Any = event.start_mark
            is_mapping = isinstance(event, yaml.MappingStartEvent)
            unclosed.append(_Collection(is_mapping, [], mark.line + 1))
            add = unclosed[-1].items.append
    if len(top.items) > 1:
        raise ValueError("more than one document")
    return top.items[0] if top.items else None


def _refuse_marks(event: Any) -> None:
    # An alias has the name of its anchor.
    if event.anchor or event.tag:
        raise ValueError("anchors, aliases and tags are not part of a manifest")


@dataclass(frozen=True, slots=True)
class _Collection:
    """A sequence, or the keys and values of a mapping in turn."""

    is_mapping: bool
    items: list[Any]
    line: int

    def mapping(self) -> dict[Any, Any]:
        """The mapping; after a merge of branches it may hold a check twice."""
        keys = self.items[::2]
        try:
            found = dict(zip(keys, self.items[1::2], strict=True))
        except TypeError as error:
            raise ValueError(f"line {self.line}: a key is not a plain value") from error
        if len(found) != len(keys):
            raise ValueError(f"line {self.line}: duplicate key")
        return found


_FLOAT = re.compile(r"-?[0-9]+\.[0-9]+(?:e[-+][0-9]+)?")
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")
_RESOLVER: Any = yaml.resolver.Resolver()
_CONSTRUCTOR: Any = yaml.constructor.SafeConstructor()
_STRING = "tag:yaml.org,2002:str"
_UNUSED_TAGS = ("tag:yaml.org,2002:merge", "tag:yaml.org,2002:value")


@functools.lru_cache(maxsize=4096)  # every block has the same keys, and many equal values
def _scalar(text: str) -> object:
    """What a plain scalar means in YAML 1.1; an immutable value."""
    if _FLOAT.fullmatch(text):
        return float(text)
    if _INTEGER.fullmatch(text):
        return int(text)
    # YAML reads 1:59:59... as a number to the base 60, in quadratic time.
    if len(text) > _MAX_NUMBER_CHARACTERS and _BASE_60.fullmatch(text):
        raise ValueError("a number that is too long for a manifest")
    tag = _RESOLVER.resolve(yaml.ScalarNode, text, (True, False))
    if tag == _STRING:
        return text
    if tag in _UNUSED_TAGS:
        raise ValueError(f"{text!r} is not part of a manifest")
    value: object = _CONSTRUCTOR.construct_object(yaml.ScalarNode(tag, text))
    return value


def mapping_of(value: object, name: str, where: str) -> Mapping[str, Any]:
    """``value``, if it is a mapping.

    Raises:
        CorruptBaseline: It is not a mapping.
    """
    if not isinstance(value, dict):
        raise corrupt(where, f"{name} is {type(value).__name__}, not a mapping")
    return value


def index_of(baseline: Baseline) -> IndexEntry:
    """The digests computed from the block; equal to ``baseline.index`` in an intact manifest."""
    return IndexEntry(
        value=digest_leaves(
            ((one.path, one.digest) for one in baseline.tensors), baseline.structure
        ),
        noise=make_draw_log(baseline.draw_log.generators, baseline.draw_log.draws).digest,
        inputs=digest_inputs(baseline.weights, baseline.configuration),
    )
