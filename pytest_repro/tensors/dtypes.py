"""The dtypes that a baseline can hold, and how the bits of their elements are read.

Every conversion here is exact, except 64-bit integers to float64, which rounds to the nearest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_repro.errors import ValueRefused


class DTypeKind(str, Enum):
    """The kind of element; decides which measures of difference exist."""

    BOOLEAN = "boolean"
    INTEGER = "integer"
    FLOAT = "float"


@dataclass(frozen=True, slots=True)
class DType:
    """One dtype that a baseline can hold.

    Attributes:
        name: The name in manifests, digests and messages.
        letter: numpy's letter of its kind; ``V`` for bfloat16, which numpy itself does not have.
        safetensors_tag: The name in a safetensors header.
        kind: Boolean, integer or float.
        itemsize: Bytes of an element.
        significand_bits: Bits of precision of a float, with the implicit bit (IEEE 754 ``p``);
            0 for integers and bool.
    """

    name: str
    letter: str
    safetensors_tag: str
    kind: DTypeKind
    itemsize: int
    significand_bits: int

    @property
    def numpy(self) -> np.dtype[Any]:
        """The little-endian numpy (or ml_dtypes) dtype."""
        return _numpy_dtype(self.letter, self.itemsize)

    @property
    def is_float(self) -> bool:
        """Whether elements have NaN, infinities and units in the last place."""
        return self.kind is DTypeKind.FLOAT


@cache
def _numpy_dtype(letter: str, itemsize: int) -> np.dtype[Any]:
    if letter == "V":
        try:  # imported late: few suites use bfloat16
            import ml_dtypes
        except ModuleNotFoundError as error:
            raise ValueRefused(
                "a bfloat16 value needs the package ml_dtypes",
                next_step="pip install 'pytest-repro[mindspore]'",
            ) from error

        bfloat16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return bfloat16
    return np.dtype(f"<{letter}{itemsize}")


def _row(name: str, text: str, tag: str, kind: DTypeKind, significand_bits: int = 0) -> DType:
    return DType(name, text[0], tag, kind, int(text[1:]), significand_bits)


# Significands: IEEE 754-2019 table 3.5; bfloat16: float32 with 16 trailing bits cut off.
# Tags: the `Dtype` enum of the safetensors format.
DTYPES: Mapping[str, DType] = MappingProxyType(
    {
        row.name: row
        for row in (
            _row("bool", "b1", "BOOL", DTypeKind.BOOLEAN),
            _row("int8", "i1", "I8", DTypeKind.INTEGER),
            _row("int16", "i2", "I16", DTypeKind.INTEGER),
            _row("int32", "i4", "I32", DTypeKind.INTEGER),
            _row("int64", "i8", "I64", DTypeKind.INTEGER),
            _row("uint8", "u1", "U8", DTypeKind.INTEGER),
            _row("uint16", "u2", "U16", DTypeKind.INTEGER),
            _row("uint32", "u4", "U32", DTypeKind.INTEGER),
            _row("uint64", "u8", "U64", DTypeKind.INTEGER),
            _row("float16", "f2", "F16", DTypeKind.FLOAT, 11),
            _row("bfloat16", "V2", "BF16", DTypeKind.FLOAT, 8),
            _row("float32", "f4", "F32", DTypeKind.FLOAT, 24),
            _row("float64", "f8", "F64", DTypeKind.FLOAT, 53),
        )
    }
)
"""All dtypes that a baseline can hold, by name."""

# Kind letter and size instead of the dtype itself, so that byte order and C's two names for one
# integer (`long`, `long long`) do not matter. bfloat16 is kind `V`, like every structured dtype.
_BY_LETTER: Mapping[tuple[str, int], DType] = MappingProxyType(
    {(row.letter, row.itemsize): row for row in DTYPES.values() if row.name != "bfloat16"}
)

_BFLOAT16 = DTYPES["bfloat16"]

_HINTS: Mapping[str, str] = MappingProxyType(
    {
        "O": "turn the objects into numbers, or check the elements of a list or dict one by one",
        "c": "check value.real and value.imag, each under a name of its own",
        "M": "check value.view('int64')",
        "m": "check value.view('int64')",
        "U": "check numbers; compare text with a plain assert",
        "S": "check numbers; compare bytes with a plain assert",
        "V": "cast it (value.astype('float32')), or check the fields one by one",
        "f": "cast it: value.astype('float64')",
    }
)


def dtype_of(array: NDArray[Any]) -> DType:
    """The dtype of ``array``, in any byte order.

    Raises:
        ValueRefused: A baseline cannot hold it (object, complex, structured, text, dates, long
            double, 8-bit floats); the message says which are allowed and what to do.
    """
    dtype = array.dtype
    row = _BY_LETTER.get((dtype.kind, dtype.itemsize))
    if row is None and dtype.name == "bfloat16" and dtype.newbyteorder("<") == _BFLOAT16.numpy:
        row = _BFLOAT16
    if row is None:
        raise ValueRefused(
            f"a baseline cannot hold an array of dtype {dtype}",
            facts=(f"shape    {array.shape}", f"allowed  {', '.join(DTYPES)}"),
            next_step=_HINTS.get(dtype.kind, _HINTS["V"]),
        )
    return row


def coarsest(dtypes: Iterable[DType]) -> DType:
    """The float dtype of the fewest bits of precision; integers and bool do not count.

    Raises:
        ValueError: There is no float among them.
    """
    return min((one for one in dtypes if one.is_float), key=lambda one: one.significand_bits)


def bits_of(dtype: DType, array: NDArray[Any]) -> NDArray[np.unsignedinteger[Any]]:
    """The elements' bits as unsigned integers of the same size; a view, never a copy."""
    return array.view(np.dtype(f"<u{dtype.itemsize}"))


def widen(
    dtype: DType, array: NDArray[Any], out: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """The elements as float64, exact except 64-bit integers (to the nearest); do not write to it.

    float64 is returned unchanged; anything else is written to ``out`` if given. bfloat16 is
    widened through its bits, the upper half of a float32's.
    """
    if dtype.name == "float64":
        return array
    if dtype.name == "bfloat16":
        upper = bits_of(dtype, array).astype("<u4")
        array = np.left_shift(upper, 16, out=upper).view("<f4")
    if out is None:
        return array.astype(np.float64)
    np.copyto(out, array)
    return out


def ordered_integers(
    dtype: DType,
    array: NDArray[Any],
    out: NDArray[np.signedinteger[Any]] | None = None,
    scratch: NDArray[np.signedinteger[Any]] | None = None,
) -> NDArray[np.signedinteger[Any]]:
    """Signed integers in the order of the floats: neighbours differ by one, and -0.0 = 0.0.

    Written to ``out`` if given; ``scratch`` (of the same length) saves an allocation.

    A float's bits are sign and magnitude; two's complement of the magnitude keeps the order across
    zero. Source: Bruce Dawson, "Comparing Floating Point Numbers, 2012 Edition".
    """
    bits = array.view(np.dtype(f"<i{dtype.itemsize}"))
    sign = np.right_shift(bits, dtype.itemsize * 8 - 1, out=scratch)
    ordered: NDArray[np.signedinteger[Any]] = np.bitwise_and(
        sign, np.iinfo(bits.dtype).max, out=out
    )
    np.bitwise_xor(bits, ordered, out=ordered)
    np.subtract(ordered, sign, out=ordered)
    return ordered


def element_text(dtype: DType, element: NDArray[Any]) -> str:
    """Shortest decimal text of a one-element array that reads back as the same value in its dtype.

    ``0.1`` for float16 0.1, not float64's 0.0999755859375; ``nan`` for any NaN.
    """
    if dtype.kind is DTypeKind.BOOLEAN:
        return str(bool(element.item()))
    if dtype.kind is DTypeKind.INTEGER:
        return str(int(element.item()))
    with np.errstate(all="ignore"):  # widening a signalling NaN raises the flag
        value = float(widen(dtype, element.reshape(1))[0])
    if not np.isfinite(value) or dtype.name == "float64":
        return repr(value)
    for digits in range(1, 18):
        short = float(f"{value:.{digits}g}")
        if _rounds_to(dtype, short, value):
            return repr(short)
    return repr(value)


def _rounds_to(dtype: DType, decimal: float, value: float) -> bool:
    with np.errstate(all="ignore"):
        back = np.array([decimal], dtype=np.float64).astype(dtype.numpy)
        return bool(widen(dtype, back)[0] == value)


def bits_text(dtype: DType, element: NDArray[Any]) -> str:
    """Bits of a one-element array in hex with every leading zero, e.g. ``0x80000000``."""
    return f"0x{int(bits_of(dtype, element.reshape(1))[0]):0{2 * dtype.itemsize}x}"
