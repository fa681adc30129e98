"""Traces without MindSpore: rows and back, the first divergence, and its sentences."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from pytest_repro.errors import CorruptBaseline
from pytest_repro.model.baseline import CellRecord, StepRecord
from pytest_repro.model.words import TraceLevel
from pytest_repro.store.files import encode_rows
from pytest_repro.tensors.record import make_record
from pytest_repro.trace.divergence import Change, first_divergence, how_far, unpaired_sentences
from pytest_repro.trace.records import (
    make_trace,
    measure_signal,
    short_digest,
    shortened,
    trace_from_rows,
    trace_rows,
)
from pytest_repro.trace.wording import divergence_sentences
from tests.trace.older import old_rows

CLEAN = np.random.default_rng(7).standard_normal((2, 3, 8, 8)).astype(np.float32)


def signal(seed, *, scale=0.0, dtype="float32", sketched=True):
    """A signal told by its seed, moved by `scale` times a fixed other array."""
    base = np.random.default_rng(seed).standard_normal((2, 3, 8, 8))
    moved = base + scale * np.random.default_rng(1000).standard_normal(base.shape)
    return measure_signal(make_record(moved.astype(dtype)), sketched=sketched)


def step(position, *, scheduler="scheduler", at=(0.0, 0.0, 0.0), timestep=None):
    """A step whose sample, model output and result are moved by the three amounts `at`."""
    names = ("sample", "model_output", "result")
    seeds = (10 * position, 10 * position + 1, 10 * position + 2)
    signals = tuple(
        (name, signal(seed, scale=scale))
        for name, seed, scale in zip(names, seeds, at, strict=True)
    )
    return StepRecord(
        scheduler, position, 900.0 - position if timestep is None else timestep, signals
    )


def steps(*rows):
    return make_trace(TraceLevel.STEPS, [step(at, at=row) for at, row in enumerate(rows)])


SAME = (0.0, 0.0, 0.0)


def cell(number, name, *, step=0, inputs=(0.0,), outputs=(0.0,), class_name="Dense"):
    return CellRecord(
        number,
        step,
        name,
        class_name,
        tuple(signal(100 + number, scale=scale) for scale in inputs),
        tuple(signal(200 + number, scale=scale) for scale in outputs),
    )


def cells(*calls, step_at=SAME):
    return make_trace(TraceLevel.CELLS, [step(0, at=step_at)], calls)


def net(*, conv=(0.0, 0.0), act=(0.0, 0.0), out=(0.0, 0.0), whole=(0.0, 0.0)):
    """Calls of a net with three cells in a row, each with (input, output) moved by that much."""
    rows = (("net.conv", 1, conv), ("net.act", 2, act), ("net.out", 3, out), ("net", 0, whole))
    return tuple(
        cell(number, name, inputs=(ends[0],), outputs=(ends[1],)) for name, number, ends in rows
    )


def text(divergence):
    return "\n".join(divergence_sentences(divergence))


# --- rows ---------------------------------------------------------------------------------------


def kept(trace):
    """A trace as its rows give it back: signals that only cells mention are short."""
    of_steps = {short_digest(one.digest) for step in trace.steps for _, one in step.signals}

    def short(signal):
        whole = replace(signal, digest=short_digest(signal.digest))
        return whole if whole.digest in of_steps else shortened(signal)

    made = [
        replace(one, signals=tuple((name, short(each)) for name, each in one.signals))
        for one in trace.steps
    ]
    calls = [
        replace(one, inputs=tuple(map(short, one.inputs)), outputs=tuple(map(short, one.outputs)))
        for one in trace.cells
    ]
    return make_trace(trace.level, made, calls)


def test_a_trace_survives_rows_and_json():
    trace = make_trace(
        TraceLevel.CELLS,
        [step(0), replace(step(1), timestep=None)],
        [*net(), cell(9, "net.scalars", inputs=(), outputs=(0.0, 0.0))],
    )
    # A cell is handed what the step before gave, and gives what the next takes.
    result = trace.steps[0].signal("result")
    linked = [*trace.cells, CellRecord(10, 1, "net", "Dense", (result,), (result, signal(99)))]
    trace = make_trace(trace.level, trace.steps, linked)
    assert kept(trace).digest == trace.digest
    assert trace_from_rows(trace_rows(trace)) == kept(trace)
    assert trace_from_rows(json.loads(json.dumps(trace_rows(trace)))) == kept(trace)
    assert trace_rows(kept(trace)) == trace_rows(trace)
    assert trace_from_rows(trace_rows(trace)).cells[-1].inputs[0].sketch == result.sketch


def test_an_empty_trace_survives_rows():
    trace = make_trace(TraceLevel.STEPS, ())
    assert trace_from_rows(trace_rows(trace)) == trace


def test_rows_of_the_older_format_are_read_and_written_anew():
    trace = cells(*net(), cell(9, "net.scalars", inputs=(), outputs=(0.0, 0.0)))
    rows = list(old_rows(trace))
    read = trace_from_rows(rows)
    assert read.digest == rows[0][-1] != trace.digest
    assert first_divergence(read, kept(trace)) is None
    assert [call.name for call in read.cells] == [call.name for call in trace.cells]
    assert read.cells[0].outputs[0].sketch == trace.cells[0].outputs[0].sketch
    again = make_trace(read.level, read.steps, read.cells)
    assert trace_rows(again) == trace_rows(trace)


@pytest.mark.parametrize(
    "harm",
    [
        lambda rows: rows[:-1],
        lambda rows: [*rows, ("what", 1)],
        lambda rows: [rows[0], (*rows[1][:3], "0" * 64, *rows[1][4:]), *rows[2:]],
        lambda rows: [*rows[:-1], (*rows[-1][:-1], 999)],
    ],
)
def test_harmed_rows_of_the_older_format_are_refused(harm):
    rows = list(old_rows(cells(*net())))
    with pytest.raises(CorruptBaseline):
        trace_from_rows(harm(rows))


def test_rows_hold_a_shared_tensor_once():
    shared = signal(1)
    calls = [CellRecord(at, 0, f"net.{at}", "Dense", (shared,), (shared,)) for at in range(20)]
    rows = trace_rows(make_trace(TraceLevel.CELLS, (), calls))
    assert [row for row in rows if row[0] == "kinds"] == [("kinds", 0)]
    assert [row[0] for row in rows].count("signal") == 0


def test_a_call_of_a_cell_costs_at_most_forty_bytes():
    template, rng = signal(1), np.random.default_rng(0)

    def fresh():
        digest, (mean, std) = rng.bytes(32).hex(), rng.standard_normal(2)
        return replace(template, digest=digest, mean=float(mean), std=abs(float(std)))

    outputs = [fresh() for _ in range(4000)]
    calls = [
        CellRecord(at, at // 400, f"net.{at % 400}.conv", "Conv2d", (before,), (after,))
        for at, (before, after) in enumerate(pairwise(outputs))
    ]
    packed = encode_rows(trace_rows(make_trace(TraceLevel.CELLS, (), calls)))
    assert len(packed) <= 40 * len(calls)


@pytest.mark.parametrize(
    "odd",
    [
        replace(signal(1), nan_count=1),
        replace(signal(1), inf_count=2),
        signal(1, dtype="float64"),
        replace(signal(1), mean=1e39),
    ],
)
def test_a_signal_that_float32_cannot_hold_is_kept_whole(odd):
    call = CellRecord(0, 0, "net", "Dense", (), (odd,))
    trace = make_trace(TraceLevel.CELLS, (), [call])
    ((read,),) = (call.outputs for call in trace_from_rows(trace_rows(trace)).cells)
    assert read == replace(odd, digest=short_digest(odd.digest))


def test_a_short_signal_still_says_how_far_it_moved():
    before, after = signal(1, sketched=False), signal(1, scale=0.5, sketched=False)
    whole, short = how_far(before, after), how_far(shortened(before), after)
    assert short.is_bound
    assert short.rel_l2 == pytest.approx(whole.rel_l2, rel=1e-5)


def harmed(word, change):
    return lambda rows: [change(row) if row[0] == word else row for row in rows]


@pytest.mark.parametrize(
    "harm",
    [
        lambda rows: rows[:-1],
        lambda rows: rows[1:],
        lambda rows: [],
        lambda rows: [("trace", 99, *rows[0][2:]), *rows[1:]],
        lambda rows: [("trace", 2, "neurons", rows[0][3]), *rows[1:]],
        lambda rows: [rows[0], (*rows[1][:3], "0" * 64, *rows[1][4:]), *rows[2:]],
        lambda rows: [rows[0], ("signal", None), *rows[2:]],
        lambda rows: [rows[0], None, *rows[2:]],
        lambda rows: [*rows, rows[-1]],
        harmed("digests", lambda row: (row[0], row[1][4:])),
        harmed("digests", lambda row: (row[0], "A" * len(row[1]))),
        harmed("digests", lambda row: (row[0], "\u00e9" + row[1][1:])),
        harmed("means", lambda row: (row[0], row[1][4:])),
        harmed("stds", lambda _: ("stds", 7)),
        harmed("kinds", lambda row: (*row[:-1], 99)),
        harmed("kinds", lambda row: (*row[:-1], -1)),
        harmed("called", lambda row: (*row[:-1], -1)),
        harmed("called", lambda row: row[:-1]),
        harmed("numbers", lambda row: (*row[:-1], 1e999)),
        harmed("inputs", lambda row: (*row[:-1], row[-1] + 1)),
        harmed("outputs", lambda row: (row[0], -row[1], *row[2:])),
        harmed("mentions", lambda row: (*row[:-1], 999)),
        harmed("mentions", lambda row: (*row[:-1], -999)),
    ],
)
def test_harmed_rows_are_refused(harm):
    rows = list(trace_rows(cells(*net())))
    assert trace_from_rows(rows)
    with pytest.raises(CorruptBaseline):
        trace_from_rows(harm(rows))


def test_the_digest_sees_every_part_but_statistics():
    trace = cells(*net())
    base = trace.digest
    moved = {
        cells(*net(act=(0.0, 1e-6))).digest,
        cells(*net(act=(1e-6, 0.0))).digest,
        cells(*net(), step_at=(0.0, 0.0, 1e-6)).digest,
        cells(*net()[::-1]).digest,
        make_trace(TraceLevel.STEPS, trace.steps).digest,
        make_trace(trace.level, [replace(trace.steps[0], timestep=1.0)], trace.cells).digest,
        make_trace(trace.level, [replace(trace.steps[0], scheduler="x")], trace.cells).digest,
        make_trace(
            trace.level, trace.steps, [replace(c, class_name="Other") for c in trace.cells]
        ).digest,
    }
    assert base not in moved
    assert len(moved) == 8
    plain = tuple((n, replace(s, mean=s.mean + 1e-15)) for n, s in trace.steps[0].signals)
    touched = make_trace(trace.level, [replace(trace.steps[0], signals=plain)], trace.cells)
    assert touched.digest == base


def test_statistics_are_those_of_numpy():
    array = CLEAN.copy()
    array[0, 0, 0, :3] = (np.nan, np.inf, -np.inf)
    finite = array[np.isfinite(array)].astype(np.float64)
    seen = measure_signal(make_record(array), sketched=False)
    assert (seen.nan_count, seen.inf_count) == (1, 2)
    assert (seen.min, seen.max) == (finite.min(), finite.max())
    assert math.isclose(seen.mean, finite.mean(), rel_tol=1e-12)
    assert math.isclose(seen.std, finite.std(), rel_tol=1e-12)
    assert math.isclose(seen.l2, np.linalg.norm(finite), rel_tol=1e-12)
    assert seen.sketch == ()


# --- steps --------------------------------------------------------------------------------------


def test_equal_traces_do_not_part():
    assert first_divergence(steps(SAME, SAME), steps(SAME, SAME)) is None
    assert first_divergence(cells(*net()), cells(*net())) is None


@pytest.mark.parametrize(
    ("moved", "name", "words"),
    [
        ((1e-3, 1e-3, 1e-3), "sample", "passed to the scheduler"),
        ((0.0, 1e-3, 1e-3), "model_output", "the model's output"),
        ((0.0, 0.0, 1e-3), "result", "the scheduler's result"),
    ],
)
def test_the_first_step_and_its_first_signal_are_named(moved, name, words):
    found = first_divergence(steps(SAME, SAME, SAME), steps(SAME, moved, (1.0, 1.0, 1.0)))
    assert (found.step.index, found.step.change, found.step.signal) == (1, Change.SIGNAL, name)
    assert "scheduler step 1 (timestep 899); the step before it agrees bitwise" in text(found)
    assert words in text(found)


def test_growth_is_estimated_step_by_step():
    found = first_divergence(
        steps(SAME, SAME, SAME), steps((0.0, 0.0, 1e-4), (0.0, 0.0, 1e-3), (0.0, 0.0, 1e-2))
    )
    for growth, scale in zip(found.growth, (1e-4, 1e-3, 1e-2), strict=True):
        assert not growth.apart.is_bound
        assert 0.5 < growth.apart.rel_l2 / scale < 1.7  # 16 projections: 18 % a sigma
    assert found.rejoins is None


def test_a_rejoin_is_named_and_a_short_meeting_is_not():
    moved = (0.0, 0.0, 1e-3)
    base = steps(SAME, SAME, SAME, SAME)
    found = first_divergence(base, steps(moved, moved, SAME, SAME))
    assert found.rejoins.position == 2
    assert "from scheduler step 2 (timestep 898) on the results agree again" in text(found)
    parted_again = first_divergence(base, steps(moved, SAME, SAME, moved))
    assert parted_again.rejoins is None


def test_another_scheduler_that_agrees_is_no_rejoin():
    def trace(scale):
        first = step(0, scheduler="prior_scheduler", at=(0.0, 0.0, scale))
        return make_trace(TraceLevel.STEPS, [first, step(0, scheduler="decoder_scheduler")])

    found = first_divergence(trace(0.0), trace(1e-3))
    assert found.step.step.scheduler == "prior_scheduler"
    assert found.rejoins is None


def test_other_step_counts_are_named():
    three = steps(SAME, SAME, SAME)
    absent = first_divergence(three, make_trace(TraceLevel.STEPS, three.steps[:2]))
    assert (absent.step.change, absent.step.index) == (Change.ABSENT, 2)
    assert "this run has no such step" in text(absent)
    assert "scheduler made 2 steps instead of 3" in text(absent)
    extra = first_divergence(make_trace(TraceLevel.STEPS, three.steps[:2]), three)
    assert (extra.step.change, extra.step.index) == (Change.EXTRA, 2)
    assert "the baseline has no such step" in text(extra)


def test_an_extra_prior_step_does_not_blame_the_decoder():
    prior = [step(at, scheduler="prior_scheduler") for at in range(3)]
    decoder = [step(at, scheduler="decoder_scheduler") for at in range(2)]
    baseline = make_trace(TraceLevel.STEPS, [*prior[:2], *decoder])
    found = first_divergence(baseline, make_trace(TraceLevel.STEPS, [*prior, *decoder]))
    assert found.step.change is Change.EXTRA
    assert (found.step.step.scheduler, found.step.step.position) == ("prior_scheduler", 2)
    assert found.step_counts == (("prior_scheduler", 2, 3),)


def test_another_timestep_is_named_before_signals():
    other = make_trace(TraceLevel.STEPS, [step(0, at=(0.0, 1.0, 1.0), timestep=500.0)])
    found = first_divergence(steps(SAME), other)
    assert found.step.change is Change.TIMESTEP
    assert "the timestep, 900 became 500" in text(found)


def test_swapped_schedulers_are_out_of_order():
    one, other = step(0, scheduler="a"), step(0, scheduler="b")
    found = first_divergence(
        make_trace(TraceLevel.STEPS, [one, other]), make_trace(TraceLevel.STEPS, [other, one])
    )
    assert found.step.change is Change.ORDER


def test_a_signal_that_one_side_lacks_is_a_difference():
    whole = step(0)
    less = replace(whole, signals=whole.signals[:1] + whole.signals[2:])
    for old, new, words in ((whole, less, "only in the baseline"), (less, whole, "only in this")):
        found = first_divergence(
            make_trace(TraceLevel.STEPS, [old]), make_trace(TraceLevel.STEPS, [new])
        )
        assert found.step.signal == "model_output"
        assert words in text(found)


# --- distances ----------------------------------------------------------------------------------


def test_without_sketches_the_distance_is_a_lower_bound():
    rng = np.random.default_rng(3)
    for _ in range(50):
        old = rng.standard_normal((4, 50)).astype(np.float32)
        new = (
            old * rng.uniform(0.5, 1.5) + rng.uniform(-1, 1) + 0.1 * rng.standard_normal(old.shape)
        )
        pair = [
            measure_signal(make_record(array.astype(np.float32)), sketched=False)
            for array in (old, new)
        ]
        truth = np.linalg.norm(new.astype(np.float32) - old) / np.linalg.norm(old)
        apart = how_far(*pair)
        assert apart.is_bound
        assert 0.0 < apart.rel_l2 <= truth * (1 + 1e-6)


def test_a_permutation_is_measured_by_the_sketch_alone():
    flipped = np.ascontiguousarray(CLEAN[..., ::-1])
    pair = [measure_signal(make_record(a), sketched=True) for a in (CLEAN, flipped)]
    truth = np.linalg.norm(flipped - CLEAN) / np.linalg.norm(CLEAN)
    assert 0.5 < how_far(*pair).rel_l2 / truth < 1.7
    bare = [replace(signal, sketch=()) for signal in pair]
    assert how_far(*bare).is_bound
    assert how_far(*bare).rel_l2 < 1e-6


def test_what_cannot_be_subtracted_is_infinitely_far():
    one, nan = CLEAN.copy(), CLEAN.copy()
    nan[0, 0, 0, 0] = np.nan
    zero = np.zeros_like(CLEAN)
    clean, spoilt, nothing, short = (
        measure_signal(make_record(array), sketched=True) for array in (one, nan, zero, CLEAN[:1])
    )
    assert math.isinf(how_far(clean, spoilt).rel_l2)
    assert math.isinf(how_far(clean, short).rel_l2)
    assert math.isinf(how_far(nothing, clean).rel_l2)
    assert how_far(clean, clean).rel_l2 == 0.0


# --- cells --------------------------------------------------------------------------------------


def test_the_innermost_cell_is_blamed():
    moved = net(conv=(0.0, 1e-3), act=(1e-3, 1e-3), out=(1e-3, 1e-3), whole=(0.0, 1e-3))
    found = first_divergence(cells(*net()), cells(*moved, step_at=(0.0, 1e-3, 1e-3)))
    assert found.cell.call.name == "net.conv"
    assert found.cell.change is Change.SIGNAL
    assert found.entered is None
    assert (
        "first cell that differs: net.conv (Dense, call 1): equal inputs, different output"
        in text(found)
    )


def test_a_cell_around_others_is_blamed_for_what_it_does_itself():
    moved = net(out=(1e-3, 1e-3), whole=(0.0, 1e-3))
    found = first_divergence(cells(*net()), cells(*moved, step_at=(0.0, 1e-3, 1e-3)))
    assert found.cell.call.name == "net"
    assert (found.cell.last_inner, found.cell.next_inner) == ("net.act", "net.out")
    assert found.entered is None
    assert "after net.act and before net.out, which got different inputs" in text(found)


def test_a_scheduler_fault_blames_no_cell():
    later = cell(5, "net.conv", step=1, inputs=(1.0,), outputs=(1.0,))
    base = make_trace(TraceLevel.CELLS, [step(0), step(1)], [*net(), cell(5, "net.conv", step=1)])
    bent = make_trace(
        TraceLevel.CELLS, [step(0, at=(0.0, 0.0, 1e-3)), step(1, at=(1e-3,) * 3)], [*net(), later]
    )
    found = first_divergence(base, bent)
    assert (found.step.index, found.step.signal) == (0, "result")
    assert found.cell is None
    assert found.entered is None
    assert "no cell differs" in text(found)


def test_noise_comes_in_from_outside_the_cells():
    moved = net(conv=(1e-3, 1e-3), act=(1e-3, 1e-3), out=(1e-3, 1e-3), whole=(1e-3, 1e-3))
    found = first_divergence(cells(*net()), cells(*moved, step_at=(1e-3, 1e-3, 1e-3)))
    assert found.cell is None
    assert found.entered.call.name == "net.conv"
    assert "entered from outside the cells: net.conv" in text(found)


def test_a_difference_that_dies_inside_the_model_is_still_found():
    found = first_divergence(cells(*net()), cells(*net(conv=(0.0, 1e-7), act=(1e-7, 0.0))))
    assert found.step is None
    assert found.cell.call.name == "net.conv"
    assert "all steps agree; only cells differ" in text(found)


def test_a_skipped_and_an_added_call_are_named():
    shorter = cells(*(call for call in net() if call.name != "net.act"))
    absent = first_divergence(cells(*net()), shorter)
    assert (absent.cell.change, absent.cell.call.name) == (Change.ABSENT, "net.act")
    assert "this run does not call it" in text(absent)
    extra = first_divergence(shorter, cells(*net()))
    assert (extra.cell.change, extra.cell.call.name) == (Change.EXTRA, "net.act")
    assert "the baseline has no such call" in text(extra)


def test_one_skipped_call_of_a_shared_cell_is_the_one_named():
    def calls(names):
        return cells(*(cell(at, name) for at, name in enumerate(names)))

    old = calls(["n.act", "n.conv1", "n.act", "n.proj", "n.act", "n.conv2"])
    new = calls(["n.act", "n.conv1", "n.proj", "n.act", "n.conv2"])
    found = first_divergence(old, new)
    assert (found.cell.change, found.cell.call.number) == (Change.ABSENT, 2)


def test_a_moved_call_is_out_of_order():
    old = cells(cell(0, "n.a"), cell(1, "n.b"), cell(2, "n.c"))
    new = cells(cell(0, "n.a"), cell(2, "n.c"), cell(1, "n.b"))
    assert first_divergence(old, new).cell.change is Change.ORDER


def test_another_class_is_said():
    other = tuple(
        replace(call, class_name="GELU") if call.name == "net.act" else call
        for call in net(act=(0.0, 1e-2))
    )
    assert "class Dense became GELU" in text(first_divergence(cells(*net()), cells(*other)))


def test_steps_are_compared_when_one_side_has_no_cells():
    base = make_trace(TraceLevel.STEPS, [step(0)])
    found = first_divergence(base, cells(*net(conv=(0.0, 1.0)), step_at=(0.0, 1e-3, 1e-3)))
    assert found.step.signal == "model_output"
    assert not found.cells_compared
    assert "cell" not in text(found)


# --- envelope -----------------------------------------------------------------------------------


def test_an_envelope_looks_past_rounding_and_finds_the_fault_behind_it():
    rounding = net(conv=(0.0, 1e-7), act=(1e-7, 1e-7), out=(1e-7, 1e-7), whole=(0.0, 1e-7))
    fault = net(conv=(0.0, 1e-7), act=(1e-7, 1e-2), out=(1e-2, 1e-2), whole=(0.0, 1e-2))

    def within(baseline, observed):
        return how_far(baseline, observed).rel_l2 <= 1e-6

    clean = cells(*net())
    rounded = cells(*rounding, step_at=(0.0, 1e-7, 1e-7))
    faulty = cells(*fault, step_at=(0.0, 1e-2, 1e-2))
    assert first_divergence(clean, rounded).cell.call.name == "net.conv"
    assert first_divergence(clean, rounded, within=within) is None
    found = first_divergence(clean, faulty, within=within)
    assert found.cell.call.name == "net.act"
    assert found.is_within


# --- a baseline with steps only -----------------------------------------------------------------


def unpaired(observed, baseline):
    found = first_divergence(baseline, observed)
    return unpaired_sentences(found, baseline, observed)


def model_step(moved=0.0):
    """A step, and the network that was handed its sample and gave its model output."""
    taken = step(0, at=(0.0, moved, moved))
    ends = taken.signal("sample"), taken.signal("model_output")
    inner = cell(1, "unet.conv", outputs=(moved,))
    return taken, [inner, CellRecord(0, 0, "unet", "UNet", (ends[0],), (ends[1],))]


def test_without_stored_cells_the_component_is_named_and_what_was_not_compared_is_said():
    clean = make_trace(TraceLevel.STEPS, [model_step()[0]])
    bent, calls = model_step(0.5)
    said = unpaired(make_trace(TraceLevel.CELLS, [bent], calls), clean)
    assert "of its 2 calls of cells none could be compared" in said[0]
    assert said[1:] == (
        "the model's output came out of unet (UNet), which got the baseline's sample: "
        "the fault is inside it",
    )


def test_without_stored_cells_a_scheduler_fault_blames_no_cell():
    clean, calls = model_step()
    bent = step(0, at=(0.0, 0.0, 0.5))
    said = unpaired(
        make_trace(TraceLevel.CELLS, [bent], calls), make_trace(TraceLevel.STEPS, [clean])
    )
    assert said[1] == "unet gave the baseline's model output: no cell differs"


def test_without_stored_cells_the_first_cell_that_breaks_numbers_is_named():
    clean, _ = model_step()
    bent, (inner, outer) = model_step(0.5)
    broken = replace(inner, outputs=(replace(inner.outputs[0], nan_count=2),))
    said = unpaired(
        make_trace(TraceLevel.CELLS, [bent], [broken, outer]),
        make_trace(TraceLevel.STEPS, [clean]),
    )
    assert said[-1].endswith("NaN or infinity of finite inputs: unet.conv (Dense, call 1)")


def test_a_run_that_could_record_no_cells_says_so_and_equal_levels_say_nothing():
    clean, calls = model_step()
    stored = make_trace(TraceLevel.CELLS, [clean], calls)
    bent = make_trace(TraceLevel.STEPS, [model_step(0.5)[0]])
    assert unpaired(bent, stored) == (
        "this run could not record cells, so none was compared with the baseline's",
    )
    assert unpaired(bent, make_trace(TraceLevel.STEPS, [clean])) == ()
    assert unpaired(make_trace(TraceLevel.CELLS, bent.steps, calls), stored) == ()


def test_a_step_that_names_a_signal_without_its_number_is_refused():
    rows = list(trace_rows(steps(SAME)))
    at = next(at for at, row in enumerate(rows) if row[0] == "step")
    with pytest.raises(CorruptBaseline):
        trace_from_rows([*rows[:at], (*rows[at], "result"), *rows[at + 1 :]])


def test_rows_say_the_format_that_stored_traces_have():
    assert trace_rows(steps(SAME))[0][:2] == ("trace", 2)


def test_results_that_agree_again_at_once_are_said_to():
    clean, parted = steps(SAME, SAME, SAME), steps(SAME, (0.0, 0.5, 0.5), SAME)
    found = first_divergence(clean, parted)
    assert found.step.step.position == 1
    assert found.rejoins is not None
    assert found.rejoins.position == 2


@pytest.mark.parametrize(("wrong", "blamed"), [(0, True), (1, True), (2, False), (3, False)])
def test_cells_up_to_the_step_before_another_timestep_may_be_to_blame(wrong, blamed):
    def trace(timestep, amount):
        made = [step(at, timestep=timestep if at == 2 else None) for at in range(4)]
        calls = [
            cell(at, "net", step=at, outputs=(amount if at == wrong else 0.0,)) for at in range(4)
        ]
        return make_trace(TraceLevel.CELLS, made, calls)

    found = first_divergence(trace(None, 0.0), trace(5.0, 0.5))
    assert found.step.change is not Change.SIGNAL
    assert (found.cell is not None) is blamed


def test_how_far_says_when_it_is_exact_and_when_it_is_a_bound():
    zeros, minus = (
        measure_signal(make_record(array.astype("f4")), sketched=True)
        for array in (np.zeros(4), -np.zeros(4))
    )
    assert how_far(zeros, zeros) == replace(how_far(zeros, zeros), rel_l2=0.0, is_bound=False)
    assert (how_far(zeros, minus).rel_l2, how_far(zeros, minus).is_bound) == (0.0, True)
    odd = replace(zeros, digest="0" * 64, nan_count=1)
    assert (how_far(zeros, odd).rel_l2, how_far(zeros, odd).is_bound) == (math.inf, False)
