"""The DDIM pipeline: the architecture of google/ddpm-cifar10-32 and where it comes from."""

from __future__ import annotations

from typing import Any

from pytest_repro.pipelines.family import Family

# Source: config.json of google/ddpm-cifar10-32 on the Hub; 328 tensors, 35,746,307 parameters.
_UNET = {
    "act_fn": "silu",
    "attention_head_dim": None,
    "block_out_channels": (128, 256, 256, 256),
    "center_input_sample": False,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "in_channels": 3,
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-6,
    "norm_num_groups": 32,
    "out_channels": 3,
    "sample_size": 32,
    "time_embedding_type": "positional",
    "up_block_types": ("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
}

# Source: scheduler_config.json there, the entries that a DDIM scheduler has.
_SCHEDULER = {
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "beta_start": 0.0001,
    "clip_sample": True,
    "num_train_timesteps": 1000,
    "trained_betas": None,
}


def _build() -> Any:
    from mindone.diffusers import DDIMPipeline, DDIMScheduler, UNet2DModel

    return DDIMPipeline(unet=UNet2DModel(**_UNET), scheduler=DDIMScheduler(**_SCHEDULER))


DDIM = Family(
    name="ddim",
    class_name="DDIMPipeline",
    components=("unet", "scheduler"),
    repository="google/ddpm-cifar10-32",
    # The snapshot of `main` in public logs. It has only pickled weights, so it is refused: name a
    # commit with safetensors as hub@<commit>.
    revision="267b167dc01f0e4e61923ea244e8b988f84deb80",
    seed_prefix="ddim",
    recipe=f"{_UNET}\n{_SCHEDULER}",
    build=_build,
    conditioned=("unet",),
)
