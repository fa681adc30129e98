"""What is said of cells that only this run recorded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pytest_repro.model.baseline import CellRecord, StepRecord
from pytest_repro.model.words import TraceLevel
from pytest_repro.tensors.record import make_record
from pytest_repro.trace.divergence import first_divergence, unpaired_sentences
from pytest_repro.trace.records import make_trace, measure_signal


def signal(value):
    return measure_signal(make_record(np.full(4, value, "f4")), sketched=True)


def step(output, *, sample=1.0):
    signals = [("model_output", signal(output)), ("result", signal(output))]
    if sample is not None:
        signals.insert(0, ("sample", signal(sample)))
    return StepRecord("scheduler", 0, 900.0, tuple(signals))


def said(output_of_cell, *, sample=1.0, handed=1.0):
    baseline = make_trace(TraceLevel.STEPS, [step(2.0, sample=sample)])
    call = CellRecord(0, 0, "unet", "UNet", (signal(handed),), (output_of_cell,))
    observed = make_trace(TraceLevel.CELLS, [step(3.0, sample=sample)], [call])
    return unpaired_sentences(first_divergence(baseline, observed), baseline, observed)


def test_the_cell_that_gave_the_wrong_output_of_the_baseline_s_sample_is_named():
    assert "which got the baseline's sample: the fault is inside it" in said(signal(3.0))[1]
    assert "which did not get the step's sample itself" in said(signal(3.0), handed=9.0)[1]
    assert "which did not get the step's sample itself" in said(signal(3.0), sample=None)[1]


@pytest.mark.parametrize(("nans", "infs"), [(1, 1), (1, 0), (0, 2)])
def test_a_cell_that_makes_nan_or_infinity_is_named(nans, infs):
    broken = replace(signal(5.0), nan_count=nans, inf_count=infs)
    assert said(broken)[-1] == (
        "first cell that makes NaN or infinity of finite inputs: unet (UNet, call 0)"
    )
    assert "NaN" not in said(signal(5.0))[-1]


def test_a_step_that_only_this_run_has_names_no_suspect():
    baseline = make_trace(TraceLevel.STEPS, [])
    call = CellRecord(0, 0, "unet", "UNet", (signal(1.0),), (signal(3.0),))
    observed = make_trace(TraceLevel.CELLS, [step(3.0)], [call])
    found = first_divergence(baseline, observed)
    assert found.step.baseline is None
    assert len(unpaired_sentences(found, baseline, observed)) == 1
