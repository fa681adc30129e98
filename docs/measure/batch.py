"""Measures how far image i of a batch is from the image made alone from generator i, on DDIM.

Run: ``python docs/measure/batch.py``; needs mindone. Prints one Markdown table.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from pytest_repro.pipelines.registry import load_pipeline
from pytest_repro.pipelines.source import parse_source
from pytest_repro.tensors.compare import compare_records
from pytest_repro.tensors.record import make_record

COUNT = 4
STEPS = (2, 10)


def _images(ddim: Any, seeds: Iterable[int], steps: int) -> Any:
    generators = [np.random.Generator(np.random.PCG64(seed)) for seed in seeds]
    return ddim(
        batch_size=len(generators),
        num_inference_steps=steps,
        output_type="np",
        generator=generators,
    )[0]


def _row(steps: int, number: int, alone: Any, together: Any) -> str:
    found = compare_records(make_record(alone), make_record(together))
    worst = found.worst_abs.amount if found.worst_abs else 0.0
    return (
        f"| {steps} | {number} | {found.differing_count} of {found.element_count} "
        f"| {found.rel_l2:.1e} | {worst:.1e} |"
    )


def main() -> None:
    """Print the table."""
    ddim = load_pipeline("ddim", parse_source("seeded"))
    print(
        "| steps | image | elements that differ | rel_l2 | max abs |\n| --- | --- | --- | --- | --- |"
    )
    for steps in STEPS:
        together = _images(ddim, range(COUNT), steps)
        for seed in range(COUNT):
            alone = _images(ddim, [seed], steps)[0]
            print(_row(steps, seed, alone, together[seed]), flush=True)


if __name__ == "__main__":
    main()
