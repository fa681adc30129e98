"""Pictures of two tensors and of their difference, as PNG."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_Floats = NDArray[np.float64]

_MAX_ELEMENTS = 1 << 24
"""Larger tensors are not drawn: float64 copies of 16 Mi elements take 128 MiB each."""
_MAX_PLANES = 32
_PLANES_AT_FULL_SIZE = 4
"""Of more planes, each is drawn smaller, so that a picture has no more pixels."""
_IMAGE_SIDE = 160
_MAP_SIDE = 96
_BINS = 41
_LEAST_SIDE = 8
_CHANNELS = range(4, 33)
"""How many channels a latent has."""
_ODD = 255
"""Of a difference: NaN or infinite on one side only. The page draws it in magenta."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG as base64, and what it shows: ``baseline``, ``observed``, ``difference`` or ``map``.

    It holds the planes of the view one below the other. A difference has 0 where both sides are
    equal, 254 at the largest, and 255 where one side only is NaN or infinite.
    """

    label: str
    width: int
    height: int
    png: str


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts of ``observed - baseline`` in equal bins from ``low`` to ``high``."""

    low: float
    high: float
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TensorView:
    """The pictures of one tensor.

    Attributes:
        path: Place inside the checked value.
        pictures: From left to right.
        largest: The difference at the brightest place.
        histogram: Of the difference, over places finite on both sides; ``None`` without any.
        note: Why something is not shown, or how it is arranged; ``""`` if all is said.
        has_odd: Whether there are places that are NaN or infinite on one side only.
        plane: What a plane of the pictures is: ``image``, ``frame`` or ``channel``; ``""`` for a
            single image or a map.
        planes: How many there are in a picture, and ``first``, the number of the topmost.
        total: How many the tensor has, and ``worst``, the number of the one that differs most.
        full: Rows and columns of a plane before it was made smaller.
    """

    path: str
    pictures: tuple[Picture, ...] = ()
    largest: float = 0.0
    histogram: Histogram | None = None
    note: str = ""
    has_odd: bool = False
    plane: str = ""
    planes: int = 1
    first: int = 0
    total: int = 1
    worst: int = 0
    full: tuple[int, int] = (0, 0)


def view_tensors(
    path: str,
    baseline: NDArray[Any] | None,
    observed: NDArray[Any] | None,
    *,
    side: int = _IMAGE_SIDE,
) -> TensorView:
    """The view of one tensor from both sides; either may be ``None``.

    Both sides are drawn on the baseline's scale: ``uint8`` unchanged, floats from 0 or -1 to 1 if
    they are in that range, else from the least to the largest finite element.

    Args:
        path: Place inside the checked value.
        baseline: The tensor as it was.
        observed: The tensor as it is; of another shape, nothing is drawn.
        side: Pixels of the longer side of a plane, at most.
    """
    sides = [one for one in (baseline, observed) if one is not None]
    if not sides or any(not 0 < one.size <= _MAX_ELEMENTS for one in sides):
        return TensorView(path, note="empty, absent or too large to draw")
    if len(sides) == 2 and sides[0].shape != sides[1].shape:
        return TensorView(path, note="the shapes differ, so nothing is drawn")
    values = [one.astype(np.float64) for one in sides]
    difference = None if len(values) < 2 else _difference(*values)
    labels = _labels(baseline, observed)
    lone = "" if difference is not None else "there is no other side to compare with"
    plane = plane_of(sides[0].shape)
    if not plane:
        return _map_view(path, difference, lone, side)
    stacks = [_stack(one, plane) for one in values]
    apart = None if difference is None else _stack(difference, plane)
    total, worst = stacks[0].shape[0], 0 if apart is None else _worst(apart)
    first = max(0, min(worst - _MAX_PLANES // 2, total - _MAX_PLANES))
    kept = slice(first, first + _MAX_PLANES)
    scale = _range(stacks[0], sides[0].dtype)
    pictures = [
        _picture(label, _small(_grey(one[kept], scale), side))
        for label, one in zip(labels, stacks, strict=True)
    ]
    if apart is not None:
        shown = apart[kept]
        drawn = _amounts(shown, _largest(apart), _fitting(shown.shape, side))
        pictures.append(_picture("difference", drawn))
    return TensorView(
        path,
        tuple(pictures),
        0.0 if apart is None else _largest(apart),
        None if apart is None else _histogram(apart),
        lone,
        apart is not None and not bool(np.isfinite(apart).all()),
        plane if total > 1 else "",
        min(total, _MAX_PLANES),
        first,
        total,
        worst,
        (stacks[0].shape[1], stacks[0].shape[2]),
    )


def png_of(array: NDArray[Any]) -> bytes | None:
    """A tensor at its full size as PNG, its planes one below the other; ``None`` without planes."""
    plane = plane_of(array.shape)
    if not plane or not 0 < array.size <= _MAX_ELEMENTS:
        return None
    stack = _stack(array.astype(np.float64), plane)
    written = io.BytesIO()
    _below(_grey(stack, _range(stack, array.dtype))).save(written, "PNG")
    return written.getvalue()


def _map_view(path: str, difference: _Floats | None, lone: str, side: int) -> TensorView:
    if difference is None:
        return TensorView(path, note=lone)
    largest, flat = _largest(difference), _flat(difference)
    side = min(side, _MAP_SIDE)
    sides = min(flat.shape[0], side), min(flat.shape[1], side)
    picture = _picture("map", _amounts(flat[None, :, :, None], largest, sides))
    has_odd = not bool(np.isfinite(difference).all())
    note = _map_note(difference.shape)
    return TensorView(path, (picture,), largest, _histogram(difference), note, has_odd)


def _difference(baseline: _Floats, observed: _Floats) -> _Floats:
    """``observed - baseline``; 0.0 where both are the same infinity or both NaN."""
    alike = (baseline == observed) | (np.isnan(baseline) & np.isnan(observed))
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where(alike, 0.0, observed - baseline)


def _labels(*sides: NDArray[Any] | None) -> tuple[str, ...]:
    named = zip(("baseline", "observed"), sides, strict=True)
    return tuple(name for name, side in named if side is not None)


def plane_of(shape: tuple[int, ...]) -> str:
    """What of a shape is drawn as one picture: ``image``, ``frame``, ``channel`` or ``""``.

    An image has 1 or 3 channels, last or first; a batch has one more axis in front, a video two. A
    batch of 4 to 32 channels first is a latent.
    """
    if len(shape) == 5 and _axis(shape[1:]):
        return "frame" if min(_sides(shape[1:])) >= _LEAST_SIDE else ""
    image = shape[1:] if len(shape) == 4 else shape
    if len(image) != 3:
        return ""
    if _axis(image):
        return "image" if min(_sides(image)) >= _LEAST_SIDE else ""
    is_latent = len(shape) == 4 and image[0] in _CHANNELS and min(image[1:]) >= _LEAST_SIDE
    return "channel" if is_latent else ""


def _axis(shape: tuple[int, ...]) -> int:
    """The axis of the 1 or 3 channels, counted from the end; 0 if there is none."""
    return next((axis for axis in (-1, -3, -4) if shape[axis:] and _has(shape, axis)), 0)


def _has(shape: tuple[int, ...], axis: int) -> bool:
    return len(shape) >= -axis and shape[axis] in (1, 3)


def _sides(shape: tuple[int, ...]) -> tuple[int, int]:
    return (shape[-3], shape[-2]) if _axis(shape) == -1 else (shape[-2], shape[-1])


def _stack(values: _Floats, plane: str) -> _Floats:
    """Planes x rows x columns x channels."""
    if plane == "channel":
        return values.reshape(-1, *values.shape[2:], 1)
    axis = _axis(values.shape[1:] if values.ndim > 3 else values.shape)
    last = np.moveaxis(values, axis, -1)
    return last.reshape(-1, *last.shape[-3:])


def _worst(apart: _Floats) -> int:
    size = np.where(np.isnan(apart), np.inf, np.abs(apart))
    return int(np.argmax(size.reshape(size.shape[0], -1).max(axis=1)))


def _map_note(shape: tuple[int, ...]) -> str:
    """How the axes of an array are arranged in its map."""
    if len(shape) < 2:
        return "folded into rows" if math.prod(shape) > 1 else ""
    rows, columns = math.prod(shape[:-1]), shape[-1]
    if rows == 1:
        return "folded into rows" if columns > 1 else ""
    text = f"rows: {' x '.join(map(str, shape[:-1]))}, columns: {columns}"
    if max(rows, columns) > _MAP_SIDE:
        text += "; each place is the largest of its block"
    return text


def _grey(values: _Floats, scale: tuple[float, float]) -> NDArray[np.uint8]:
    low, high = scale
    return _bytes((values - low) * (255.0 / (high - low) if high > low else 0.0))


def _range(values: _Floats, dtype: np.dtype[Any]) -> tuple[float, float]:
    if dtype == np.uint8:
        return 0.0, 255.0
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    if low >= -1.0 and high <= 1.0:
        return (0.0, 1.0) if low >= 0.0 else (-1.0, 1.0)
    return low, high


def _bytes(values: _Floats) -> NDArray[np.uint8]:
    clean = np.nan_to_num(values, nan=0.0, posinf=255.0, neginf=0.0)
    return np.clip(np.rint(clean), 0, 255).astype(np.uint8)


def _largest(difference: _Floats) -> float:
    finite = np.abs(difference[np.isfinite(difference)])
    return float(finite.max()) if finite.size else 0.0


def _amounts(apart: _Floats, largest: float, sides: tuple[int, int]) -> Image.Image:
    """The size of a difference; the largest of each block, so a single place stays visible."""
    scale = (_ODD - 1) / largest if largest else 0.0
    # A denormal largest makes the scale infinite, and zero times it is NaN.
    scale = scale if math.isfinite(scale) else 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        shares = np.where(np.isfinite(apart), np.ceil(np.abs(apart) * scale), _ODD)
    down = np.maximum.reduceat(shares, _starts(apart.shape[1], sides[0]), axis=1)
    pooled = np.maximum.reduceat(down, _starts(apart.shape[2], sides[1]), axis=2)
    return _below(_bytes(pooled))


def _flat(difference: _Floats) -> _Floats:
    """All axes but the last as rows; a vector would be one line of dots, so it is folded."""
    columns = difference.shape[-1] if difference.ndim else 1
    flat = difference.reshape(-1, columns)
    if flat.shape[0] > 1:
        return flat
    width = max(1, math.isqrt(columns))
    return np.pad(flat, ((0, 0), (0, -columns % width))).reshape(-1, width)


def _fitting(shape: tuple[int, ...], side: int) -> tuple[int, int]:
    """Rows and columns of each plane in a picture, in the proportion of the tensor."""
    planes, rows, columns = shape[:3]
    side = min(side, math.isqrt(side * side * _PLANES_AT_FULL_SIZE // planes))
    scale = min(1.0, side / max(rows, columns))
    return max(1, round(rows * scale)), max(1, round(columns * scale))


def _starts(length: int, parts: int) -> NDArray[np.int64]:
    return (np.arange(parts, dtype=np.int64) * length) // parts


def _small(pixels: NDArray[np.uint8], side: int) -> Image.Image:
    rows, columns = _fitting(pixels.shape, side)
    if (rows, columns) == pixels.shape[1:3]:
        return _below(pixels)
    smaller = [
        Image.fromarray(_squeezed(one)).resize((columns, rows), Image.Resampling.BOX)
        for one in pixels
    ]
    return _below(np.stack([np.asarray(one).reshape(rows, columns, -1) for one in smaller]))


def _below(planes: NDArray[np.uint8]) -> Image.Image:
    """The planes of a stack, one below the other."""
    return Image.fromarray(_squeezed(planes.reshape(-1, *planes.shape[2:])))


def _squeezed(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return pixels[..., 0] if pixels.shape[-1] == 1 else pixels


def _picture(label: str, image: Image.Image) -> Picture:
    written = io.BytesIO()
    image.save(written, "PNG", optimize=True)
    png = base64.b64encode(written.getvalue()).decode("ascii")
    return Picture(label, image.width, image.height, png)


def _histogram(difference: _Floats) -> Histogram | None:
    finite = difference[np.isfinite(difference)]
    if not finite.size:
        return None
    high = float(np.abs(finite).max())
    if high == 0.0 or not math.isfinite(2 * high):
        return None
    counts, _ = np.histogram(finite, bins=_BINS, range=(-high, high))
    return Histogram(-high, high, tuple(int(count) for count in counts))
