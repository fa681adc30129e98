"""The growth that a report draws: one point a step, of its result and of nothing else."""

from __future__ import annotations

import numpy as np

from pytest_repro.model.baseline import StepRecord, Trace
from pytest_repro.model.outcome import GrowthPoint
from pytest_repro.model.words import TraceLevel
from pytest_repro.tensors.record import make_record
from pytest_repro.trace.divergence import growth_of
from pytest_repro.trace.records import make_trace, measure_signal


def step(position: int, scheduler: str = "scheduler", **values: float) -> StepRecord:
    """A step whose signals are arrays of one value each, in this order."""
    signals = tuple(
        # Without a sketch the distance of two constant arrays is exact.
        (name, measure_signal(make_record(np.full(8, value)), sketched=False))
        for name, value in values.items()
    )
    return StepRecord(scheduler, position, None, signals)


def trace(*steps: StepRecord) -> Trace:
    return make_trace(TraceLevel.STEPS, steps)


def test_a_point_says_how_far_the_result_of_its_step_is():
    baseline = trace(step(0, sample=1.0, result=2.0), step(1, sample=2.0, result=4.0))
    observed = trace(step(0, sample=9.0, result=2.0), step(1, sample=2.0, result=5.0))
    assert growth_of(baseline, observed) == (
        GrowthPoint("scheduler", 0, 0.0),
        GrowthPoint("scheduler", 1, 0.25),
    )


def test_steps_are_paired_by_scheduler_and_position_in_the_observed_order():
    prior, decoder = step(0, "prior", result=1.0), step(0, "decoder", result=2.0)
    moved = step(0, "prior", result=1.5)
    assert growth_of(trace(prior, decoder), trace(decoder, moved)) == (
        GrowthPoint("decoder", 0, 0.0),
        GrowthPoint("prior", 0, 0.5),
    )


def test_a_step_that_one_side_lacks_has_no_point():
    one, two = trace(step(0, result=1.0)), trace(step(0, result=1.0), step(1, result=1.0))
    assert growth_of(one, two) == growth_of(two, one) == (GrowthPoint("scheduler", 0, 0.0),)


def test_a_step_without_a_result_has_no_point():
    # A cell that gives nothing that can be stored: its input is not what it made.
    without, whole = trace(step(0, sample=1.0)), trace(step(0, sample=2.0, result=3.0))
    assert growth_of(without, without) == ()
    assert growth_of(without, whole) == growth_of(whole, without) == ()


def test_of_a_cell_with_two_results_the_first_is_drawn_as_in_the_sentences():
    def calls(first: float, second: float) -> Trace:
        return trace(step(0, "unet", **{"result": first, "result[1]": second}))

    assert growth_of(calls(2.0, 1.0), calls(3.0, 1.0)) == (GrowthPoint("unet", 0, 0.5),)
