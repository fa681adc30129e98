"""Seeded weights: every parameter of a network from its name alone, the same everywhere.

A parameter is drawn from a PCG64 whose seed is the SHA-256 of its name. Only raw 64-bit words are
drawn, and exact operations turn them into numbers: numpy guarantees the raw stream of a bit
generator, but not the results of `Generator` methods (NEP 19), and the tails of its normal
distribution use the C library's logarithm.

Alone ("naive") such weights make poor images, so `condition` changes the noise predictors.
docs/pipelines.md has the measurements.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RECIPE = "seeded weights 1"
"""Part of every seed and of the cache's path: change it whenever a weight changes."""

_BIAS_STD = 0.05
_EMBEDDING_STD = 0.5
_BRANCH_STD = 0.5

# The last layer of each residual branch is damped, so depth does not add up variance.
_BRANCH_ENDS = (".conv2.weight", ".to_out.0.weight", ".ff.net.2.weight", ".fc2.weight")
_ONES = (".norm", "norm.", "_norm", "norm1.", "norm2.", "norm3.", "layrnorm.", "layernorm.")


def draw_uniform(name: str, shape: tuple[int, ...], std: float) -> NDArray[np.float32]:
    """Numbers uniform on ``[-sqrt(3) std, sqrt(3) std)``, the same bits on every platform.

    ``name`` and `RECIPE` decide the numbers. Source: a uniform distribution of width ``w`` has the
    standard deviation ``w / sqrt(12)``.
    """
    seed = int.from_bytes(hashlib.sha256(f"{RECIPE}\0{name}".encode()).digest(), "big")
    count = math.prod(shape)
    words = np.random.PCG64(seed).random_raw((count + 1) // 2).astype("<u8", copy=False)
    # A float32 holds 24 bits exactly, so each step up to the last product is exact.
    halves = words.view("<u4")[:count] >> np.uint32(8)
    centred = halves.astype(np.float32) * np.float32(2.0**-23) - np.float32(1.0)
    scaled: NDArray[np.float32] = centred * np.float32(math.sqrt(3.0) * std)
    return scaled.reshape(shape)


def seeded_parameters(
    component: str, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, NDArray[np.float32]]:
    """Weights of one network: float32 arrays by Hugging Face's parameter names.

    Matrices and kernels have the standard deviation ``1 / sqrt(fan_in)`` (LeCun et al., Efficient
    BackProp, 1998, section 4.6), the last one of a residual branch half of that; norms are 1 and 0.
    ``component`` is part of every name, so two networks of one shape differ.
    """
    return {name: _parameter(component, name, shape) for name, shape in shapes.items()}


def _parameter(component: str, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    if _is_norm(name) or name == "clip_std":
        return np.full(shape, 0.0 if name.endswith(".bias") else 1.0, np.float32)
    return draw_uniform(f"{component}.{name}", shape, _std(name, shape))


def _is_norm(name: str) -> bool:
    # An adaptive norm holds dense layers, which make its scale and shift.
    is_inside = any(mark in name for mark in (".linear.", ".emb."))
    return not is_inside and any(mark in name for mark in _ONES)


def _std(name: str, shape: tuple[int, ...]) -> float:
    if name.endswith(".bias") or name == "clip_mean":
        return _BIAS_STD
    if "embedding" in name and not name.endswith(_DENSE_EMBEDDINGS):
        return _EMBEDDING_STD
    damping = _BRANCH_STD if name.endswith(_BRANCH_ENDS) else 1.0
    return damping / math.sqrt(math.prod(shape[1:]))


# Dense layers and kernels with "embedding" in their names.
_DENSE_EMBEDDINGS = (
    "linear_1.weight",
    "linear_2.weight",
    "embedding_proj.weight",
    "patch_embedding.weight",
    "time_embeddings.weight",
    "proj_to_clip_embeddings.weight",
)


Weights = dict[str, NDArray[np.float32]]

_GROUP_SIZE = 4
_RESNET = re.compile(r"up_blocks\.(\d+)\.resnets\.(\d+)\.conv_shortcut\.weight")


@dataclass(frozen=True, slots=True)
class Conditioning:
    """How a noise predictor is conditioned.

    Attributes:
        gain: Slope of the predicted noise over the input, at an input of unit variance.
        level: Constant beside the input in its norm group, so the norm hardly follows the input.
        residual_std: Standard deviation of the network's own part of the predicted noise.
        guide: How much a super-resolution network follows the picture it enlarges.
    """

    gain: float = 0.99
    level: float = 2.0
    residual_std: float = 0.1
    guide: float = 0.3


CONDITIONING = Conditioning()


def condition(weights: Weights, rule: Conditioning = CONDITIONING) -> None:
    """Change a UNet's weights in place so that it predicts ``gain * x + residual``.

    For each colour four channels carry ``x, -x, level, -level`` from `conv_in` over the last skip
    connection to the last norm, and `conv_out` takes ``silu(x) - silu(-x) = x`` from them; all
    other channels, from all layers, reach the output with `residual_std`. The norm over such a
    group divides by ``sqrt((var(x) + level^2) / 2)``. The UNet's last norm must have groups of four
    channels, and its input 3 image channels first; names are Hugging Face's.
    """
    colours = 3
    resnet = _last_resnet(weights)
    _carry_in(weights, rule, colours)
    _carry_over(weights, resnet, rule, colours)
    _carry_out(weights, rule, colours)


def _last_resnet(weights: Weights) -> str:
    found = [match for name in weights if (match := _RESNET.fullmatch(name))]
    last = max(found, key=lambda match: (int(match[1]), int(match[2])))
    return last[0].removesuffix("conv_shortcut.weight")


def _carry_in(weights: Weights, rule: Conditioning, colours: int) -> None:
    kernel, bias = weights["conv_in.weight"], weights["conv_in.bias"]
    carriers = colours * _GROUP_SIZE
    kernel[:carriers] = 0.0
    bias[:carriers] = 0.0
    for colour in range(colours):
        first = colour * _GROUP_SIZE
        for offset, sign in ((0, 1.0), (1, -1.0)):
            kernel[first + offset, colour, 1, 1] = sign
            if kernel.shape[1] == 2 * colours:
                kernel[first + offset, colours + colour, 1, 1] = -sign * rule.guide
        bias[first + 2], bias[first + 3] = rule.level, -rule.level


def _carry_over(weights: Weights, resnet: str, rule: Conditioning, colours: int) -> None:
    carriers = colours * _GROUP_SIZE
    shortcut = weights[f"{resnet}conv_shortcut.weight"]
    skip = shortcut.shape[1] - weights["conv_in.weight"].shape[0]
    shortcut[:carriers] = 0.0
    for channel in range(carriers):
        shortcut[channel, skip + channel] = 1.0
    weights[f"{resnet}conv_shortcut.bias"][:carriers] = 0.0
    # The last branch also writes to the carrier channels, no more than the residual.
    weights[f"{resnet}conv2.weight"][:carriers] *= np.float32(rule.residual_std)
    weights[f"{resnet}conv2.bias"][:carriers] *= np.float32(rule.residual_std)


def _carry_out(weights: Weights, rule: Conditioning, colours: int) -> None:
    kernel = weights["conv_out.weight"]
    carriers = colours * _GROUP_SIZE
    slope = rule.gain * math.sqrt((1.0 + rule.level**2) / 2.0)
    kernel *= np.float32(rule.residual_std / _SILU_RMS)
    kernel[:colours, :carriers] = 0.0
    weights["conv_out.bias"] *= np.float32(rule.residual_std)
    for colour in range(colours):
        first = colour * _GROUP_SIZE
        kernel[colour, first, 1, 1] = slope
        kernel[colour, first + 1, 1, 1] = -slope


# sqrt(E[silu(z)^2]) for z ~ N(0, 1), by numerical integration.
_SILU_RMS = 0.596
