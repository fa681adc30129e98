"""Where baselines lie on disk, and how messages name those places.

``<hardware>/<framework>/<module>.yaml``, ``tensors/<2>/<digest>.safetensors`` and
``records/<2>/<digest>.jsonl.gz``.
"""

from __future__ import annotations

import os
from pathlib import Path

from pytest_repro.errors import StoreError
from pytest_repro.model.ids import Digest, EnvironmentKey

SCHEMA = 2
"""Version of the manifest's layout; another one on disk is refused, never guessed at."""

TENSORS = "tensors"
RECORDS = "records"


def holds_manifests(place: Path) -> bool:
    """Whether a folder that is called like a manifest is one of tests: ``x.yaml/test_it.py``."""
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
        """Where the manifest of ``module`` under ``key`` lies; always below the folder."""
        place = (key, module)
        if place not in self._paths:
            self._paths[place] = self._manifest_path(key, module)
        return self._paths[place]

    def _manifest_path(self, key: EnvironmentKey, module: str) -> Path:
        parts = [part for part in module.replace("\\", "/").split("/") if part not in ("", ".")]
        safe = ["__" if part == ".." else part for part in parts]
        if not safe or "\0" in module:
            raise StoreError(
                "a test module has no name that a file may have",
                facts=(f"module {module[:80]!r}",),
                where=self.shown(self.folder),
                next_step="record again from the folder that pytest calls rootdir",
            )
        stem = safe[-1][:-3] if safe[-1].endswith(".py") else safe[-1]
        return self.folder.joinpath(key.hardware, key.framework, *safe[:-1], f"{stem}.yaml")

    def tensor_path(self, digest: Digest) -> Path:
        """Where the tensor of that digest lies."""
        return self.folder / TENSORS / digest[:2] / f"{digest}.safetensors"

    def record_path(self, digest: Digest) -> Path:
        """Where the trace or the table of weights of that digest lies."""
        return self.folder / RECORDS / digest[:2] / f"{digest}.jsonl.gz"

    def shown(self, path: Path) -> str:
        """``path`` as messages show it: relative to the root folder where it lies below it."""
        if path not in self._shown:
            # Asked once a check for a few manifests, and dear: pathlib compares part by part.
            below = path.is_relative_to(self._root)
            self._shown[path] = path.relative_to(self._root).as_posix() if below else str(path)
        return self._shown[path]

    def refuse_outside(self, path: Path) -> None:
        """A link inside the folder must not lead out of it.

        Raises:
            StoreError: It does.
        """
        # A link to itself is no fault here: Path.resolve raises then, and reading it says why.
        real, folder = (Path(os.path.realpath(one)) for one in (path, self.folder))
        if folder not in real.parents:
            raise StoreError(
                "a path of the baselines leads out of their folder",
                facts=(f"{self.shown(path)} -> {real}",),
                where=self.shown(self.folder),
                next_step="replace the symbolic link by the file itself",
            )
