"""Which drifted tests run again."""

from __future__ import annotations

import pytest

from pytest_repro.checking.repeat import FreshRuns, RepeatBudget, repeated_level
from pytest_repro.model.words import Isolate, Repeat, TraceLevel


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


def test_recording_runs_a_module_afresh_until_a_test_agrees():
    fresh = FreshRuns(Isolate.AUTO, is_cheap=True)
    assert fresh.grants("one.py", is_recorded=True)
    assert fresh.grants("one.py", is_recorded=True)  # the first one differed
    fresh.agreed("one.py")
    assert not fresh.grants("one.py", is_recorded=True)
    assert fresh.grants("two.py", is_recorded=True)
    fresh.skip("two.py", "it raised OSError there")
    assert not fresh.grants("two.py", is_recorded=True)
    assert fresh.skipped == [
        "two.py was not compared with a fresh process: it raised OSError there"
    ]


@pytest.mark.parametrize(
    ("which", "is_cheap", "is_recorded", "granted"),
    [
        (Isolate.AUTO, True, False, False),
        (Isolate.AUTO, False, True, False),
        (Isolate.OFF, True, True, False),
        (Isolate.ON, False, False, True),
    ],
)
def test_only_a_recording_on_a_cpu_runs_afresh_unless_asked(which, is_cheap, is_recorded, granted):
    fresh = FreshRuns(which, is_cheap=is_cheap)
    assert fresh.grants("one.py", is_recorded=is_recorded) is granted


@pytest.mark.parametrize(
    ("asked", "first_run_s", "level"),
    [
        (TraceLevel.STEPS, 59.9, TraceLevel.CELLS),
        (TraceLevel.STEPS, 60.1, TraceLevel.STEPS),
        (TraceLevel.CELLS, 600.0, TraceLevel.CELLS),
        (TraceLevel.OFF, 1.0, TraceLevel.OFF),
    ],
)
def test_a_long_test_records_cells_only_if_asked_to(asked, first_run_s, level):
    assert repeated_level(asked, first_run_s) is level
