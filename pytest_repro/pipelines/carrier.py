"""Owns the conditioning of seeded noise predictors: a carrier from input to output."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Weights = dict[str, NDArray[np.float32]]

_GROUP_SIZE = 4
_RESNET = re.compile(r"up_blocks\.(\d+)\.resnets\.(\d+)\.conv_shortcut\.weight")


@dataclass(frozen=True, slots=True)
class Conditioning:
    """How a noise predictor is conditioned.

    Attributes:
        gain: Slope of the predicted noise over the input, at an input of unit variance.
        level: Constant beside the input in its norm group: how little the norm follows the input.
        residual_std: Standard deviation of what the network itself adds to the predicted noise.
        guide: How far a super-resolution network follows the picture it enlarges.
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
    group divides by ``sqrt((var(x) + level^2) / 2)``.

    Args:
        weights: Parameters by Hugging Face's names: a UNet whose last norm has groups of four
            channels, with 3 image channels first in its input.
        rule: The conditioning.
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
    # The last branch writes onto the carriers too: as much as the residual, not more.
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
