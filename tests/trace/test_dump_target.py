"""What msprobe is told: the step, the cell in its words, and a config.json that it can read."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from pytest_repro.errors import UsageError
from pytest_repro.model.trace import DumpTarget
from pytest_repro.model.words import TraceLevel
from pytest_repro.trace.divergence import first_divergence
from pytest_repro.trace.msprobe_target import dump_config, dump_target, read_target
from pytest_repro.trace.records import make_trace
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


def target(**planted):
    clean = trace(**{name: value for name, value in planted.items() if name != "bad"})
    observed = trace(**planted)
    return dump_target(first_divergence(clean, observed), observed)


def test_the_call_is_named_as_msprobe_counts_it_since_the_step_began():
    assert target(bad=1) == DumpTarget(1, "unet", "Cell.mid.conv.Conv2d.forward.1")


def test_a_component_itself_is_dumped_whole_since_msprobe_does_not_hook_it():
    assert target(bad=2) == DumpTarget(1, "unet", "")


def test_the_steps_of_another_pipeline_are_not_counted():
    assert target(bad=0, pipeline="2/") == DumpTarget(0, "2/unet", "Cell.mid.conv.Conv2d.forward.0")


def test_without_a_cell_the_step_is_dumped_and_without_a_step_nothing():
    clean = make_trace(TraceLevel.STEPS, [step(0), step(1)])
    bent = make_trace(TraceLevel.STEPS, [step(0), step(1, at=BAD)])
    assert dump_target(first_divergence(clean, bent), bent) == DumpTarget(1, "", "")
    divergence = replace(first_divergence(clean, bent), step=None)
    assert dump_target(divergence, bent) is None


@pytest.mark.parametrize("cell_name", ["Cell.mid.conv.Conv2d.forward.1", ""])
def test_the_config_has_the_keys_that_msprobe_documents(cell_name):
    wanted = DumpTarget(3, "unet", cell_name)
    document = json.loads(dump_config(wanted, "here"))
    task = "tensor" if cell_name else "statistics"
    assert document["task"] == task
    assert document["level"] == ("mix" if cell_name else "L0")
    assert (document["dump_path"], document["rank"], document["step"]) == ("here", [], [3])
    assert document[task]["list"] == ([cell_name] if cell_name else [])
    assert set(document[task]) == {"scope", "list", "data_mode", "summary_mode"}
    assert read_target(json.dumps(document), where="config.json") == wanted


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pytest_repro": 1}', '{"step": []}'])
def test_a_config_of_somebody_else_is_refused_by_name(text):
    with pytest.raises(UsageError, match="is not a config"):
        read_target(text, where="mine.json")


def test_msprobe_dumps_in_step_and_people_can_read_its_file():
    text = dump_config(DumpTarget(3, "unet", ""), "dump")
    assert json.loads(text)["async_dump"] is False
    assert text.splitlines()[1].startswith('  "')
