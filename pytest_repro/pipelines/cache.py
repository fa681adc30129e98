"""The cache of seeded pipelines: folders that are written once and never changed."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from pytest_repro.errors import WeightsError

_SIZES = "sizes.txt"


def cache_folder() -> Path:
    """``PYTEST_REPRO_CACHE``, else ``pytest-repro`` in the user's cache folder.

    Source: XDG Base Directory Specification 0.8 for ``XDG_CACHE_HOME`` and its default.
    """
    chosen = os.environ.get("PYTEST_REPRO_CACHE", "")
    if chosen:
        return Path(chosen).expanduser()
    cache_home = os.environ.get("XDG_CACHE_HOME", "")
    # The specification says to ignore relative paths.
    home = Path(cache_home) if Path(cache_home).is_absolute() else Path.home() / ".cache"
    return home / "pytest-repro"


def cached_folder(name: str, write: Callable[[Path], None]) -> Path:
    """The folder ``name`` of the cache; ``write`` fills it if it does not exist.

    ``name`` must change whenever the result of ``write`` changes. Each process that finds no folder
    writes its own and renames it; the first wins, so the folder is always complete.

    Raises:
        WeightsError: The cache cannot be written, or the size of a file in it changed.
    """
    parent = cache_folder() / "weights"
    folder = parent / name
    try:
        if not folder.is_dir():
            parent.mkdir(parents=True, exist_ok=True)
            _make(folder, write)
    except OSError as error:
        raise WeightsError(
            f"cannot write the seeded weights: {error.strerror or error}.",
            where=str(folder),
            next_step="set PYTEST_REPRO_CACHE to a folder that can be written",
        ) from error
    _check_sizes(folder)
    return folder


def _make(folder: Path, write: Callable[[Path], None]) -> None:
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        write(draft)
        _write_sizes(draft)
        draft.chmod(0o755)
        try:
            draft.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(draft)


def _write_sizes(folder: Path) -> None:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in files:
        # Sync the data before the rename: a crash must not leave a folder of empty files.
        with path.open("rb") as handle:
            os.fsync(handle.fileno())
    lines = [f"{path.stat().st_size} {path.relative_to(folder).as_posix()}\n" for path in files]
    (folder / _SIZES).write_text("".join(lines), encoding="utf-8")


def _check_sizes(folder: Path) -> None:
    try:
        lines = (folder / _SIZES).read_text(encoding="utf-8").splitlines()
        pairs = [line.split(" ", 1) for line in lines]
        wrong = [name for size, name in pairs if (folder / name).stat().st_size != int(size)]
    except (OSError, ValueError) as error:
        raise _damaged(folder, str(error)) from error
    if wrong:
        raise _damaged(folder, f"changed since it was written: {', '.join(wrong)}")


def _damaged(folder: Path, fact: str) -> WeightsError:
    return WeightsError(
        "the cache of seeded weights is damaged.",
        facts=(fact,),
        where=str(folder),
        next_step=f"rm -r '{folder}' (it is made again on the next run)",
    )
