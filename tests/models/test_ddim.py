"""DDIM in the architecture of google/ddpm-cifar10-32, judged against its baselines."""

from __future__ import annotations

import pytest

from tests.models.latents import watch_latents

pytestmark = pytest.mark.repro(seed=0)


def _run(ddim, generator, **arguments):
    """The image, and the last sample with the noise predicted for it.

    The scheduler clips the sample in its last step already, so that the prediction alone shows
    what a saturated image hides.
    """
    with watch_latents(ddim) as watch:
        image = ddim(output_type="np", generator=generator, **arguments)[0]
    return image, {"sample": watch.last_sample, "prediction": watch.last_model_output}


def test_two_steps(repro_ddim, repro_generator, repro_check):
    image, latents = _run(repro_ddim, repro_generator, num_inference_steps=2)
    repro_check(image, name="image")
    repro_check(latents, name="latents")


def test_ten_steps(repro_ddim, repro_generator, repro_check):
    image, latents = _run(repro_ddim, repro_generator, num_inference_steps=10)
    repro_check(image, name="image")
    repro_check(latents, name="latents")


def test_eta_draws_noise_in_every_step(repro_ddim, repro_generator, repro_check):
    image, latents = _run(repro_ddim, repro_generator, num_inference_steps=4, eta=1.0)
    repro_check(image, name="image")
    repro_check(latents, name="latents")


def test_batch_of_four(repro_ddim, repro_generators, repro_check):
    image, latents = _run(repro_ddim, repro_generators(4), batch_size=4, num_inference_steps=2)
    repro_check(image, name="image")
    repro_check(latents, name="latents")


@pytest.mark.repro(seed=0, dtype="float16")
def test_float16(repro_ddim, repro_generator, repro_check):
    image, latents = _run(repro_ddim, repro_generator, num_inference_steps=2)
    repro_check(image, name="image")
    repro_check(latents, name="latents")
