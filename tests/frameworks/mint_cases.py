"""What each composition of `frameworks.mint` must compute, by numpy in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

EXACT = 0.0
ROUNDED = 0.5
"""Rounded once from float64."""
SOFTMAX = 64.0
"""MindSpore's own softmax kernel is wrong by 18 ULP on these inputs."""


@dataclass(frozen=True)
class Case:
    """One call.

    Attributes:
        inputs: Arrays; the reference gets those of floats in float64.
        call: Calls an operator with tensors of the inputs.
        reference: The same in numpy.
        bound: The largest error in ULP.
    """

    inputs: tuple[Array, ...]
    call: Callable[..., Any]
    reference: Callable[..., Any]
    bound: float = EXACT


def error_ulp(observed: Array, wanted: Array) -> float:
    """The largest error in ULP of the observed dtype, at the size of the number or of the mean.

    A sum may cancel, so that a number far below the root mean square of all is judged at that.

    Raises:
        AssertionError: Shapes differ.
    """
    exact = np.asarray(wanted, np.float64)
    assert observed.shape == exact.shape, (observed.shape, exact.shape)
    if observed.dtype.kind != "f":
        return 0.0 if np.array_equal(observed, exact) else math.inf
    size = np.maximum(np.abs(exact), np.sqrt(np.mean(exact**2)) if exact.size else 0.0)
    one = np.spacing(size.astype(observed.dtype)).astype(np.float64)
    return float(np.max(np.abs(observed.astype(np.float64) - exact) / one, initial=0.0))


def measure(case: Case, operator: Callable[..., Any]) -> float:
    """The error of an operator in a case; imports MindSpore."""
    import mindspore as ms

    found = case.call(operator, *(ms.Tensor(one) for one in case.inputs))
    parts = found if isinstance(found, (tuple, list)) else (found,)
    doubles = (one.astype(np.float64) if one.dtype.kind == "f" else one for one in case.inputs)
    wanted = case.reference(*doubles)
    references = wanted if isinstance(wanted, tuple) else (wanted,)
    assert len(parts) == len(references)
    pairs = zip(parts, references, strict=True)
    return max(error_ulp(np.array(one.asnumpy()), reference) for one, reference in pairs)


def _normal(*shape: int) -> Array:
    return np.random.Generator(np.random.PCG64(0)).standard_normal(shape).astype(np.float32)


def _integers(*shape: int) -> Array:
    return np.random.Generator(np.random.PCG64(0)).integers(0, 5, shape)


def _erf(x: Array) -> Array:
    return np.asarray(np.vectorize(math.erf, otypes=[np.float64])(x))


def _gelu_tanh(x: Array) -> Array:
    made: Array = 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return made


def _convolved(x: Array, weight: Array, bias: Array, stride: int, width: int) -> Array:
    """A convolution by its definition, over any number of axes."""
    axes = weight.ndim - 2
    padded = np.pad(x, [(0, 0), (0, 0), *[(width, width)] * axes])
    windows = np.lib.stride_tricks.sliding_window_view(
        padded, weight.shape[2:], axis=tuple(range(2, 2 + axes))
    )
    every = slice(None)
    windows = windows[tuple([every, every] + [slice(None, None, stride)] * axes)]
    inner = [1, *range(2 + axes, 2 + 2 * axes)]
    made = np.tensordot(windows, weight, axes=(inner, list(range(1, 2 + axes))))
    return np.moveaxis(made, -1, 1) + bias.reshape(-1, *[1] * axes)


def _normed(x: Array, axes: tuple[int, ...], eps: float) -> Array:
    centred = x - x.mean(axes, keepdims=True)
    return np.asarray(centred / np.sqrt((centred**2).mean(axes, keepdims=True) + eps))


def _cubic_at(x: Array, place: float) -> float:
    """Keys' interpolation of a row at one place, with PyTorch's constant."""
    a, total = -0.75, 0.0
    for k in range(math.floor(place) - 1, math.floor(place) + 3):
        d = abs(place - k)
        near, far = (a + 2) * d**3 - (a + 3) * d**2 + 1, a * (d**3 - 5 * d**2 + 8 * d - 4)
        total += float(x[min(max(k, 0), len(x) - 1)]) * (near if d <= 1 else far)
    return total


def _linear_at(x: Array, place: float) -> float:
    at = min(max(place, 0.0), len(x) - 1.0)
    low = min(math.floor(at), len(x) - 2)
    return float(x[low] * (low + 1 - at) + x[low + 1] * (at - low))


def _resized(x: Array, after: int, take: Callable[[Array, float], float], corners: bool) -> Array:
    for axis in (-2, -1):
        before = x.shape[axis]
        places = [
            i * (before - 1) / (after - 1) if corners else (i + 0.5) * before / after - 0.5
            for i in range(after)
        ]
        rows = [np.apply_along_axis(take, axis, x, place) for place in places]
        x = np.stack(rows, axis)
    return x


def _attention(q: Array, k: Array, v: Array, scale: float, hidden: Array | None = None) -> Array:
    scores = q @ np.swapaxes(k, -1, -2) * scale
    scores = scores if hidden is None else np.where(hidden, -np.inf, scores)
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    return np.asarray(shares / shares.sum(-1, keepdims=True) @ v)


_X, _V, _M = _normal(2, 4, 6, 6), _normal(7), _normal(3, 4, 4)
_HIDDEN = np.triu(np.ones((1, 1, 9, 9), bool), 1)
_QKV = (_normal(1, 2, 9, 8), _normal(2, 2, 9, 8)[1:], _normal(3, 2, 9, 8)[2:])

CASES: dict[str, tuple[Case, ...]] = {
    "arange": (
        Case((), lambda f: f(5), lambda: np.arange(5)),
        Case((), lambda f: f(2, 11, 3), lambda: np.arange(2, 11, 3)),
        Case((), lambda f: f(0, 1, 0.1), lambda: np.arange(0, 1, 0.1), ROUNDED),
    ),
    "linspace": (
        Case((), lambda f: f(0, 999, 10), lambda: np.linspace(0, 999, 10), ROUNDED),
        Case((), lambda f: f(0.0001, 0.02, 1000), lambda: np.linspace(1e-4, 0.02, 1000), ROUNDED),
    ),
    "full": (
        Case((), lambda f: f((2, 3), 1.5), lambda: np.full((2, 3), 1.5)),
        Case((), lambda f: f((2,), True), lambda: np.full((2,), True)),
    ),
    "full_like": (Case((_X,), lambda f, x: f(x, 2.0), lambda x: np.full_like(x, 2.0)),),
    "zeros_like": (Case((_X,), lambda f, x: f(x), np.zeros_like),),
    "ones_like": (Case((_X,), lambda f, x: f(x), np.ones_like),),
    "stack": (Case((_V, _V + 1), lambda f, *x: f(list(x), dim=-1), lambda *x: np.stack(x, -1)),),
    "split": (
        Case((_X,), lambda f, x: f(x, 2, 1), lambda x: tuple(np.split(x, 2, 1))),
        Case((_X,), lambda f, x: f(x, [1, 3], dim=1), lambda x: (x[:, :1], x[:, 1:])),
    ),
    "tensor.split": (Case((_X,), lambda f, x: f(x, 2, 1), lambda x: tuple(np.split(x, 2, 1))),),
    "unbind": (Case((_X,), lambda f, x: f(x, 1), lambda x: tuple(np.moveaxis(x, 1, 0))),),
    "index_select": (
        Case((_X, np.array([2, 0, 2])), lambda f, x, i: f(x, 1, i), lambda x, i: np.take(x, i, 1)),
    ),
    "repeat_interleave": (
        Case((_X,), lambda f, x: f(x, 2, 1), lambda x: np.repeat(x, 2, 1)),
        Case((_M,), lambda f, x: f(x, 3), lambda x: np.repeat(x, 3)),
    ),
    "tensor.repeat_interleave": (
        Case(
            (_X,),
            lambda f, x: f(x, 2, dim=-1, output_size=12),
            lambda x: np.repeat(x, 2, -1),
        ),
    ),
    "tensor.repeat": (Case((_V,), lambda f, x: f(x, 2, 3), lambda x: np.tile(x, (2, 3))),),
    "embedding": (
        Case((_integers(2, 3), _normal(5, 4)), lambda f, i, w: f(i, w), lambda i, w: w[i]),
    ),
    "nonzero": (
        Case((_integers(3, 4),), lambda f, x: f(x, as_tuple=True), lambda x: np.nonzero(x)),
        Case((_integers(3, 4),), lambda f, x: f(x), lambda x: np.argwhere(x)),
    ),
    "argmax": (
        Case((_M,), lambda f, x: f(x), np.argmax),
        Case((_integers(3, 9),), lambda f, x: f(x, -1), lambda x: x.argmax(-1)),
    ),
    "tril": (Case((_M,), lambda f, x: f(x, 1), lambda x: np.tril(x, 1)),),
    "one_hot": (Case((_integers(2, 3),), lambda f, x: f(x, 5), lambda x: np.eye(5, dtype=int)[x]),),
    "pad": (
        Case(
            (_X,),
            lambda f, x: f(x, (0, 1, 2, 3)),
            lambda x: np.pad(x, ((0, 0), (0, 0), (2, 3), (0, 1))),
        ),
        Case(
            (_X,),
            lambda f, x: f(x, (-1, 2), value=1.5),
            lambda x: np.pad(x[..., 1:], ((0, 0),) * 3 + ((0, 2),), constant_values=1.5),
        ),
        Case(
            (_X,),
            lambda f, x: f(x, (1, 1, 2, 2), mode="reflect"),
            lambda x: np.pad(x, ((0, 0), (0, 0), (2, 2), (1, 1)), mode="reflect"),
        ),
    ),
    "mm": (Case((_M[0], _M[1]), lambda f, a, b: f(a, b), lambda a, b: a @ b, 2.0),),
    "baddbmm": (
        Case((_M, _M, _M), lambda f, x, a, b: f(x, a, b), lambda x, a, b: x + a @ b, 2.0),
        Case(
            (_M, _M, _M),
            lambda f, x, a, b: f(x, a, b, beta=0, alpha=0.25),
            lambda x, a, b: 0.25 * (a @ b),
            2.0,
        ),
    ),
    "outer": (Case((_V, _V), lambda f, a, b: f(a, b), np.outer, ROUNDED),),
    "einsum": (
        Case(
            (_normal(1, 2, 2, 3, 3, 4),),
            lambda f, x: f("nhwpqc->nchpwq", x),
            lambda x: np.einsum("nhwpqc->nchpwq", x),
        ),
        Case(
            (_M, _M),
            lambda f, a, b: f("bij,bjk->bik", a, b),
            lambda a, b: a @ b,
            ROUNDED + 0.01,
        ),
    ),
    "cumsum": (Case((_X,), lambda f, x: f(x, 2), lambda x: np.cumsum(x, 2), ROUNDED),),
    "norm": (
        Case((_X,), lambda f, x: f(x), np.linalg.norm, 8.0),
        Case(
            (_X,),
            lambda f, x: f(x, dim=1, keepdim=True),
            lambda x: np.sqrt((x**2).sum(1, keepdims=True)),
            2.0,
        ),
    ),
    "normalize": (
        Case(
            (_X,),
            lambda f, x: f(x, dim=1),
            lambda x: x / np.sqrt((x**2).sum(1, keepdims=True)),
            2.0,
        ),
    ),
    "gelu": (
        Case((_X,), lambda f, x: f(x), lambda x: x * (1 + _erf(x / math.sqrt(2))) / 2, 4.0),
        Case((_X,), lambda f, x: f(x, approximate="tanh"), _gelu_tanh, 4.0),
    ),
    "conv2d": (
        Case(
            (_X, _normal(8, 4, 3, 3), _normal(8)),
            lambda f, x, w, b: f(x, w, b, 1, 1),
            lambda x, w, b: _convolved(x, w, b, 1, 1),
            8.0,
        ),
        Case(
            (_X, _normal(8, 4, 3, 3), _normal(8)),
            lambda f, x, w, b: f(x, w, b, (2, 2), (0, 0)),
            lambda x, w, b: _convolved(x, w, b, 2, 0),
            8.0,
        ),
    ),
    "conv3d": (
        Case(
            (_normal(1, 2, 4, 5, 5), _normal(3, 2, 3, 3, 3), _normal(3)),
            lambda f, x, w, b: f(x, w, b, 1, 1),
            lambda x, w, b: _convolved(x, w, b, 1, 1),
            8.0,
        ),
    ),
    "layer_norm": (
        Case(
            (_X, _normal(6), _normal(6)),
            lambda f, x, w, b: f(x, (6,), w, b, 1e-5),
            lambda x, w, b: _normed(x, (-1,), 1e-5) * w + b,
            8.0,
        ),
        Case((_X,), lambda f, x: f(x, (6, 6)), lambda x: _normed(x, (-2, -1), 1e-5), 8.0),
    ),
    "avg_pool2d": (
        Case(
            (_X,),
            lambda f, x: f(x, 2),
            lambda x: x.reshape(2, 4, 3, 2, 3, 2).mean((3, 5)),
            2.0,
        ),
    ),
    "interpolate": (
        Case(
            (_X,),
            lambda f, x: f(x, (9, 9), mode="bicubic", align_corners=False),
            lambda x: _resized(x, 9, _cubic_at, corners=False),
            8.0,
        ),
        Case(
            (_X,),
            lambda f, x: f(x, (9, 9), mode="bilinear", align_corners=True),
            lambda x: _resized(x, 9, _linear_at, corners=True),
            8.0,
        ),
        Case(
            (_X,),
            lambda f, x: f(x, scale_factor=0.5, mode="bilinear"),
            lambda x: _resized(x, 3, _linear_at, corners=False),
            8.0,
        ),
    ),
    "flash_attention": (
        Case(
            _QKV,
            lambda f, *x: f(2, scale_value=0.25, input_layout="BNSD")(*x, None, None, None, None)[
                3
            ],
            lambda q, k, v: _attention(q, k, v, 0.25),
            SOFTMAX,
        ),
        Case(
            (*_QKV, _HIDDEN),
            lambda f, q, k, v, m: f(2, 1.0, 0.25, input_layout="BNSD")(
                q, k, v, None, None, None, m
            )[3],
            lambda q, k, v, m: _attention(q, k, v, 0.25, m),
            SOFTMAX,
        ),
    ),
}
