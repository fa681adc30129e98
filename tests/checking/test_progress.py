"""Further runs are counted by what they are for, and announced with the time that is left."""

from __future__ import annotations

from pytest_repro.checking.repeat import FurtherRun, cost_sentence


def test_every_run_is_counted_by_what_it_is_for():
    costs = [(6, 2.0, 12.0, 4, 7.5), (1, 50.0, 51.0, 0, 0.0), (2, 1.0, 2.5, 0, 0.0)]
    said = "6 further runs took 11.5 s; 4 of them, 7.5 s, for envelopes"
    assert cost_sentence(costs) == said
    assert cost_sentence([(2, 1.0, 8.0, 0, 0.0)]) == "1 further run took 7.0 s"


def test_further_runs_that_took_no_time_are_not_said():
    assert cost_sentence([]) == ""
    assert cost_sentence([(2, 5.0, 9.9, 0, 0.0)]) == ""


def test_a_run_says_what_it_is_for_and_what_is_left():
    run = FurtherRun("a.py::test", 3, 6, is_perturbed=True, spent_s=25.0)
    said = "a.py::test: run 3 of 6, 25 s, about 50 s left (for its envelope)"
    assert run.sentence == said
    run = FurtherRun("a.py::test", 2, 2, is_perturbed=False, spent_s=7.2)
    said = "a.py::test: run 2 of 2, 7 s, about 7 s left (to check that it is deterministic)"
    assert run.sentence == said
