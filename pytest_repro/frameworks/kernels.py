"""The operators that diffusion models use, as small calls whose results can be compared bit by bit.

Sizes are those of a small UNet and its text encoder: large enough that a library blocks, vectorises
and divides the work among threads, small enough that all of them take less than two seconds.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

Shape = tuple[int, ...]
_IMAGE: Shape = (1, 64, 32, 32)
_TOKENS: Shape = (2, 77, 256)
_HEADS: Shape = (8, 77, 40)
_NORM_GROUPS = 16


# What a cell computes with, by a part of its class's name and by how kernels' names begin.
_USES = (
    ("Conv", ("conv_",)),
    ("Dense", ("dense", "matmul")),
    ("Linear", ("dense", "matmul")),
    ("GroupNorm", ("group_norm",)),
    ("LayerNorm", ("layer_norm",)),
    ("SiLU", ("silu",)),
    ("GELU", ("gelu",)),
    ("Attention", ("attention", "batch_matmul", "softmax")),
    ("Upsample", ("interpolate",)),
)


def used_by(class_name: str, dtypes: Collection[str], kernels: Iterable[str]) -> tuple[str, ...]:
    """Those of ``kernels`` that a cell of this class computes with.

    Args:
        class_name: Name of the cell's class, e.g. ``Conv2d``.
        dtypes: Of its inputs and outputs.
        kernels: Names with dtypes, e.g. ``conv_3x3.float32``.
    """
    begins = tuple(one for part, names in _USES if part in class_name for one in names)
    return tuple(
        name for name in kernels if name.startswith(begins) and name.rpartition(".")[2] in dtypes
    )


@dataclass(frozen=True, slots=True)
class Kernel:
    """One operator on inputs of fixed shapes.

    Attributes:
        name: What reports call it.
        shapes: Of its inputs, in order.
        run: Computes it from tensors of the framework.
    """

    name: str
    shapes: tuple[Shape, ...]
    run: Callable[..., Any]


def numpy_kernels() -> tuple[Kernel, ...]:
    """What numpy alone computes of a diffusion model."""
    return (
        Kernel("add", (_IMAGE, _IMAGE), np.add),
        Kernel("multiply", (_IMAGE, _IMAGE), np.multiply),
        Kernel("matmul", ((154, 256), (256, 512)), np.matmul),
        Kernel("batch_matmul", (_HEADS, (8, 40, 77)), np.matmul),
        Kernel("einsum", (_HEADS, _HEADS), lambda q, k: np.einsum("hid,hjd->hij", q, k)),
        Kernel("exp", (_IMAGE,), np.exp),
        Kernel("tanh", (_IMAGE,), np.tanh),
        Kernel("sin", (_IMAGE,), np.sin),
        Kernel("sqrt", (_IMAGE,), lambda x: np.sqrt(np.abs(x))),
        Kernel("power", (_IMAGE,), lambda x: np.power(np.abs(x), x.dtype.type(1.7))),
        Kernel("softmax", ((8, 77, 77),), _numpy_softmax),
        Kernel("mean", (_IMAGE,), lambda x: x.mean(axis=(2, 3))),
        Kernel("sum", (_IMAGE,), lambda x: x.sum(axis=1)),
        Kernel("var", (_IMAGE,), lambda x: x.var(axis=(2, 3))),
        Kernel("norm", (_IMAGE,), lambda x: np.linalg.norm(x.reshape(64, -1), axis=1)),
        Kernel("cast_float16", (_IMAGE,), lambda x: x.astype(np.float16)),
    )


def _numpy_softmax(x: Any) -> Any:
    raised = np.exp(x - x.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def mindspore_kernels() -> tuple[Kernel, ...]:
    """What MindSpore computes of a diffusion model; imports it."""
    return (
        *_convolutions(),
        *_products(),
        *_normalisations(),
        *_activations(),
        *_shapes(),
        *_reductions(),
    )


def _ops() -> tuple[Any, Any]:
    ms = importlib.import_module("mindspore")
    return ms, ms.ops


def _convolutions() -> tuple[Kernel, ...]:
    _, ops = _ops()
    return (
        Kernel("conv_1x1", (_IMAGE, (64, 64, 1, 1)), ops.conv2d),
        Kernel(
            "conv_3x3",
            (_IMAGE, (64, 64, 3, 3)),
            lambda x, w: ops.conv2d(x, w, pad_mode="pad", padding=1),
        ),
        Kernel(
            "conv_3x3_128_channels",
            ((1, 128, 32, 32), (128, 128, 3, 3)),
            lambda x, w: ops.conv2d(x, w, pad_mode="pad", padding=1),
        ),
        Kernel(
            "conv_3x3_two_images",
            ((2, 64, 16, 16), (64, 64, 3, 3)),
            lambda x, w: ops.conv2d(x, w, pad_mode="pad", padding=1),
        ),
        Kernel(
            "conv_3x3_32_channels",
            ((2, 32, 32, 32), (32, 32, 3, 3)),
            lambda x, w: ops.conv2d(x, w, pad_mode="pad", padding=1),
        ),
        Kernel(
            "conv_3x3_stride2",
            (_IMAGE, (64, 64, 3, 3)),
            lambda x, w: ops.conv2d(x, w, stride=2, pad_mode="pad", padding=1),
        ),
        Kernel(
            "conv_3x3_few_channels",
            ((2, 4, 32, 32), (64, 4, 3, 3)),
            lambda x, w: ops.conv2d(x, w, pad_mode="pad", padding=1),
        ),
    )


def _products() -> tuple[Kernel, ...]:
    _, ops = _ops()

    def attention(query: Any, key: Any, value: Any) -> Any:
        weights = ops.softmax(ops.bmm(query, key.swapaxes(1, 2)) * query.shape[-1] ** -0.5, -1)
        return ops.bmm(weights, value)

    return (
        Kernel("matmul", ((154, 256), (256, 512)), ops.matmul),
        Kernel("matmul_one_row", ((1, 256), (256, 1024)), ops.matmul),
        Kernel("dense", (_TOKENS, (512, 256), (512,)), ops.dense),
        Kernel("dense_narrow", ((1, 64, 40), (40, 40), (40,)), ops.dense),
        Kernel("batch_matmul", (_HEADS, (8, 40, 77)), ops.bmm),
        Kernel("attention", (_HEADS, _HEADS, _HEADS), attention),
    )


def _normalisations() -> tuple[Kernel, ...]:
    _, ops = _ops()

    def layer_norm(x: Any, scale: Any, shift: Any) -> Any:
        return ops.LayerNorm(-1, -1, 1e-5)(x, scale, shift)[0]

    def group_norm(x: Any, scale: Any, shift: Any) -> Any:
        return ops.group_norm(x, _NORM_GROUPS, scale, shift, 1e-5)

    return (
        Kernel("layer_norm", (_TOKENS, (256,), (256,)), layer_norm),
        Kernel("group_norm", (_IMAGE, (64,), (64,)), group_norm),
        Kernel("softmax", ((8, 77, 77),), lambda x: ops.softmax(x, -1)),
        Kernel("log_softmax", ((8, 77, 77),), lambda x: ops.log_softmax(x, -1)),
    )


def _activations() -> tuple[Kernel, ...]:
    _, ops = _ops()
    return (
        Kernel("silu", (_IMAGE,), ops.silu),
        Kernel("gelu", (_IMAGE,), lambda x: ops.gelu(x, approximate="none")),
        Kernel("gelu_tanh", (_IMAGE,), lambda x: ops.gelu(x, approximate="tanh")),
        Kernel("sigmoid", (_IMAGE,), ops.sigmoid),
        Kernel("tanh", (_IMAGE,), ops.tanh),
        Kernel("exp", (_IMAGE,), ops.exp),
        Kernel("sin", (_IMAGE,), ops.sin),
        Kernel("cos", (_IMAGE,), ops.cos),
        Kernel("sqrt", (_IMAGE,), lambda x: ops.sqrt(ops.abs(x))),
        Kernel("divide", (_IMAGE, _IMAGE), ops.div),
        Kernel("add", (_IMAGE, _IMAGE), ops.add),
        Kernel("multiply", (_IMAGE, _IMAGE), ops.mul),
        Kernel("clip", (_IMAGE,), lambda x: ops.clamp(x, -1.0, 1.0)),
    )


def _shapes() -> tuple[Kernel, ...]:
    ms, ops = _ops()

    def interpolated(mode: str) -> Callable[[Any], Any]:
        return lambda x: ops.interpolate(x, size=(64, 64), mode=mode)

    return (
        Kernel("interpolate_nearest", ((2, 16, 32, 32),), interpolated("nearest")),
        Kernel("interpolate_bilinear", ((2, 16, 32, 32),), interpolated("bilinear")),
        Kernel("average_pool", (_IMAGE,), lambda x: ops.avg_pool2d(x, 2, 2)),
        Kernel("cast_float16", (_IMAGE,), lambda x: x.astype(ms.float16)),
        Kernel("cast_float32", (_IMAGE,), lambda x: x.astype(ms.float32)),
    )


def _reductions() -> tuple[Kernel, ...]:
    _, ops = _ops()
    return (
        Kernel("mean", (_IMAGE,), lambda x: ops.mean(x, (2, 3))),
        Kernel("sum", (_IMAGE,), lambda x: ops.sum(x, 1)),
        Kernel("cumulative_product", ((1000,),), lambda x: ops.cumprod(1.0 - x * x * 1e-3, 0)),
    )
