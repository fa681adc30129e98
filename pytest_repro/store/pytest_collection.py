"""Collects the tests of a folder by running pytest in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

from pytest_repro.errors import UsageError
from pytest_repro.store.collection import FILE_VARIABLE, Collection

__all__ = ["collect_tests"]

_PLUGIN = "pytest_repro.plugin.collecting"
_TAIL_LINES = 5


def collect_tests(root: Path, *, python: str) -> Collection:
    """What ``python -m pytest --collect-only`` finds from ``root``, as its ini file says.

    The cache is switched off, so that ``--lf`` in an ini file cannot narrow it unseen.

    Raises:
        UsageError: pytest could not be run, or ended before it had collected.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "collection.json")
        command = [python, "-m", "pytest", "--collect-only", "-q", "--rootdir", str(root)]
        command += ["-p", "no:cacheprovider", "-p", _PLUGIN]
        try:
            run = subprocess.run(
                command,
                cwd=root,
                env={**os.environ, FILE_VARIABLE: str(file)},
                capture_output=True,
                text=True,
                check=False,
            )
        except OSError as error:
            raise UsageError(f"cannot run {python}: {error}") from error
        if not file.is_file():
            raise UsageError(
                f"pytest ended with exit code {run.returncode} before it had collected",
                facts=tuple((run.stdout + run.stderr).strip().splitlines()[-_TAIL_LINES:]),
                next_step=f"{python} -m pytest --collect-only",
            )
        return _collection(file.read_text(encoding="utf-8"))


def _collection(text: str) -> Collection:
    document = json.loads(text)
    return Collection(
        frozenset(document["tests"]), frozenset(document["modules"]), tuple(document["incomplete"])
    )
