"""Standing: what is within, what is beyond, and when nothing can be told; as a run would judge."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pytest_repro.analysis.agreement import leaf_distances, simulate_verdict
from pytest_repro.model.words import Distance, Verdict
from pytest_repro.tensors.compare import compare_records, summary_of
from pytest_repro.tensors.record import make_record
from pytest_repro.tolerance.bounds import tolerance_from
from pytest_repro.tolerance.choose import Chosen, choose_tolerance
from pytest_repro.tolerance.measured import envelope_from
from pytest_repro.tolerance.policy import Policy, resolve

CLEAN = np.random.Generator(np.random.PCG64(0)).standard_normal((16, 16)).astype(np.float32)


def sides(other, moved=None):
    """Summaries of both sides, the first with an envelope where it is told how far it moves."""
    before, after = make_record(CLEAN), make_record(other)
    summary = summary_of("", before)
    if moved is not None:
        difference = compare_records(before, make_record(moved))
        envelope = envelope_from([difference], method="m", seed=1, input_rel_l2=1e-7)
        summary = replace(summary, envelope=envelope)
    stored = {one.digest: one for one in (before, after)}
    return [summary], [summary_of("", after)], stored.get


def by_default(summary):
    return choose_tolerance((), resolve(Policy(), "m.py::t::v"), Distance.ANY, summary)


def simulated(first, second, stored, choose=by_default):
    return simulate_verdict(leaf_distances(first, second, stored), first, second, stored, choose)


@pytest.mark.parametrize(
    ("share", "verdict"), [(0.5, Verdict.WITHIN), (3.9, Verdict.WITHIN), (4.1, Verdict.DRIFT)]
)
def test_four_envelopes_are_the_border(share, verdict):
    moved = CLEAN * np.float32(1 + 1e-3)
    other = (CLEAN * (1 + share * 1e-3)).astype(np.float32)
    assert simulated(*sides(other, moved)) is verdict


def test_an_envelope_that_is_too_wide_tells_nothing():
    assert simulated(*sides(CLEAN * np.float32(1.001), CLEAN[::-1])) is Verdict.MISSING


@pytest.mark.parametrize("other", [CLEAN.astype(np.float64), CLEAN[:4]])
def test_another_dtype_or_shape_is_never_within(other):
    assert simulated(*sides(other, CLEAN * np.float32(1.1))) is Verdict.DRIFT


def test_nan_in_one_place_is_never_within():
    other = CLEAN.copy()
    other[0, 0] = np.nan
    assert simulated(*sides(other, CLEAN * np.float32(1.001))) is Verdict.DRIFT


def test_where_a_tensor_is_absent_its_sketch_is_judged():
    near, far = (CLEAN * np.float32(1 + size) for size in (1e-3, 1e-1))
    moved = CLEAN * np.float32(1 + 1e-3)
    for other, verdict in ((near, Verdict.WITHIN), (far, Verdict.DRIFT)):
        first, second, _ = sides(other, moved)
        assert simulated(first, second, lambda digest: None) is verdict


def test_atol_and_rtol_together_are_judged_by_element_as_a_run_does():
    # By the largest of each kind alone it would be refused: no element exceeds both parts.
    written = Chosen(tolerance_from({"atol": 1e-3, "rtol": 1e-3}, origin="x"), "x", written=True)
    other = CLEAN + np.float32(9e-4) + np.abs(CLEAN) * np.float32(9e-4)
    assert simulated(*sides(other), lambda summary: written) is Verdict.WITHIN
    assert simulated(*sides(other + np.float32(3e-4)), lambda summary: written) is Verdict.DRIFT


def test_a_written_bound_that_needs_the_absent_tensor_passes_nothing():
    written = Chosen(tolerance_from({"atol": 9.0, "rel_l2": 9.0}, origin="x"), "x", written=True)
    first, second, stored = sides(CLEAN + np.float32(0.1))
    assert simulated(first, second, stored, lambda summary: written) is Verdict.WITHIN
    assert simulated(first, second, lambda digest: None, lambda summary: written) is Verdict.DRIFT


def test_a_bound_that_is_used_up_is_not_exceeded():
    first, second, stored = sides(CLEAN + np.float32(0.1))
    (distance,) = leaf_distances(first, second, stored)
    reached = distance.difference.rel_l2
    for bound, verdict in (
        (reached, Verdict.WITHIN),
        (np.nextafter(reached, 0.0), Verdict.DRIFT),
    ):
        written = Chosen(tolerance_from({"rel_l2": float(bound)}, origin="x"), "x", written=True)
        found = simulated(first, second, stored, lambda summary, written=written: written)
        assert found is verdict
