"""What the tortures did, one line a fault, in a file that several runs may add to."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from pathlib import Path

from tests.torture.project import Suite

__all__ = ["Tally"]


class Tally:
    """Adds a line for every fault after which each baseline was found to be the old or the new."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)

    def __enter__(self) -> Tally:
        self._file = self._path.open("a", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def note(
        self, suite: Suite, fault: str, *, new: Collection[str], goes_on: bool = False
    ) -> None:
        """One fault: how many baselines were new after it, and whether a next update went well."""
        row = {"fault": fault, "suite": suite.name, "checks": len(suite.old), "new": len(new)}
        self._file.write(json.dumps({**row, "goes_on": goes_on}) + "\n")
        self._file.flush()
