"""Rewrite older files: `migrate` moves manifests of schema 1, `gc --repack` packs old traces.

The complete key follows from the facts in each manifest. Tensors and records do not change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pytest_repro.environment.facts import changes_bits, complete_key
from pytest_repro.environment.key import (
    HardwareKind,
    cpu_key,
    framework_key,
    parse_hardware,
    parse_software,
)
from pytest_repro.errors import CorruptBaseline, EnvironmentFault, StoreError
from pytest_repro.model.baseline import Baseline, Environment, Fact
from pytest_repro.model.ids import Digest, EnvironmentKey, IndexEntry
from pytest_repro.store.files import corrupt
from pytest_repro.store.inventory import FileKind, FoundFile, delete_files, list_files
from pytest_repro.store.manifest import (
    baseline_from_block,
    digest_from,
    environment_from_facts,
    halves,
    index_of,
    load_yaml,
    mapping_of,
    text_from,
)
from pytest_repro.store.store import Store
from pytest_repro.store.system import NotAFile, read_regular
from pytest_repro.trace.records import is_current, make_trace, trace_from_rows, trace_rows

_OLD_SCHEMA = "schema: 1"


@dataclass(frozen=True, slots=True)
class Migration:
    """The migration of one manifest of schema 1.

    Attributes:
        file: The manifest.
        where: Its path as messages show it.
        module: Its test module.
        parts: The baselines by their complete key; several keys if the environments differ.
    """

    file: FoundFile
    where: str
    module: str
    parts: Mapping[EnvironmentKey, tuple[Baseline, ...]]


def plan_migration(store: Store) -> tuple[Migration, ...]:
    """The migration of every manifest of schema 1, in the order of the files; writes nothing.

    Raises:
        BaselineError: One cannot be read, or its facts give no key.
    """
    manifests = (file for file in list_files(store.folder) if file.kind is FileKind.MANIFEST)
    texts = ((file, store.shown(file.path)) for file in manifests)
    found = ((file, where, _read(file, where)) for file, where in texts)
    return tuple(
        _migration(store, file, where, text)
        for file, where, text in found
        if text.startswith(_OLD_SCHEMA)
    )


def migrate(store: Store, migrations: Iterable[Migration]) -> None:
    """Write the manifests under their complete keys, then delete the old ones.

    Baselines that the complete key already has are newer, and are kept.

    Raises:
        BaselineError: A manifest cannot be written; the rest is unchanged.
    """
    for one in migrations:
        for key, baselines in one.parts.items():
            have = store.index(key, one.module)
            absent = [baseline for baseline in baselines if baseline.check.entry not in have]
            store.write(key, one.module, absent, ())
        delete_files((one.file,))


def _read(file: FoundFile, where: str) -> str:
    try:
        return text_from(read_regular(file.path), where=where)
    except NotAFile as error:
        raise corrupt(where, str(error)) from error
    except OSError as error:
        raise StoreError("cannot read a manifest", facts=(str(error),), where=where) from error


def _migration(store: Store, file: FoundFile, where: str, text: str) -> Migration:
    head, tail = (load_yaml(half, where=where) for half in halves(text, where))
    try:
        old_key = EnvironmentKey(*str(head["key"]).split("/"))
        module = str(head["module"])
        if store.manifest_path(old_key, module) != file.path:
            raise ValueError(f"it names {old_key}, {module}: it was copied or moved by hand")
        environments = {
            name: _completed(environment_from_facts(old_key, facts))
            for name, facts in tail["environments"].items()
        }
        baselines = [
            _baseline(module, entry, row, tail["checks"][entry], environments)
            for entry, row in mapping_of(head["checks"], "checks", where).items()
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise corrupt(where, f"{type(error).__name__}: {error}") from error
    except EnvironmentFault as error:
        raise CorruptBaseline(
            "the facts of a manifest give no key", facts=(error.what,), where=where
        ) from error
    parts: dict[EnvironmentKey, tuple[Baseline, ...]] = {}
    for one in baselines:
        key = one.provenance.environment.key
        parts[key] = (*parts.get(key, ()), one)
    return Migration(file, where, module, parts)


def _baseline(
    module: str,
    entry: str,
    row: Mapping[str, Any],
    block: Mapping[str, Any],
    environments: Mapping[str, Environment],
) -> Baseline:
    """A baseline of schema 1, whose index has no inputs.

    Raises:
        ValueError: Its line and its block disagree.
    """
    index = IndexEntry(digest_from(row["value"]), digest_from(row["noise"]))
    read = baseline_from_block(module, entry, index, block, environments)
    held = index_of(read)
    if (held.value, held.noise) != (index.value, index.noise):
        raise ValueError(f"index and block of {entry!r} disagree")
    return replace(read, index=held)


def _completed(environment: Environment) -> Environment:
    """The environment under its complete key, with the current effects of facts."""
    key = complete_key(
        EnvironmentKey(_hardware(environment), _software(environment)),
        [(fact.name, fact.value) for fact in environment.facts],
    )
    facts = (
        Fact(fact.name, fact.value, changes_bits(fact.name, key)) for fact in environment.facts
    )
    return Environment(key, tuple(facts))


def _hardware(environment: Environment) -> str:
    old = parse_hardware(environment.key.hardware)
    if old.kind is not HardwareKind.CPU:
        return environment.key.hardware
    # A limit on oneDNN does not limit numpy, whose key names what the CPU has.
    is_numpy = parse_software(environment.key.framework).name == "numpy"
    native = environment.value("cpu.simd_native")
    simd = native if is_numpy and native else old.simd
    size = environment.value("cpu.l2_per_core_bytes")
    return cpu_key(old.arch, simd, old.core_count, int(size) if size else 0)


def _software(environment: Environment) -> str:
    old = parse_software(environment.key.framework)
    is_ascend = parse_hardware(environment.key.hardware).kind is HardwareKind.ASCEND
    cann = environment.value("cann.version") if is_ascend else None
    return framework_key(old.name, old.version, cann=cann)


Place = tuple[EnvironmentKey, str]
Track = Callable[[Iterable[Place], str], Iterable[Place]]


@dataclass(frozen=True, slots=True)
class Repacked:
    """How many traces were rewritten, and the bytes of their files before and after."""

    trace_count: int
    bytes_before: int
    bytes_after: int


def find_older(store: Store, *, track: Track = lambda places, _: places) -> tuple[Digest, ...]:
    """The stored traces of an older format, except absent ones.

    Raises:
        BaselineError: A manifest or a trace cannot be read.
    """
    seen: dict[Digest, bool] = {}
    for key, module in track(_places(store), "manifests"):
        for one in store.manifest(key, module):
            if one.trace is not None and one.trace not in seen:
                rows = store.rows(one.trace)
                seen[one.trace] = rows is not None and not is_current(rows)
    return tuple(trace for trace, is_older in seen.items() if is_older)


def repack(store: Store, older: Iterable[Digest]) -> Repacked:
    """Rewrite traces of an older format, and name the new files in the manifests.

    New files are written first, then the manifests, then the old files are deleted: at any time,
    every manifest names files that exist.

    Raises:
        BaselineError: A manifest or a trace cannot be read or written.
    """
    renamed = {trace: _renew(store, trace) for trace in older}
    for key, module in _places(store):
        changed = [
            replace(one, trace=renamed[one.trace])
            for one in store.manifest(key, module)
            if one.trace in renamed
        ]
        if changed:
            store.write(key, module, changed, ())
    before = _size(store, renamed)
    _delete(store, renamed)
    return Repacked(len(renamed), before, _size(store, renamed.values()))


def _places(store: Store) -> list[Place]:
    keys = store.keys()
    return [(key, module) for key in keys for module in store.modules(key)]


def _renew(store: Store, trace: Digest) -> Digest:
    """Write a trace in the current format, and return its new digest."""
    old = trace_from_rows(store.rows(trace) or ())
    new = make_trace(old.level, old.steps, old.cells)
    store.write_rows({new.digest: trace_rows(new)})
    return new.digest


def _size(store: Store, traces: Iterable[Digest]) -> int:
    return sum(store.record_path(trace).stat().st_size for trace in traces)


def _delete(store: Store, traces: Iterable[Digest]) -> None:
    for trace in traces:
        path = store.record_path(trace)
        try:
            path.unlink()
        except OSError as error:
            raise StoreError(
                "cannot delete a trace of the older format",
                facts=(f"{type(error).__name__}: {error.strerror}",),
                where=store.shown(path),
                next_step="check the folder's permissions, then run: pytest-repro gc --yes",
            ) from error
