"""The use case `verify`: is all that is stored whole, and each manifest and tensor what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

from pytest_repro.errors import BaselineError, NewerSchema
from pytest_repro.model.baseline import Baseline, Statistics, TensorSummary
from pytest_repro.model.ids import Digest
from pytest_repro.model.words import Word
from pytest_repro.store import inventory
from pytest_repro.store.inventory import FileKind, FoundFile
from pytest_repro.store.manifest import index_of
from pytest_repro.store.store import Store
from pytest_repro.tensors.statistics import summarise

_RELATIVE_ERROR = 1e-9
"""Statistics are float64 sums in a fixed order (`core.statistics`): another numpy moves them by a
few 1e-16 an addition, pairwise, so 1e-9 of the largest element or norm is far above and far below
any change that a person would make."""

Track = Callable[[Iterable[FoundFile], str], Iterable[FoundFile]]


class Fault(Word):
    """What is wrong with a stored thing."""

    CORRUPT = "corrupt"
    NEWER_SCHEMA = "newer schema"
    MISPLACED = "misplaced"
    DIGEST = "digest"
    NOISE = "noise"
    DTYPE = "dtype"
    SHAPE = "shape"
    STATISTICS = "statistics"
    POINTER = "lfs pointer"
    ABSENT = "absent tensor"
    STRAY = "stray file"

    @property
    def breaks(self) -> bool:
        """Whether a baseline is unusable or untrue; else something is absent or too much."""
        return self not in (Fault.POINTER, Fault.ABSENT, Fault.STRAY)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: which fault, in which file, of which check, in one sentence."""

    fault: Fault
    where: str
    sentence: str
    check: str = ""


@dataclass(frozen=True, slots=True)
class Verification:
    """Everything that was looked at, and what was wrong with it, in the order of the files."""

    manifest_count: int
    check_count: int
    tensor_count: int
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class _Held:
    """What a tensor's file really holds; ``None`` throughout when it could not be read."""

    dtype: str | None = None
    shape: tuple[int, ...] = ()
    statistics: Statistics | None = None


def verify(store: Store, *, track: Track = lambda items, _: items) -> Verification:
    """Read everything below the folder, and compare manifests and tensors with each other.

    No verdict rests on a trace or a table of weights: those need only be readable.

    Raises:
        StoreError: The folder or a file cannot be read at all.
    """
    files = inventory.list_files(store.folder)
    of_kind = {kind: [file for file in files if file.kind is kind] for kind in FileKind}
    findings = [_stray(store, file) for file in of_kind[FileKind.STRAY]]
    held: dict[Digest, _Held] = {}
    for file in track(of_kind[FileKind.TENSOR], "tensors"):
        held[Digest(file.digest)] = _read_tensor(store, file, findings)
    for file in track(of_kind[FileKind.RECORD], "records"):
        _read_record(store, file, findings)
    check_count = 0
    for file in track(of_kind[FileKind.MANIFEST], "manifests"):
        check_count += _read_manifest(store, file, held, findings)
    findings.sort(key=lambda finding: (not finding.fault.breaks, finding.where, finding.check))
    return Verification(len(of_kind[FileKind.MANIFEST]), check_count, len(held), tuple(findings))


def _stray(store: Store, file: FoundFile) -> Finding:
    sentence = "no manifest, no tensor and nothing else that belongs here"
    return Finding(Fault.STRAY, store.shown(file.path), sentence)


def _read_tensor(store: Store, file: FoundFile, findings: list[Finding]) -> _Held:
    where = store.shown(file.path)
    if _is_pointer(file):
        findings.append(Finding(Fault.POINTER, where, "its content was not pulled"))
        return _Held()
    try:
        record = store.tensor(Digest(file.digest))
    except BaselineError as error:
        findings.append(Finding(Fault.CORRUPT, where, _sentence(error)))
        return _Held()
    assert record is not None
    return _Held(record.dtype, record.shape, summarise(record))


def _read_record(store: Store, file: FoundFile, findings: list[Finding]) -> None:
    where = store.shown(file.path)
    if _is_pointer(file):
        findings.append(Finding(Fault.POINTER, where, "its content was not pulled"))
        return
    try:
        store.rows(Digest(file.digest))
    except BaselineError as error:
        findings.append(Finding(Fault.CORRUPT, where, _sentence(error)))


def _read_manifest(
    store: Store, file: FoundFile, held: Mapping[Digest, _Held], findings: list[Finding]
) -> int:
    where = store.shown(file.path)
    if _is_pointer(file):
        findings.append(Finding(Fault.POINTER, where, "its content was not pulled"))
        return 0
    try:
        manifest = inventory.read_manifest(file, where=where)
    except BaselineError as error:
        newer = isinstance(error, NewerSchema)
        fault = Fault.NEWER_SCHEMA if newer else Fault.CORRUPT
        findings.append(Finding(fault, where, error.what if newer else _sentence(error)))
        return 0
    if store.manifest_path(manifest.key, manifest.module) != file.path:
        sentence = f"it says that it belongs to {manifest.key}, {manifest.module}"
        findings.append(Finding(Fault.MISPLACED, where, sentence))
    for baseline in manifest.baselines:
        findings.extend(
            Finding(fault, where, sentence, baseline.check.entry)
            for fault, sentence in _check_baseline(baseline, held)
        )
    return len(manifest.baselines)


def _check_baseline(
    baseline: Baseline, held: Mapping[Digest, _Held]
) -> Iterator[tuple[Fault, str]]:
    held_index = index_of(baseline)
    if held_index.value != baseline.index.value:
        sentence = f"the index says {baseline.index.value}, its tensors give {held_index.value}"
        yield Fault.DIGEST, sentence
    if held_index.noise != baseline.index.noise:
        sentence = f"the index says {baseline.index.noise}, its draws give {held_index.noise}"
        yield Fault.NOISE, sentence
    for summary in baseline.tensors:
        if summary.digest not in held:
            yield Fault.ABSENT, f"{_named(summary)} {summary.digest} is not in the folder"
        else:
            yield from _check_summary(summary, held[summary.digest])


def _check_summary(summary: TensorSummary, held: _Held) -> Iterator[tuple[Fault, str]]:
    name = _named(summary)
    if held.dtype is None:
        return  # the file itself is a finding already
    if held.dtype != summary.dtype:
        yield Fault.DTYPE, f"{name} is {held.dtype}, the manifest says {summary.dtype}"
    if held.shape != summary.shape:
        yield Fault.SHAPE, f"{name} is {held.shape}, the manifest says {summary.shape}"
    if held.statistics is not None:
        for word in _differing(summary.statistics, held.statistics):
            says, has = getattr(summary.statistics, word), getattr(held.statistics, word)
            yield Fault.STATISTICS, f"{name} has {word} {has!r}, the manifest says {says!r}"


def _differing(says: Statistics, has: Statistics) -> Sequence[str]:
    largest = max(abs(has.min), abs(has.max))
    scales = {"min": largest, "max": largest, "mean": largest, "std": largest}
    scales |= {"abs_sum": has.abs_sum, "l2": has.l2}
    return [
        field.name
        for field in fields(Statistics)
        if not _agree(
            getattr(says, field.name), getattr(has, field.name), scales.get(field.name, 0.0)
        )
    ]


def _agree(says: object, has: float, scale: float) -> bool:
    if not isinstance(says, (int, float)):
        return False
    # "<=" is false for NaN, so that a NaN in the manifest never agrees.
    return says == has or abs(says - has) <= _RELATIVE_ERROR * scale


def _is_pointer(file: FoundFile) -> bool:
    try:
        return inventory.is_pointer(file)
    except OSError:
        return False  # reading it as what it should be words the fault


def _named(summary: TensorSummary) -> str:
    return f"tensor {summary.path!r}" if summary.path else "the tensor"


def _sentence(error: BaselineError) -> str:
    return "; ".join(error.facts) or error.what
