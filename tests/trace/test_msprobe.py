"""What msprobe is told: the step, the cell in its words, and a config.json that it can read."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from pytest_repro.model.words import TraceLevel
from pytest_repro.trace.divergence import first_divergence
from pytest_repro.trace.records import make_trace
from pytest_repro.trace.wording import dump_config, dump_lines
from tests.trace.test_trace import SAME, cell, step

BAD = (0.0, 0.5, 0.5)


def trace(*, bad=None, at=1, pipeline="", first="scheduler"):
    """Two steps; in each, a convolution runs twice and the last call of all may go wrong."""
    steps = [step(0, scheduler=first), step(1, at=BAD if bad else SAME)]
    steps = [replace(one, scheduler=pipeline + one.scheduler) for one in steps[1:]] + steps[:1]
    steps = sorted(steps, key=lambda one: one.position)
    names = [f"{pipeline}unet.mid.conv"] * 2 + [f"{pipeline}unet"]
    cells = [
        cell(3 * where + number, name, step=where, class_name="Conv2d", outputs=(amount,))
        for where in (0, 1)
        for number, name in enumerate(names)
        for amount in [0.5 if bad == number and where == at else 0.0]
    ]
    return make_trace(TraceLevel.CELLS, steps, cells)


def lines(**planted):
    clean = trace(**{name: value for name, value in planted.items() if name != "bad"})
    observed = trace(**planted)
    return dump_lines(first_divergence(clean, observed), observed)


def test_the_call_is_named_as_msprobe_counts_it_since_the_start():
    what, config, _, calls = lines(bad=1)
    assert what.startswith("msprobe dumps Cell.mid.conv.Conv2d.forward.3 (step 1)")
    assert json.loads(config)["tensor"]["list"] == ["Cell.mid.conv.Conv2d.forward.3"]
    assert "debugger.start(pipeline.unet)" in calls


def test_a_component_itself_is_dumped_whole_since_msprobe_does_not_hook_it():
    what, config, _, calls = lines(bad=2)
    assert what.startswith("msprobe dumps every cell (step 1)")
    assert json.loads(config)["task"] == "statistics"
    assert "debugger.start(pipeline.unet)" in calls


def test_a_call_of_a_second_pipeline_is_named_without_its_prefix():
    what, _, _, calls = lines(bad=0, pipeline="2/")
    assert what.startswith("msprobe dumps Cell.mid.conv.Conv2d.forward.2 (step 0)")
    assert "debugger.start(pipeline.unet)" in calls


def test_without_a_cell_the_step_is_named_and_without_a_step_nothing():
    clean = make_trace(TraceLevel.STEPS, [step(0), step(1)])
    bent = make_trace(TraceLevel.STEPS, [step(0), step(1, at=BAD)])
    found = dump_lines(first_divergence(clean, bent), bent)
    assert found[0].startswith("msprobe dumps every cell (step 1)")
    assert "[every cell of the pipeline]" in found[-1]
    divergence = replace(first_divergence(clean, bent), step=None)
    assert dump_lines(divergence, bent) == ()


@pytest.mark.parametrize("cell_name", ["Cell.mid.conv.Conv2d.forward.1", ""])
def test_the_config_has_the_keys_that_msprobe_documents(cell_name):
    document = json.loads(dump_config(cell_name))
    task = "tensor" if cell_name else "statistics"
    assert document["task"] == task
    assert document["level"] == ("mix" if cell_name else "L0")
    assert (document["dump_path"], document["rank"], document["step"]) == ("msprobe", [], [])
    assert document["async_dump"] is False
    assert document[task]["list"] == ([cell_name] if cell_name else [])
    assert set(document[task]) == {"scope", "list", "data_mode", "summary_mode"}
