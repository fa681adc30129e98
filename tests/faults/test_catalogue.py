"""What the fault list promises, without MindSpore."""

from __future__ import annotations

import pytest

from pytest_repro.model.words import Cause
from tests.faults.catalogue import FAULTS, NO_OPS, fault_named
from tests.faults.fault import DDIM, UNCLIP, FaultFamily


def test_at_least_thirty_faults_of_every_family_under_names_of_their_own():
    names = [fault.name for fault in FAULTS]
    assert len(names) >= 30
    assert len(set(names)) == len(names)
    assert {fault.family for fault in FAULTS} == set(FaultFamily)
    assert all(fault.name.startswith(f"{fault.family}-") for fault in FAULTS)


@pytest.mark.parametrize("pipeline", [DDIM, UNCLIP])
def test_each_pipeline_has_at_least_thirty_faults(pipeline):
    assert sum(pipeline in fault.pipelines for fault in FAULTS) >= 30


def test_the_cause_follows_from_the_family_but_where_the_draws_say_otherwise():
    unlike = {
        fault.name: case.origin.cause
        for fault in FAULTS
        for case in fault.cases
        if case.origin.cause
        is not {FaultFamily.WEIGHTS: Cause.WEIGHTS, FaultFamily.NOISE: Cause.NOISE}.get(
            fault.family, Cause.CODE
        )
    }
    # Noise that is rounded after it was drawn; a scheduler that draws where none did.
    assert unlike == {"noise-rounded": Cause.CODE, "scheduler-eta": Cause.NOISE}


def test_a_place_is_named_wherever_a_step_differs():
    for fault in FAULTS:
        for case in fault.cases:
            assert bool(case.origin.scheduler) is (fault.family is not FaultFamily.OUTPUT)
            in_a_cell = fault.family in (FaultFamily.WEIGHTS, FaultFamily.MODEL)
            assert bool(case.origin.cell) is in_a_cell, fault.name


def test_a_change_that_is_none_says_why_and_is_counted_nowhere():
    for no_op in NO_OPS:
        assert len(no_op.reason) > 20
        cases = [
            case.pipeline for fault in FAULTS if fault.name == no_op.name for case in fault.cases
        ]
        assert no_op.pipeline not in cases


def test_unknown_faults_and_pipelines_are_refused():
    with pytest.raises(KeyError, match="weights-one-vlaue"):
        fault_named("weights-one-vlaue")
    with pytest.raises(KeyError, match="guidance-prior is no fault of DDIMPipeline"):
        fault_named("guidance-prior").case(DDIM)
