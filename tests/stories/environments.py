"""Runs a small project in several environments and demands a baseline for each."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Where:
    """An environment: variables to set, and what pytest is started with."""

    variables: Mapping[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()

    def pytest(self, folder: Path, *arguments: str) -> str:
        """Run pytest there and return what it said; it must succeed."""
        command = [*self.prefix, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [*command, *arguments],
            cwd=folder,
            env={**os.environ, **self.variables},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def manifests(folder: Path) -> dict[str, bytes]:
    """The manifests by key, as bytes."""
    found = sorted((folder / "baselines").rglob("test_*.yaml"))
    return {f"{path.parent.parent.name}/{path.parent.name}": path.read_bytes() for path in found}


def each_has_a_key_of_its_own(folder: Path, environments: Mapping[str, Where]) -> dict[str, str]:
    """Record in every environment, then compare in every one; returns the key of each.

    A recording must not touch what another environment recorded, and each must be exact under its
    own key afterwards.
    """
    keys = {}
    for name, where in environments.items():
        before = manifests(folder)
        said = where.pytest(folder, "--repro-update")
        after = manifests(folder)
        assert "1 recorded" in said
        assert {key: after[key] for key in before} == before, name
        (keys[name],) = set(after) - set(before)
    recorded = manifests(folder)
    for where in environments.values():
        said = where.pytest(folder)
        assert "1 check: 1 exact" in said
        assert "compared with" not in said
    assert manifests(folder) == recorded
    return keys
