"""Every fault changes a pipeline, is taken back, and is named right by a trace; on small models."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mindone")

from pytest_repro.frameworks.watch import watch
from pytest_repro.model.words import Cause, TraceLevel
from pytest_repro.noise.draw_log import compare_draw_logs
from pytest_repro.trace.divergence import first_divergence
from tests.faults.catalogue import FAULTS, NO_OPS
from tests.faults.fault import DDIM, UNCLIP
from tests.faults.places import Place, cell_at
from tests.faults.tiny import run_tiny, tiny_ddim, tiny_unclip

_CASES = [(fault, case) for fault in FAULTS for case in fault.cases]


@pytest.fixture(scope="module")
def pipelines():
    """One of each kind, by the name of its class, and what it gives without a fault."""
    made = {DDIM: tiny_ddim(), UNCLIP: tiny_unclip()}
    return {name: (pipeline, _traced(pipeline)) for name, pipeline in made.items()}


def _traced(pipeline):
    """What a run gave, its trace with cells, and the digests of its weights."""
    with watch(pipeline, level=TraceLevel.CELLS) as seen:
        arrays, draw_log = run_tiny(pipeline)
        return arrays, draw_log, seen.trace(), {one.component: one.digest for one in seen.weights()}


def _same(one, other):
    return all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("fault", "case"), _CASES, ids=[f"{fault.name}-{case.pipeline}" for fault, case in _CASES]
)
def test_a_fault_begins_where_the_list_says_and_has_the_cause_that_it_says(pipelines, fault, case):
    pipeline, clean = pipelines[case.pipeline]
    origin = case.origin
    with fault.inject(pipeline):
        observed = _traced(pipeline)
    assert (compare_draw_logs(clean[1], observed[1]) is not None) is (origin.cause is Cause.NOISE)
    assert (clean[3] != observed[3]) is (origin.cause is Cause.WEIGHTS)
    # A few steps of UnCLIP clip away what the first of them did; its trace shows it nevertheless.
    assert case.pipeline == UNCLIP or not _same(clean[0], observed[0])
    divergence = first_divergence(clean[2], observed[2])
    if not origin.scheduler:
        assert divergence is None
        assert not _same(clean[0], observed[0])
        return
    steps = sum(step.scheduler == origin.scheduler for step in clean[2].steps)
    found = divergence.step.step
    assert (found.scheduler, found.position) == (origin.scheduler, origin.step % steps)
    assert (divergence.cell.call.name if divergence.cell else "") == origin.cell


@pytest.mark.parametrize("name", [DDIM, UNCLIP])
def test_every_fault_is_taken_back_also_after_an_exception(pipelines, name):
    pipeline, clean = pipelines[name]
    for fault in FAULTS:
        if name in fault.pipelines:
            with fault.inject(pipeline):
                pass
            with pytest.raises(ZeroDivisionError), fault.inject(pipeline):
                raise ZeroDivisionError
    arrays, draw_log = run_tiny(pipeline)
    assert _same(clean[0], arrays)
    assert draw_log.digest == clean[1].digest


def test_no_ops_of_ddim_move_no_bit_though_the_network_computes_otherwise(pipelines):
    ddim, clean = pipelines[DDIM]
    for no_op in NO_OPS:
        assert no_op.pipeline == DDIM
        with no_op.inject(ddim):
            assert _same(clean[0], run_tiny(ddim)[0]), no_op.name


def test_the_control_of_the_no_ops_is_no_power_of_two(pipelines):
    ddim, _ = pipelines[DDIM]
    attention = cell_at(ddim, Place("unet", "mid_block.attentions.0"))
    scale, root = attention.scale, attention.scale_sqrt
    after = next(one for one in NO_OPS if one.name == "model-attention-scaled-after")
    attention.scale, attention.scale_sqrt = scale * 0.9, root * 0.9**0.5
    try:
        before_product = run_tiny(ddim)[0]
        with after.inject(ddim):
            assert not _same(before_product, run_tiny(ddim)[0])
    finally:
        attention.scale, attention.scale_sqrt = scale, root
