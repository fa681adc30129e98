"""The order of version texts: PEP 440's, as `packaging` has it; other text before all of them."""

from __future__ import annotations

from itertools import product

import pytest
from packaging.version import Version

from pytest_repro.environment.key import version_rank

RELEASES = ("0", "0.1", "2.9", "2.9.0", "2.9.1", "2.10", "2.10.0.0", "10", "10.0")
STAGES = ("", "a", "a0", "a1", "b0", "b2", "rc1")
POSTS = ("", ".post0", ".post1")
DEVS = ("", ".dev0", ".dev1")
TEXTS = ["".join(parts) for parts in product(RELEASES, STAGES, POSTS, DEVS)]


def test_the_order_is_that_of_packaging():
    ranks = [(Version(text), version_rank(text), text) for text in TEXTS]
    for one, rank, text in ranks:
        for other, another, other_text in ranks:
            wanted = (one < other, one == other)
            assert (rank < another, rank == another) == wanted, (text, other_text)


@pytest.mark.parametrize("text", ["", "main", "unknown", "-1"])
def test_text_that_is_no_version_comes_before_all(text):
    assert all(version_rank(text) < version_rank(one) for one in TEXTS)


def test_texts_that_are_no_versions_have_an_order_of_their_own():
    assert version_rank("main") < version_rank("unknown")
