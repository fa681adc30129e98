"""What the failure message names of a fault: read from its text, through a real session."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

import pytest

from benchmarks.fault_messages import Named, Part, named_in, right_parts
from benchmarks.fault_origin_table import Found, OriginScore, page
from benchmarks.fault_runs import RUNS
from pytest_repro.model.words import Cause
from tests.faults.catalogue import fault_named
from tests.faults.fault import DDIM, Origin

_MESSAGE = """'image': drift (gate tolerance, cause weights)
  check       tests/models/test_ddim.py::test_two_steps::image
  cause       the weights of unet differ from the baseline
              unet: 1 of 328 tensors differ
              mid_block.attentions.0.to_q.weight: float32 (256, 256), rel_l2 at least 1.0e-02
  began       first step that differs: scheduler step 1 (timestep 0); the step before it agrees
              first cell that differs: unet.mid_block.attentions.0.to_q (Dense, call 128): ...
"""
_NAMED = Named(
    cause="weights",
    step="scheduler 1",
    cell="unet.mid_block.attentions.0.to_q",
    component="unet",
    parameter="mid_block.attentions.0.to_q.weight",
)


def _origin(cell="unet.mid_block.attentions.0.to_q", parameter=_NAMED.parameter, step=-1):
    return Origin(Cause.WEIGHTS, "scheduler", step, cell, parameter)


def test_a_message_is_read_as_it_stands():
    assert named_in(_MESSAGE) == _NAMED
    assert named_in("") == Named()
    assert not named_in("'image': missing (gate value)\n").is_drift


def test_each_statement_is_right_only_where_it_names_the_truth():
    assert right_parts(_origin(), 2, _NAMED) == dict.fromkeys(Part, True)
    assert right_parts(_origin(step=0), 2, _NAMED)[Part.STEP] is False
    assert right_parts(_origin(cell="unet.conv_in"), 2, _NAMED)[Part.CELL] is False
    assert right_parts(_origin(parameter="conv_in.weight"), 2, _NAMED)[Part.PARAMETER] is False
    nowhere = right_parts(Origin(Cause.CODE), 2, _NAMED)
    assert nowhere == {Part.CAUSE: False, Part.STEP: False, Part.CELL: False}


def _found(named):
    right = right_parts(_origin(), 2, named)
    run = next(one for one in RUNS if one.name == "ddim-2")
    return Found(fault_named("weights-transposed"), run, _origin(), named, tuple(right.items()))


def test_the_page_counts_what_failed_and_lists_each_miss_with_the_truth():
    missed = replace(_NAMED, cell="unet.conv_in")
    text = page(OriginScore("a-key", (_found(_NAMED), _found(missed), _found(Named()))))
    cell, both = "1 of 2 (50 %)", "2 of 2 (100 %)"
    assert f"| ddim-2 | 3 | 2 | {both} | {both} | {cell} | {both} |" in text
    assert (
        "- weights-transposed, ddim-2: first cell unet.conv_in instead of "
        "unet.mid_block.attentions.0.to_q.\n"
    ) in text
    assert "~~`unet.conv_in`~~" in text
    assert "## Passed: 1" in text


_ONE_A_FAMILY = (
    "weights-one-ulp",
    "scheduler-last-alpha",
    "model-attention-scale",
    "noise-order",
    "output-shifted",
)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The tiny DDIM as a test with a baseline, under a session as ``pytest`` opens it."""
    if find_spec("mindone") is None:
        pytest.skip("needs mindone")
    from benchmarks.fault_origin import recorded
    from tests.faults.tiny import tiny_ddim

    run = next(one for one in RUNS if one.name == "ddim-2")
    return recorded(tmp_path_factory.mktemp("origin"), run, tiny_ddim())


@pytest.mark.parametrize("name", _ONE_A_FAMILY)
def test_the_message_of_a_fault_names_its_origin_and_a_clean_run_has_none(study, name):
    fault = fault_named(name)
    assert study.message() == ""
    text = study.message(fault)
    right = right_parts(fault.case(DDIM).origin, 2, named_in(text))
    assert all(right.values()), text
    assert study.message() == ""
