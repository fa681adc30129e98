"""What a test hands to `repro_check`, as records: arrays, tensors, pictures and nests of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from pytest_repro.errors import ReproError, ValueRefused
from pytest_repro.model.ids import CheckId, TensorRecord
from pytest_repro.tensors.record import make_record

_PALETTE_MODES = ("P", "PA")
_MAX_DEPTH = 16
_MAX_LEAVES = 100_000
_NEXT = "check an array, a tensor, a picture, or dicts, lists, tuples and dataclasses of those"
_LEAVE_OUT = "leave it out: what comes to stand there later is a drift all the same"


class TensorFramework(Protocol):
    """The part of a framework's adapter that reads its tensors."""

    def is_tensor(self, value: object) -> bool:
        """Whether ``value`` is a tensor of the framework; must not import it."""

    def to_numpy(self, tensor: Any) -> np.ndarray[Any, Any]:
        """The tensor's numbers, bit for bit, in memory of their own."""

    def peek(self, tensor: Any) -> np.ndarray[Any, Any]:
        """The tensor's numbers where they lie: to be read before the framework computes on."""

    def from_numpy(self, array: np.ndarray[Any, Any]) -> Any:
        """A new tensor of the array's dtype, shape and numbers."""


def records_from(
    value: object, *, check: CheckId | str, framework: TensorFramework
) -> tuple[tuple[str, TensorRecord], ...]:
    """The leaves of ``value`` with their places, in order.

    A lone array has the place ``""``; keys and positions read like Python: ``latents[0]``. Python
    numbers are 0-d arrays (int64, float64, bool); a list of numbers of one kind is one array.

    Args:
        value: numpy array, MindSpore tensor, PIL picture, anything with ``__array__``, a number, or
            a mapping, list, tuple or dataclass of those.
        check: Id of the check, for messages.
        framework: Reads tensors.

    Raises:
        ValueRefused: Something else, an empty nest anywhere, or a dtype that cannot be stored; the
            message names the check and the place.
    """
    if isinstance(value, np.ndarray):
        return (("", _record(value, "", check, framework)),)
    leaves = tuple(_leaves(value, "", check, framework, 0))
    if not leaves:
        raise ValueRefused(
            f"{check}: there is no array in the value", facts=(_kind(value),), next_step=_NEXT
        )
    if len(leaves) > _MAX_LEAVES:
        raise ValueRefused(f"{check}: {len(leaves)} arrays in one check", next_step=_NEXT)
    return leaves


def _leaves(
    value: object, path: str, check: CheckId | str, framework: TensorFramework, depth: int
) -> Iterator[tuple[str, TensorRecord]]:
    if depth > _MAX_DEPTH:
        raise ValueRefused(f"{check}: nested more than {_MAX_DEPTH} deep", next_step=_NEXT)
    numbers = _numbers(value)
    items = None if numbers is not None else _items(value, path)
    if items is None:
        yield path, _record(value if numbers is None else numbers, path, check, framework)
        return
    if path and not items:
        raise ValueRefused(
            f"{check}, at {path}: an empty {type(value).__name__} holds nothing to compare",
            next_step=_LEAVE_OUT,
        )
    for place, item in items:
        yield from _leaves(item, place, check, framework, depth + 1)


def _items(value: object, path: str) -> list[tuple[str, object]] | None:
    """What a nest holds, with places; ``None`` for a leaf."""
    if isinstance(value, Mapping):
        return [(path + _key(key, path), item) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return [(f"{path}[{position}]", item) for position, item in enumerate(value)]
    if _is_dataclass(value):
        # mypy knows no instance of "some dataclass".
        names = [field.name for field in dataclasses.fields(value)]  # type: ignore[arg-type]
        return [(path + _key(name, path), getattr(value, name)) for name in names]
    return None


def _is_dataclass(value: object) -> bool:
    """Whether a value is a dataclass that is not an array itself."""
    is_instance = dataclasses.is_dataclass(value) and not isinstance(value, type)
    return is_instance and not _is_array_like(value)


def _is_array_like(value: object) -> bool:
    """Whether numpy reads the value as an array; pictures of PIL have the second name only."""
    return hasattr(value, "__array__") or hasattr(value, "__array_interface__")


def _record(
    value: object, path: str, check: CheckId | str, framework: TensorFramework
) -> TensorRecord:
    try:
        return make_record(_array(value, framework))
    except ReproError as error:
        place = f"{check}, at {path}" if path else check
        raise ValueRefused(
            f"{place}: {error.what}", facts=error.facts, next_step=error.next_step or _NEXT
        ) from error
    except TypeError as error:
        place = f"{check}, at {path}" if path else check
        next_step = _LEAVE_OUT if value is None and path else _NEXT
        raise ValueRefused(f"{place}: {error}", next_step=next_step) from error


def _array(value: object, framework: TensorFramework) -> np.ndarray[Any, Any]:
    if isinstance(value, np.ndarray):
        return value
    if framework.is_tensor(value):
        return framework.to_numpy(value)
    if getattr(value, "mode", "") in _PALETTE_MODES and hasattr(value, "palette"):
        raise ValueRefused(
            "the numbers of the picture are places in a palette, which would be lost",
            next_step='check picture.convert("RGB")',
        )
    if isinstance(value, (bool, int, float, np.generic)) or _is_array_like(value):
        return np.asarray(value)
    raise TypeError(_kind(value))


def _numbers(value: object) -> np.ndarray[Any, Any] | None:
    """A non-empty list or tuple of Python numbers of one kind as an array; else ``None``."""
    if not isinstance(value, (list, tuple)) or not value:
        return None
    kind = type(value[0])
    if kind in (bool, int, float) and all(type(item) is kind for item in value):
        return np.asarray(value)
    return None


def _key(key: object, path: str) -> str:
    if isinstance(key, str) and key.isidentifier():
        return f".{key}" if path else key
    return f"[{key!r}]"


def _kind(value: object) -> str:
    return f"a value of type {type(value).__module__}.{type(value).__qualname__} cannot be checked"
