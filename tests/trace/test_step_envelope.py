"""Envelopes of steps without MindSpore: measured, stored, and how a fallback is judged by them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from pytest_repro.errors import CorruptBaseline
from pytest_repro.model.baseline import CellRecord, StepRecord
from pytest_repro.model.words import TraceLevel
from pytest_repro.tensors.record import make_record
from pytest_repro.trace.divergence import first_divergence
from pytest_repro.trace.envelope import (
    StepBounds,
    digest_step_envelope,
    measure_steps,
    step_envelope_from_rows,
    step_envelope_rows,
    within_steps,
)
from pytest_repro.trace.records import make_trace, measure_signal
from pytest_repro.trace.wording import all_within_sentence, divergence_sentences

_ULP = 2.0**-24
_GROWS = 3.0
_STEPS = 6


def course(noise_seed=None, *, faulty_step=None, fault=1e-4, size=_ULP, constant=0.0):
    """A loop in which a difference grows threefold a step.

    Args:
        noise_seed: Of the random difference (one ULP's size at the first step) from the clean run.
        faulty_step: From this step on the model is off by ``fault``, relative, in one direction.
        size: Of the random difference, relative.
        constant: What a signal that no noise reaches is off by, relative.
    """
    made, off = [], 0.0
    direction = np.random.default_rng(5).standard_normal((4, 8, 8))
    for at in range(_STEPS):
        base = np.random.default_rng(100 + at).standard_normal((4, 8, 8))
        rounding = 0.0
        if noise_seed is not None:
            rounding = np.random.default_rng([noise_seed, at]).standard_normal((4, 8, 8)) * size
        noise = rounding * _GROWS**at
        given = base + noise + off
        off = off * _GROWS + (fault * direction if at == faulty_step else 0.0)
        arrays = {"sample": given, "model_output": 2 * base + noise + off}
        arrays |= {"table": np.full((8, 8), 3.0 * (1.0 + constant)), "result": base + noise + off}
        signals = [
            (name, measure_signal(make_record(array.astype(np.float32)), sketched=True))
            for name, array in arrays.items()
        ]
        made.append(StepRecord("scheduler", at, 900.0 - at, tuple(signals)))
    return make_trace(TraceLevel.STEPS, made)


CLEAN = course()
DISTURBED = [course(seed) for seed in range(4)]
ENVELOPE = measure_steps(CLEAN, DISTURBED)
BOUNDS = StepBounds(ENVELOPE, 4.0)


def parting(observed, bounds=BOUNDS):
    return first_divergence(CLEAN, observed, within=within_steps(CLEAN, bounds))


def test_the_envelope_of_each_step_grows_as_the_difference_does():
    moved = [ENVELOPE.rel_l2("scheduler", at, "result") for at in range(_STEPS)]
    for at, one in enumerate(moved):
        assert 0.5 < one / (_ULP * _GROWS**at) < 2.0  # an estimate, right to 18 %
    assert ENVELOPE.runs == len(DISTURBED)
    assert all(one.rel_l2_mean <= one.rel_l2_max for one in ENVELOPE.movements)


def test_what_no_noise_reaches_has_no_movement():
    assert "table" not in {one.signal for one in ENVELOPE.movements}
    assert ENVELOPE.rel_l2("scheduler", 0, "table") == 0.0


@pytest.mark.parametrize("seed", range(50, 70))
def test_noise_of_the_size_of_rounding_is_no_fault(seed):
    assert parting(course(seed, size=2.5 * _ULP, constant=2.0**-23)) is None


@pytest.mark.parametrize("step", range(_STEPS))
def test_a_fault_is_named_at_its_step_through_the_noise(step):
    found = parting(course(77, faulty_step=step, size=2.5 * _ULP))
    assert (found.step.step.position, found.step.signal) == (step, "model_output")
    assert found.is_within


def test_without_the_envelope_the_same_fault_is_named_at_the_first_step():
    found = first_divergence(CLEAN, course(77, faulty_step=3, size=2.5 * _ULP))
    assert found.step.step.position == 0


def test_one_bound_for_all_steps_names_the_same_fault_too_late():
    """What the last result may move is 243 times what the first may."""
    last = max(one.rel_l2_max for one in ENVELOPE.movements)
    uniform = replace(
        ENVELOPE, movements=tuple(replace(m, rel_l2_max=last) for m in ENVELOPE.movements)
    )
    faulty = course(77, faulty_step=1, fault=2e-5, size=2.5 * _ULP)
    assert parting(faulty).step.step.position == 1
    assert parting(faulty, StepBounds(uniform, 4.0)).step.step.position > 1


def test_a_fault_where_no_noise_reaches_is_seen():
    found = parting(course(77, constant=1e-5))
    assert (found.step.step.position, found.step.signal) == (0, "table")
    sentences = divergence_sentences(found, BOUNDS)
    assert "perturbed noise does not move it" in sentences[1]


def test_the_words_name_the_step_its_envelope_and_both_growths():
    step, where, *_, growth = divergence_sentences(parting(course(77, faulty_step=2)), BOUNDS)
    assert step == (
        "first step outside its envelope: scheduler step 2 (timestep 898); the 2 steps before it "
        "agree within 4 times their envelopes"
    )
    assert "times its envelope, " in where
    assert growth.startswith("difference of the results vs their envelope: ")
    assert growth.count(" vs ") == 1 + _STEPS - 2
    envelope = f"{ENVELOPE.rel_l2('scheduler', 5, 'result'):.1e}"
    assert growth.endswith(f" vs {envelope}")


def test_a_drift_that_no_step_shows_is_said_to_come_later():
    said = all_within_sentence(CLEAN, course(77), BOUNDS)
    assert said.startswith("every step agrees within 4 times its envelope (last result: rel_l2")


def test_cells_are_judged_by_the_largest_envelope_of_their_step():
    def with_cell(trace, scale):
        base = np.random.default_rng(9).standard_normal((4, 8, 8))
        arrays = (base, base * (1.0 + scale))
        ends = [measure_signal(make_record(a.astype("f4")), sketched=False) for a in arrays]
        cells = [CellRecord(at, at, "net.conv", "Conv", (ends[0],), (ends[1],)) for at in (0, 1)]
        return make_trace(TraceLevel.CELLS, trace.steps, cells)

    clean = with_cell(CLEAN, 0.0)
    within = within_steps(clean, BOUNDS)
    slight, clear = with_cell(course(77), 1e-7), with_cell(course(77, faulty_step=0), 1e-4)
    assert first_divergence(clean, slight, within=within) is None
    found = first_divergence(clean, clear, within=within)
    assert found.cell.call.name == "net.conv"
    assert found.step.step.position == 0


@pytest.mark.parametrize(
    "disturbed",
    [
        [],
        [make_trace(TraceLevel.STEPS, CLEAN.steps[:-1])],
        [make_trace(TraceLevel.STEPS, [replace(CLEAN.steps[0], signals=()), *CLEAN.steps[1:]])],
    ],
    ids=["none", "fewer steps", "a signal less"],
)
def test_other_steps_give_no_envelope(disturbed):
    assert measure_steps(CLEAN, disturbed) is None


def test_nan_gives_no_envelope():
    name, signal = CLEAN.steps[0].signals[-1]
    odd = replace(signal, digest="0" * 64, nan_count=1)
    steps = [
        replace(CLEAN.steps[0], signals=(*CLEAN.steps[0].signals[:-1], (name, odd))),
        *CLEAN.steps[1:],
    ]
    assert measure_steps(CLEAN, [make_trace(TraceLevel.STEPS, steps)]) is None


def test_an_envelope_survives_rows_and_json():
    rows = step_envelope_rows(ENVELOPE)
    again = step_envelope_from_rows(json.loads(json.dumps(rows)))
    assert again == ENVELOPE
    assert digest_step_envelope(again) == digest_step_envelope(ENVELOPE)
    assert digest_step_envelope(replace(ENVELOPE, runs=9)) != digest_step_envelope(ENVELOPE)


@pytest.mark.parametrize(
    "harm",
    [
        lambda rows: [],
        lambda rows: [("trace", 1, 4), *rows[1:]],
        lambda rows: [("step envelope", 2, 4), *rows[1:]],
        lambda rows: [rows[0], rows[1][:-1]],
        lambda rows: [rows[0], (*rows[1][:-1], float("nan"))],
        lambda rows: [rows[0], (*rows[1][:-2], -1.0, 0.0)],
        lambda rows: [rows[0], ("cell", *rows[1][1:])],
        lambda rows: [rows[0], None],
    ],
)
def test_harmed_rows_are_refused(harm):
    with pytest.raises(CorruptBaseline):
        step_envelope_from_rows(harm(list(step_envelope_rows(ENVELOPE))))


def test_movements_are_kept_to_four_digits():
    amounts = [amount for one in ENVELOPE.movements for amount in (one.rel_l2_max, one.rel_l2_mean)]
    assert all(float(f"{amount:.3e}") == amount for amount in amounts)
    assert any(float(f"{amount:.2e}") != amount for amount in amounts)


def flat(value, dtype="f4"):
    return measure_signal(make_record(np.full((8, 8), value, dtype)), sketched=False)


def test_what_the_envelope_does_not_know_may_move_by_units_in_the_last_place_only():
    within, unit = within_steps(CLEAN, StepBounds(ENVELOPE, 4.0)), 2.0**-23
    base = flat(1.0)
    assert within(base, base)
    assert within(base, flat(1.0 + 4 * unit))
    assert not within(base, flat(1.0 + 5 * unit))
    whole = flat(5, "i4")
    assert within(whole, whole)
    assert not within(whole, flat(6, "i4"))


@pytest.mark.parametrize("step", [2, _STEPS - 1, _STEPS, _STEPS + 3])
def test_cells_after_the_last_step_are_held_to_its_envelope(step):
    base = flat(1.0)
    call = CellRecord(0, step, "net", "Dense", (), (base,))
    within = within_steps(make_trace(TraceLevel.CELLS, CLEAN.steps, [call]), BOUNDS)
    at = min(step, _STEPS - 1)
    largest = max(one.rel_l2_max for one in ENVELOPE.movements if one.position == at)
    assert within(base, flat(1.0 + 3.5 * largest))
    assert not within(base, flat(1.0 + 4.5 * largest))


@pytest.mark.parametrize("steps", [(), (replace(CLEAN.steps[0], signals=()),)])
def test_without_a_measured_step_cells_may_move_by_rounding_only(steps):
    base = flat(1.0)
    call = CellRecord(0, 0, "net", "Dense", (), (base,))
    within = within_steps(make_trace(TraceLevel.CELLS, steps, [call]), BOUNDS)
    assert within(base, flat(1.0 + 2.0**-23))
    assert not within(base, flat(1.001))


def test_a_movement_of_zero_is_read_and_an_infinite_one_refused():
    rows = [("step envelope", 1, 4), ("moved", "scheduler", 0, "result", 0.0, 0.0)]
    assert step_envelope_from_rows(rows).rel_l2("scheduler", 0, "result") == 0.0
    with pytest.raises(CorruptBaseline):
        step_envelope_from_rows([rows[0], (*rows[1][:-1], float("inf"))])
