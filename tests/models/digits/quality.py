"""Measures what the network of this folder draws, and writes the tables of its README.md.

``python -m tests.models.digits.quality`` from the root of the checkout; needs mindone and
scikit-learn. With ``--sheet FILE`` it also writes the samples as one picture (needs Pillow).
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.page import replace_section
from tests.models.digits.pictures import HELD_OUT, held_out_pictures, labels, training_pictures

__all__ = ["main"]

_HERE = Path(__file__).parent
_STEPS = (2, 10, 50)
_COUNT = 100
_CONFIDENT = 0.9

Pictures = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Figures:
    """What one set of pictures is like.

    Attributes:
        confidence: Mean over the pictures of the classifier's largest probability.
        confident: Share of the pictures where that is at least 0.9.
        kinds: How many of the ten digits are among those.
        distance: Median over the pictures of the Euclidean distance to the nearest training
            picture, in [-1, 1] units over 256 pixels.
    """

    confidence: float
    confident: float
    kinds: int
    distance: float


def _samples(steps: int) -> Pictures:
    """(100, 1, 16, 16) in [-1, 1], from the seeds 0 to 99."""
    from pytest_repro.pipelines.registry import load_pipeline
    from pytest_repro.pipelines.source import SourceKind, WeightsSource

    pipeline = load_pipeline("ddim", WeightsSource(SourceKind.FOLDER, folder=_HERE))
    generators = [np.random.Generator(np.random.PCG64(seed)) for seed in range(_COUNT)]
    images = pipeline(
        batch_size=_COUNT, num_inference_steps=steps, output_type="np", generator=generators
    )[0]
    return (2.0 * images.transpose(0, 3, 1, 2) - 1.0).astype(np.float32)


def _classifier() -> Any:
    """Learns from the training pictures alone, so that the held out ones test it, too."""
    from sklearn.svm import SVC

    classifier = SVC(gamma="scale", C=10.0, probability=True, random_state=0)
    return classifier.fit(_flat(training_pictures()), labels()[:-HELD_OUT])


def _flat(pictures: Pictures) -> NDArray[np.float64]:
    return pictures.reshape(len(pictures), -1).astype(np.float64)


def _judged(classifier: Any, pictures: Pictures) -> _Figures:
    probabilities = classifier.predict_proba(_flat(pictures))
    sure = probabilities.max(axis=1)
    found = np.unique(probabilities.argmax(axis=1)[sure >= _CONFIDENT])
    nearest = [float(_distances(picture).min()) for picture in pictures]
    confident = float((sure >= _CONFIDENT).mean())
    return _Figures(float(sure.mean()), confident, len(found), float(np.median(nearest)))


def _distances(picture: NDArray[np.float32]) -> NDArray[np.float64]:
    """To each training picture."""
    apart = training_pictures() - picture[None]
    return np.sqrt((apart.astype(np.float64) ** 2).sum(axis=(1, 2, 3)))


def _noise() -> Pictures:
    """What an untrained sampler might end with: clipped noise, the control of the figures."""
    random = np.random.Generator(np.random.PCG64(0))
    return np.clip(random.standard_normal((_COUNT, 1, 16, 16)), -1.0, 1.0).astype(np.float32)


def _row(name: str, one: _Figures) -> str:
    return (
        f"| {name} | {one.confidence:.2f} | {one.confident:.0%} | {one.kinds} of 10 "
        f"| {one.distance:.2f} |"
    )


def _lines(sets: dict[str, Pictures]) -> list[str]:
    classifier = _classifier()
    held_out = held_out_pictures()
    right = float((classifier.predict(_flat(held_out)) == labels()[-HELD_OUT:]).mean())
    return [
        f"The classifier (`sklearn.svm.SVC`) learned from the 1,500 training pictures "
        f"and names {right:.1%} of the {HELD_OUT} held out ones rightly.",
        "",
        "| pictures | mean confidence | confident (at least 0.9) | digits among those "
        "| distance to the nearest training picture (median) |",
        "| --- | --- | --- | --- | --- |",
        *(_row(name, _judged(classifier, pictures)) for name, pictures in sets.items()),
    ]


def _loss_lines(path: Path) -> list[str]:
    """The mean loss of each hundred steps."""
    with path.open(encoding="utf-8") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    means = [float(np.mean(losses[at : at + 100])) for at in range(0, len(losses), 100)]
    return [
        "| steps | " + " | ".join(f"to {100 * at}" for at in range(1, len(means) + 1)) + " |",
        "| --- " * (len(means) + 1) + "|",
        "| mean loss | " + " | ".join(f"{mean:.4f}" for mean in means) + " |",
    ]


def _write_sheet(path: Path, sets: dict[str, Pictures]) -> None:
    """Twenty pictures of each set, a row a set, four times as large."""
    from PIL import Image

    rows = [np.concatenate(list(pictures[:20, 0]), axis=1) for pictures in sets.values()]
    grey = np.round((np.concatenate(rows) + 1.0) * 127.5).clip(0, 255).astype(np.uint8)
    Image.fromarray(grey.repeat(4, axis=0).repeat(4, axis=1)).save(path)


def main() -> None:
    """Sample, judge, write."""
    parser = argparse.ArgumentParser(prog="python -m tests.models.digits.quality")
    parser.add_argument("--sheet", type=Path)
    chosen = parser.parse_args()
    sets = {f"DDIM, {steps} steps": _samples(steps) for steps in _STEPS}
    sets |= {"held out": held_out_pictures(), "clipped noise": _noise()}
    replace_section(_HERE / "README.md", "losses", _loss_lines(_HERE / "losses.csv"))
    replace_section(_HERE / "README.md", "quality", _lines(sets))
    if chosen.sheet is not None:
        _write_sheet(chosen.sheet, sets)


if __name__ == "__main__":
    main()
