"""What a report draws of two traces: growth, and the cells of the first step that differs."""

from __future__ import annotations

import numpy as np

from pytest_repro.model.baseline import CellRecord, StepRecord, Trace
from pytest_repro.model.outcome import CellPoint, GrowthPoint
from pytest_repro.model.words import TraceLevel
from pytest_repro.tensors.record import make_record
from pytest_repro.trace.divergence import cells_of, growth_of
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


def cell(number: int, name: str, given: float, made: float, at: int = 0) -> CellRecord:
    one, two = (
        measure_signal(make_record(np.full(8, value)), sketched=False) for value in (given, made)
    )
    return CellRecord(number, at, name, "Dense", (one,), (two,))


def cells(*calls: CellRecord) -> Trace:
    return make_trace(TraceLevel.CELLS, (step(0, result=1.0), step(1, result=1.0)), calls)


def test_the_cells_are_those_of_the_first_step_that_differs_in_the_order_they_ended():
    agreeing = cell(0, "unet.conv", 1.0, 2.0)
    outer, inner = cell(1, "unet", 1.0, 4.0, at=1), cell(2, "unet.to_q", 2.0, 2.0, at=1)
    after = cell(3, "unet.to_k", 2.0, 2.0, at=1)
    baseline = cells(agreeing, inner, after, outer)
    moved = cells(
        agreeing,
        cell(2, "unet.to_q", 2.0, 3.0, at=1),
        cell(3, "unet.to_k", 3.0, 2.0, at=1),
        cell(1, "unet", 1.0, 5.0, at=1),
    )
    assert cells_of(baseline, moved) == (
        CellPoint("unet.to_q", "signal", 0.5),
        CellPoint("unet.to_k", "inputs", 0.0),
        CellPoint("unet", "signal", 0.25),
    )
    assert cells_of(baseline, baseline) == ()
    assert cells_of(trace(step(0, result=1.0)), moved) == ()
    lone = cells_of(baseline, cells(agreeing, inner, outer))
    assert lone[1] == CellPoint("unet.to_k", "absent", 0.0)
