"""Reads the value of a check as tensors and the structure around them."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from typing import Any, Protocol

import numpy as np

from pytest_repro.errors import ReproError, ValueRefused
from pytest_repro.model.ids import CheckId, TensorRecord
from pytest_repro.tensors.record import digest_text, make_record

_sorted = sorted
"""Taken before a test can replace it: an empty value would equal any other."""
_PALETTE_MODES = ("P", "PA")
_ORIENTATION = 0x0112
"""Its tag in EXIF 2.3."""
_MAX_DEPTH = 16
_MAX_LEAVES = 100_000
_MAX_LABELS = 200
_NEXT = "check an array, a tensor, a picture, or dicts, lists, tuples and dataclasses of those"
_CARRIED = ("columns", "index", "dims", "coords", "unit", "units")
"""Attributes of an array-like that its numbers do not contain."""


class TensorFramework(Protocol):
    """The part of a framework's adapter that reads its tensors."""

    def is_tensor(self, value: object) -> bool:
        """Whether ``value`` is a tensor of the framework; must not import it."""

    def to_numpy(self, tensor: Any) -> np.ndarray[Any, Any]:
        """A copy of the tensor's numbers, bit for bit."""

    def peek(self, tensor: Any) -> np.ndarray[Any, Any]:
        """The tensor's numbers in the framework's memory: read them before the next kernel."""

    def from_numpy(self, array: np.ndarray[Any, Any]) -> Any:
        """A new tensor of the array's dtype, shape and numbers."""


@dataclasses.dataclass(frozen=True, slots=True)
class CheckedValue:
    """A value as tensors by place, and the structure that the places do not show.

    Attributes:
        tensors: Place and record, sorted by place. A single array has the place ``""``; keys and
            positions look like Python: ``latents[0]``.
        structure: Place and kind, sorted, of each container, picture and ``None``. A dict and a
            tuple of tensors have no entry, because their places show them.
    """

    tensors: tuple[tuple[str, TensorRecord], ...]
    structure: tuple[tuple[str, str], ...] = ()


def value_from(value: object, *, check: CheckId | str, framework: TensorFramework) -> CheckedValue:
    """Read a value.

    A value is a numpy array, tensor, PIL picture, DataFrame, anything with ``__array__``, a number,
    or a mapping, list, tuple or dataclass of those, which may hold ``None``. Python numbers are 0-d
    arrays (int64, float64, bool); a list or tuple of numbers of one kind is one array. The order of
    a dict's keys does not count.

    Raises:
        ValueRefused: Something else, an empty container, two keys with equal text, or a dtype that
            cannot be stored; the message names the check and the place.
    """
    reader = _Reader(check, framework)
    reader.read(value, "", 0)
    if not reader.tensors:
        raise ValueRefused(
            f"{check}: there is no array in the value",
            facts=(f"it is of type {type(value).__qualname__}",),
            next_step=_NEXT,
        )
    return CheckedValue(tuple(_sorted(reader.tensors.items())), tuple(_sorted(reader.structure)))


class _Reader:
    """Collects the tensors and the structure of one value."""

    def __init__(self, check: CheckId | str, framework: TensorFramework) -> None:
        self._check = check
        self._framework = framework
        self.tensors: dict[str, TensorRecord] = {}
        self.structure: list[tuple[str, str]] = []

    def read(self, value: object, path: str, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise ValueRefused(
                f"{self._check}: nested more than {_MAX_DEPTH} deep", next_step=_NEXT
            )
        with self._at(path):
            numbers = _numbers(value)
            items = _items(value) if numbers is None else None
            kind = _kind(value, is_numbers=numbers is not None)
            if items is None and (value is not None or not path):
                self._add(path, _array(value, self._framework) if numbers is None else numbers)
        if kind:
            self.structure.append((path, kind))
        if items is not None:
            self._read_items(path, items, f"an empty {type(value).__name__}", depth)

    def _read_items(
        self, path: str, items: list[tuple[object, object]], empty: str, depth: int
    ) -> None:
        if path and not items:
            next_step = "leave it out: a tensor that appears there later is a drift"
            raise self._refused(path, f"{empty} holds nothing to compare", next_step=next_step)
        seen: set[str] = set()
        for key, item in items:
            with self._at(path):
                place = path + _step(key, path)
            if place in seen:
                raise self._refused(
                    place,
                    "two keys have the same text, so their values cannot be distinguished",
                    next_step="use different texts as keys, or check a list of the values",
                )
            seen.add(place)
            self.read(item, place, depth + 1)

    def _add(self, path: str, array: np.ndarray[Any, Any]) -> None:
        self.tensors[path] = make_record(array)
        if len(self.tensors) > _MAX_LEAVES:
            raise ValueRefused(f"more than {_MAX_LEAVES} arrays in one check")

    @contextmanager
    def _at(self, path: str) -> Iterator[None]:
        """Add the check's id and the place to an error inside."""
        try:
            yield
        except ReproError as error:
            raise self._refused(path, error.what, error.facts, error.next_step) from error
        # A value's own `__array__`, `__iter__` or property may raise anything.
        except Exception as error:
            what = f"the value cannot be read: {type(error).__name__}: {error}"
            raise self._refused(path, what) from error

    def _refused(
        self, path: str, what: str, facts: tuple[str, ...] = (), next_step: str = ""
    ) -> ValueRefused:
        place = f"{self._check}, at {path}" if path else self._check
        return ValueRefused(f"{place}: {what}", facts=facts, next_step=next_step or _NEXT)


def _numbers(value: object) -> np.ndarray[Any, Any] | None:
    """A non-empty list or tuple of Python numbers of one kind as an array; else ``None``."""
    if not isinstance(value, (list, tuple)) or not value or _is_namedtuple(value):
        return None
    kind = type(value[0])
    if kind in (bool, int, float) and all(type(item) is kind for item in value):
        return _from_numbers(value)
    return None


def _from_numbers(numbers: object) -> np.ndarray[Any, Any]:
    array = np.asarray(numbers)
    if array.dtype.kind not in "iu":
        # numpy makes floats of a list of integers beyond 64 bits.
        return array if array.dtype.kind in "bf" and not _holds_int(numbers) else _too_large()
    return array.astype(np.int64) if array.dtype.kind == "i" else array


def _holds_int(numbers: object) -> bool:
    first = numbers[0] if isinstance(numbers, (list, tuple)) else numbers
    return isinstance(first, int) and not isinstance(first, bool)


def _too_large() -> np.ndarray[Any, Any]:
    raise ValueRefused(
        "no 64-bit dtype holds all of the integers", next_step="check them as float, or in parts"
    )


def _items(value: object) -> list[tuple[object, object]] | None:
    """Keys and items of a container, positions as `_Position`; ``None`` for other values."""
    if isinstance(value, Mapping):
        return list(value.items())
    if isinstance(value, (list, tuple)):
        return list(enumerate(value))
    if _is_of(value, "DataFrame"):
        return [(name, value[name]) for name in _unique(value.columns)]  # type: ignore[index, attr-defined]
    if dataclasses.is_dataclass(value) and not isinstance(value, type) and not _is_array(value):
        return [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    return None


def _unique(labels: Iterable[object]) -> list[object]:
    names = list(labels)
    if len(set(names)) < len(names):
        raise ValueRefused("two columns have the same name", next_step="check value.to_numpy()")
    return names


def _array(value: object, framework: TensorFramework) -> np.ndarray[Any, Any]:
    if isinstance(value, np.ndarray):
        return value
    if framework.is_tensor(value):
        return framework.to_numpy(value)
    if isinstance(value, (bool, int, float)):
        return _from_numbers(value)
    if isinstance(value, np.generic):
        return np.asarray(value)
    if _is_picture(value):
        _require_one_picture(value)
    elif _is_of(value, "Tensor") and hasattr(value, "detach"):
        value = value.detach().cpu()  # PyTorch gives no array of a tensor with a gradient
    elif not _is_array(value):
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        as_array = "check numpy.from_dlpack(value)" if hasattr(value, "__dlpack__") else ""
        raise ValueRefused(f"a value of type {kind} cannot be checked", next_step=as_array)
    elif not _is_of(value, "Series"):
        _require_only_numbers(value)
    return np.asanyarray(value)  # not asarray, which drops the mask of a masked array


def _require_one_picture(picture: Any) -> None:
    if picture.mode in _PALETTE_MODES:
        raise ValueRefused(
            "the picture's numbers are indices into a palette, which would be lost",
            next_step='check picture.convert("RGB")',
        )
    if getattr(picture, "n_frames", 1) > 1:
        raise ValueRefused(
            f"the picture has {picture.n_frames} frames",
            next_step="check [frame.copy() for frame in PIL.ImageSequence.Iterator(picture)]",
        )


def _shown_differently(picture: Any) -> str:
    """What a picture from a file carries beside its numbers and changes how it looks, in words."""
    orientation = picture.getexif().get(_ORIENTATION, 1)
    turned = f", orientation {orientation}" if orientation != 1 else ""
    clear = picture.info.get("transparency")
    return turned if clear is None else f"{turned}, transparent where it is {clear}"


def _require_only_numbers(value: object) -> None:
    if _is_of(value, "Index"):
        raise ValueRefused("an index has a name", next_step="check value.to_numpy()")
    carried = [name for name in _CARRIED if hasattr(value, name)]
    if carried:
        raise ValueRefused(
            f"the {' and '.join(carried)} of a {type(value).__name__} would be lost",
            next_step="check the numbers and these attributes in a dict of arrays",
        )


def _kind(value: object, *, is_numbers: bool) -> str:
    """The kind of a value that the places do not show; ``""`` for dicts, tuples and arrays."""
    if isinstance(value, (list, tuple, Mapping)):
        return _container_kind(value, is_numbers)
    if isinstance(value, np.ndarray):
        return _subclass(value)
    if value is None:
        return "None"
    return _object_kind(value)


def _container_kind(value: Any, is_numbers: bool) -> str:
    name = type(value).__name__
    if _is_namedtuple(value):
        return f"namedtuple {name}({', '.join(value._fields)})"
    if type(value) is dict:
        return name if _reads_like_a_tuple(value) else ""
    return "" if type(value) is tuple and not is_numbers else name


def _reads_like_a_tuple(keys: Iterable[object]) -> bool:
    texts = {_key_text(key) for key in keys}
    return texts == {str(position) for position in range(len(texts))}


def _subclass(array: np.ndarray[Any, Any]) -> str:
    if type(array) in (np.ndarray, np.memmap):
        return ""
    _require_only_numbers(array)
    return type(array).__name__


def _object_kind(value: Any) -> str:
    if _is_picture(value):
        return f"picture of mode {value.mode}{_shown_differently(value)}"
    if _is_of(value, "DataFrame"):
        return f"DataFrame with columns {_labels(value.columns)}{_index(value)}"
    if _is_of(value, "Series"):
        return f"Series {_key_text(value.name)}{_own_dtype(value.dtype)}{_index(value)}"
    is_dataclass = dataclasses.is_dataclass(value) and not _is_array(value)
    return f"dataclass {type(value).__name__}" if is_dataclass else ""


def _index(value: Any) -> str:
    index = getattr(value, "index", None)
    if index is None or callable(index):  # polars has none
        return ""
    return f" and index {_labels(index)}"


def _own_dtype(dtype: Any) -> str:
    """A dtype of pandas or polars: its numbers alone would be those of a dtype of numpy."""
    if isinstance(dtype, np.dtype):
        return ""
    categories = getattr(dtype, "categories", None)
    of = "" if categories is None else f" of {_listed(categories)}, ordered {dtype.ordered}"
    return f" of dtype {dtype}{of}"


def _labels(index: Any) -> str:
    """Labels and their names; polars has plain lists."""
    names = [name for name in getattr(index, "names", ()) if name is not None]
    return f"{_listed(index)} named {_listed(index.names)}" if names else _listed(index)


def _listed(labels: Iterable[object]) -> str:
    texts = [_key_text(label) for label in labels]
    text = ", ".join(texts)
    if len(text) <= _MAX_LABELS:
        return text
    return f"of {len(texts)} labels ({digest_text(text)[:16]})"


def _is_namedtuple(value: object) -> bool:
    return isinstance(value, tuple) and hasattr(value, "_fields")


def _is_picture(value: object) -> bool:
    return any(
        one.__name__ == "Image" and one.__module__.startswith("PIL.") for one in type(value).__mro__
    )


def _is_of(value: object, name: str) -> bool:
    """Whether a value is of a class ``name`` of pandas, polars or PyTorch; imports none of them."""
    return any(
        one.__name__ == name and one.__module__.partition(".")[0] in ("pandas", "polars", "torch")
        for one in type(value).__mro__
    )


def _is_array(value: object) -> bool:
    """Whether numpy reads the value as an array; PIL pictures have only the second name."""
    return hasattr(value, "__array__") or hasattr(value, "__array_interface__")


def _step(key: object, path: str) -> str:
    """The part of a place that a key adds, e.g. ``.latents`` or ``[0]``."""
    if isinstance(key, str) and not isinstance(key, Enum) and key.isidentifier():
        text = str.__str__(key)
        return f".{text}" if path else text
    return f"[{_key_text(key)}]"


def _key_text(key: object) -> str:
    """A key as Python writes it, independent of numpy's version and print options."""
    if isinstance(key, Enum):
        return f"{type(key).__name__}.{key.name}"
    if isinstance(key, (np.datetime64, np.timedelta64)):
        return str(key)
    if isinstance(key, np.generic):
        key = key.item()
    if isinstance(key, tuple):
        inner = ", ".join(_key_text(one) for one in key)
        return f"({inner},)" if len(key) == 1 else f"({inner})"
    if isinstance(key, (datetime.date, datetime.time)):
        return key.isoformat()
    for kind in (str, bytes, bool, int, float, complex):
        if isinstance(key, kind):
            return kind.__repr__(key)
    if key is None:
        return "None"
    raise ValueRefused(
        f"a key of type {type(key).__module__}.{type(key).__qualname__} does not name a place",
        next_step="use text or numbers as keys",
    )
