"""Reads and writes baselines: locks, atomic writes, cached reads, single blocks.

A file is written beside its place, synced and renamed, so a reader sees the old or the new one.
Manifests are merged under a lock on their folder, so several workers can record at once.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from pytest_repro.errors import CorruptBaseline, StoreError
from pytest_repro.model.ids import CheckId, Digest, EnvironmentKey, IndexEntry, TensorRecord
from pytest_repro.store import manifest as codec
from pytest_repro.store.files import (
    corrupt,
    decode_rows,
    decode_tensor,
    encode_rows,
    encode_tensor,
    folder_lock,
)
from pytest_repro.store.layout import RECORDS, TENSORS, Layout, holds_manifests
from pytest_repro.store.system import (
    NotAFile,
    is_file,
    is_folder,
    is_there,
    make_folder,
    names_in,
    read_regular,
    remove_file,
    write_bytes,
)

if TYPE_CHECKING:
    from pytest_repro.model.baseline import Baseline
    from pytest_repro.store.files import Row


class Store(Layout):
    """The baselines below one folder; reads are cached for the life of the object."""

    def __init__(self, folder: Path, *, root: Path) -> None:
        super().__init__(folder, root=root)
        self._keys: tuple[EnvironmentKey, ...] | None = None
        self._texts: dict[tuple[EnvironmentKey, str], str | None] = {}
        self._indexes: dict[tuple[EnvironmentKey, str], Mapping[str, IndexEntry]] = {}
        self._manifests: dict[tuple[EnvironmentKey, str], Mapping[str, Baseline]] = {}
        self._blocks: dict[tuple[EnvironmentKey, str], codec.Blocks | None] = {}

    def keys(self) -> tuple[EnvironmentKey, ...]:
        """Every key that has a folder, sorted.

        Raises:
            StoreError: The baselines folder is a file or cannot be listed.
        """
        if self._keys is None:
            with self._naming("cannot list the baselines", self.folder):
                self._keys = tuple(sorted(self._list_keys()))
        return self._keys

    def _list_keys(self) -> Iterator[EnvironmentKey]:
        if not is_there(self.folder):
            return
        for hardware in names_in(self.folder):
            folder = self.folder / hardware
            if hardware not in (TENSORS, RECORDS) and is_folder(folder):
                for framework in names_in(folder):
                    if is_folder(folder / framework):
                        yield EnvironmentKey(hardware, framework)

    def modules(self, key: EnvironmentKey) -> tuple[str, ...]:
        """The test modules that have a manifest under ``key``, sorted.

        Anything with a manifest's name counts, so reading it says what is wrong.
        """
        folder = self.folder / key.hardware / key.framework
        paths = (path for path in folder.rglob("*.yaml") if not holds_manifests(path))
        return tuple(
            sorted(path.relative_to(folder).as_posix()[: -len(".yaml")] + ".py" for path in paths)
        )

    def index(self, key: EnvironmentKey, module: str) -> Mapping[str, IndexEntry]:
        """The digests of each entry of a manifest; empty without such a manifest.

        Raises:
            CorruptBaseline: The manifest cannot be used, or is not where it belongs.
            NewerSchema, OlderSchema: Another pytest-repro wrote it.
            StoreError: The file cannot be read.
        """
        place = (key, module)
        found = self._indexes.get(place)
        if found is None:
            found = self._indexes[place] = self._read_index(place)
        return found

    def _read_index(self, place: tuple[EnvironmentKey, str]) -> Mapping[str, IndexEntry]:
        path = self.manifest_path(*place)
        # The text is not kept: exact checks never need it again.
        text = self._texts[place] if place in self._texts else self._read_text(path)
        if text is None:
            return {}
        index = codec.decode_index(text, where=self.shown(path))
        self._demand_place(path, index.key, index.module)
        return index.entries

    def _demand_place(self, path: Path, key: EnvironmentKey, module: str) -> None:
        """Refuse a manifest that was copied or moved by hand to a folder it does not name."""
        right = self.manifest_path(key, module)
        if right != path:
            raise CorruptBaseline(
                "a manifest is not where it belongs",
                facts=(f"it names {key}, {module}",),
                where=self.shown(path),
                next_step=f"move it to {self.shown(right)}, or delete it and record: "
                "pytest --repro-update",
            )

    def baseline(self, key: EnvironmentKey, check: CheckId) -> Baseline:
        """The whole baseline of a check that `index` has.

        Raises:
            CorruptBaseline, NewerSchema: The manifest cannot be used.
        """
        found = self.find(key, check)
        if found is None:
            raise CorruptBaseline(
                f"the baseline of {check} is gone",
                facts=("the manifest was changed by another process during this run",),
                where=self.shown(self.manifest_path(key, check.module)),
                next_step="run again",
            )
        return found

    def find(self, key: EnvironmentKey, check: CheckId) -> Baseline | None:
        """The whole baseline of a check; ``None`` without one.

        Raises:
            CorruptBaseline, NewerSchema: The manifest cannot be used.
        """
        place = (key, check.module)
        if place in self._manifests:
            return self._manifests[place].get(check.entry)
        return self._one(place, check.entry)

    def _one(self, place: tuple[EnvironmentKey, str], entry: str) -> Baseline | None:
        """One baseline, if possible without parsing the others."""
        path = self.manifest_path(*place)
        if place not in self._blocks:
            text = self._text(place)
            sliced = None if text is None else codec.slice_blocks(text, where=self.shown(path))
            self._blocks[place] = sliced
        blocks = self._blocks[place]
        if blocks is None:
            self._manifests[place] = self._parse(place, self._text(place))
            return self._manifests[place].get(entry)
        self._demand_place(path, blocks.index.key, blocks.index.module)
        if entry not in blocks.texts:
            return None
        return codec.decode_block(blocks, entry, where=self.shown(path))

    def manifest(self, key: EnvironmentKey, module: str) -> tuple[Baseline, ...]:
        """All baselines of a module under a key, sorted by entry; empty if there are none."""
        place = (key, module)
        if place not in self._manifests:
            self._manifests[place] = self._parse(place, self._text(place))
        return tuple(self._manifests[place].values())

    def _parse(self, place: tuple[EnvironmentKey, str], text: str | None) -> dict[str, Baseline]:
        if text is None:
            return {}
        path = self.manifest_path(*place)
        manifest = codec.decode_manifest(text, where=self.shown(path))
        self._demand_place(path, manifest.key, manifest.module)
        return {one.check.entry: one for one in manifest.baselines}

    def _text(self, place: tuple[EnvironmentKey, str]) -> str | None:
        if place not in self._texts:
            self._texts[place] = self._read_text(self.manifest_path(*place))
        return self._texts[place]

    def _read_text(self, path: Path) -> str | None:
        if not is_there(path):
            return None
        self.refuse_outside(path)
        with self._naming("cannot read a manifest", path):
            return codec.text_from(read_regular(path), where=self.shown(path))

    def tensor(self, digest: Digest) -> TensorRecord | None:
        """The tensor of that digest; ``None`` if its file is absent (not pulled).

        Raises:
            CorruptBaseline: A git-lfs pointer, truncated, garbled, or another digest.
        """
        path = self.tensor_path(digest)
        if not is_there(path):
            return None
        self.refuse_outside(path)
        with self._naming("cannot read a tensor", path):
            data = read_regular(path)
        with self._fetched_again(path):
            return decode_tensor(data, digest=digest, where=self.shown(path))

    def rows(self, digest: Digest) -> tuple[Row, ...] | None:
        """The rows of a trace or a table of weights; ``None`` if the file is absent.

        Raises:
            CorruptBaseline: The file cannot be read.
        """
        path = self.record_path(digest)
        if not is_there(path):
            return None
        self.refuse_outside(path)
        with self._naming("cannot read a trace", path):
            data = read_regular(path)
        with self._fetched_again(path):
            return decode_rows(data, where=self.shown(path))

    @contextlib.contextmanager
    def _fetched_again(self, path: Path) -> Iterator[None]:
        """Name the command that fetches a broken file from the Hub, if ``hub.yaml`` names one."""
        try:
            yield
        except CorruptBaseline as error:
            if not is_file(self.pin_path):
                raise
            raise CorruptBaseline(
                error.what,
                facts=error.facts,
                where=error.where,
                next_step=f"rm {quote(self.shown(path))} && pytest-repro pull",
            ) from error

    def write_rows(self, records: Mapping[Digest, Iterable[Row]]) -> None:
        """Write traces and tables of weights.

        Raises:
            StoreError: The folder cannot be written.
        """
        for digest, rows in records.items():
            path = self.record_path(digest)
            with self._naming("cannot write a trace", path):
                if not is_file(path):
                    self.refuse_outside(path)
                    make_folder(path.parent)
                    write_bytes(path, encode_rows(rows))

    def write(
        self,
        key: EnvironmentKey,
        module: str,
        baselines: Iterable[Baseline],
        tensors: Iterable[TensorRecord],
    ) -> bool:
        """Put entries into a manifest, tensors first; other entries do not change.

        Returns whether the manifest's bytes changed.

        Raises:
            StoreError: The folder cannot be written; nothing that was stored is lost.
            CorruptBaseline, NewerSchema: The manifest on disk cannot be merged with.
        """
        path = self.manifest_path(key, module)
        with self._naming("cannot write a baseline", path):
            for record in tensors:
                self._write_tensor(record)
            self.refuse_outside(path)
            make_folder(path.parent)
            with folder_lock(path.parent):
                return self._merge(path, (key, module), baselines)

    def write_tensors(self, tensors: Iterable[TensorRecord]) -> None:
        """Write tensors that are not stored yet.

        Raises:
            StoreError: The folder cannot be written.
        """
        for record in tensors:
            with self._naming("cannot write a tensor", self.tensor_path(record.digest)):
                self._write_tensor(record)

    def _merge(
        self, path: Path, place: tuple[EnvironmentKey, str], baselines: Iterable[Baseline]
    ) -> bool:
        old = self._read_text(path)
        entries = self._parse(place, old)
        entries.update({one.check.entry: one for one in baselines})
        text = self._store_entries(path, place, entries, old)
        return text != old

    def _store_entries(
        self,
        path: Path,
        place: tuple[EnvironmentKey, str],
        entries: Mapping[str, Baseline],
        old: str | None,
    ) -> str:
        manifest = codec.Manifest(place[0], place[1], tuple(entries.values()))
        text = codec.encode_manifest(manifest)
        if text != old:
            write_bytes(path, text.encode("utf-8"))
        self._keys = None
        self._texts[place] = text
        self._indexes.pop(place, None)
        self._manifests.pop(place, None)
        self._blocks.pop(place, None)
        return text

    def remove(self, key: EnvironmentKey, module: str, entries: Iterable[str]) -> int:
        """Delete entries of a manifest, and the manifest if it is empty then; tensors stay.

        Returns how many entries were deleted.
        """
        path = self.manifest_path(key, module)
        unwanted = set(entries)
        with self._naming("cannot prune a baseline", path), folder_lock(path.parent):
            old = self._read_text(path)
            have = self._parse((key, module), old)
            kept = {name: one for name, one in have.items() if name not in unwanted}
            if kept:
                self._store_entries(path, (key, module), kept, old)
            elif old is not None:
                remove_file(path)
                self._forget((key, module))
            return len(have) - len(kept)

    def _forget(self, place: tuple[EnvironmentKey, str]) -> None:
        self._keys = None
        for cache in (self._texts, self._indexes, self._manifests, self._blocks):
            cache.pop(place, None)

    def _write_tensor(self, record: TensorRecord) -> None:
        path = self.tensor_path(record.digest)
        if is_file(path) and self._holds(path, record):
            return
        self.refuse_outside(path)
        make_folder(path.parent)
        write_bytes(path, encode_tensor(record))

    def _holds(self, path: Path, record: TensorRecord) -> bool:
        """Whether the file is already the record; a broken one is written again."""
        with contextlib.suppress(CorruptBaseline):
            decode_tensor(read_regular(path), digest=record.digest, where=self.shown(path))
            return True
        return False

    @contextlib.contextmanager
    def _naming(self, what: str, path: Path) -> Iterator[None]:
        try:
            yield
        except NotAFile as error:
            raise corrupt(self.shown(path), str(error)) from error
        except OSError as error:
            raise StoreError(
                what,
                facts=(f"{type(error).__name__}: {error.strerror or error}",),
                where=self.shown(Path(error.filename) if error.filename else path),
                next_step="check the folder's permissions and free space, then run again",
            ) from error


_TAIL_BYTES = 1 << 17
_BEGIN = re.compile(r"^environments:\n", re.MULTILINE)
_ENVIRONMENT = re.compile(r"^  '?[0-9a-f]+'?:\n((?:    .*\n?)+)", re.MULTILINE)
_CANARY = re.compile(r"\b(canary\.[\w.]+): '?([0-9a-f]{16})\b")
_NUMPY = re.compile(r"\bnumpy\.version: '?([^\s,}']+)")


@dataclass(frozen=True, slots=True)
class RecordedStream:
    """The numpy stream of one recorded environment.

    Attributes:
        canary: The canary's facts.
        numpy: Version of numpy; ``""`` if none was recorded.
    """

    canary: tuple[tuple[str, str], ...]
    numpy: str


def read_streams(manifest: Path) -> tuple[RecordedStream, ...]:
    """The streams of a manifest's environments; none if the file cannot be read."""
    try:
        tail = read_regular(manifest, _TAIL_BYTES, from_end=True).decode("utf-8", "replace")
    except OSError:
        return ()
    begin = None
    for begin in _BEGIN.finditer(tail):  # noqa: B007  the last one counts
        pass
    if begin is None:
        return ()
    blocks = _ENVIRONMENT.findall(tail, begin.end())
    return tuple(_stream(block) for block in blocks)


def _stream(block: str) -> RecordedStream:
    numpy = _NUMPY.search(block)
    return RecordedStream(tuple(_CANARY.findall(block)), numpy[1] if numpy else "")
