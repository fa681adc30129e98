"""Which dtypes are taken, what is said about the others, and how elements are read."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from pytest_repro.errors import ValueRefused
from pytest_repro.tensors.dtypes import (
    DTYPES,
    bits_text,
    dtype_of,
    element_text,
    ordered_integers,
    widen,
)

FLOATS = [name for name, row in DTYPES.items() if row.is_float]


@pytest.mark.parametrize("name", DTYPES)
def test_every_dtype_is_found_in_either_byte_order(name):
    row = DTYPES[name]
    assert dtype_of(np.zeros(2, row.numpy)) is row
    assert dtype_of(np.zeros(2, row.numpy.newbyteorder(">"))) is row
    assert row.itemsize == row.numpy.itemsize


def test_both_of_c_s_64_bit_integers_are_int64():
    assert dtype_of(np.zeros(1, np.longlong)).name == "int64"
    assert dtype_of(np.zeros(1, np.int_)).name == "int64"


@pytest.mark.parametrize(
    ("array", "hint"),
    [
        (np.array([object()]), "one by one"),
        (np.zeros(2, np.complex64), "value.real"),
        (np.zeros(2, [("a", "f4")]), "fields"),
        (np.array(["text"]), "text"),
        (np.array([b"text"]), "bytes"),
        (np.array(["2026-01-01"], "M8[D]"), "int64"),
        (np.array([1], "m8[s]"), "int64"),
        (np.zeros(2, np.longdouble), "float64"),
        (np.zeros(2, ml_dtypes.float8_e4m3fn), "float32"),
        (np.zeros(2, np.void(2).dtype), "cast it"),
    ],
)
def test_a_refused_dtype_is_named_with_the_allowed_ones_and_a_way_out(array, hint):
    with pytest.raises(ValueRefused) as caught:
        dtype_of(array)
    assert str(array.dtype) in caught.value.what
    assert hint in caught.value.next_step
    assert all(name in str(caught.value) for name in DTYPES)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("float16", 0.1, "0.1"),
        ("bfloat16", 0.1, "0.1"),
        ("float32", 0.1, "0.1"),
        ("float64", 0.1, "0.1"),
        ("float16", -0.0, "-0.0"),
        ("float16", 65504, "65500.0"),
        ("float32", 1e-45, "1e-45"),
        ("float32", 16777216, "16777216.0"),
        ("bfloat16", 3.0, "3.0"),
        ("float32", np.inf, "inf"),
        ("uint64", 2**64 - 1, "18446744073709551615"),
        ("int8", -128, "-128"),
        ("bool", True, "True"),
    ],
)
def test_an_element_has_its_shortest_text(name, value, text):
    assert element_text(DTYPES[name], np.array(value, DTYPES[name].numpy)) == text


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_every_16_bit_float_reads_back_from_its_text(name):
    row = DTYPES[name]
    patterns = np.arange(0, 2**16, 7, dtype="<u2").view(row.numpy)
    finite = patterns[np.isfinite(widen(row, patterns))]
    texts = [element_text(row, finite[i : i + 1]) for i in range(finite.size)]
    back = np.array([float(text) for text in texts]).astype(row.numpy)
    assert back.tobytes() == finite.tobytes()
    shortened = np.array([float(f"{float(text):.1g}") for text in texts]).astype(row.numpy)
    assert shortened.tobytes() != finite.tobytes()  # one digit would not have been enough


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_ordered_integers_rank_every_16_bit_float(name):
    row = DTYPES[name]
    patterns = np.arange(2**16, dtype="<u4").astype("<u2").view(row.numpy)
    patterns = patterns[np.isfinite(widen(row, patterns))]
    ranks = ordered_integers(row, patterns).astype(np.int64)
    order = np.argsort(ranks, kind="stable")
    values = widen(row, patterns[order])
    assert np.all(np.diff(values) >= 0)
    steps = np.diff(np.sort(ranks))
    assert sorted(set(steps.tolist())) == [0, 1]
    assert np.count_nonzero(steps == 0) == 1  # -0.0 and 0.0, nothing else


@pytest.mark.parametrize("name", FLOATS)
def test_widening_keeps_the_value(name):
    row = DTYPES[name]
    values = np.array([0.1, -2.5, 0.0, 3e4], row.numpy)
    assert widen(row, values).tolist() == [float(value) for value in values]
    assert np.isnan(widen(row, np.array([np.nan], row.numpy))[0])


def test_widening_writes_where_it_is_told():
    row = DTYPES["bfloat16"]
    out = np.full(2, 9.0)
    assert widen(row, np.array([1.5, -2.0], row.numpy), out) is out
    assert out.tolist() == [1.5, -2.0]


def test_bits_are_shown_with_leading_zeros():
    assert bits_text(DTYPES["float32"], np.array(-0.0, "f4")) == "0x80000000"
    assert bits_text(DTYPES["float16"], np.array(5.9604645e-08, "f2")) == "0x0001"


@pytest.mark.parametrize("name", FLOATS)
def test_the_bits_of_a_significand_are_those_of_the_dtype(name):
    assert DTYPES[name].significand_bits == ml_dtypes.finfo(DTYPES[name].numpy).nmant + 1


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "0.0", "-0.0", "0.1", "1.5", "-240.0"])
def test_the_text_of_an_element_is_as_short_as_its_dtype_allows(name, text):
    row = DTYPES[name]
    assert element_text(row, np.array([float(text)]).astype(row.numpy)) == text


@pytest.mark.parametrize("value", [5e-324, 0.1 + 0.2, 1 / 3, 1.7976931348623157e308])
def test_the_text_of_a_float64_reads_back(value):
    assert float(element_text(DTYPES["float64"], np.array([value]))) == value
