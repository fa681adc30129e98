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
import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_repro.errors import WeightsError
from pytest_repro.model.baseline import WeightsDigest
from pytest_repro.store.files import read_regular

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


def weights_digests(pipeline: Any) -> tuple[WeightsDigest, ...]:
    """The digest of each component that has parameters, sorted by component.

    A component's digest is `core.digest.digest_leaves` over its parameters sorted by their path in
    the component, each with the digest of its dtype, shape and bytes. Not by ``Parameter.name``,
    which MindSpore changes where a run puts a cell into another list, as mindone's UnCLIP does.

    Args:
        pipeline: Any mindone pipeline (an object with ``components``).
    """
    if "mindspore" not in sys.modules:
        return ()
    from mindspore import nn

    cells = {name: part for name, part in pipeline.components.items() if isinstance(part, nn.Cell)}
    return tuple(_component(name, cells[name]) for name in sorted(cells))


def _component(name: str, cell: Any) -> WeightsDigest:
    from pytest_repro.tensors.digest import digest_leaves
    from pytest_repro.tensors.record import make_record

    named = cell.parameters_and_names()
    leaves = sorted((str(path), make_record(_numbers(one)).digest) for path, one in named)
    return WeightsDigest(name, digest_leaves(leaves))


def _numbers(parameter: Any) -> NDArray[Any]:
    array = parameter.asnumpy()
    if array.dtype == np.dtype("V2"):
        # MindSpore without its own bfloat16 for numpy hands out raw pairs of bytes.
        import ml_dtypes

        return np.asarray(array.view(ml_dtypes.bfloat16))
    return np.asarray(array)


PICKLE_SUFFIXES = (".bin", ".ckpt", ".msgpack", ".pkl", ".pt", ".pth")
"""Endings of files that run code when they are unpickled, or that mindone does not read."""

# Components that have no weights, by the ends of their class names.
_WEIGHTLESS = ("Scheduler", "Tokenizer", "TokenizerFast", "ImageProcessor", "FeatureExtractor")


def lists_weights(class_name: str) -> bool:
    """Whether a component of that class has weights."""
    return not class_name.endswith(_WEIGHTLESS)


def listed_components(index: object) -> tuple[tuple[str, str], ...]:
    """``(component, class name)`` of each component in a parsed ``model_index.json``, sorted.

    Raises:
        ValueError: The value is not such an index.
    """
    if not isinstance(index, dict):
        raise ValueError("model_index.json is not a mapping")
    found = [
        (name, str(value[1]))
        for name, value in index.items()
        if not name.startswith("_") and isinstance(value, list) and len(value) == 2 and value[1]
    ]
    return tuple(sorted(found))


def check_weight_files(folder: Path, components: tuple[str, ...]) -> None:
    """Demand that each component that has weights has them as safetensors.

    Args:
        folder: A pipeline's folder; weights in a folder a component, or beside the index.
        components: Components that must be there.

    Raises:
        WeightsError: No pipeline, a component is missing, or its weights are pickled or absent.
    """
    index = _read_index(folder)
    absent = [name for name in components if name not in dict(index)]
    if absent:
        raise WeightsError(
            f"the pipeline has no {', '.join(absent)}.",
            where=str(folder / "model_index.json"),
            next_step="point --repro-weights at a pipeline of the right kind",
        )
    for name, class_name in index:
        if lists_weights(class_name):
            _check_component(folder, name)


def _read_index(folder: Path) -> tuple[tuple[str, str], ...]:
    path = folder / "model_index.json"
    try:
        parsed: Any = json.loads(read_regular(path).decode("utf-8"))
        return listed_components(parsed)
    except (OSError, ValueError) as error:
        raise WeightsError(
            "not the folder of a pipeline.",
            facts=(str(error),),
            where=str(folder),
            next_step="give --repro-weights a folder that save_pretrained() wrote",
        ) from error


def _check_component(folder: Path, name: str) -> None:
    # google/ddpm-cifar10-32 keeps its only network beside the index, not in a folder.
    place = folder / name if (folder / name).is_dir() else folder
    files = sorted(path.name for path in place.iterdir() if path.is_file())
    if any(file.endswith(".safetensors") for file in files):
        return
    pickled = tuple(file for file in files if file.endswith(PICKLE_SUFFIXES))
    what = "are pickled" if pickled else "are missing"
    raise WeightsError(
        f"the weights of {name} {what}; only safetensors are loaded.",
        facts=tuple(f"found {file}" for file in pickled),
        where=str(place),
        next_step="convert them to safetensors by hand, or take a revision that has them",
    )
