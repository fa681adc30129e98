"""Which drifted tests run again."""

from __future__ import annotations

import pytest

from pytest_repro.checking.repeat import RepeatBudget
from pytest_repro.model.words import Repeat


@pytest.mark.parametrize(
    ("which", "granted"),
    [
        (Repeat.ALL, [True] * 5),
        (Repeat.FEW, [True, True, True, False, False]),
        (Repeat.OFF, [False] * 5),
    ],
)
def test_each_module_has_a_budget_of_its_own(which, granted):
    budget = RepeatBudget(which)
    for module in ("a.py", "b.py"):
        assert [budget.grants(module) for _ in range(5)] == granted


def test_why_not_says_how_it_does():
    assert RepeatBudget(Repeat.FEW).why_not() == (
        "not repeated (only the first 3 drifted tests of a module run again): "
        "pytest --repro-repeat=all repeats every drifted test"
    )
    assert RepeatBudget(Repeat.OFF).why_not().startswith("not repeated (--repro-repeat=off)")
