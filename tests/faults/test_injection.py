"""Every fault changes a pipeline, is taken back, and is named right by a trace; on small models."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mindone")

from pytest_repro.adapters.watch import watch
from pytest_repro.core.divergence import first_divergence
from pytest_repro.core.ledger import compare_ledgers
from pytest_repro.core.settings import TraceLevel
from pytest_repro.core.words import Cause
from tests.faults.catalogue import FAULTS, NO_OPS, fault_named
from tests.faults.fault import DDIM, UNCLIP
from tests.faults.places import Place, cell_at
from tests.faults.tiny import run_tiny, tiny_ddim, tiny_unclip

_OF_DDIM = [fault for fault in FAULTS if DDIM in fault.pipelines]
_OF_UNCLIP = [fault for fault in FAULTS if UNCLIP in fault.pipelines]


@pytest.fixture(scope="module")
def ddim():
    return tiny_ddim()


@pytest.fixture(scope="module")
def clean(ddim):
    return _traced(ddim)


def _traced(pipeline):
    """What a run gave, its trace with cells, and the digests of its weights."""
    with watch(pipeline, level=TraceLevel.CELLS) as seen:
        arrays, ledger = run_tiny(pipeline)
        return arrays, ledger, seen.trace(), {one.component: one.digest for one in seen.weights()}


def _same(one, other):
    return all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("fault", _OF_DDIM, ids=lambda fault: fault.name)
def test_a_fault_changes_ddim_and_begins_where_the_list_says(ddim, clean, fault):
    origin = fault.case(DDIM).origin
    with fault.inject(ddim):
        observed = _traced(ddim)
    assert not _same(clean[0], observed[0])
    assert (compare_ledgers(clean[1], observed[1]) is not None) is (origin.cause is Cause.NOISE)
    assert (clean[3] != observed[3]) is (origin.cause is Cause.WEIGHTS)
    divergence = first_divergence(clean[2], observed[2])
    if not origin.scheduler:
        assert divergence is None
        return
    steps = sum(step.scheduler == origin.scheduler for step in clean[2].steps)
    assert divergence.step.step.scheduler == origin.scheduler
    assert divergence.step.step.position == origin.step % steps
    found = divergence.cell.call.name if divergence.cell else ""
    assert found == origin.cell


def test_every_fault_is_taken_back_also_after_an_exception(ddim, clean):
    for fault in _OF_DDIM:
        with fault.inject(ddim):
            pass
        with pytest.raises(ZeroDivisionError), fault.inject(ddim):
            raise ZeroDivisionError
    arrays, ledger = run_tiny(ddim)
    assert _same(clean[0], arrays)
    assert ledger.digest == clean[1].digest


def test_no_ops_of_ddim_move_no_bit_though_the_network_computes_otherwise(ddim, clean):
    for no_op in NO_OPS:
        assert no_op.pipeline == DDIM
        with no_op.inject(ddim):
            assert _same(clean[0], run_tiny(ddim)[0]), no_op.name


def test_the_control_of_the_no_ops_is_no_power_of_two(ddim, clean):
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


def test_every_fault_of_unclip_is_put_in_and_taken_back():
    unclip = tiny_unclip()
    before = run_tiny(unclip)
    for fault in _OF_UNCLIP:
        with fault.inject(unclip):
            pass
    with fault_named("model-activation").inject(unclip):
        assert not _same(before[0], run_tiny(unclip)[0])
    after = run_tiny(unclip)
    assert _same(before[0], after[0])
    assert before[1].digest == after[1].digest
