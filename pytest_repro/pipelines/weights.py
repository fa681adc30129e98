"""Owns the seeded weights: every parameter of a network from its name alone, the same everywhere.

A parameter is drawn from a PCG64 whose seed is the SHA-256 of its name. Only raw 64-bit words are
taken from the generator and turned into numbers by exact operations, because numpy promises the raw
stream of a bit generator for good, but not what `Generator` methods make of it (NEP 19), and the
tails of its normal distribution pass through the C library's logarithm.

Alone ("naive") such weights make poor images, so that `carrier.condition` changes the noise
predictors. By ``python -m pytest_repro.pipelines.conditioning`` (all rows: docs/pipelines.md):

| DDIM steps | on two values, naive | conditioned | rel_l2 of one ULP, naive | conditioned |
| --- | --- | --- | --- | --- |
| 2 | 58.6% | 0.9% | 4.6e-07 | 4.2e-07 |
| 10 | 6.0% | 1.9% | 1.0e-05 | 1.6e-07 |
| 50 | 1.6% | 3.4% | 1.8e-01 | 2.5e-07 |
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

__all__ = ["RECIPE", "draw_uniform", "seeded_parameters"]

RECIPE = "seeded weights 1"
"""Part of every seed and of the cache's path: change it whenever a weight would change."""

_BIAS_STD = 0.05
_EMBEDDING_STD = 0.5
_BRANCH_STD = 0.5

# The last layer of each residual branch: damped, so that depth does not pile up variance.
_BRANCH_ENDS = (".conv2.weight", ".to_out.0.weight", ".ff.net.2.weight", ".fc2.weight")
_ONES = (".norm", "norm.", "_norm", "norm1.", "norm2.", "norm3.", "layrnorm.", "layernorm.")


def draw_uniform(name: str, shape: tuple[int, ...], std: float) -> NDArray[np.float32]:
    """Numbers uniform on ``[-sqrt(3) std, sqrt(3) std)``, the same bits on every platform.

    Source: a uniform distribution of width ``w`` has the standard deviation ``w / sqrt(12)``.

    Args:
        name: Decides the numbers, together with `RECIPE`.
        shape: Any shape; C order.
        std: Standard deviation, in the unit of the parameter.
    """
    seed = int.from_bytes(hashlib.sha256(f"{RECIPE}\0{name}".encode()).digest(), "big")
    count = math.prod(shape)
    words = np.random.PCG64(seed).random_raw((count + 1) // 2).astype("<u8", copy=False)
    # 24 bits are what a float32 holds exactly, so that each step up to the last product is exact.
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

    Args:
        component: Part of every name, so that two networks of one shape differ, e.g.
            ``unclip.super_res_first``.
        shapes: Parameter name to shape.
    """
    return {name: _parameter(component, name, shape) for name, shape in shapes.items()}


def _parameter(component: str, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    if _is_norm(name) or name == "clip_std":
        return np.full(shape, 0.0 if name.endswith(".bias") else 1.0, np.float32)
    return draw_uniform(f"{component}.{name}", shape, _std(name, shape))


def _is_norm(name: str) -> bool:
    return any(mark in name for mark in _ONES)


def _std(name: str, shape: tuple[int, ...]) -> float:
    if name.endswith(".bias") or name == "clip_mean":
        return _BIAS_STD
    if "embedding" in name and not name.endswith(_DENSE_EMBEDDINGS):
        return _EMBEDDING_STD
    damping = _BRANCH_STD if name.endswith(_BRANCH_ENDS) else 1.0
    return damping / math.sqrt(math.prod(shape[1:]))


# Dense layers and kernels that carry "embedding" in their names.
_DENSE_EMBEDDINGS = (
    "linear_1.weight",
    "linear_2.weight",
    "embedding_proj.weight",
    "patch_embedding.weight",
    "time_embeddings.weight",
    "proj_to_clip_embeddings.weight",
)
