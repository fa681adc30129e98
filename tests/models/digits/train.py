"""Trains the small network of this folder on scikit-learn's digits, with MindSpore on a CPU.

``python -m tests.models.digits.train --folder DIR`` from the root of the checkout; needs mindone
and scikit-learn. Writes a folder that `DDIMPipeline.from_pretrained` loads, and ``losses.csv``.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.models.digits.pictures import training_pictures

__all__ = ["NETWORK", "SCHEDULER", "SEED", "Pace", "main"]

SEED = 0
# Two levels of two blocks, the second with attention: every layer that tests/faults name is there.
NETWORK = {
    "act_fn": "silu",
    "attention_head_dim": None,
    "block_out_channels": (24, 40),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "in_channels": 1,
    "layers_per_block": 2,
    "norm_eps": 1e-6,
    "norm_num_groups": 8,
    "out_channels": 1,
    "sample_size": 16,
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
}
# As google/ddpm-cifar10-32, so that 2, 10 and 50 steps mean the same in both.
SCHEDULER = {
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "beta_start": 0.0001,
    "clip_sample": True,
    "num_train_timesteps": 1000,
}


@dataclass(frozen=True, slots=True)
class Pace:
    """How long and how fast.

    Attributes:
        steps: Of the optimiser.
        batch: Pictures a step.
        peak_rate: Adam's learning rate after the warm-up; it falls to 0 along a cosine.
        warm_up: Steps.
    """

    steps: int = 1000
    batch: int = 64
    peak_rate: float = 2e-3
    warm_up: int = 50

    def rates(self) -> list[float]:
        """The learning rate of each step."""
        at = np.arange(self.steps)
        rising = np.minimum(1.0, (at + 1) / self.warm_up)
        falling = 0.5 * (1.0 + np.cos(np.pi * at / self.steps))
        return [float(rate) for rate in self.peak_rate * rising * falling]


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """Pictures and noise (batch, 1, 16, 16) float32, and a timestep each."""

    pictures: NDArray[np.float32]
    noise: NDArray[np.float32]
    timesteps: NDArray[np.int32]


def _batches(pictures: NDArray[np.float32], pace: Pace) -> Iterator[_Batch]:
    """Seeded; epochs in a new order each, and in a batch timesteps spread evenly over all."""
    random = np.random.Generator(np.random.PCG64(SEED))
    spacing = SCHEDULER["num_train_timesteps"] / pace.batch
    order = np.empty(0, dtype=np.int64)
    for _ in range(pace.steps):
        if len(order) < pace.batch:
            order = np.concatenate([order, random.permutation(len(pictures))])
        chosen, order = pictures[order[: pace.batch]], order[pace.batch :]
        timesteps = (np.arange(pace.batch) + random.random(pace.batch)) * spacing
        noise = random.standard_normal(chosen.shape, dtype=np.float32)
        yield _Batch(chosen, noise, timesteps.astype(np.int32))


def _train(network: Any, pace: Pace) -> Iterator[float]:
    """Take every step; the mean squared error of the predicted noise before each."""
    import mindspore
    from mindone.diffusers import DDPMScheduler
    from mindspore import nn, ops

    scheduler = DDPMScheduler(**SCHEDULER)
    weights = list(network.trainable_params())
    optimiser = nn.Adam(weights, learning_rate=pace.rates())

    def loss(noisy: Any, timesteps: Any, noise: Any) -> Any:
        return ops.mse_loss(network(noisy, timesteps, return_dict=False)[0], noise)

    # Compiled, because eager backward kernels take three times as long on a CPU.
    step = mindspore.jit(mindspore.value_and_grad(loss, None, weights))
    network.set_train(True)
    for batch in _batches(training_pictures(), pace):
        noise, timesteps = mindspore.Tensor(batch.noise), mindspore.Tensor(batch.timesteps)
        noisy = scheduler.add_noise(mindspore.Tensor(batch.pictures), noise, timesteps)
        value, gradients = step(noisy, timesteps, noise)
        optimiser(gradients)
        yield float(value)
    network.set_train(False)


def _save(network: Any, losses: list[float], folder: Path) -> None:
    from mindone.diffusers import DDIMPipeline, DDIMScheduler

    pipeline = DDIMPipeline(unet=network, scheduler=DDIMScheduler(**SCHEDULER))
    pipeline.save_pretrained(str(folder), safe_serialization=True)
    with (folder / "losses.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["step", "loss"])
        writer.writerows([at, f"{loss:.6g}"] for at, loss in enumerate(losses, 1))


def main() -> None:
    """Train and save."""
    parser = argparse.ArgumentParser(prog="python -m tests.models.digits.train")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=Pace().steps)
    chosen = parser.parse_args()
    from mindone.diffusers import UNet2DModel

    from pytest_repro.frameworks.mindspore import MindSporeAdapter

    mindspore = MindSporeAdapter()
    mindspore.enable_determinism()
    mindspore.seed_globals(SEED)
    network = UNet2DModel(**NETWORK)
    losses: list[float] = []
    began = time.perf_counter()
    for loss in _train(network, Pace(steps=chosen.steps)):
        losses.append(loss)
        if len(losses) % 20 == 0:
            seconds = time.perf_counter() - began
            sys.stdout.write(
                f"step {len(losses)}, loss {np.mean(losses[-20:]):.4f}, {seconds:.0f} s\n"
            )
            sys.stdout.flush()
    _save(network, losses, chosen.folder)


if __name__ == "__main__":
    main()
