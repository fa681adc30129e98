"""Nothing is computed twice for the same content, and every change of content is seen."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from pytest_repro.tensors import record as memo
from pytest_repro.tensors.record import ContentMemo, make_record


class Counting:
    """Digests and counts how often it is asked."""

    def __init__(self):
        self.calls = 0

    def __call__(self, array):
        self.calls += 1
        return make_record(array).digest


@pytest.fixture
def compute():
    return Counting()


def test_the_same_content_is_computed_once(compute):
    pytest.importorskip("xxhash")
    digests = ContentMemo(compute)
    array = np.arange(6.0).reshape(2, 3)
    assert {digests.of(array) for _ in range(5)} == {make_record(array).digest}
    assert digests.of(array.copy()) == make_record(array).digest
    assert compute.calls == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_one_ulp_in_place_is_seen(compute, dtype):
    digests = ContentMemo(compute)
    array = np.ones((3, 5), dtype)
    before = digests.of(array)
    bits = array.view(np.uint32 if dtype is np.float32 else np.uint16)
    bits[2, 4] += 1
    assert digests.of(array) != before
    assert digests.of(array) == make_record(array).digest
    bits[2, 4] -= 1
    assert digests.of(array) == before


@pytest.mark.parametrize(
    "other",
    [
        np.zeros(4, np.float32),
        np.zeros((2, 2), np.int32),
        np.zeros((2, 2), np.float32).reshape(4, 1),
        np.zeros((1, 2), np.float64),
    ],
)
def test_equal_bytes_of_another_shape_or_dtype_are_not_the_same(compute, other):
    digests = ContentMemo(compute)
    assert digests.of(np.zeros((2, 2), np.float32)) != digests.of(other)


def test_strided_arrays_and_scalars_have_the_digest_of_their_content(compute):
    digests = ContentMemo(compute)
    array = np.arange(12.0).reshape(3, 4)
    assert digests.of(array.T) == make_record(array.T).digest
    assert digests.of(np.array(1.5)) == make_record(np.array(1.5)).digest


def test_without_xxhash_every_call_computes(compute, monkeypatch):
    monkeypatch.setattr(memo, "_fast_fingerprint", lambda: None)
    digests = ContentMemo(compute)
    assert digests.of(np.ones(3)) == digests.of(np.ones(3))
    assert compute.calls == 2


def test_what_is_remembered_is_bounded(compute, monkeypatch):
    pytest.importorskip("xxhash")
    monkeypatch.setattr(memo, "_MAX_ENTRIES", 2)
    digests = ContentMemo(compute)
    for number in (1.0, 2.0, 3.0, 3.0, 1.0):
        digests.of(np.array([number]))
    assert compute.calls == 4
