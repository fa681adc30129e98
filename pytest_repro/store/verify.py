"""The command `verify`: are all stored files intact, and which were found so before."""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields, replace
from pathlib import Path

from pytest_repro.errors import BaselineError, NewerSchema
from pytest_repro.model.baseline import Baseline, Statistics, TensorSummary
from pytest_repro.model.ids import Digest
from pytest_repro.model.words import Word
from pytest_repro.store import inventory
from pytest_repro.store.inventory import FileKind, FoundFile
from pytest_repro.store.layout import SCHEMA
from pytest_repro.store.store import Store
from pytest_repro.store.system import write_bytes
from pytest_repro.tensors.statistics import summarise

_FORMAT = 1
_SETTLED_S = 2.0
"""A file written less than this before now may change again within one clock tick."""

Seen = tuple[int, int, int, int]
"""Size, time of the last change in nanoseconds, inode, and how many checks the file holds."""


class Memory:
    """Files that were intact, by their path from the baselines folder."""

    def __init__(self, seen: dict[str, Seen]) -> None:
        self._seen = seen
        self._now_ns = time.time_ns()

    def knows(self, file: FoundFile) -> bool:
        """Whether the file was intact and has not been written since."""
        found = self._seen.get(str(file.relative))
        return found is not None and found[:3] == _stamp(file)

    def check_count(self, file: FoundFile) -> int:
        """How many checks a known file holds."""
        return self._seen[str(file.relative)][3] if self.knows(file) else 0

    def remember(self, file: FoundFile, check_count: int) -> None:
        """Remember an intact file."""
        stamp = _stamp(file)
        is_settled = self._now_ns - stamp[1] > _SETTLED_S * 1e9
        if is_settled and not file.path.is_symlink():
            self._seen[str(file.relative)] = (*stamp, check_count)

    def lost(self, present: Collection[str]) -> bool:
        """Whether a remembered file is gone."""
        return not self._seen.keys() <= set(present)

    def forget_all(self) -> None:
        """Forget every file."""
        self._seen.clear()

    def save(self, folder: Path, cache: Path) -> None:
        """Write it for the next run; if that fails, the next run reads everything."""
        text = json.dumps({"format": [_FORMAT, SCHEMA], "seen": self._seen})
        with contextlib.suppress(OSError):
            path = _place(folder, cache)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, text.encode())


def load_memory(folder: Path, cache: Path) -> Memory:
    """What was remembered of a baselines folder; nothing if it cannot be read."""
    try:
        document = json.loads(_place(folder, cache).read_bytes())
        if document["format"] != [_FORMAT, SCHEMA]:
            return Memory({})
        return Memory({str(name): _seen(row) for name, row in document["seen"].items()})
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return Memory({})


def _seen(row: list[object]) -> Seen:
    size, time_ns, inode, checks = row
    if not all(isinstance(one, int) for one in row):
        raise TypeError
    return int(str(size)), int(str(time_ns)), int(str(inode)), int(str(checks))


def _stamp(file: FoundFile) -> tuple[int, int, int]:
    return file.size_bytes, file.modified_ns, file.inode


def _place(folder: Path, cache: Path) -> Path:
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:32]
    return cache / "verified" / f"{name}.json"


_RELATIVE_ERROR = 1e-9
"""Statistics are float64 sums in a fixed order (`tensors.statistics`). Another numpy moves them by
a few 1e-16; an edit by hand moves them by far more than 1e-9 of the largest element or norm."""

_BYTES_A_WORKER = 8 << 20
"""Below this, reading is faster than starting a process."""
_CHUNKS = 20
"""Parts in which a worker gets its files, for the progress bar."""

Track = Callable[[Iterable[FoundFile], str], Iterable[FoundFile]]


class Fault(Word):
    """What is wrong with a stored file."""

    CORRUPT = "corrupt"
    NEWER_SCHEMA = "newer schema"
    MISPLACED = "misplaced"
    DTYPE = "dtype"
    SHAPE = "shape"
    STATISTICS = "statistics"
    POINTER = "lfs pointer"
    ABSENT = "absent tensor"
    STRAY = "stray file"

    @property
    def breaks(self) -> bool:
        """Whether a baseline is unusable or wrong; otherwise a file is missing or superfluous."""
        return self not in (Fault.POINTER, Fault.ABSENT, Fault.STRAY)


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault: its kind, its file, its check, and one sentence."""

    fault: Fault
    where: str
    sentence: str
    check: str = ""


@dataclass(frozen=True, slots=True)
class Verification:
    """What was checked, and what is wrong with it, in the order of the files.

    Attributes:
        manifest_count, check_count, tensor_count: What the folder holds.
        findings: What is wrong.
        remembered_count: Files that were not read: they are unchanged since they were intact.
    """

    manifest_count: int
    check_count: int
    tensor_count: int
    findings: tuple[Finding, ...]
    remembered_count: int = 0


@dataclass(frozen=True, slots=True)
class _Held:
    """What a tensor's file holds; every field is ``None`` if it could not be read."""

    dtype: str | None = None
    shape: tuple[int, ...] = ()
    statistics: Statistics | None = None


@dataclass(frozen=True, slots=True)
class _Looked:
    """The result of reading one file: faults, checks in it, and what a tensor holds."""

    findings: tuple[Finding, ...] = ()
    check_count: int = 0
    held: _Held | None = None


def verify(
    store: Store, *, memory: Memory | None = None, track: Track = lambda items, _: items
) -> Verification:
    """Read everything below the folder, and compare manifests and tensors with each other.

    Traces and tables of weights decide no verdict, so they only have to be readable. Files in
    ``memory`` that have not changed are not read again.

    Raises:
        StoreError: The folder or a file cannot be read.
    """
    files = inventory.list_files(store.folder)
    of_kind = {kind: [file for file in files if file.kind is kind] for kind in FileKind}
    memory = memory or Memory({})
    findings = [_stray(store, file) for file in of_kind[FileKind.STRAY]]
    counts = dict.fromkeys((FileKind.TENSOR, FileKind.RECORD, FileKind.MANIFEST), 0)
    # A manifest is read again if one of the tensors that it named then is gone.
    if memory.lost({str(file.relative) for file in files}):
        memory.forget_all()
    held: dict[Digest, _Held] = {}
    remembered = 0
    for kind in counts:
        changed = [file for file in of_kind[kind] if not memory.knows(file)]
        remembered += len(of_kind[kind]) - len(changed)
        counts[kind] = sum(memory.check_count(file) for file in of_kind[kind])
        look = _Look(store, frozenset(Digest(one.digest) for one in of_kind[FileKind.TENSOR]), held)
        for file, looked in _look_at(look, changed, track, f"{kind}s"):
            findings.extend(looked.findings)
            counts[kind] += looked.check_count
            if looked.held is not None:
                held[Digest(file.digest)] = looked.held
            if not looked.findings:
                memory.remember(file, looked.check_count)
    findings.sort(key=lambda finding: (not finding.fault.breaks, finding.where, finding.check))
    return Verification(
        len(of_kind[FileKind.MANIFEST]),
        counts[FileKind.MANIFEST],
        len(of_kind[FileKind.TENSOR]),
        tuple(findings),
        remembered,
    )


def _look_at(
    look: _Look, files: Sequence[FoundFile], track: Track, label: str
) -> Iterator[tuple[FoundFile, _Looked]]:
    """Look at files one after the other, or in several processes if they are many."""
    workers = min(os.cpu_count() or 1, sum(file.size_bytes for file in files) // _BYTES_A_WORKER)
    tracked = track(files, label)
    if workers < 2:
        yield from ((file, look(file)) for file in tracked)
        return
    # Not forked: progress bars run threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        # A copy: the caller adds to `held` while the pool still pickles calls.
        fixed = replace(look, held=dict(look.held))
        looked = pool.map(fixed, files, chunksize=max(1, len(files) // (workers * _CHUNKS)))
        yield from zip(tracked, looked, strict=True)


@dataclass(frozen=True, slots=True)
class _Look:
    """Reads one file and says what is wrong with it; may run in another process.

    Attributes:
        store: The baselines.
        tensors: The tensors that have a file.
        held: What is known about them; the others are read when a manifest names them.
    """

    store: Store
    tensors: frozenset[Digest]
    held: dict[Digest, _Held]

    def __call__(self, file: FoundFile) -> _Looked:
        where = self.store.shown(file.path)
        if _is_pointer(file):
            finding = Finding(Fault.POINTER, where, "its content was not pulled")
            return _Looked((finding,), held=_Held() if file.kind is FileKind.TENSOR else None)
        if file.kind is FileKind.MANIFEST:
            return self._manifest(file, where)
        try:
            if file.kind is FileKind.TENSOR:
                return _Looked(held=self._tensor(Digest(file.digest)))
            self.store.rows(Digest(file.digest))
        except BaselineError as error:
            finding = Finding(Fault.CORRUPT, where, _sentence(error))
            return _Looked((finding,), held=_Held() if file.kind is FileKind.TENSOR else None)
        return _Looked()

    def _tensor(self, digest: Digest) -> _Held:
        record = self.store.tensor(digest)
        assert record is not None
        return _Held(record.dtype, record.shape, summarise(record))

    def _manifest(self, file: FoundFile, where: str) -> _Looked:
        try:
            manifest = inventory.read_manifest(file, where=where)
        except BaselineError as error:
            newer = isinstance(error, NewerSchema)
            fault = Fault.NEWER_SCHEMA if newer else Fault.CORRUPT
            return _Looked((Finding(fault, where, error.what if newer else _sentence(error)),))
        findings: list[Finding] = []
        if self.store.manifest_path(manifest.key, manifest.module) != file.path:
            sentence = f"it says that it belongs to {manifest.key}, {manifest.module}"
            findings.append(Finding(Fault.MISPLACED, where, sentence))
        for baseline in manifest.baselines:
            findings.extend(
                Finding(fault, where, sentence, baseline.check.entry)
                for fault, sentence in _check_baseline(baseline, self._held)
            )
        return _Looked(tuple(findings), len(manifest.baselines))

    def _held(self, digest: Digest) -> _Held | None:
        """What a tensor holds; ``None`` without a file."""
        if digest not in self.held and digest in self.tensors:
            try:
                self.held[digest] = self._tensor(digest)
            except BaselineError:  # the file itself is a finding already
                self.held[digest] = _Held()
        return self.held.get(digest)


def _stray(store: Store, file: FoundFile) -> Finding:
    sentence = "no manifest, no tensor and nothing else that belongs here"
    return Finding(Fault.STRAY, store.shown(file.path), sentence)


def _check_baseline(
    baseline: Baseline, held: Callable[[Digest], _Held | None]
) -> Iterator[tuple[Fault, str]]:
    for summary in baseline.tensors:
        found = held(summary.digest)
        if found is None:
            yield Fault.ABSENT, f"{_named(summary)} {summary.digest} is not in the folder"
        else:
            yield from _check_summary(summary, found)


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
    # "<=" is false for NaN, so a NaN in the manifest never agrees.
    return says == has or abs(says - has) <= _RELATIVE_ERROR * scale


def _is_pointer(file: FoundFile) -> bool:
    try:
        return inventory.is_pointer(file)
    except OSError:
        return False  # reading the file says what is wrong


def _named(summary: TensorSummary) -> str:
    return f"tensor {summary.path!r}" if summary.path else "the tensor"


def _sentence(error: BaselineError) -> str:
    return "; ".join(error.facts) or error.what
