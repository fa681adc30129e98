"""Every file in the baselines folder, whether it belongs there or not."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pytest_repro.errors import StoreError
from pytest_repro.model.words import Word
from pytest_repro.store import manifest as codec
from pytest_repro.store.files import corrupt, is_lfs_pointer
from pytest_repro.store.layout import holds_manifests
from pytest_repro.store.system import NotAFile, read_regular

_TENSOR = re.compile(r"tensors/([0-9a-f]{2})/(\1[0-9a-f]{62})\.safetensors")
_RECORD = re.compile(r"records/([0-9a-f]{2})/(\1[0-9a-f]{62})\.jsonl\.gz")
_TOLERATED = re.compile(
    r"policy\.yaml|hub\.yaml|README[^/]*|(?:.*/)?\.git(?:attributes|ignore|keep)"
)
_POINTER_BYTES = 64


class FileKind(Word):
    """What a file below the baselines folder is, by its place and name alone."""

    MANIFEST = "manifest"
    TENSOR = "tensor"
    RECORD = "record"
    TEMPORARY = "temporary"
    TOLERATED = "tolerated"
    STRAY = "stray"


_STORED = frozenset({FileKind.MANIFEST, FileKind.TENSOR, FileKind.RECORD})


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file below the baselines folder.

    Attributes:
        path: Where it is.
        relative: Its path from the folder.
        kind: What it is, by place and name.
        size_bytes: Its size.
        modified_ns: When it was last written, nanoseconds since the epoch.
        inode: Its number in the file system.
        is_folder: Whether it is a folder, in the place of a manifest, tensor or record.
    """

    path: Path
    relative: PurePosixPath
    kind: FileKind
    size_bytes: int
    modified_ns: int
    inode: int
    is_folder: bool = False

    @property
    def modified_s(self) -> float:
        """When it was last written, seconds since the epoch."""
        return self.modified_ns / 1e9

    @property
    def digest(self) -> str:
        """The digest that a tensor's or a record's name promises."""
        return self.relative.name.split(".", 1)[0]


def kind_of(relative: PurePosixPath) -> FileKind:
    """What a file is, by its path from the baselines folder."""
    text, name = str(relative), relative.name
    if name.startswith(".") and name.endswith(".tmp"):
        return FileKind.TEMPORARY
    if _TENSOR.fullmatch(text):
        return FileKind.TENSOR
    if _RECORD.fullmatch(text):
        return FileKind.RECORD
    if _TOLERATED.fullmatch(text):
        return FileKind.TOLERATED
    if (
        relative.parts[0] not in ("tensors", "records")
        and len(relative.parts) > 2
        and relative.suffix == ".yaml"
    ):
        return FileKind.MANIFEST
    return FileKind.STRAY


def list_files(folder: Path) -> tuple[FoundFile, ...]:
    """Every file below ``folder``, sorted by path; links are listed but not followed.

    A folder in the place of a file is listed, too. A folder that does not exist has no files.

    Raises:
        StoreError: The folder is a file, or cannot be listed.
    """
    if not folder.exists():
        return ()
    if not folder.is_dir():
        raise StoreError(f"the baselines folder is not a folder: {folder}")
    return tuple(sorted(_walk(folder), key=lambda file: file.relative))


def _walk(folder: Path) -> Iterator[FoundFile]:
    def refuse(error: OSError) -> None:
        raise StoreError(
            "cannot list the baselines",
            facts=(f"{type(error).__name__}: {error.strerror or error}",),
            where=str(error.filename or folder),
            next_step="check the folder's permissions, then run again",
        ) from error

    for place, folders, names in os.walk(folder, onerror=refuse):
        links = [name for name in folders if Path(place, name).is_symlink()]
        for name in (*names, *folders):
            path = Path(place, name)
            relative = PurePosixPath(path.relative_to(folder).as_posix())
            kind = FileKind.STRAY if name in links else kind_of(relative)
            is_folder = name in folders and name not in links
            if is_folder and (kind not in _STORED or holds_manifests(path)):
                continue
            status = path.lstat()
            stamp = status.st_size, status.st_mtime_ns, status.st_ino
            yield FoundFile(path, relative, kind, *stamp, is_folder)


def is_pointer(file: FoundFile) -> bool:
    """Whether the file is a git-lfs pointer: its content was not pulled."""
    return is_lfs_pointer(read_regular(file.path, _POINTER_BYTES))


def read_manifest(file: FoundFile, *, where: str) -> codec.Manifest:
    """The whole manifest; nothing is cached.

    Raises:
        CorruptBaseline, NewerSchema: It cannot be used.
        StoreError: It cannot be read.
    """
    try:
        text = codec.text_from(read_regular(file.path), where=where)
    except NotAFile as error:
        raise corrupt(where, str(error)) from error
    except OSError as error:
        raise StoreError("cannot read a manifest", facts=(str(error),), where=where) from error
    return codec.decode_manifest(text, where=where)


def delete_files(files: Iterable[FoundFile]) -> int:
    """Delete files and the folders that this leaves empty below their own.

    Returns:
        How many bytes were freed.

    Raises:
        StoreError: A file cannot be deleted; those before it are gone.
    """
    freed = 0
    for file in files:
        try:
            file.path.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(
                "cannot delete a file",
                facts=(f"{type(error).__name__}: {error.strerror or error}",),
                where=str(file.path),
                next_step="check the folder's permissions, then run again",
            ) from error
        freed += file.size_bytes
        _drop_if_empty(file.path.parent, len(file.relative.parts) - 1)
    return freed


def _drop_if_empty(folder: Path, depth: int) -> None:
    for _ in range(depth):
        try:
            folder.rmdir()
        except OSError:  # not empty
            return
        folder = folder.parent
