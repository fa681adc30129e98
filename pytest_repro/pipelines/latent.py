"""Small pipelines that denoise latents: Stable Diffusion, its XL and third version, DiT, a video.

None has a text encoder: a test gives the embeddings of its prompt. Sizes are about those of the
tests of the same pipelines in Hugging Face's diffusers (tests/pipelines), with more channels for
each norm group.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytest_repro.pipelines.family import Family

_VAE = {
    "block_out_channels": (32, 64),
    "down_block_types": ("DownEncoderBlock2D", "DownEncoderBlock2D"),
    "up_block_types": ("UpDecoderBlock2D", "UpDecoderBlock2D"),
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 4,
    "norm_num_groups": 8,
    "sample_size": 32,
}
_UNET = {
    "block_out_channels": (32, 64),
    "layers_per_block": 1,
    "sample_size": 16,
    "in_channels": 4,
    "out_channels": 4,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "cross_attention_dim": 32,
    "attention_head_dim": 8,
    "norm_num_groups": 8,
}
_XL_UNET = {
    **_UNET,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "transformer_layers_per_block": (1, 2),
    # Six numbers of eight each, and the pooled embedding of 32.
    "projection_class_embeddings_input_dim": 80,
    "cross_attention_dim": 64,
    "use_linear_projection": True,
}
_MOTION_UNET = {
    **{name: value for name, value in _UNET.items() if name != "attention_head_dim"},
    "down_block_types": ("DownBlockMotion", "CrossAttnDownBlockMotion"),
    "up_block_types": ("CrossAttnUpBlockMotion", "UpBlockMotion"),
    "num_attention_heads": 4,
    "motion_num_attention_heads": 4,
    "motion_max_seq_length": 8,
    # The last block of mindone 0.2.0 takes 32 for its motion modules, whatever is asked for.
    "norm_num_groups": 32,
}
_DIT = {
    "sample_size": 8,
    "num_layers": 2,
    "patch_size": 2,
    "attention_head_dim": 8,
    "num_attention_heads": 2,
    "in_channels": 4,
    "out_channels": 8,
    "attention_bias": True,
    "activation_fn": "gelu-approximate",
    "num_embeds_ada_norm": 1000,
    "norm_type": "ada_norm_zero",
    "norm_elementwise_affine": False,
}
_SD3 = {
    "sample_size": 16,
    "patch_size": 2,
    "in_channels": 4,
    "out_channels": 4,
    "num_layers": 2,
    "attention_head_dim": 8,
    "num_attention_heads": 4,
    "caption_projection_dim": 32,
    "joint_attention_dim": 32,
    "pooled_projection_dim": 64,
}
# Source: scheduler_config.json of stable-diffusion-v1-5, as in its pipeline's documentation.
_BETAS = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
}
_PNDM = {**_BETAS, "skip_prk_steps": True, "steps_offset": 1}
_EULER = {**_BETAS, "steps_offset": 1}
# Source: the scheduler in the documentation of AnimateDiff.
_LINEAR = {
    **_BETAS,
    "beta_schedule": "linear",
    "clip_sample": False,
    "steps_offset": 1,
    "timestep_spacing": "linspace",
}
_FLOW = {"num_train_timesteps": 1000, "shift": 3.0}
_SD3_VAE = {**_VAE, "shift_factor": 0.0609, "scaling_factor": 1.5305}


def _sd_parts() -> dict[str, Any]:
    from mindone import diffusers

    return {
        "unet": diffusers.UNet2DConditionModel(**_UNET),
        "scheduler": diffusers.PNDMScheduler(**_PNDM),
        "vae": diffusers.AutoencoderKL(**_VAE),
        "text_encoder": None,
        "tokenizer": None,
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }


def _xl_parts() -> dict[str, Any]:
    from mindone import diffusers

    absent = ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")
    return {
        "unet": diffusers.UNet2DConditionModel(**_XL_UNET),
        "scheduler": diffusers.EulerDiscreteScheduler(**_EULER),
        "vae": diffusers.AutoencoderKL(**_VAE),
        **dict.fromkeys(absent),
    }


def _animatediff_parts() -> dict[str, Any]:
    from mindone import diffusers

    return {
        "unet": diffusers.UNetMotionModel(**_MOTION_UNET),
        "scheduler": diffusers.DDIMScheduler(**_LINEAR),
        "vae": diffusers.AutoencoderKL(**_VAE),
        "motion_adapter": None,
        "text_encoder": None,
        "tokenizer": None,
    }


def _dit_parts() -> dict[str, Any]:
    from mindone import diffusers

    return {
        "transformer": diffusers.DiTTransformer2DModel(**_DIT),
        "scheduler": diffusers.DDIMScheduler(),
        "vae": diffusers.AutoencoderKL(**_VAE),
    }


def _sd3_parts() -> dict[str, Any]:
    from mindone import diffusers

    encoders = ("text_encoder", "text_encoder_2", "text_encoder_3")
    return {
        "transformer": diffusers.SD3Transformer2DModel(**_SD3),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(**_FLOW),
        "vae": diffusers.AutoencoderKL(**_SD3_VAE),
        **dict.fromkeys(
            (*encoders, *(one.replace("text_encoder", "tokenizer") for one in encoders))
        ),
    }


def _family(
    name: str, class_name: str, repository: str, parts: Callable[[], dict[str, Any]], *sizes: object
) -> Family:
    network = "transformer" if parts in (_dit_parts, _sd3_parts) else "unet"

    def build() -> Any:
        from mindone import diffusers

        return getattr(diffusers, class_name)(**parts())

    return Family(
        name=name,
        class_name=class_name,
        components=(network, "scheduler", "vae"),
        repository=repository,
        revision="",
        seed_prefix=name,
        recipe="\n".join(map(str, sizes)),
        build=build,
        # The conditioning is for pictures of three colours, and these images need none: the model
        # tests require that four fifths of them are neither black nor white.
        conditioned=(),
    )


STABLE_DIFFUSION = _family(
    "stable-diffusion",
    "StableDiffusionPipeline",
    "stable-diffusion-v1-5/stable-diffusion-v1-5",
    _sd_parts,
    *(_UNET, _VAE, _PNDM),
)
STABLE_DIFFUSION_XL = _family(
    "stable-diffusion-xl",
    "StableDiffusionXLPipeline",
    "stabilityai/stable-diffusion-xl-base-1.0",
    _xl_parts,
    *(_XL_UNET, _VAE, _EULER),
)
STABLE_DIFFUSION_3 = _family(
    "stable-diffusion-3",
    "StableDiffusion3Pipeline",
    "stabilityai/stable-diffusion-3-medium-diffusers",
    _sd3_parts,
    *(_SD3, _SD3_VAE, _FLOW),
)
ANIMATEDIFF = _family(
    "animatediff",
    "AnimateDiffPipeline",
    # It holds the motion modules only: its users load them beside a Stable Diffusion.
    "guoyww/animatediff-motion-adapter-v1-5-2",
    _animatediff_parts,
    *(_MOTION_UNET, _VAE, _LINEAR),
)
DIT = _family("dit", "DiTPipeline", "facebook/DiT-XL-2-256", _dit_parts, _DIT, _VAE)
