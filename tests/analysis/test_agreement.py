"""Agreement: groups of equal bits, counts a pair, and distances that name what they are."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from pytest_repro.analysis.agreement import (
    GroupDistance,
    LeafDistance,
    MatrixRow,
    agreement_of,
    farthest,
    leaf_distances,
    pair_counts,
)
from pytest_repro.model.ids import CheckId, EnvironmentKey, IndexEntry
from pytest_repro.model.words import Verdict
from pytest_repro.tensors.compare import summary_of
from pytest_repro.tensors.record import digest_text, make_record

KEYS = tuple(EnvironmentKey(f"cpu-{n}", "numpy-1") for n in range(4))
NOISE = digest_text("noise")


def _agreement(values: str, *, name: str = "image", noise: str = ""):
    """One letter a key; a dot where the check is not held."""
    entries = {
        key: IndexEntry(digest_text(letter), digest_text(noise[at]) if noise else NOISE)
        for at, (key, letter) in enumerate(zip(KEYS, values, strict=True))
        if letter != "."
    }
    return agreement_of(CheckId("m.py", "t", name), entries)


@pytest.mark.parametrize(
    ("values", "groups"),
    [("aaaa", ["0123"]), ("abab", ["02", "13"]), ("ab.a", ["03", "1"]), ("abcd", list("0123"))],
)
def test_keys_with_equal_bits_stand_in_one_group(values, groups):
    agreement = _agreement(values)
    wanted = tuple(tuple(KEYS[int(at)] for at in group) for group in groups)
    assert agreement.groups == wanted
    assert agreement.is_exact == (len(groups) == 1)


def test_other_noise_is_seen_and_equal_noise_is_not_called_other():
    assert not _agreement("ab..", noise="xy..").same_noise
    assert _agreement("ab..", noise="xx..").same_noise


def test_pairs_count_only_checks_that_both_hold():
    agreements = [_agreement("aab."), _agreement("aaa.", name="b"), _agreement("ab.b", name="c")]
    counts = {
        (pair.first, pair.second): (pair.shared, pair.exact)
        for pair in pair_counts([MatrixRow(one) for one in agreements], KEYS)
    }
    assert counts[KEYS[0], KEYS[1]] == (3, 2)
    assert counts[KEYS[0], KEYS[2]] == (2, 1)
    assert counts[KEYS[1], KEYS[3]] == (1, 1)
    assert counts[KEYS[2], KEYS[3]] == (0, 0)
    assert len(counts) == 6


def test_pairs_count_how_each_two_keys_stand_whichever_group_came_first():
    near, far = (
        GroupDistance(0, 1, LeafDistance("", 1e-6), simulated)
        for simulated in (Verdict.WITHIN, Verdict.DRIFT)
    )
    unknown = GroupDistance(0, 1, LeafDistance("", 1e-6), Verdict.MISSING)
    rows = [
        MatrixRow(_agreement("abba"), (near,)),
        MatrixRow(_agreement("aabb", name="b"), (far,)),
        MatrixRow(_agreement("ab..", name="c"), (unknown,)),
    ]
    counts = {
        (KEYS.index(pair.first), KEYS.index(pair.second)): (pair.exact, pair.within, pair.drift)
        for pair in pair_counts(rows, KEYS)
    }
    assert counts == {
        (0, 1): (1, 1, 0),
        (0, 2): (0, 1, 1),
        (0, 3): (1, 0, 1),
        (1, 2): (1, 0, 1),
        (1, 3): (0, 1, 1),
        (2, 3): (1, 1, 0),
    }


def _sides(first, second):
    records = [make_record(first), make_record(second)]
    stored = {record.digest: record for record in records}
    return [summary_of("x", records[0])], [summary_of("x", records[1])], stored


def test_distance_is_that_of_the_tensors_and_of_the_sketch_where_one_is_absent():
    clean = np.linspace(1, 2, 1000)
    before, after, stored = _sides(clean, clean * 1.01)
    (full,) = leaf_distances(before, after, stored.get)
    assert full.rel_l2 == pytest.approx(0.01)
    assert not full.is_estimate
    (estimate,) = leaf_distances(before, after, {before[0].digest: stored[before[0].digest]}.get)
    assert estimate.is_estimate
    assert estimate.rel_l2 == pytest.approx(0.01, rel=0.6)
    assert leaf_distances(before, before, stored.get) == ()


@pytest.mark.parametrize(
    ("second", "why"),
    [
        (np.zeros(3, np.float64), "dtype float32 and float64"),
        (np.zeros(4, np.float32), "shape (3,) and (4,)"),
    ],
)
def test_what_cannot_be_compared_says_why_and_is_infinitely_far(second, why):
    before, after, stored = _sides(np.zeros(3, np.float32), second)
    (one,) = leaf_distances(before, after, stored.get)
    assert one.incomparable == why
    assert math.isinf(one.rel_l2)


def test_sketches_of_two_lengths_cannot_be_compared_and_say_so():
    before, after, _ = _sides(np.zeros(3), np.ones(3))
    cut = replace(after[0], sketch=after[0].sketch[:4])
    (one,) = leaf_distances(before, [cut], lambda digest: None)
    assert one.incomparable == "sketches of 16 and 4 projections"


def test_a_tensor_on_one_side_only_is_named_with_the_side():
    before, after, stored = _sides(np.zeros(3), np.ones(3))
    assert leaf_distances(before, [], stored.get)[0].incomparable == "absent on the second side"
    assert leaf_distances([], after, stored.get)[0].incomparable == "absent on the first side"


def test_farthest_is_the_largest_rel_l2():
    near, far = _sides(np.ones(3), np.ones(3) * 1.1), _sides(np.ones(3), np.ones(3) * 1.5)
    leaves = [*leaf_distances(*near[:2], near[2].get), *leaf_distances(*far[:2], far[2].get)]
    assert farthest(leaves) is leaves[1]
    assert farthest([]) is None
