"""The closed sets of words."""

from __future__ import annotations

from pytest_repro.model.words import Verdict


def test_each_verdict_is_green_or_red():
    green = {one for one in Verdict if one.passes}
    assert {str(one) for one in green} == {"exact", "within", "recorded", "updated", "unchanged"}
    assert {str(one) for one in set(Verdict) - green} == {
        "drift",
        "missing",
        "corrupt",
        "nondeterministic",
    }
    assert all(one.passes is (one in green) for one in Verdict)
