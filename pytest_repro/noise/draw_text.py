"""One call of a generator's method as the ledger sees it: canonical arguments, drawn values.

Texts are short, the same on every machine and for every way to write one call
(``normal(0.0, 1.0, 3)``, ``normal(size=(3,))``).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_repro.errors import ValueRefused
from pytest_repro.model.baseline import Digest
from pytest_repro.tensors.digest import digest_text
from pytest_repro.tensors.record import make_record

__all__ = ["Drawn", "arguments_text", "drawn_from", "give_back"]

# Told by what was drawn: its shape, its dtype, the array itself.
_TOLD_OTHERWISE = frozenset({"size", "dtype", "out"})
_ADDRESS = re.compile(r"0x[0-9a-fA-F]+")
_LONGEST_TEXT = 64


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """The values of one draw.

    Attributes:
        holder: The array or scalar that carries them: what was returned, or what was shuffled.
        shape, dtype, digest: As the ledger keeps them.
        array: The numbers, C-contiguous, little-endian, read-only; ``None`` when they are none
            (a list, text, objects), whose digest is that of their canonical text.
    """

    holder: object
    shape: tuple[int, ...]
    dtype: str
    digest: Digest
    array: NDArray[Any] | None


def drawn_from(
    method: str, args: Sequence[object], kwargs: Mapping[str, object], value: object
) -> Drawn:
    """What a call of ``method`` drew: ``value``, or for ``shuffle`` its argument in new order."""
    holder = value
    if method == "shuffle":
        holder = args[0] if args else kwargs["x"]
    try:
        record = make_record(_as_array(holder))
    except (ValueRefused, OverflowError):
        return Drawn(holder, np.shape(_sized(holder)), _kind(holder), _text_digest(holder), None)
    return Drawn(holder, record.array.shape, record.dtype, record.digest, record.array)


def give_back(value: object, drawn: Drawn, array: NDArray[Any]) -> object:
    """What the caller gets when other numbers than the drawn ones are to be given.

    In-place results (``out=``, ``shuffle``) are overwritten; scalars keep their type.
    """
    if isinstance(drawn.holder, np.ndarray):
        np.copyto(drawn.holder, array)
        return value
    if isinstance(value, bytes):
        return array.tobytes()
    return array[()] if isinstance(value, np.generic) else array.item()


def arguments_text(method: str, args: Sequence[object], kwargs: Mapping[str, object]) -> str:
    """Canonical text of a call's arguments, without shape and dtype and without defaults.

    ``loc=1.0, scale=2.0``; arrays by dtype, shape and the head of their digest; ``""`` when
    everything is at its default.
    """
    if not args and not kwargs:
        return ""
    parameters = _parameters(method)
    named = [(one.name, value) for one, value in zip(parameters, args, strict=False)]
    named += [(f"argument {at}", args[at]) for at in range(len(parameters), len(args))]
    order = [one.name for one in parameters]
    known = dict(kwargs)
    named += [(name, known.pop(name)) for name in order if name in known]
    named += sorted(known.items())
    defaults = {one.name: one.default for one in parameters}
    texts = [(name, _text(value)) for name, value in named if name not in _TOLD_OTHERWISE]
    return ", ".join(f"{name}={text}" for name, text in texts if defaults.get(name) != text)


@dataclass(frozen=True, slots=True)
class _Parameter:
    """A parameter of a method; ``default`` as canonical text, ``None`` when it has none."""

    name: str
    default: str | None


@cache
def _parameters(method: str) -> tuple[_Parameter, ...]:
    """Parameters in order, from the first lines of numpy's own docstring.

    numpy 1.26's methods have no ``__text_signature__``; both lines have the form
    ``name(a, b=1.0, size=None)``.
    """
    doc = getattr(np.random.Generator, method).__doc__ or ""
    head = doc.partition(")\n")[0].strip()
    try:
        function = ast.parse(f"def {head}): ...").body[0]
    except SyntaxError:
        return ()
    assert isinstance(function, ast.FunctionDef)
    inner = function.args
    plain = [one for one in inner.args if one.arg != "self"]
    missing: list[ast.expr | None] = [None] * (len(plain) - len(inner.defaults))
    pairs = [*zip(plain, [*missing, *inner.defaults], strict=True)]
    pairs += zip(inner.kwonlyargs, inner.kw_defaults, strict=True)
    return tuple(_Parameter(one.arg, _default_text(default)) for one, default in pairs)


def _default_text(node: ast.expr | None) -> str | None:
    if node is None:
        return None
    try:
        return _text(ast.literal_eval(node))
    except ValueError:  # `np.float64` and the like: no argument has such a text
        return None


def _text(value: object) -> str:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (list, tuple, np.ndarray)) and np.size(_sized(value)):
        return _array_text(value)
    text = _ADDRESS.sub("0x", repr(value))
    return text if len(text) <= _LONGEST_TEXT else f"{type(value).__name__}:{_head(text)}"


def _array_text(value: object) -> str:
    try:
        record = make_record(np.asarray(value))
    except (ValueRefused, ValueError, OverflowError):
        return f"{_kind(value)}{np.shape(_sized(value))}:{_text_digest(value)[:16]}"
    return f"{record.dtype}{record.array.shape}:{record.digest[:16]}"


def _head(text: str) -> str:
    return digest_text(text)[:16]


def _as_array(holder: object) -> Any:
    """Bytes and Python's numbers as arrays; of the rest `make_record` refuses what is none."""
    if isinstance(holder, (bytes, memoryview, bytearray)):
        return np.frombuffer(holder, dtype=np.uint8)
    return np.asarray(holder) if isinstance(holder, (bool, int, float)) else holder


def _sized(holder: object) -> Any:
    """Something that has the holder's shape, whatever its elements are."""
    if isinstance(holder, np.ndarray):
        return holder
    if isinstance(holder, str) or not isinstance(holder, Sequence):
        return None  # of one element and without dimensions, as numpy sees it
    return np.empty(len(holder))


def _kind(holder: object) -> str:
    if isinstance(holder, (np.ndarray, np.generic)):
        return str(holder.dtype)
    return type(holder).__name__


def _text_digest(holder: object) -> Digest:
    return digest_text(_ADDRESS.sub("0x", repr(_plain(holder))))


def _plain(value: object) -> object:
    """Python's own scalars instead of numpy's, whose ``repr`` changed with numpy 2.0."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    return [_plain(one) for one in value] if isinstance(value, (list, tuple)) else value
