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
_IMAGE_SIDE = 160
_MAP_SIDE = 96
_BINS = 41
_LEAST_SIDE = 8
_ANCHORS = ((0, 0, 0), (63, 60, 140), (33, 145, 140), (140, 208, 80), (253, 231, 60))
"""Colours of the heat map from no difference (black, because the page amplifies by multiplying) to
the largest."""
_ODD = 255
"""Palette entry of a place that is NaN or infinite on one side only: magenta."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG as base64, and what it shows: ``baseline``, ``observed``, ``difference`` or ``map``."""

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
        note: Why something is not shown, or which part is shown; ``""`` if all is shown.
        has_odd: Whether the map has places that are NaN or infinite on one side only.
    """

    path: str
    pictures: tuple[Picture, ...] = ()
    largest: float = 0.0
    histogram: Histogram | None = None
    note: str = ""
    has_odd: bool = False


def view_tensors(
    path: str, baseline: NDArray[Any] | None, observed: NDArray[Any] | None
) -> TensorView:
    """The view of one tensor from both sides; either may be ``None``.

    Both sides are drawn on the baseline's scale: ``uint8`` unchanged, floats from 0 or -1 to 1 if
    they are in that range, else from the least to the largest finite element.
    """
    sides = [one for one in (baseline, observed) if one is not None]
    if not sides or any(not 0 < one.size <= _MAX_ELEMENTS for one in sides):
        return TensorView(path, note="empty, absent or too large to draw")
    if len(sides) == 2 and sides[0].shape != sides[1].shape:
        return TensorView(path, note="the shapes differ, so nothing is drawn")
    images = is_image(sides[0].shape)
    values = [one.astype(np.float64) for one in sides]
    difference = None if len(values) < 2 else _difference(*values)
    note = ""
    if images:
        note = _batch_note(values[0], difference)
        values, difference = _one_image(values, difference)
        pictures = _image_pictures(values, _labels(baseline, observed), sides[0].dtype)
    else:
        pictures = ()
    if difference is None:
        return TensorView(path, pictures, note="there is no other side to compare with")
    largest = _largest(difference)
    last = _difference_image(difference, largest) if images else _heat_map(difference, largest)
    has_odd = not images and not bool(np.isfinite(difference).all())
    note = note if images else _map_note(difference.shape)
    return TensorView(path, (*pictures, last), largest, _histogram(difference), note, has_odd)


def _difference(baseline: _Floats, observed: _Floats) -> _Floats:
    """``observed - baseline``; 0.0 where both are the same infinity or both NaN."""
    alike = (baseline == observed) | (np.isnan(baseline) & np.isnan(observed))
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where(alike, 0.0, observed - baseline)


def _labels(*sides: NDArray[Any] | None) -> tuple[str, ...]:
    named = zip(("baseline", "observed"), sides, strict=True)
    return tuple(name for name, side in named if side is not None)


def is_image(shape: tuple[int, ...]) -> bool:
    """Whether a shape is that of one image or a batch: channels last or first, 1 or 3 of them."""
    if len(shape) == 4:
        shape = shape[1:]
    if len(shape) != 3:
        return False
    last, first = shape[2] in (1, 3), shape[0] in (1, 3)
    sides = shape[:2] if last else shape[1:]
    return (last or first) and min(sides) >= _LEAST_SIDE


def _one_image(
    values: list[_Floats], difference: _Floats | None
) -> tuple[list[_Floats], _Floats | None]:
    """One image, channels last; of a batch the one that differs most."""
    number = _shown_image(values[0], difference)

    def picked(array: _Floats) -> _Floats:
        array = array[number] if array.ndim == 4 else array
        return array if array.shape[2] in (1, 3) else np.moveaxis(array, 0, 2)

    return [picked(one) for one in values], None if difference is None else picked(difference)


def _shown_image(values: _Floats, difference: _Floats | None) -> int:
    if values.ndim < 4 or difference is None:
        return 0
    size = np.where(np.isnan(difference), np.inf, np.abs(difference))
    return int(np.argmax(size.reshape(size.shape[0], -1).max(axis=1)))


def _batch_note(values: _Floats, difference: _Floats | None) -> str:
    if values.ndim < 4 or values.shape[0] < 2:
        return ""
    number = _shown_image(values, difference)
    why = ", the one that differs most; the histogram is of it" if difference is not None else ""
    return f"image {number} of {values.shape[0]}, counted from 0{why}"


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


def _image_pictures(
    values: list[_Floats], labels: tuple[str, ...], dtype: np.dtype[Any]
) -> tuple[Picture, ...]:
    low, high = _range(values[0], dtype)
    scale = 255.0 / (high - low) if high > low else 0.0
    return tuple(
        _picture(label, _small(_bytes((one - low) * scale)))
        for label, one in zip(labels, values, strict=True)
    )


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


def _difference_image(difference: _Floats, largest: float) -> Picture:
    scale = 255.0 / largest if largest else 0.0
    shares = np.where(np.isfinite(difference), np.ceil(np.abs(difference) * scale), 255.0)
    sides = _pooled_sides(shares.shape, _IMAGE_SIDE)
    return _picture("difference", Image.fromarray(_squeezed(_bytes(_pooled(shares, *sides)))))


def _heat_map(difference: _Floats, largest: float) -> Picture:
    columns = difference.shape[-1] if difference.ndim else 1
    flat = difference.reshape(-1, columns)
    if flat.shape[0] == 1:
        # A vector would be one line of dots, so it is folded.
        width = max(1, math.isqrt(columns))
        padding = -columns % width
        flat = np.pad(flat, ((0, 0), (0, padding))).reshape(-1, width)
    scale = (_ODD - 1) / largest if largest else 0.0
    shares = np.where(np.isfinite(flat), np.ceil(np.abs(flat) * scale), _ODD)
    small = _pooled(shares, *_pooled_sides(flat.shape, _MAP_SIDE)).astype(np.uint8)
    image = Image.frombytes("P", (small.shape[1], small.shape[0]), small.tobytes())
    image.putpalette(_palette())
    return _picture("map", image)


def _palette() -> list[int]:
    steps = np.linspace(0.0, len(_ANCHORS) - 1.0, _ODD)
    table = np.asarray(_ANCHORS, dtype=np.float64)
    channels = [np.interp(steps, range(len(_ANCHORS)), table[:, one]) for one in range(3)]
    colours = np.rint(np.stack(channels, axis=1)).astype(int).reshape(-1).tolist()
    return [*colours, 255, 0, 255]


def _pooled_sides(shape: tuple[int, ...], side: int) -> tuple[int, int]:
    return min(shape[0], side), min(shape[1], side)


def _pooled(values: _Floats, rows: int, columns: int) -> _Floats:
    """The largest value of each block, so a single differing place stays visible."""
    down = np.maximum.reduceat(values, _starts(values.shape[0], rows), axis=0)
    pooled: _Floats = np.maximum.reduceat(down, _starts(values.shape[1], columns), axis=1)
    return pooled


def _starts(length: int, parts: int) -> NDArray[np.int64]:
    return (np.arange(parts, dtype=np.int64) * length) // parts


def _small(pixels: NDArray[np.uint8]) -> Image.Image:
    image = Image.fromarray(_squeezed(pixels))
    image.thumbnail((_IMAGE_SIDE, _IMAGE_SIDE), Image.Resampling.BOX)
    return image


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
