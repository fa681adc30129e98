"""``mindspore.mint`` on a CPU: other operators in place of each one that has no kernel there.

mindone 0.4 and later compute with ``mint``, most of whose operators have kernels only on Ascend.
A composition computes other bits than a native kernel, so what was replaced is a fact of the
environment that changes bits. Inference only. Every composition is tested against float64:
docs/evidence/mint.md.
"""

from __future__ import annotations

import functools
import importlib
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_repro.errors import UsageError
from pytest_repro.frameworks.mindspore import ADAPTER


@dataclass(frozen=True, slots=True)
class Composition:
    """One operator.

    Attributes:
        name: In the fact.
        probe: Calls the native operator on a small input.
        sites: Where it is replaced: module or class, attribute, and the replacement, which takes
            the arguments of the native one.
    """

    name: str
    probe: Callable[[], Any]
    sites: tuple[tuple[str, str, Callable[..., Any]], ...]


def compose_mint() -> tuple[str, ...]:
    """Replace every ``mint`` operator that has no kernel on this CPU; call it before mindone.

    The native operator is tried first, once, and kept where it runs. On another device, and without
    MindSpore, nothing changes. Switches deterministic computation on, because MindSpore fixes the
    switch at the first operator. May be called again.

    Returns:
        The names of the operators that are replaced in this process, sorted.

    Raises:
        UsageError: mindone was imported before; it keeps references to the native operators.
        EnvironmentFault: MindSpore cannot be imported.
    """
    if ADAPTER.composed or not ADAPTER.installed() or ADAPTER.device()[0] != "CPU":
        return ADAPTER.composed
    if "mindone" in sys.modules:
        raise UsageError(
            "mindone was imported before its missing operators were replaced",
            next_step="set repro_mint_cpu = on in pytest's ini file, and import mindone later",
        )
    ADAPTER.enable_determinism()
    missing = [one for one in compositions() if not runs(one.probe)]
    for one in missing:
        for owner, attribute, replacement in one.sites:
            setattr(resolve(owner), attribute, replacement)
    ADAPTER.composed = tuple(sorted(one.name for one in missing))
    return ADAPTER.composed


def runs(probe: Callable[[], Any]) -> bool:
    """Whether a call of an operator gives a value on this device.

    From here on MindSpore launches kernels one by one, which it cannot be told to stop: else the
    error of one operator may be raised by a later one, which would then be replaced by chance.
    """
    _ms().runtime.launch_blocking()
    try:
        found = probe()
        first = found[0] if isinstance(found, (tuple, list)) else found
        first.asnumpy()
    except (RuntimeError, NotImplementedError, TypeError, AttributeError):
        # "The kernel X unregistered", "Not found op X", "only supports Ascend", by release.
        return False
    return True


def resolve(path: str) -> Any:
    """The module or class at a dotted path below ``mindspore``."""
    module, _, name = path.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split(".") if name else ():
        found = getattr(found, part)
    return found


def _ms() -> Any:
    return importlib.import_module("mindspore")


def _array(value: Any) -> NDArray[Any]:
    return np.asarray(value.asnumpy() if hasattr(value, "asnumpy") else value)


def _number(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _each(value: Any, axes: int) -> tuple[int, ...]:
    """One number for each axis; a single one holds for all."""
    return (value,) * axes if isinstance(value, int) else (tuple(value) * axes)[:axes]


def _both_sides(widths: tuple[int, ...]) -> tuple[int, ...]:
    """The width before and after each axis."""
    made: tuple[int, ...] = ()
    for one in widths:
        made = (*made, one, one)
    return made


def _shape(sizes: Any) -> tuple[int, ...]:
    inner = sizes[0] if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else sizes
    return tuple(int(_number(one)) for one in inner)


# --- new tensors ---


def arange(start: Any = 0, end: Any = None, step: Any = 1, *, dtype: Any = None) -> Any:
    """Numbers from ``start`` to before ``end``."""
    ms = _ms()
    low, high = (0, start) if end is None else (start, end)
    array = np.arange(_number(low), _number(high), _number(step))
    return ms.Tensor(array, dtype or (ms.float32 if array.dtype.kind == "f" else ms.int64))


def linspace(start: Any, end: Any, steps: Any, *, dtype: Any = None) -> Any:
    """``steps`` numbers from ``start`` to ``end``, rounded once from float64."""
    ms = _ms()
    array = np.linspace(float(_number(start)), float(_number(end)), int(_number(steps)))
    return ms.Tensor(array, dtype or ms.float32)


def full(size: Any, fill_value: Any, *, dtype: Any = None) -> Any:
    """A tensor of one number."""
    ms, value = _ms(), _number(fill_value)
    chosen = dtype or {bool: ms.bool_, int: ms.int64}.get(type(value), ms.float32)
    return ms.ops.full(_shape((size,) if isinstance(size, int) else size), value, dtype=chosen)


def full_like(input: Any, fill_value: Any, *, dtype: Any = None) -> Any:  # noqa: A002
    """A tensor of one number, in the shape of ``input``."""
    return full(input.shape, fill_value, dtype=dtype or input.dtype)


def randn(*size: Any, generator: Any = None, dtype: Any = None) -> Any:
    """Normal numbers from MindSpore's global generator."""
    ms = _ms()
    if generator is not None:
        raise NotImplementedError("randn with a generator has no composition")
    return ms.ops.standard_normal(_shape(size)).astype(dtype or ms.float32)


# --- moved numbers: exact ---


def stack(tensors: Sequence[Any], dim: int = 0) -> Any:
    """Tensors along a new axis."""
    return _ms().ops.stack(list(tensors), axis=dim)


def split(tensor: Any, split_size_or_sections: Any, dim: int = 0) -> Any:
    """Parts along an axis."""
    return _ms().ops.split(tensor, split_size_or_sections, axis=dim)


def unbind(input: Any, dim: int = 0) -> Any:  # noqa: A002
    """One tensor for each index of an axis."""
    return _ms().ops.unbind(input, dim)


def repeat(input: Any, *repeats: Any) -> Any:  # noqa: A002
    """Whole repetitions along each axis."""
    return _ms().ops.tile(input, _shape(repeats))


def index_select(input: Any, dim: int, index: Any) -> Any:  # noqa: A002
    """Entries along an axis."""
    return _ms().ops.gather(input, index, dim)


def repeat_interleave(input: Any, repeats: Any, dim: Any = None, **_: Any) -> Any:  # noqa: A002
    """Every entry of an axis, several times."""
    ms = _ms()
    flat = input.reshape(-1) if dim is None else input
    axis = dim or 0
    index = np.repeat(np.arange(flat.shape[axis]), _array(repeats))
    return ms.ops.gather(flat, ms.Tensor(index, ms.int64), axis)


def embedding(input: Any, weight: Any, padding_idx: Any = None, max_norm: Any = None) -> Any:  # noqa: A002
    """Rows of ``weight``; ``padding_idx`` bears on gradients only."""
    if max_norm is not None:
        raise NotImplementedError("embedding with max_norm has no composition")
    return _ms().ops.gather(weight, input, 0)


def nonzero(input: Any, *, as_tuple: bool = False) -> Any:  # noqa: A002
    """Indices of what is not zero."""
    ms = _ms()
    found = np.nonzero(_array(input))
    if as_tuple:
        return tuple(ms.Tensor(one, ms.int64) for one in found)
    return ms.Tensor(np.stack(found, -1), ms.int64)


def argmax(input: Any, dim: Any = None, keepdim: bool = False) -> Any:  # noqa: A002
    """The first index of the largest number."""
    ms = _ms()
    found = _array(input).argmax(axis=dim)
    return ms.Tensor(np.expand_dims(found, dim) if keepdim and dim is not None else found, ms.int64)


def tril(input: Any, diagonal: int = 0) -> Any:  # noqa: A002
    """The lower triangle."""
    return _ms().Tensor(np.tril(_array(input), diagonal))


def one_hot(tensor: Any, num_classes: int = -1) -> Any:
    """A one at the index, else zeros."""
    array = _array(tensor)
    classes = int(array.max()) + 1 if num_classes == -1 else num_classes
    return _ms().Tensor((array[..., None] == np.arange(classes)).astype(np.int64))


def pad(input: Any, pad: Any, mode: str = "constant", value: Any = None) -> Any:  # noqa: A002
    """Numbers around the last axes; negative widths cut."""
    ms = _ms()
    widths = [(0, 0)] * (input.ndim - len(pad) // 2)
    widths += [(int(pad[i]), int(pad[i + 1])) for i in range(len(pad) - 2, -1, -2)]
    # By number: MindSpore compiles no zip with `strict` in GRAPH mode.
    cut = tuple(
        slice(max(-widths[i][0], 0), input.shape[i] - max(-widths[i][1], 0))
        for i in range(input.ndim)
    )
    inner = input[cut] if any(low < 0 or high < 0 for low, high in widths) else input
    wide = [(max(low, 0), max(high, 0)) for low, high in widths]
    if mode != "constant":
        named = {"replicate": "edge", "circular": "wrap"}.get(mode, mode)
        index = [
            np.pad(np.arange(n), width, mode=named)  # type: ignore[call-overload]
            for n, width in zip(inner.shape, wide, strict=True)
        ]
        for axis, one in enumerate(index):
            if wide[axis] != (0, 0):
                inner = ms.ops.gather(inner, ms.Tensor(one, ms.int64), axis)
        return inner
    for axis, (low, high) in enumerate(wide):
        parts = [inner]
        if low:
            parts = [_filled(inner, axis, low, value), *parts]
        if high:
            parts = [*parts, _filled(inner, axis, high, value)]
        inner = ms.ops.cat(parts, axis=axis) if low or high else inner
    return inner


def _filled(beside: Any, axis: int, width: int, value: Any) -> Any:
    """A border of ``beside``, of one number."""
    shape = (*beside.shape[:axis], width, *beside.shape[axis + 1 :])
    return full(shape, value or 0, dtype=beside.dtype)


# --- arithmetic ---


def mm(input: Any, mat2: Any) -> Any:  # noqa: A002
    """A product of matrices."""
    return _ms().ops.matmul(input, mat2)


def baddbmm(input: Any, batch1: Any, batch2: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:  # noqa: A002
    """``beta * input + alpha * batch1 @ batch2``; ``input`` is not read where ``beta`` is 0."""
    product = _ms().ops.bmm(batch1, batch2)
    scaled = product if alpha == 1 else product * alpha
    if beta == 0:
        return scaled
    return scaled + (input if beta == 1 else input * beta)


def outer(input: Any, vec2: Any) -> Any:  # noqa: A002
    """Every product of two vectors' numbers."""
    return input.reshape(-1, 1) * vec2.reshape(1, -1)


def einsum(equation: str, *operands: Any) -> Any:
    """Einstein's summation, in float64 and rounded once."""
    arrays = [_array(one).astype(np.float64) for one in operands]
    return _ms().Tensor(np.einsum(equation, *arrays)).astype(operands[0].dtype)


def cumsum(input: Any, dim: int, dtype: Any = None) -> Any:  # noqa: A002
    """Sums of all entries so far along an axis, in float64 and rounded once."""
    return (
        _ms()
        .Tensor(np.cumsum(_array(input).astype(np.float64), axis=dim))
        .astype(dtype or input.dtype)
    )


def norm(input: Any, p: Any = "fro", dim: Any = None, keepdim: bool = False, **_: Any) -> Any:  # noqa: A002
    """The Euclidean norm."""
    if p not in ("fro", 2, 2.0):
        raise NotImplementedError(f"norm with p={p!r} has no composition")
    square, axes = input * input, {} if dim is None else {"axis": dim, "keepdims": keepdim}
    return _ms().ops.sqrt(square.sum(**axes))


def normalize(input: Any, p: Any = 2.0, dim: int = 1, eps: float = 1e-12) -> Any:  # noqa: A002
    """Vectors of length one along an axis."""
    return input / _ms().ops.clamp(norm(input, p, dim, keepdim=True), min=eps)


def gelu(input: Any, *, approximate: str = "none") -> Any:  # noqa: A002
    """Gaussian error linear unit."""
    return _ms().ops.gelu(input, approximate=approximate)


def convolution(
    input: Any,  # noqa: A002
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """A convolution over pictures (four axes) or videos (five), by oneDNN's kernel."""
    ops, axes = _ms().ops, weight.ndim - 2
    kernel = ops.Conv2D if axes == 2 else ops.Conv3D
    mode, around = (padding, 0) if isinstance(padding, str) else ("pad", padding)
    made = kernel(
        weight.shape[0],
        weight.shape[2:],
        pad_mode=mode,
        pad=_both_sides(_each(around, axes)),
        stride=_each(stride, axes),
        dilation=_each(dilation, axes),
        group=groups,
    )(input, weight)
    return made if bias is None else made + bias.reshape(-1, *(1,) * axes)


def layer_norm(
    input: Any,  # noqa: A002
    normalized_shape: Any,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
) -> Any:
    """Mean 0 and variance 1 over the last axes."""
    ops, shape = _ms().ops, _shape((normalized_shape,))
    first = input.ndim - len(shape)
    scale = ops.ones(shape, input.dtype) if weight is None else weight
    shift = ops.zeros(shape, input.dtype) if bias is None else bias
    return ops.LayerNorm(first, first, eps)(input, scale, shift)[0]


def avg_pool2d(
    input: Any,  # noqa: A002
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: Any = None,
) -> Any:
    """Means of windows."""
    if ceil_mode or divisor_override is not None or not count_include_pad:
        raise NotImplementedError("avg_pool2d has a composition for its plain form only")
    rows, columns = _each(padding, 2)
    size, step = _each(kernel_size, 2), _each(stride or kernel_size, 2)
    padded = pad(input, (columns, columns, rows, rows)) if rows or columns else input
    return _ms().ops.AvgPool(kernel_size=size, strides=step, pad_mode="valid")(padded)


_NEAREST: list[Callable[..., Any]] = []
"""The native interpolation, whose nearest mode has a kernel."""


def interpolate(
    input: Any,  # noqa: A002
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: Any = None,
    recompute_scale_factor: Any = None,
) -> Any:
    """Larger or smaller pictures; ``bilinear`` and ``bicubic`` as two products of matrices."""
    if mode not in ("bilinear", "bicubic"):
        return _NEAREST[0](input, size, scale_factor, mode, align_corners, recompute_scale_factor)
    ms = _ms()
    factors = None if scale_factor is None else np.broadcast_to(scale_factor, 2)
    rows, columns = (
        _resampling(
            n,
            _each(size, 2)[axis] if factors is None else math.floor(n * factors[axis]),
            factor=0.0 if factors is None or recompute_scale_factor else float(factors[axis]),
            is_cubic=mode == "bicubic",
            align_corners=bool(align_corners),
        )
        for axis, n in enumerate(input.shape[-2:])
    )
    down = ms.Tensor(rows.astype(np.float32)).astype(input.dtype)
    across = ms.Tensor(columns.T.astype(np.float32)).astype(input.dtype)
    return ms.ops.matmul(ms.ops.matmul(down, input), across)


def _resampling(
    before: int, after: int, *, factor: float, is_cubic: bool, align_corners: bool
) -> NDArray[np.float64]:
    """The weights (after, before) that make the new axis from the old one; rows add up to 1.

    Sources: PyTorch's documentation of `interpolate` for the places; Keys, Cubic convolution
    interpolation, 1981, for the kernel, with its constant -0.75 as in PyTorch.
    """
    at = np.arange(after, dtype=np.float64)
    if align_corners:
        place = at * ((before - 1) / (after - 1) if after > 1 else 0.0)
    else:
        place = (at + 0.5) * (1.0 / factor if factor else before / after) - 0.5
        place = place if is_cubic else np.maximum(place, 0.0)
    first = np.floor(place).astype(int)
    reach = (-1, 0, 1, 2) if is_cubic else (0, 1)
    weights = np.zeros((after, before))
    for offset in reach:
        far = np.abs(place - (first + offset))
        share = _cubic(far) if is_cubic else np.maximum(1.0 - far, 0.0)
        # Indices beyond the border take the number on it, and may come twice.
        np.add.at(weights, (np.arange(after), np.clip(first + offset, 0, before - 1)), share)
    return weights


def _cubic(far: NDArray[np.float64]) -> NDArray[np.float64]:
    a = -0.75
    near = ((a + 2) * far - (a + 3)) * far * far + 1
    outside = ((far - 5) * far + 8) * far * a - 4 * a
    found: NDArray[np.float64] = np.where(far <= 1, near, np.where(far < 2, outside, 0.0))
    return found


class FlashAttention:
    """``FlashAttentionScore`` for inference, in float32; its fourth result is the output.

    Layouts ``BNSD`` and, for one head, ``BSH``.
    """

    def __init__(
        self,
        head_num: int,
        keep_prob: float = 1.0,
        scale_value: float = 1.0,
        *_: Any,
        input_layout: str = "BSH",
        **__: Any,
    ) -> None:
        if keep_prob != 1.0 or (input_layout != "BNSD" and head_num != 1):
            raise NotImplementedError("FlashAttentionScore has a composition without dropout only")
        self._scale = scale_value

    def __call__(self, query: Any, key: Any, value: Any, *rest: Any) -> tuple[Any, ...]:
        """``rest``: shift, dropout mask, padding mask, attention mask (true: not seen)."""
        ms = _ms()
        shift, mask = (*rest, None, None, None, None)[0], (*rest, None, None, None, None)[3]
        q, k, v = (one.astype(ms.float32) for one in (query, key, value))
        scores = ms.ops.matmul(q, k.swapaxes(-2, -1)) * self._scale
        scores = scores if shift is None else scores + shift
        if mask is not None:
            scores = ms.ops.masked_fill(scores, mask.bool(), float("-inf"))
        made = ms.ops.matmul(ms.ops.softmax(scores, axis=-1), v)
        return None, None, None, made.astype(query.dtype)


# --- the cells of mint.nn, which keep their own references ---


def _convolution_cell(self: Any, input: Any) -> Any:  # noqa: A002
    around = self.padding
    if self.padding_mode != "zeros":
        input, around = pad(input, self._reversed_padding, mode=self.padding_mode), 0  # noqa: A001
    return convolution(
        input, self.weight, self.bias, self.stride, around, self.dilation, self.groups
    )


def _layer_norm_cell(self: Any, input: Any) -> Any:  # noqa: A002
    return layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)


def _avg_pool2d_cell(self: Any, input: Any) -> Any:  # noqa: A002
    return avg_pool2d(
        input,
        self.kernel_size,
        self.stride,
        self.padding,
        self.ceil_mode,
        self.count_include_pad,
        self.divisor_override,
    )


def _embedding_cell(self: Any, input: Any) -> Any:  # noqa: A002
    return embedding(input, self.weight, self.padding_idx, self.max_norm)


_MINT, _NN, _FUNCTIONAL = "mindspore.mint", "mindspore.mint.nn", "mindspore.mint.nn.functional"
_TENSOR = "mindspore:Tensor"


@functools.cache
def compositions() -> tuple[Composition, ...]:
    """Every operator that has a composition; imports MindSpore."""
    ms = _ms()
    mint, nn = ms.mint, ms.mint.nn
    if not _NEAREST:
        _NEAREST.append(nn.functional.interpolate)

    def tensor(*shape: int) -> Any:
        return ms.Tensor(np.ones(shape, np.float32))

    def integers() -> Any:
        return ms.Tensor(np.array([[1, 0]]))

    def plain(name: str, replacement: Callable[..., Any], *arguments: Any) -> Composition:
        """An operator of ``mint`` itself; its probe looks it up first, so that it stays native."""
        native = getattr(mint, name)
        return Composition(name, lambda: native(*arguments), ((_MINT, name, replacement),))

    def functional(
        name: str, replacement: Callable[..., Any], probe: Callable[[Any], Any], *cells: Any
    ) -> Composition:
        native = getattr(nn.functional, name)
        sites = ((_FUNCTIONAL, name, replacement), *cells)
        return Composition(name, lambda: probe(native), sites)

    def method(name: str, replacement: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        native, site = getattr(ms.Tensor, name), (_TENSOR, name, replacement)
        return Composition(f"tensor.{name}", lambda: native(vector, *arguments, **named), (site,))

    attention = ms.ops.operations.nn_ops.FlashAttentionScore
    picture, matrix, vector = tensor(1, 2, 4, 4), tensor(2, 2), tensor(4)
    batch = tensor(1, 2, 2)
    return (
        plain("arange", arange, 3),
        plain("linspace", linspace, 0, 1, 3),
        plain("full", full, (2,), 1.0),
        plain("full_like", full_like, vector, 1.0),
        plain("zeros_like", functools.partial(full_like, fill_value=0), vector),
        plain("ones_like", functools.partial(full_like, fill_value=1), vector),
        plain("randn", randn, (2,)),
        plain("stack", stack, [vector, vector]),
        plain("split", split, vector, 2),
        plain("unbind", unbind, vector),
        plain("index_select", index_select, vector, 0, ms.Tensor([1, 0])),
        plain("repeat_interleave", repeat_interleave, vector, 2, 0),
        plain("argmax", argmax, vector),
        plain("tril", tril, matrix),
        plain("mm", mm, matrix, matrix),
        plain("baddbmm", baddbmm, batch, batch, batch),
        plain("outer", outer, vector, vector),
        plain("einsum", einsum, "ab->ba", matrix),
        plain("cumsum", cumsum, vector, 0),
        plain("norm", norm, vector),
        Composition(
            "nonzero",
            lambda: integers().nonzero(as_tuple=True),
            ((_MINT, "nonzero", nonzero), (_TENSOR, "nonzero", nonzero)),
        ),
        method("repeat", repeat, 2),
        method("split", split, 2),
        method("repeat_interleave", repeat_interleave, 2, dim=0, output_size=8),
        functional("normalize", normalize, lambda native: native(picture)),
        functional("gelu", gelu, lambda native: native(vector)),
        functional("one_hot", one_hot, lambda native: native(integers(), 3)),
        functional("pad", pad, lambda native: native(picture, (1, 1))),
        functional(
            "interpolate", interpolate, lambda native: native(picture, (2, 2), mode="bicubic")
        ),
        functional(
            "embedding",
            embedding,
            lambda native: native(integers(), matrix),
            (f"{_NN}:Embedding", "construct", _embedding_cell),
        ),
        functional(
            "conv2d",
            convolution,
            lambda native: native(picture, tensor(2, 2, 3, 3)),
            (f"{_NN}:Conv2d", "construct", _convolution_cell),
        ),
        functional(
            "conv3d",
            convolution,
            lambda native: native(tensor(1, 2, 3, 3, 3), tensor(2, 2, 3, 3, 3)),
            (f"{_NN}:Conv3d", "construct", _convolution_cell),
        ),
        functional(
            "layer_norm",
            layer_norm,
            lambda native: native(picture, (4,)),
            (f"{_NN}:LayerNorm", "construct", _layer_norm_cell),
        ),
        functional(
            "avg_pool2d",
            avg_pool2d,
            lambda native: native(picture, 2),
            (f"{_NN}:AvgPool2d", "construct", _avg_pool2d_cell),
        ),
        Composition(
            "flash_attention",
            lambda: attention(2, input_layout="BNSD")(*[picture.half()] * 3, *[None] * 4)[3],
            (("mindspore.ops.operations.nn_ops", "FlashAttentionScore", FlashAttention),),
        ),
    )
