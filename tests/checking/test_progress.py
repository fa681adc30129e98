"""Further runs are counted by what they are for."""

from __future__ import annotations

import pytest

from pytest_repro.checking import repeat
from pytest_repro.checking.repeat import FurtherRun, Tally


@pytest.fixture
def clock(monkeypatch):
    """Seconds, one entry, moved by hand."""
    now_s = [100.0]
    monkeypatch.setattr(repeat, "_now_s", lambda: now_s[0])
    return now_s


def test_every_run_is_counted_by_what_it_is_for(clock):
    tally = Tally()
    for number in range(2, 7):
        with tally.further_run(FurtherRun("a.py::test", number, number > 3, 5.0 + number)):
            clock[0] += 2.0
    assert tally.sentence() == "5 further runs took 10.0 s; 3 of them, 6.0 s, for envelopes"


def test_a_run_that_raises_is_counted(clock):
    tally = Tally()

    def run():
        with tally.further_run(FurtherRun("t", 2, False, 0.0)):
            clock[0] += 7.0
            raise RuntimeError

    with pytest.raises(RuntimeError):
        run()
    assert tally.sentence() == "1 further run took 7.0 s"


def test_further_runs_that_took_no_time_are_not_said(clock):
    tally = Tally()
    assert tally.sentence() == ""
    with tally.further_run(FurtherRun("t", 2, False, 0.0)):
        clock[0] += 4.9
    assert tally.sentence() == ""


def test_a_run_says_what_it_is_for():
    run = FurtherRun("a.py::test", 2, False, 7.2)
    assert run.sentence == "a.py::test: run 2 to check that it is deterministic, 7 s so far"
    run = FurtherRun("a.py::test", 6, True, 41.0)
    assert run.sentence == "a.py::test: run 6 for its envelope, 41 s so far"
