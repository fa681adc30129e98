"""The places of baselines on disk, and how messages name them.

``<hardware>/<framework>/<module>.yaml``, ``tensors/<2>/<digest>.safetensors`` and
``records/<2>/<digest>.jsonl.gz``.
"""

from __future__ import annotations

import os
from pathlib import Path

from pytest_repro.errors import StoreError
from pytest_repro.model.ids import Digest, EnvironmentKey

SCHEMA = 2
"""Version of the manifest's layout; any other version on disk is refused."""

TENSORS = "tensors"
RECORDS = "records"


def holds_manifests(place: Path) -> bool:
    """Whether a folder with a manifest's name is a folder of tests: ``x.yaml/test_it.py``."""
    return place.is_dir() and not place.is_symlink() and any(place.rglob("*.yaml"))


class Layout:
    """The places below one baselines folder.

    Args:
        folder: The baselines folder; need not exist.
        root: Folder to which paths in messages are relative.
    """

    def __init__(self, folder: Path, *, root: Path) -> None:
        self.folder = folder
        self._root = root
        self._shown: dict[Path, str] = {}
        self._paths: dict[tuple[EnvironmentKey, str], Path] = {}

    def manifest_path(self, key: EnvironmentKey, module: str) -> Path:
        """The path of the manifest of ``module`` under ``key``; always below the folder."""
        place = (key, module)
        if place not in self._paths:
            self._paths[place] = self._manifest_path(key, module)
        return self._paths[place]

    def _manifest_path(self, key: EnvironmentKey, module: str) -> Path:
        parts = [part for part in module.replace("\\", "/").split("/") if part not in ("", ".")]
        safe = ["__" if part == ".." else part for part in parts]
        if not safe or "\0" in module:
            raise StoreError(
                "the name of a test module cannot be a file name",
                facts=(f"module {module[:80]!r}",),
                where=self.shown(self.folder),
                next_step="record again from the folder that pytest calls rootdir",
            )
        stem = safe[-1][:-3] if safe[-1].endswith(".py") else safe[-1]
        return self.folder.joinpath(key.hardware, key.framework, *safe[:-1], f"{stem}.yaml")

    @property
    def pin_path(self) -> Path:
        """The path of the file that names the repository with the tensors, if there is one."""
        return self.folder / "hub.yaml"

    def tensor_path(self, digest: Digest) -> Path:
        """The path of the tensor of that digest."""
        return self.folder / TENSORS / digest[:2] / f"{digest}.safetensors"

    def record_path(self, digest: Digest) -> Path:
        """The path of the trace or table of weights of that digest."""
        return self.folder / RECORDS / digest[:2] / f"{digest}.jsonl.gz"

    def shown(self, path: Path) -> str:
        """``path`` as messages show it: relative to the root folder if it is below it."""
        if path not in self._shown:
            # Cached: asked once for each check, and pathlib compares part by part.
            below = path.is_relative_to(self._root)
            self._shown[path] = path.relative_to(self._root).as_posix() if below else str(path)
        return self._shown[path]

    def refuse_outside(self, path: Path) -> None:
        """Refuse a path that a link leads out of the folder.

        Raises:
            StoreError: It leads out of it.
        """
        # For a link to itself Path.resolve raises, and reading it says why.
        real, folder = (Path(os.path.realpath(one)) for one in (path, self.folder))
        if folder not in real.parents:
            raise StoreError(
                "a symbolic link leads out of the baselines folder",
                facts=(f"{self.shown(path)} -> {real}",),
                where=self.shown(self.folder),
                next_step="replace the symbolic link with the file itself",
            )
