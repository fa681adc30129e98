"""The protocol of a framework, which one module for each implements, and which are installed."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from importlib.metadata import version as distribution_version
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from pytest_repro.frameworks.values import TensorFramework

NAMES = ("mindspore",)
"""Each names a module in this folder whose ``ADAPTER`` is a `FrameworkAdapter`."""


class CallListener(Protocol):
    """Listens to calls of cells; ``name`` is the cell's path."""

    def call_began(self, name: str, cell: Any, args: Sequence[Any], kwargs: Any) -> None:
        """Called before the cell computes."""

    def call_ended(self, name: str, cell: Any, output: Any) -> None:
        """Called after the cell computed; not if it raised."""


class Watchable(TensorFramework, Protocol):
    """The part of a framework that a watch needs. Only methods that say so import it."""

    def installed(self) -> bool:
        """Whether the framework is installed."""

    def context(self) -> tuple[tuple[str, str], ...]:
        """The switches of one test that are not at their default (mode, jit level), by name.

        Also its global seeds and the offset of its generator, if the test changed them. Empty while
        it is not imported.
        """

    def is_cell(self, part: object) -> bool:
        """Whether ``part`` is a network; ``False`` while the framework is not imported."""

    def cells_of(self, cell: Any) -> Iterator[tuple[str, Any]]:
        """The path and the cell of every cell in ``cell``, first itself with the path ``""``."""

    def parameters_of(self, cell: Any) -> Iterator[tuple[str, Any]]:
        """The path and the tensor of every parameter of ``cell``."""

    def hear_calls(
        self, cells: Iterable[tuple[str, Any]], listener: CallListener
    ) -> Callable[[], None]:
        """Report every Python call of the named cells to ``listener``; the result ends that.

        Python does not call cells inside a compiled graph, so nothing is compiled into it.
        """


class FrameworkAdapter(Watchable, Protocol):
    """One framework. Only methods that say so import it."""

    def version(self) -> str:
        """Its version; ``""`` if it is not installed."""

    def package_folder(self) -> Path | None:
        """The folder of its package; ``None`` if it is not installed."""

    def device(self) -> tuple[str, int]:
        """The current device (``CPU``, ``Ascend``, ``GPU``) and its number; imports it."""

    def device_name(self) -> str:
        """The framework's name for the current device, or ``""``; imports it."""

    def facts(self) -> tuple[tuple[str, str], ...]:
        """Names and values of its switches, sorted by name; imports it."""

    def enable_determinism(self) -> None:
        """Switch deterministic computation on, before the first kernel; imports it."""

    def seed_globals(self, seed: int) -> None:
        """Seed its global generators if it is imported."""

    def save_state(self) -> Any:
        """Its global random state and mode; ``None`` while it is not imported."""

    def restore_state(self, state: Any) -> None:
        """Restore a state of `save_state`."""


def default_framework() -> FrameworkAdapter:
    """The adapter of the first installed framework, or the first of all."""
    adapters = [_adapter(name) for name in NAMES]
    return next((one for one in adapters if one.installed()), adapters[0])


def _adapter(name: str) -> FrameworkAdapter:
    adapter: FrameworkAdapter = importlib.import_module(f"pytest_repro.frameworks.{name}").ADAPTER
    return adapter


_GIT_TIMEOUT_S = 5.0


def package_version(name: str) -> str:
    """Version of an installed distribution, without importing it; ``""`` if absent."""
    try:
        return distribution_version(name)
    except PackageNotFoundError:
        return ""


def package_commit(name: str) -> str:
    """Git commit of an installed distribution; ``""`` if unknown.

    It is known if pip installed from a repository (``direct_url.json``, PEP 610), or in place from
    a checkout; then ``+`` at the end says that its Python code has changes.
    """
    try:
        origin = json.loads(distribution(name).read_text("direct_url.json") or "{}")
        commit = str(origin.get("vcs_info", {}).get("commit_id", ""))
        place = urlsplit(str(origin.get("url", "")))
        if commit or place.scheme != "file" or not origin.get("dir_info", {}).get("editable"):
            return commit
    except (PackageNotFoundError, ValueError, AttributeError):
        return ""
    facts = dict(git_facts(Path(unquote(place.path))))
    return facts["code.commit"] + ("+" if facts["code.dirty"] == "yes" else "")


def git_facts(folder: Path, *, command: str = "git") -> tuple[tuple[str, str], ...]:
    """``code.commit`` and ``code.dirty`` (``yes``, ``no``) of the checkout around ``folder``.

    Both are ``""`` without a checkout, a commit or git; never an error.
    """
    commit = _git(folder, command, "rev-parse", "HEAD") or ""
    # Only Python counts: recorded baselines must not make the code look changed.
    status = _git(folder, command, "status", "--porcelain", "--untracked-files=no", "--", "*.py")
    dirty = "" if not commit or status is None else ("yes" if status else "no")
    return (("code.commit", commit), ("code.dirty", dirty))


def _git(folder: Path, command: str, *arguments: str) -> str | None:
    """The command's output without its line end; ``None`` if it failed."""
    # Without this, status would write the index of the checkout.
    variables = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            [command, "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=_GIT_TIMEOUT_S,
            check=False,
            env=variables,
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
