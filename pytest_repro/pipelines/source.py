"""Owns the choice of weights: the Hub, a folder, or a seed, as a value parsed from one text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from pytest_repro.errors import SettingError

_COMMIT = re.compile(r"[0-9a-f]{40}")
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


class SourceKind(str, Enum):
    """Where weights come from."""

    HUB = "hub"
    FOLDER = "folder"
    SEEDED = "seeded"


@dataclass(frozen=True, slots=True)
class HubPin:
    """One commit of a Hub repository; ``repository`` is ``""`` when it stands for any of ours."""

    repository: str
    revision: str


@dataclass(frozen=True, slots=True)
class WeightsSource:
    """One place to take weights from.

    Attributes:
        kind: Hub, folder or seed.
        folder: The folder, for ``FOLDER``; else ``None``.
        pins: Commits that replace our own pins, for ``HUB``.
    """

    kind: SourceKind
    folder: Path | None = None
    pins: tuple[HubPin, ...] = ()

    def pinned(self, repository: str, default: str) -> str:
        """The commit to take of ``repository``: named for it, for any, else ``default``."""
        for name in (repository, ""):
            for pin in self.pins:
                if pin.repository == name:
                    return pin.revision
        return default

    def __str__(self) -> str:
        if self.kind is SourceKind.FOLDER:
            return str(self.folder)
        pins = ",".join(f"{p.repository}={p.revision}".removeprefix("=") for p in self.pins)
        return f"{self.kind.value}@{pins}" if pins else self.kind.value


def parse_source(text: str) -> WeightsSource:
    """The source that ``text`` names.

    ``seeded``; ``hub``, ``hub@<commit>`` or ``hub@<owner>/<repository>=<commit>,...`` with commits
    of 40 lower-case hex digits; anything else is a folder, written ``./hub`` if it is called so.

    Raises:
        SettingError: The text is empty, or what follows ``hub@`` is not a list of commits.
    """
    stripped = text.strip()
    if not stripped:
        raise SettingError(
            "--repro-weights is empty.", next_step="choose seeded, hub, hub@<commit> or a folder"
        )
    if stripped == SourceKind.SEEDED.value:
        return WeightsSource(SourceKind.SEEDED)
    if stripped == SourceKind.HUB.value:
        return WeightsSource(SourceKind.HUB)
    if stripped.startswith("hub@"):
        pins = tuple(_parse_pin(part) for part in stripped.removeprefix("hub@").split(","))
        return WeightsSource(SourceKind.HUB, pins=pins)
    return WeightsSource(SourceKind.FOLDER, folder=Path(stripped).expanduser())


def _parse_pin(part: str) -> HubPin:
    repository, _, revision = part.strip().rpartition("=")
    good_name = not repository or _REPOSITORY.fullmatch(repository)
    if _COMMIT.fullmatch(revision) and good_name:
        return HubPin(repository, revision)
    raise SettingError(
        f"--repro-weights=hub@{part}: not a pinned revision.",
        facts=("a branch or tag can move, so that only a commit of 40 hex digits is a pin",),
        next_step="hub@<commit>, or hub@<owner>/<repository>=<commit>,...",
    )
