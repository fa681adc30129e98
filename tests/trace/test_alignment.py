"""Which record stands for which: in order, alone where it happened, and moved ones told apart."""

from __future__ import annotations

import pytest

from pytest_repro.trace.records import Pair, align


def aligned(baseline, observed):
    return align(baseline, observed, key=str.lower)


def test_equal_sequences_are_paired_one_by_one():
    assert aligned("aBc", "AbC") == (Pair(0, "a", "A"), Pair(1, "B", "b"), Pair(2, "c", "C"))
    assert not any(pair.moved for pair in aligned("aBc", "AbC"))
    assert aligned("", "") == ()


@pytest.mark.parametrize(
    ("baseline", "observed", "pairs"),
    [
        ("ab", "axb", [(0, "a", "a", False), (1, None, "x", False), (1, "b", "b", False)]),
        ("axb", "ab", [(0, "a", "a", False), (1, "x", None, False), (2, "b", "b", False)]),
        ("abc", "bca", [(0, "a", None, True), (1, "b", "b", False), (2, "c", "c", False)]),
    ],
)
def test_what_the_other_lacks_stands_alone_where_it_happened(baseline, observed, pairs):
    found = [(p.index, p.baseline, p.observed, p.moved) for p in aligned(baseline, observed)]
    assert found[: len(pairs)] == pairs


def test_a_moved_record_is_alone_on_both_sides():
    *_, last = aligned("abc", "bca")
    assert (last.baseline, last.observed, last.moved) == (None, "a", True)
    assert last.record == "a"


def test_records_that_occur_often_are_aligned_too():
    first, *found = aligned("ab" * 150, "c" + "ab" * 150)
    assert (first.baseline, first.observed) == (None, "c")
    assert all(pair.baseline == pair.observed for pair in found)
    assert [pair.index for pair in found] == list(range(300))
