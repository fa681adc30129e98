"""Owns the two UnCLIP pipelines: from text, and variations of an image, in small sizes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from pytest_repro.pipelines.family import Family, load_family
from pytest_repro.pipelines.source import WeightsSource
from pytest_repro.pipelines.tokenizer import (
    VOCABULARY_RECIPE,
    build_tokenizer,
    vocabulary_size,
    write_vocabulary,
)

# Sizes after tests/pipelines/unclip/test_unclip.py of Hugging Face diffusers. Norms have groups of
# four channels (there: one), which the carrier of the conditioning needs; ids of the tokenizer.
_TEXT = {
    "hidden_size": 32,
    "intermediate_size": 37,
    "layer_norm_eps": 1e-5,
    "num_attention_heads": 4,
    "num_hidden_layers": 5,
    "projection_dim": 32,
}
_VISION = {**_TEXT, "image_size": 32, "patch_size": 4}
_PRIOR = {
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "embedding_dim": 32,
    "num_layers": 1,
}
_TEXT_PROJ = {"clip_embeddings_dim": 32, "time_embed_dim": 128, "cross_attention_dim": 100}
_DECODER = {
    "sample_size": 32,
    "in_channels": 3,
    "out_channels": 6,
    "down_block_types": ("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
    "up_block_types": ("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
    "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
    "block_out_channels": (32, 64),
    "layers_per_block": 1,
    "cross_attention_dim": 100,
    "attention_head_dim": 4,
    "resnet_time_scale_shift": "scale_shift",
    "class_embed_type": "identity",
    "norm_num_groups": 8,
}
_SUPER_RES = {
    "sample_size": 64,
    "layers_per_block": 1,
    "down_block_types": ("ResnetDownsampleBlock2D", "ResnetDownsampleBlock2D"),
    "up_block_types": ("ResnetUpsampleBlock2D", "ResnetUpsampleBlock2D"),
    "block_out_channels": (32, 64),
    "in_channels": 6,
    "out_channels": 3,
    "norm_num_groups": 8,
}
# Source: the three scheduler_config.json of kakaobrain/karlo-v1-alpha, as in that test.
_PRIOR_SCHEDULER = {
    "variance_type": "fixed_small_log",
    "prediction_type": "sample",
    "num_train_timesteps": 1000,
    "clip_sample_range": 5.0,
}
_DECODER_SCHEDULER = {
    "variance_type": "learned_range",
    "prediction_type": "epsilon",
    "num_train_timesteps": 1000,
}
_SUPER_RES_SCHEDULER = {**_DECODER_SCHEDULER, "variance_type": "fixed_small_log"}

_SHARED_RECIPE = (
    f"{_TEXT}\n{_TEXT_PROJ}\n{_DECODER}\n{_SUPER_RES}\n{_DECODER_SCHEDULER}\n"
    f"{_SUPER_RES_SCHEDULER}\n{VOCABULARY_RECIPE}"
)
_SHARED_COMPONENTS = (
    "decoder",
    "decoder_scheduler",
    "super_res_first",
    "super_res_last",
    "super_res_scheduler",
    "text_encoder",
    "text_proj",
    "tokenizer",
)
_NOISE_PREDICTORS = ("decoder", "super_res_first", "super_res_last")


def _shared() -> dict[str, Any]:
    """The components of both pipelines, by name."""
    from mindone import diffusers
    from mindone.diffusers.pipelines.unclip.text_proj import UnCLIPTextProjModel
    from mindone.transformers import CLIPTextModelWithProjection
    from transformers import CLIPTextConfig

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_vocabulary(folder)
        tokenizer, size = build_tokenizer(folder), vocabulary_size(folder)
    ids = {"bos_token_id": size - 2, "eos_token_id": size - 1, "pad_token_id": size - 1}
    return {
        "decoder": diffusers.UNet2DConditionModel(**_DECODER),
        "decoder_scheduler": diffusers.UnCLIPScheduler(**_DECODER_SCHEDULER),
        "super_res_first": diffusers.UNet2DModel(**_SUPER_RES),
        "super_res_last": diffusers.UNet2DModel(**_SUPER_RES),
        "super_res_scheduler": diffusers.UnCLIPScheduler(**_SUPER_RES_SCHEDULER),
        "text_encoder": CLIPTextModelWithProjection(
            CLIPTextConfig(**_TEXT, **ids, vocab_size=size)
        ),
        "text_proj": UnCLIPTextProjModel(**_TEXT_PROJ),
        "tokenizer": tokenizer,
    }


def _build_unclip() -> Any:
    from mindone import diffusers

    return diffusers.UnCLIPPipeline(
        prior=diffusers.PriorTransformer(**_PRIOR),
        prior_scheduler=diffusers.UnCLIPScheduler(**_PRIOR_SCHEDULER),
        **_shared(),
    )


def _build_image_variation() -> Any:
    from mindone.diffusers import UnCLIPImageVariationPipeline
    from mindone.transformers import CLIPVisionModelWithProjection
    from transformers import CLIPImageProcessor, CLIPVisionConfig

    return UnCLIPImageVariationPipeline(
        feature_extractor=CLIPImageProcessor(crop_size=32, size=32),
        image_encoder=CLIPVisionModelWithProjection(CLIPVisionConfig(**_VISION)),
        **_shared(),
    )


UNCLIP = Family(
    name="unclip",
    class_name="UnCLIPPipeline",
    components=(*_SHARED_COMPONENTS, "prior", "prior_scheduler"),
    repository="kakaobrain/karlo-v1-alpha",
    # No commit of it is known to us from any public source, and a guess would be no pin.
    revision="",
    seed_prefix="unclip",
    recipe=f"{_SHARED_RECIPE}\n{_PRIOR}\n{_PRIOR_SCHEDULER}",
    build=_build_unclip,
    conditioned=_NOISE_PREDICTORS,
)

UNCLIP_IMAGE_VARIATION = Family(
    name="unclip-image-variation",
    class_name="UnCLIPImageVariationPipeline",
    components=(*_SHARED_COMPONENTS, "feature_extractor", "image_encoder"),
    repository="kakaobrain/karlo-v1-alpha-image-variations",
    revision="",
    # Shared components have the same seeded weights in both pipelines.
    seed_prefix="unclip",
    recipe=f"{_SHARED_RECIPE}\n{_VISION}",
    build=_build_image_variation,
    conditioned=_NOISE_PREDICTORS,
)


def load_unclip(source: WeightsSource, *, dtype: str = "float32") -> Any:
    """A quiet ``mindone.diffusers.UnCLIPPipeline``: text to an image of 64 x 64 when seeded.

    Args:
        source: Where the weights come from.
        dtype: ``float32``, ``float16`` or ``bfloat16`` (which CPU kernels lack).

    Raises:
        WeightsError: The weights cannot be had, are pickled, or do not fit; or mindone is missing.
    """
    return load_family(UNCLIP, source, dtype)


def load_unclip_image_variation(source: WeightsSource, *, dtype: str = "float32") -> Any:
    """A quiet ``mindone.diffusers.UnCLIPImageVariationPipeline``: image to image of 64 x 64.

    Args:
        source: Where the weights come from.
        dtype: ``float32``, ``float16`` or ``bfloat16`` (which CPU kernels lack).

    Raises:
        WeightsError: The weights cannot be had, are pickled, or do not fit; or mindone is missing.
    """
    return load_family(UNCLIP_IMAGE_VARIATION, source, dtype)
