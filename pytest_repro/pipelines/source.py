"""Where weights come from (the Hub, a folder, a seed), and whether a folder has them all."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from pytest_repro.errors import SettingError, WeightsError
from pytest_repro.store.system import read_regular

_COMMIT = re.compile(r"[0-9a-f]{40}")
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


class SourceKind(str, Enum):
    """Where weights come from."""

    HUB = "hub"
    FOLDER = "folder"
    SEEDED = "seeded"


@dataclass(frozen=True, slots=True)
class HubPin:
    """One commit of a Hub repository; with ``repository`` ``""`` it counts for every family."""

    repository: str
    revision: str


@dataclass(frozen=True, slots=True)
class WeightsSource:
    """Where weights come from.

    Attributes:
        kind: Hub, folder or seed.
        folder: The folder, for ``FOLDER``; else ``None``.
        pins: Commits that replace the built-in pins, for ``HUB``.
    """

    kind: SourceKind
    folder: Path | None = None
    pins: tuple[HubPin, ...] = ()

    def pinned(self, repository: str, default: str) -> str:
        """The commit of ``repository``: its own pin, the pin for all, or ``default``."""
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
    of 40 lower-case hex digits; anything else is a folder (``./hub`` for a folder named hub).

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
        facts=("a branch or tag can move, so only a commit of 40 hex digits is a pin",),
        next_step="hub@<commit>, or hub@<owner>/<repository>=<commit>,...",
    )


PICKLE_SUFFIXES = (".bin", ".ckpt", ".msgpack", ".pkl", ".pt", ".pth")
"""Endings of files that can run code when they are loaded, or that mindone does not read."""

# Components without weights, by the ends of their class names.
_WEIGHTLESS = ("Scheduler", "Tokenizer", "TokenizerFast", "ImageProcessor", "FeatureExtractor")


def lists_weights(class_name: str) -> bool:
    """Whether a component of that class has weights."""
    return not class_name.endswith(_WEIGHTLESS)


def listed_components(index: object) -> tuple[tuple[str, str], ...]:
    """``(component, class name)`` of each component in a parsed ``model_index.json``, sorted.

    Raises:
        ValueError: The value is not such an index.
    """
    if not isinstance(index, dict):
        raise ValueError("model_index.json is not a mapping")
    found = [
        (name, str(value[1]))
        for name, value in index.items()
        if not name.startswith("_") and isinstance(value, list) and len(value) == 2 and value[1]
    ]
    return tuple(sorted(found))


def check_weight_files(folder: Path, components: tuple[str, ...]) -> None:
    """Require that each component with weights has them as safetensors.

    They are in a folder for each component, or beside the index.

    Raises:
        WeightsError: Not a pipeline, a component is missing, or its weights are pickled or absent.
    """
    index = _read_index(folder)
    absent = [name for name in components if name not in dict(index)]
    if absent:
        raise WeightsError(
            f"the pipeline has no {', '.join(absent)}.",
            where=str(folder / "model_index.json"),
            next_step="point --repro-weights at a pipeline of the right kind",
        )
    for name, class_name in index:
        if lists_weights(class_name):
            _check_component(folder, name)


def _read_index(folder: Path) -> tuple[tuple[str, str], ...]:
    path = folder / "model_index.json"
    try:
        parsed: Any = json.loads(read_regular(path).decode("utf-8"))
        return listed_components(parsed)
    except (OSError, ValueError) as error:
        raise WeightsError(
            "this is not the folder of a pipeline.",
            facts=(str(error),),
            where=str(folder),
            next_step="give --repro-weights a folder that save_pretrained() wrote",
        ) from error


def _check_component(folder: Path, name: str) -> None:
    # google/ddpm-cifar10-32 keeps its only network beside the index, not in a folder.
    place = folder / name if (folder / name).is_dir() else folder
    files = sorted(path.name for path in place.iterdir() if path.is_file())
    if any(file.endswith(".safetensors") for file in files):
        return
    pickled = tuple(file for file in files if file.endswith(PICKLE_SUFFIXES))
    what = "are pickled" if pickled else "are missing"
    raise WeightsError(
        f"the weights of {name} {what}; only safetensors are loaded.",
        facts=tuple(f"found {file}" for file in pickled),
        where=str(place),
        next_step="convert them to safetensors, or use a revision that has them",
    )
