"""The two UnCLIP pipelines, from text and from an image, in small sizes, and their tokenizer."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from pytest_repro.pipelines.family import Family

_START, _END = "<|startoftext|>", "<|endoftext|>"
_WORD_END = "</w>"
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,!?'-"
_WORDS = "a an and blue cat corgi dog flower high horse in is of on panda photo quality red the to"

VOCABULARY_RECIPE = f"{_LETTERS}|{_WORDS}"

# Sizes from tests/pipelines/unclip/test_unclip.py of Hugging Face diffusers. Norms have groups of
# four channels (there: one) for the conditioning; the ids are the tokenizer's.
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


def write_vocabulary(folder: Path) -> None:
    """Write ``vocab.json`` and ``merges.txt`` of a byte-pair encoding into ``folder``.

    Letters and final letters come first, then every prefix of the words, one merge for each letter.
    The two marks come last, because CLIP's text encoder finds the end of a text by its largest id.
    An unknown letter becomes the end mark, CLIP's unknown token.
    """
    tokens = [*_LETTERS, *(letter + _WORD_END for letter in _LETTERS)]
    merges: dict[tuple[str, str], None] = {}
    for word in _WORDS.split():
        merges.update(dict.fromkeys(_merges_of(word)))
    tokens += dict.fromkeys(left + right for left, right in merges)
    tokens += [_START, _END]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    lines = ["#version: 0.2", *(f"{left} {right}" for left, right in merges)]
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    # CLIPTokenizer drops the first and the last line of a merges file.
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _merges_of(word: str) -> list[tuple[str, str]]:
    """Merges that build ``word`` from its left: c+a, ca+t</w>."""
    symbols = [*word[:-1], word[-1] + _WORD_END]
    return [("".join(symbols[:n]), symbols[n]) for n in range(1, len(symbols))]


def vocabulary_size(folder: Path) -> int:
    """Number of tokens in the ``vocab.json`` that `write_vocabulary` wrote."""
    return len(json.loads((folder / "vocab.json").read_text(encoding="utf-8")))


def build_tokenizer(folder: Path) -> Any:
    """A ``transformers.CLIPTokenizer`` with the vocabulary in ``folder``, for 77 tokens."""
    from transformers import CLIPTokenizer

    return CLIPTokenizer(
        str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77
    )


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


def _repair_attention(unclip: Any) -> None:
    """Make the prior's attention accept its mask, which mindone 0.3.0 to 0.5.0 does not.

    `Attention.math_attention_op` flattens queries, keys and values there, but not the mask. The
    older processor computes the same bits as mindone 0.2.0.
    """
    from mindone.diffusers.models.attention_processor import Attention, AttnProcessor

    if hasattr(Attention, "math_attention_op"):
        unclip.prior.set_attn_processor(AttnProcessor())


UNCLIP = Family(
    name="unclip",
    class_name="UnCLIPPipeline",
    components=(*_SHARED_COMPONENTS, "prior", "prior_scheduler"),
    repository="kakaobrain/karlo-v1-alpha",
    # No public source names a commit of it.
    revision="",
    seed_prefix="unclip",
    recipe=f"{_SHARED_RECIPE}\n{_PRIOR}\n{_PRIOR_SCHEDULER}",
    build=_build_unclip,
    conditioned=_NOISE_PREDICTORS,
    repair=_repair_attention,
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
