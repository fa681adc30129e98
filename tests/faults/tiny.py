"""The pipelines of the fault list in small sizes, with seeded weights."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from pytest_repro.model.ids import DrawLog
from pytest_repro.noise.generator import NoiseBook
from pytest_repro.pipelines import unclip
from pytest_repro.pipelines.weights import seeded_parameters
from tests.models.latents import watch_latents

__all__ = ["Seen", "run_tiny", "tiny_ddim", "tiny_unclip"]

Seen = tuple[dict[str, NDArray[Any]], DrawLog]

_STEPS_OF_DDIM = 2
# A step from 999 straight to 0 would not see float16 betas: alphas[0] is the same float32.
_STEPS_OF_UNCLIP = 3


def tiny_ddim() -> Any:
    """DDIM for images of 8 x 8, with every layer that the fault list names."""
    from mindone.diffusers import DDIMPipeline, DDIMScheduler, UNet2DModel

    # Heads of 16 channels, so that the attention's scale is a power of two as in the real one.
    unet = UNet2DModel(
        sample_size=8,
        block_out_channels=(32, 64),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=16,
        layers_per_block=2,
        norm_num_groups=32,
        freq_shift=1,
        flip_sin_to_cos=False,
    )
    return _seeded(DDIMPipeline(unet=unet, scheduler=DDIMScheduler(clip_sample=True)), ("unet",))


def tiny_unclip() -> Any:
    """UnCLIP for images of 16 x 16; all but the sizes of its pictures are the model tests'."""
    small = patch.dict(unclip._DECODER, sample_size=8)
    with small, patch.dict(unclip._SUPER_RES, sample_size=16):
        made = unclip._build_unclip()
    names = ("decoder", "prior", "super_res_first", "super_res_last", "text_encoder", "text_proj")
    return _seeded(made, names)


def _seeded(pipeline: Any, components: tuple[str, ...]) -> Any:
    import mindspore

    for name in components:
        parameters = {str(one.name): one for one in getattr(pipeline, name).get_parameters()}
        shapes = {key: tuple(one.shape) for key, one in parameters.items()}
        for key, array in seeded_parameters(name, shapes).items():
            parameters[key].set_data(mindspore.Tensor(array))
        getattr(pipeline, name).set_train(False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def run_tiny(pipeline: Any) -> Seen:
    """The image, the last sample with the noise predicted for it, and the draw log."""
    book = NoiseBook()
    keywords = {"output_type": "np", "generator": book.generator(0)}
    if type(pipeline).__name__ == "UnCLIPPipeline":
        stages = ("prior", "decoder", "super_res")
        keywords |= {f"{one}_num_inference_steps": _STEPS_OF_UNCLIP for one in stages}
        keywords["prompt"] = "a red panda"
    else:
        keywords["num_inference_steps"] = _STEPS_OF_DDIM
    name = "scheduler" if hasattr(pipeline, "scheduler") else "super_res_scheduler"
    with watch_latents(pipeline, name) as watch:
        image = pipeline(**keywords)[0]
    latents = {"sample": watch.last_sample, "prediction": watch.last_model_output}
    return {"image": np.asarray(image), **latents}, book.draw_log()
