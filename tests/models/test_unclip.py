"""UnCLIP from text, and image variations, judged against their baselines.

Three steps a stage: the first of UnCLIP's steps divides by 5e-5 and clips, so that two steps leave
an image of black and white only.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.models.latents import watch_latents

pytestmark = pytest.mark.repro(seed=0)

_STEPS = {"decoder_num_inference_steps": 3, "super_res_num_inference_steps": 3}


def _run(unclip, *arguments, **keywords):
    """The image, and what the last network predicted: UnCLIP clips its last sample itself."""
    with watch_latents(unclip, "super_res_scheduler") as watch:
        image = unclip(*arguments, output_type="np", **keywords, **_STEPS)[0]
    return image, {"sample": watch.last_sample, "prediction": watch.last_model_output}


def _picture():
    """A picture of 48 x 48 with a gradient in each colour: no file, no randomness."""
    from PIL import Image

    row, column = np.mgrid[0:48, 0:48]
    colours = np.stack([5 * row, 5 * column, 2 * (row + column)], axis=-1)
    return Image.fromarray(colours.astype(np.uint8))


def test_text_to_image(repro_unclip, repro_generator, repro_check):
    image, latents = _run(
        repro_unclip,
        "a photo of a red panda",
        prior_num_inference_steps=2,
        generator=repro_generator,
    )
    repro_check(image, name="image")
    repro_check(latents, name="latents")


def test_image_variation(repro_unclip_image_variation, repro_generator, repro_check):
    image, latents = _run(repro_unclip_image_variation, _picture(), generator=repro_generator)
    repro_check(image, name="image")
    repro_check(latents, name="latents")
