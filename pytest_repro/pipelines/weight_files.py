"""Owns the look at a pipeline's folder before anything in it is loaded: safetensors or nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pytest_repro.errors import WeightsError
from pytest_repro.store.regular_file import read_regular

__all__ = ["PICKLE_SUFFIXES", "check_weight_files", "listed_components", "lists_weights"]

PICKLE_SUFFIXES = (".bin", ".ckpt", ".msgpack", ".pkl", ".pt", ".pth")
"""Endings of files that run code when they are unpickled, or that mindone does not read."""

# Components that have no weights, by the ends of their class names.
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
    """Demand that each component that has weights has them as safetensors.

    Args:
        folder: A pipeline's folder; weights in a folder a component, or beside the index.
        components: Components that must be there.

    Raises:
        WeightsError: No pipeline, a component is missing, or its weights are pickled or absent.
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
            "not the folder of a pipeline.",
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
        next_step="convert them to safetensors by hand, or take a revision that has them",
    )
