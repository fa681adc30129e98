"""A record holds the same bits in canonical form and leaves the caller's array alone."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_repro.errors import ValueRefused
from pytest_repro.tensors.dtypes import DTYPES
from pytest_repro.tensors.record import make_record, owned


def test_a_canonical_array_is_viewed_and_stays_writable_for_its_owner():
    array = np.arange(6, dtype="<f4").reshape(2, 3)
    record = make_record(array)
    assert np.shares_memory(record.array, array)
    assert not record.array.flags.writeable
    assert array.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        record.array[0, 0] = 1


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype="<f4").reshape(2, 3).T,
        np.arange(6, dtype="<f4")[::-2],
        np.asfortranarray(np.arange(6, dtype="<f4").reshape(2, 3)),
        np.arange(6, dtype=">f4").reshape(2, 3),
        np.broadcast_to(np.float32(2), (3, 2)),
        np.frombuffer(b"\0" + np.arange(3, dtype="<f4").tobytes(), "<f4", offset=1),
    ],
    ids=["transposed", "reversed", "fortran", "big-endian", "broadcast", "unaligned"],
)
def test_any_layout_gives_the_record_of_its_plain_copy(array):
    record = make_record(array)
    plain = make_record(np.array(array.tolist(), "<f4").reshape(array.shape))
    assert record.digest == plain.digest
    assert record.array.tobytes() == plain.array.tobytes()
    assert record.array.flags.c_contiguous
    assert record.array.flags.aligned
    assert record.array.dtype == np.dtype("<f4")
    assert record.digest != make_record(plain.array + 1).digest


@pytest.mark.parametrize("name", DTYPES)
def test_0_d_and_empty_keep_their_shape(name):
    for shape in ((), (0,), (2, 0, 3)):
        record = make_record(np.zeros(shape, DTYPES[name].numpy))
        assert (record.dtype, record.shape) == (name, shape)


def test_a_numpy_scalar_is_a_0_d_record():
    assert make_record(np.float32(0.5)).digest == make_record(np.array(0.5, "<f4")).digest


def test_nan_payloads_survive_a_change_of_byte_order():
    bits = np.array([0x7F800001, 0x7FC12345, 0xFFC00000, 0x80000000], ">u4")
    record = make_record(bits.view(">f4"))
    assert record.array.view("<u4").tolist() == bits.tolist()


def test_an_owned_record_is_beyond_in_place_changes_and_a_view_is_not():
    array = np.zeros(3, "<f4")
    view = make_record(array)
    copy = owned(view)
    array[1] = 7
    assert view.array[1] == 7
    assert copy.array[1] == 0
    assert not copy.array.flags.writeable
    assert make_record(copy.array).digest == copy.digest == view.digest
    assert make_record(view.array).digest != view.digest


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (np.ma.array([1.0, 2.0], mask=[False, True]), "masked"),
        (np.ma.array([1.0, 2.0]), "masked"),
        (np.matrix([[1.0]]), "matrix"),
        ([1.0, 2.0], "list"),
        (1.0, "float"),
        (np.array([None]), "object"),
    ],
)
def test_what_no_record_can_hold_is_refused_by_name(value, word):
    with pytest.raises(ValueRefused, match=word):
        make_record(value)


def test_a_harmless_subclass_is_taken_as_the_array_it_is(tmp_path):
    mapped = np.memmap(tmp_path / "x", dtype="<f4", mode="w+", shape=(3,))
    mapped[:] = [1, 2, 3]
    record = make_record(mapped)
    assert type(record.array) is np.ndarray
    assert record.digest == make_record(np.array([1, 2, 3], "<f4")).digest
