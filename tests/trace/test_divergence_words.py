"""The sentences about a divergence, word by word: what is known is said, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pytest_repro.model.baseline import CellRecord, StepRecord
from pytest_repro.model.words import TraceLevel
from pytest_repro.tensors.record import make_record
from pytest_repro.trace.divergence import (
    Apart,
    CellDivergence,
    Change,
    Divergence,
    Growth,
    StepDivergence,
)
from pytest_repro.trace.envelope import Movement, StepBounds, StepEnvelope
from pytest_repro.trace.records import make_trace, measure_signal
from pytest_repro.trace.wording import all_within_sentence, divergence_sentences

NOWHERE = Divergence(
    step=None,
    cell=None,
    entered=None,
    growth=(),
    rejoins=None,
    step_counts=(),
    cells_compared=False,
    is_within=False,
)


def flat(value, *, shape=(4,), dtype="float64"):
    """A signal of one value everywhere; without a sketch its distances are exact bounds."""
    return measure_signal(make_record(np.full(shape, value, dtype)), sketched=False)


def step(position=0, timestep=None, scheduler="scheduler", **signals):
    return StepRecord(scheduler, position, timestep, tuple(signals.items()))


def steps(*records):
    return make_trace(TraceLevel.STEPS, records)


def parted(old, new, *, index=0, change=Change.SIGNAL, signal="result", is_within=False):
    found = StepDivergence(index, change, signal, old, new)
    return replace(NOWHERE, step=found, is_within=is_within)


def bounds(moved, *, signal="result", position=0, factor=4.0):
    movement = Movement("scheduler", position, signal, moved, moved)
    return StepBounds(StepEnvelope(4, (movement,)), factor)


def where(old, new, given=None, **kwargs):
    """The second sentence: what differs there."""
    return divergence_sentences(parted(old, new, **kwargs), given)[1]


# --- the step -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("index", "words"),
    [
        (0, ""),
        (1, "; the step before it agrees bitwise"),
        (2, "; the 2 steps before it agree bitwise"),
    ],
)
def test_it_is_said_how_many_steps_before_it_agree(index, words):
    old, new = step(index, 7.5, result=flat(1.0)), step(index, 7.5, result=flat(2.0))
    first = divergence_sentences(parted(old, new, index=index))[0]
    assert first == f"first step that differs: scheduler step {index} (timestep 7.5){words}"


def test_within_an_envelope_it_is_said_by_what_the_steps_before_it_agree():
    old, new = step(1, result=flat(1.0)), step(1, result=flat(2.0))
    one = divergence_sentences(parted(old, new, index=1, is_within=True))[0]
    assert one.endswith("scheduler step 1; the step before it agrees within the envelope")
    own = divergence_sentences(parted(old, new, index=1), bounds(0.1, position=1, factor=2.5))[0]
    assert own.startswith("first step outside its envelope: ")
    assert own.endswith("; the step before it agrees within 2.5 times their envelopes")
    lone = divergence_sentences(parted(old, None, change=Change.ABSENT, signal=""), bounds(0.1))
    assert lone == (
        "first step that differs: scheduler step 1",
        "what differs: this run has no such step",
    )


def test_another_timestep_is_said_with_both():
    kwargs = {"change": Change.TIMESTEP, "signal": ""}
    said = "what differs: the timestep, none became 3.5"
    assert where(step(), step(timestep=3.5), **kwargs) == said
    assert where(step(), step(timestep=3.5), bounds(0.1), **kwargs) == said


def test_a_signal_of_another_name_is_called_by_it():
    said = where(step(table=flat(1.0)), step(table=flat(2.0)), signal="table")
    assert said.startswith("what differs: table; everything before it agrees (rel_l2 ")


@pytest.mark.parametrize("given", [None, bounds(0.1)])
def test_a_signal_that_one_side_lacks_has_no_distance(given):
    old, new = step(sample=flat(1.0)), step(sample=flat(1.0), result=flat(2.0))
    head = "what differs: the scheduler's result; sample and model output agree"
    assert where(old, new, given) == f"{head} (only in this run)"
    assert where(new, old, given) == f"{head} (only in the baseline)"


@pytest.mark.parametrize(
    ("new", "words"),
    [
        (flat(1.0, shape=(2, 2)), " (float64 (4,) became float64 (2, 2))"),
        (flat(1.0, dtype="float32"), " (float64 (4,) became float32 (4,))"),
    ],
)
def test_another_shape_or_dtype_is_said_instead_of_a_distance(new, words):
    assert where(step(result=flat(1.0)), step(result=new)).endswith(f"agree{words}")


def test_new_nan_and_infinity_are_counted_and_lost_ones_are_not():
    clean, moved = flat(1.0), flat(2.0)
    few, more = (
        replace(moved, nan_count=n, inf_count=i, digest=clean.digest[::-1])
        for n, i in ((1, 2), (3, 4))
    )
    said = where(step(result=few), step(result=replace(more, digest=moved.digest)))
    assert said.endswith(" (3 NaN, 4 infinite; the baseline has 4 fewer)")
    one = replace(moved, nan_count=1)
    assert where(step(result=clean), step(result=one)).endswith(
        " (1 NaN, 0 infinite; the baseline has 1 fewer)"
    )
    # Fewer than the baseline, or as many: the distance says it.
    assert where(step(result=one), step(result=clean)).endswith(
        " (rel_l2 infinite; mean 2 -> 1, std 0 -> 0)"
    )
    alike = replace(clean, nan_count=1)
    assert where(step(result=alike), step(result=one)).endswith(
        " (rel_l2 at least 1.0e+00; mean 1 -> 2, std 0 -> 0)"
    )


def test_a_distance_is_said_as_what_it_is():
    def said(old, new):
        return where(step(result=old), step(result=new)).partition("agree (")[2].partition(";")[0]

    zero, minus = flat(0.0), flat(-0.0)
    assert said(flat(2.0), flat(2.5)) == "rel_l2 at least 2.5e-01"
    assert said(zero, minus) == "rel_l2 not measurable"
    assert said(zero, flat(1.0)) == "rel_l2 infinite"
    sketched = [replace(flat(2.0), sketch=(2.0,)), replace(flat(2.5), sketch=(3.0,))]
    assert said(*sketched) == "rel_l2 about 2.5e-01"  # 1.0 apart, beside a norm of 4.0


@pytest.mark.parametrize(
    ("moved", "words"),
    [
        (0.125, "; 4.0 times its envelope, 1.2e-01"),
        (0.05, "; 10 times its envelope, 5.0e-02"),
        (0.0503, "; 9.9 times its envelope, 5.0e-02"),
        (0.0002, "; 2,500 times its envelope, 2.0e-04"),
        (0.0, "; perturbed noise does not move it"),
    ],
)
def test_a_signal_is_measured_by_its_envelope(moved, words):
    old, new = step(result=flat(2.0)), step(result=flat(3.0))
    assert where(old, new, bounds(moved)).endswith(f"std 0 -> 0){words}")
    assert "envelope" not in where(old, new)


def test_a_drift_that_no_step_shows_is_said_with_the_last_result():
    def run(*values):
        return steps(*(step(at, result=flat(value)) for at, value in enumerate(values)))

    rest = "the drift began after the last step, or is too small to show in one step"
    said = all_within_sentence(run(1.0, 2.0, 4.0), run(1.5, 3.0, 5.0), bounds(0.1, factor=3.0))
    assert said == (
        "every step agrees within 3 times its envelope (last result: rel_l2 at least "
        f"2.5e-01): {rest}"
    )
    without = steps(step(result=flat(1.0)), step(1, sample=flat(1.0)))
    plain = f"every step agrees within 4 times its envelope: {rest}"
    for old, new in ((without, without), (without, run(1.0, 2.0)), (run(1.0, 2.0), without)):
        assert all_within_sentence(old, new, bounds(0.1)) == plain
    assert all_within_sentence(steps(), steps(), bounds(0.1)) == plain


# --- the cell -----------------------------------------------------------------------------------


def call(*outputs, class_name="Dense"):
    return CellRecord(5, 0, "net.conv", class_name, (flat(0.5),), outputs)


def blamed(**changes):
    usual = CellDivergence(Change.SIGNAL, 0, 0, "", "", call(flat(1.0)), call(flat(2.0)))
    found = replace(NOWHERE, cell=replace(usual, **changes), cells_compared=True)
    return divergence_sentences(found)[1:]


FIRST = "first cell that differs: net.conv (Dense, call 5): equal inputs, different output"
MEASURED = " (rel_l2 at least 1.0e+00; mean 1 -> 2, std 0 -> 0)"


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, ""), (1, "; 1 call before it agrees"), (2, "; 2 calls before it agree")],
)
def test_it_is_said_how_many_calls_before_it_agree(count, words):
    assert blamed(agreed_count=count) == (f"{FIRST}{MEASURED}{words}",)


def test_cells_that_an_envelope_judged_agree_by_their_statistics_only():
    usual = CellDivergence(Change.SIGNAL, 0, 2, "", "", call(flat(1.0)), call(flat(2.0)))
    found = replace(NOWHERE, cell=usual, cells_compared=True, is_within=True)
    (sentence,) = divergence_sentences(found)[1:]
    assert "equal inputs as far as mean and spread tell, different output" in sentence
    assert sentence.endswith("2 calls before it agree as far as mean and spread tell")


def test_the_output_that_differs_is_the_one_that_is_measured():
    old, new = call(flat(7.0), flat(1.0), flat(7.0)), call(flat(7.0), flat(2.0), flat(9.0))
    assert blamed(output=1, baseline=old, observed=new) == (f"{FIRST}{MEASURED}",)


def test_an_output_that_one_side_lacks_is_said():
    one, two = call(flat(1.0)), call(flat(1.0), flat(2.0))
    assert blamed(output=1, baseline=one, observed=two) == (f"{FIRST} (only in this run)",)
    assert blamed(output=1, baseline=two, observed=one) == (f"{FIRST} (only in the baseline)",)


@pytest.mark.parametrize(
    ("last", "following", "words"),
    [
        ("net.a", "net.b", "after net.a and before net.b, which got different inputs"),
        ("", "net.b", "before net.b, which got different inputs"),
        ("net.a", "", "after net.a"),
    ],
)
def test_the_place_inside_a_cell_is_said_as_far_as_it_is_known(last, following, words):
    said = blamed(last_inner=last, next_inner=following)
    assert said == (f"{FIRST}{MEASURED}", f"the fault is inside it, {words}")


# --- how it goes on -----------------------------------------------------------------------------


def course(*amounts, given=None, rejoins=None):
    """The sentences after the step's, for results that are this far apart, in percent."""
    growth = tuple(
        Growth("scheduler", at, Apart(amount / 100, is_bound=False))
        for at, amount in enumerate(amounts)
    )
    return divergence_sentences(replace(NOWHERE, growth=growth, rejoins=rejoins), given)[1:]


def test_one_result_alone_has_no_course():
    assert course() == course(1) == ()


def test_a_course_has_its_first_and_its_last_result():
    first = "the result differs by rel_l2 about 1.0e-02 after scheduler step 0"
    two = f"{first}, and by rel_l2 about 2.0e-02 after scheduler step 1"
    assert course(1, 2) == (two,)
    assert course(1, 2, 3, 4) == (f"{first}, and by rel_l2 about 4.0e-02 after scheduler step 3",)


def test_a_course_has_its_worst_result_where_that_is_neither():
    (said,) = course(1, 2, 9, 3)
    assert said.endswith(
        ", and by rel_l2 about 3.0e-02 after scheduler step 3; most after scheduler step 2, "
        "rel_l2 about 9.0e-02"
    )
    assert all("most after" not in course(*amounts)[0] for amounts in ((9, 1, 2), (1, 2, 9)))


def test_results_that_agree_again_are_said_on_the_line_of_the_course():
    again = "from scheduler step 3 on the results agree again"
    assert course(1, 2, rejoins=step(3)) == (f"{course(1, 2)[0]}; {again}",)
    assert course(1, rejoins=step(3)) == (again,)


def test_beside_envelopes_a_course_has_six_steps_from_the_first_to_the_last():
    many = course(*range(1, 51), given=bounds(0.5, position=49))
    assert many == (
        "difference of the results vs their envelope: "
        "scheduler step 0 1.0e-02 vs 0.0e+00, scheduler step 10 1.1e-01 vs 0.0e+00, "
        "scheduler step 20 2.1e-01 vs 0.0e+00, scheduler step 29 3.0e-01 vs 0.0e+00, "
        "scheduler step 39 4.0e-01 vs 0.0e+00, scheduler step 49 5.0e-01 vs 5.0e-01",
    )
    (few,) = course(1, 2, given=bounds(0.5))
    assert few.endswith(
        "envelope: scheduler step 0 1.0e-02 vs 5.0e-01, scheduler step 1 2.0e-02 vs 0.0e+00"
    )
