"""A digest covers dtype, shape and bytes, and nothing imitates another digest."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from pytest_repro.tensors.record import digest_array, digest_leaves, digest_text


def test_the_digest_is_sha256_over_header_and_bytes():
    array = np.arange(6, dtype="<f4").reshape(2, 3)
    by_hand = hashlib.sha256(b"pytest-repro tensor 1\nfloat32\n2,3\n" + array.tobytes())
    assert digest_array("float32", array) == by_hand.hexdigest()


def test_shape_dtype_and_bits_each_change_the_digest():
    array = np.zeros((2, 3), "<f4")
    negative = array.copy()
    negative[0, 0] = -0.0
    variants = [
        ("float32", array),
        ("float32", array.reshape(3, 2)),
        ("float32", array.reshape(6)),
        ("int32", array.view("<i4")),
        ("float32", negative),
        ("float32", np.zeros((), "<f4")),
        ("float32", np.zeros((0,), "<f4")),
        ("float32", np.zeros((0, 3), "<f4")),
    ]
    assert len({digest_array(*variant) for variant in variants}) == len(variants)
    assert digest_array("float32", array.copy()) == digest_array("float32", array)


def test_an_array_that_is_not_canonical_is_refused():
    array = np.arange(6, dtype="<f4").reshape(2, 3)
    with pytest.raises(ValueError, match="contiguous"):
        digest_array("float32", array.T)
    with pytest.raises(ValueError, match="little-endian"):
        digest_array("float32", array.astype(">f4"))
    with pytest.raises(ValueError, match="little-endian"):
        digest_array("float32", array.view("<i4"))


def test_a_lone_tensor_has_its_own_digest():
    digest = digest_array("float32", np.zeros(1, "<f4"))
    assert digest_leaves([("", digest)]) == digest
    assert digest_leaves([("x", digest)]) != digest


def test_paths_order_and_boundaries_of_leaves_count():
    one, two = digest_text("1"), digest_text("2")
    values = [
        [("a", one), ("b", two)],
        [("b", two), ("a", one)],
        [("a", two), ("b", one)],
        [("a", one)],
        [],
        [(f"a={one}\n1:b", two)],  # imitates the lines of the first
    ]
    assert len({digest_leaves(value) for value in values}) == len(values)
    assert digest_leaves(iter(values[0])) == digest_leaves(values[0])


def test_text_has_a_digest_of_its_own_kind():
    assert digest_text("a") != digest_text("b")
    assert digest_text("a") != hashlib.sha256(b"a").hexdigest()
    assert len(digest_text("\udc80")) == 64  # a lone surrogate, as undecodable file names have
