"""Local errors of cells that rounding does not make, and movements that it does."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from pytest_repro.model.baseline import CellRecord
from pytest_repro.model.words import TraceLevel
from pytest_repro.tensors.record import make_record
from pytest_repro.trace.jump import LARGEST, largest_jump
from pytest_repro.trace.records import make_trace, measure_signal

NOISE = np.random.Generator(np.random.PCG64(0))
VALUES = NOISE.standard_normal((4, 64, 16, 16)).astype(np.float32)


def rounded(values, seed):
    """The values as other kernels give them: every element one ULP away or equal."""
    signs = np.random.Generator(np.random.PCG64(seed)).integers(-1, 2, values.shape)
    return (values * (1 + signs * np.float32(2**-23))).astype(values.dtype)


def signal_of(values):
    return measure_signal(make_record(values), sketched=False)


def trace_of(*outputs):
    """A chain of cells: each gets what the one before gave."""
    signals = [signal_of(np.asarray(one)) for one in outputs]
    cells = [
        CellRecord(at, 0, f"unet.block.{at}", "GroupNorm", (before,), (after,))
        for at, (before, after) in enumerate(pairwise(signals))
    ]
    return make_trace(TraceLevel.CELLS, (), cells)


CHAIN = [VALUES, np.tanh(VALUES), np.tanh(VALUES) * 2, np.abs(VALUES)]


@pytest.mark.parametrize("seed", range(5))
def test_rounding_is_no_jump(seed):
    moved = [rounded(one, 10 * seed + at) for at, one in enumerate(CHAIN)]
    assert largest_jump(trace_of(*CHAIN), trace_of(*moved)).times < LARGEST


def test_equal_traces_have_no_jump():
    assert largest_jump(trace_of(*CHAIN), trace_of(*CHAIN)).times == 0.0


def test_a_small_systematic_error_of_one_cell_is_named():
    moved = [rounded(one, at) for at, one in enumerate(CHAIN)]
    # Much less than the rounding of one element moves the whole tensor, but in one direction.
    moved[2] = moved[2] * np.float32(1 + 2e-6)
    moved[3] = moved[3] * np.float32(1 + 2e-6)
    jump = largest_jump(trace_of(*CHAIN), trace_of(*moved))
    assert jump.times > LARGEST
    assert (jump.cell.name, jump.is_input) == ("unet.block.1", False)
    assert "the output of unet.block.1 (GroupNorm, call 1) moved by 2.0e-06" in jump.sentence


def test_an_error_from_the_code_between_cells_is_named_as_an_input():
    before = trace_of(*CHAIN)
    shifted = signal_of(CHAIN[2] + np.float32(1e-3))
    cells = list(before.cells)
    cells[2] = replace(cells[2], inputs=(shifted,))
    jump = largest_jump(before, make_trace(TraceLevel.CELLS, (), cells))
    assert (jump.cell.name, jump.is_input) == ("unet.block.2", True)
    assert jump.times > LARGEST


def test_what_follows_a_movement_may_move_as_far():
    moved = [one * np.float32(1 + 1e-3) for one in CHAIN]
    jump = largest_jump(trace_of(*CHAIN), trace_of(*moved))
    assert (jump.cell.name, jump.is_input) == ("unet.block.0", True)  # it entered there


def test_a_sum_of_many_elements_may_round_further():
    wide = NOISE.random((1, 65536)).astype(np.float32)
    total = wide.sum(keepdims=True)
    moved = total * np.float32(1 + 1e-5)
    assert largest_jump(trace_of(wide, total), trace_of(wide, moved)).times < LARGEST
    assert largest_jump(trace_of(wide, total), trace_of(wide, total * 1.01)).times > LARGEST


def test_float16_rounds_further():
    half = [one.astype(np.float16) for one in CHAIN]
    moved = [one * np.float16(1 + 2**-10) for one in half]
    assert largest_jump(trace_of(*half), trace_of(*moved)).times < LARGEST


def in_steps(*traces):
    """The calls of several steps; each ends with the call of its component."""
    cells = []
    for step, one in enumerate(traces):
        calls = [replace(cell, step=step, number=len(cells) + cell.number) for cell in one.cells]
        around = replace(calls[0], name="unet", outputs=calls[-1].outputs)
        cells += [*calls, around]
    return make_trace(TraceLevel.CELLS, (), cells)


def test_what_earlier_steps_moved_enters_a_step_and_is_no_jump():
    moved = [one * np.float32(1 + 1e-3) for one in CHAIN]
    before = in_steps(trace_of(*CHAIN), trace_of(*CHAIN))
    assert largest_jump(before, in_steps(trace_of(*CHAIN), trace_of(*moved))).times < LARGEST


def test_a_large_movement_of_an_earlier_step_hides_no_jump():
    moved = [CHAIN[0], *(one * np.float32(1 + 1e-3) for one in CHAIN[1:])]
    before = in_steps(trace_of(*CHAIN), trace_of(*CHAIN))
    jump = largest_jump(before, in_steps(trace_of(*moved), trace_of(*moved)))
    assert jump.times > LARGEST

    later = [CHAIN[0], CHAIN[1], *(one * np.float32(1 + 1e-4) for one in CHAIN[2:])]
    jump = largest_jump(
        in_steps(trace_of(*CHAIN), trace_of(*CHAIN)),
        in_steps(trace_of(*[one * np.float32(1 + 1e-2) for one in CHAIN]), trace_of(*later)),
    )
    assert (jump.cell.name, jump.cell.step) == ("unet.block.1", 1)


def test_other_calls_are_not_compared():
    fewer = trace_of(*CHAIN[:3])
    assert largest_jump(trace_of(*CHAIN), fewer) is None
