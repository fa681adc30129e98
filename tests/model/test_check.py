"""How a check is called, and how much of its tolerance it used."""

from __future__ import annotations

from pytest_repro.model.baseline import ToleranceUse
from pytest_repro.model.ids import CheckId
from pytest_repro.model.outcome import Outcome
from pytest_repro.model.words import Gate, Verdict

CHECK = CheckId("tests/models/test_ddim.py", "TestDdim::test_fast[float16]", "image")


def test_a_check_is_called_by_module_test_and_name():
    assert str(CHECK) == "tests/models/test_ddim.py::TestDdim::test_fast[float16]::image"
    assert CHECK.entry == "TestDdim::test_fast[float16]::image"


def test_the_share_is_the_largest_that_was_used():
    uses = tuple(ToleranceUse("rel_l2", share, 1.0, share) for share in (0.25, 0.75, 0.5))
    assert Outcome(CHECK, Verdict.WITHIN, Gate.TOLERANCE, uses=uses).share == 0.75
    assert Outcome(CHECK, Verdict.EXACT, Gate.EXACT).share == 0.0
