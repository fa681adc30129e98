"""The measurement behind the conditioning: ``python -m docs.measure.conditioning``.

Prints the Markdown table of docs/pipelines.md: how informative an image is, and how far it moves
when every number of the first noise is moved by one ULP, with and without the conditioning.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_repro.pipelines.registry import load_pipeline
from pytest_repro.pipelines.source import parse_source
from pytest_repro.pipelines.weights import seeded_parameters

Image = NDArray[np.float32]
Run = Callable[[int, np.random.Generator], Image]
_RAIL_WIDTH = 1e-3


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; ``rail_share`` of 1, ``rel_l2`` of the norm, both without unit."""

    pipeline: str
    weights: str
    steps: int
    rail_share: float
    contrast: float
    rel_l2: float
    max_abs: float


class _Disturbed(np.random.Generator):
    """Moves each number of its first draw by one ULP of float32, at seeded random signs."""

    fresh = True

    def standard_normal(self, *args: Any, **kwargs: Any) -> Any:
        drawn = np.asarray(super().standard_normal(*args, **kwargs))
        if not self.fresh:
            return drawn
        self.fresh = False
        signs = np.random.Generator(np.random.PCG64(1)).choice([-np.inf, np.inf], drawn.shape)
        return np.nextafter(drawn.astype(np.float32), signs.astype(np.float32))


def rail_share(image: Image) -> float:
    """Share of the values of an image that are `on_rails`."""
    return float(on_rails(image).mean())


def on_rails(image: NDArray[Any]) -> NDArray[np.bool_]:
    """Which values lie within 1e-3 of one of the image's two commonest values; the image's shape.

    What clipping holds fast is there, also where a last step moves the clipped values together.
    """
    cells = np.floor(image.ravel() / _RAIL_WIDTH).astype(np.int64)
    values, counts = np.unique(cells, return_counts=True)
    rails = (values[np.argsort(counts)[-2:]] + 0.5) * _RAIL_WIDTH
    near: NDArray[np.bool_] = np.abs(image.ravel()[:, None] - rails[None, :]) <= _RAIL_WIDTH
    return np.asarray(near.any(axis=1), dtype=np.bool_).reshape(image.shape)


def measure(pipeline: str, weights: str, steps: int, run: Run) -> Row:
    """Run twice, with PCG64(0) and with its first draw disturbed, and measure both images."""
    clean = run(steps, np.random.Generator(np.random.PCG64(0)))
    moved = run(steps, _Disturbed(np.random.PCG64(0)))
    difference = moved.astype(np.float64) - clean
    return Row(
        pipeline,
        weights,
        steps,
        rail_share=rail_share(clean),
        contrast=float(clean.std(dtype=np.float64)),
        rel_l2=float(np.linalg.norm(difference) / np.linalg.norm(clean)),
        max_abs=float(np.abs(difference).max()),
    )


def _ddim_run(ddim: Any) -> Run:
    def run(steps: int, generator: np.random.Generator) -> Image:
        image: Image = ddim(num_inference_steps=steps, output_type="np", generator=generator)[0]
        return image

    return run


def _unclip_run(unclip: Any) -> Run:
    def run(steps: int, generator: np.random.Generator) -> Image:
        image: Image = unclip(
            "a photo of a red panda",
            prior_num_inference_steps=2,
            decoder_num_inference_steps=steps,
            super_res_num_inference_steps=steps,
            output_type="np",
            generator=generator,
        )[0]
        return image

    return run


def unconditioned(pipeline: Any, prefix: str, names: tuple[str, ...]) -> None:
    """Replace the noise predictors' weights in place by what they are before `condition`."""
    import mindspore

    for name in names:
        cell = getattr(pipeline, name)
        parameters = {str(p.name): p for p in cell.get_parameters()}
        shapes = {key: tuple(p.shape) for key, p in parameters.items()}
        for key, array in seeded_parameters(f"{prefix}.{name}", shapes).items():
            parameters[key].set_data(mindspore.Tensor(array))


def _rows(steps: tuple[int, ...], unclip_steps: tuple[int, ...]) -> Iterator[Row]:
    """Measure every line; about a quarter of an hour for all on two cores."""
    source = parse_source("seeded")
    ddim, unclip = load_pipeline("ddim", source), load_pipeline("unclip", source)
    for weights in ("conditioned", "naive"):
        if weights == "naive":
            unconditioned(ddim, "ddim", ("unet",))
            unconditioned(unclip, "unclip", ("decoder", "super_res_first", "super_res_last"))
        for count in steps:
            yield measure("DDIM", weights, count, _ddim_run(ddim))
        for count in unclip_steps:
            yield measure("UnCLIP", weights, count, _unclip_run(unclip))


def _line(row: Row) -> str:
    """The row in Markdown."""
    return (
        f"| {row.pipeline} | {row.weights} | {row.steps} | {row.rail_share:.1%} "
        f"| {row.contrast:.3f} | {row.rel_l2:.1e} | {row.max_abs:.1e} |\n"
    )


def main() -> None:
    """Print the table as it grows."""
    parser = argparse.ArgumentParser(prog="python -m docs.measure.conditioning")
    parser.add_argument("--steps", default="2,10,50", help="DDIM step counts")
    parser.add_argument("--unclip-steps", default="2,3,10", help="UnCLIP step counts")
    chosen = parser.parse_args()
    sys.stdout.write(
        "| pipeline | weights | steps | on two values | std | rel_l2, one ULP | max_abs |\n"
        "| --- | --- | --- | --- | --- | --- | --- |\n"
    )
    for row in _rows(_counts(chosen.steps), _counts(chosen.unclip_steps)):
        sys.stdout.write(_line(row))
        sys.stdout.flush()


def _counts(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(",") if part)


if __name__ == "__main__":
    main()
