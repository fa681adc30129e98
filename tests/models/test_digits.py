"""DDIM with a trained network (folder ``digits``), judged against its baselines.

The other model tests have seeded weights. No training stands behind those, so that what they say of
sensitivity need not hold for a network that was trained; this one was.
"""

from __future__ import annotations

import pytest

from tests.models.latents import watch_latents

pytestmark = pytest.mark.repro(seed=0)


def _run(digits, generator, steps):
    """The image (1, 16, 16, 1) in [0, 1], and the last sample with the noise predicted for it."""
    with watch_latents(digits) as watch:
        image = digits(num_inference_steps=steps, output_type="np", generator=generator)[0]
    return image, {"sample": watch.last_sample, "prediction": watch.last_model_output}


def test_two_steps(digits, repro_generator, repro_check):
    image, latents = _run(digits, repro_generator, 2)
    repro_check(image, name="image")
    repro_check(latents, name="latents")


def test_ten_steps(digits, repro_generator, repro_check):
    image, latents = _run(digits, repro_generator, 10)
    repro_check(image, name="image")
    repro_check(latents, name="latents")


def test_fifty_steps(digits, repro_generator, repro_check):
    image, latents = _run(digits, repro_generator, 50)
    repro_check(image, name="image")
    repro_check(latents, name="latents")
