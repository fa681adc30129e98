"""How many disturbed runs an envelope takes, by how alike they move a result."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pytest_repro.tensors.compare import compare_records
from pytest_repro.tensors.record import make_record
from pytest_repro.tolerance.measured import envelope_from, proves_nothing, runs_wanted

FEWEST_RUNS, MOST_RUNS = 4, 16


@pytest.mark.parametrize("asked", [1, 4, 8, 16, 20])
def test_runs_that_are_alike_are_enough_and_others_are_not(asked):
    alike, unlike = (1.0, 1.2, 1.25, 1.1), (1.0, 1.2, 1.26, 1.1)
    assert runs_wanted([alike, alike], asked) == max(asked, FEWEST_RUNS)
    assert runs_wanted([alike, unlike], asked) == max(asked, MOST_RUNS)


@pytest.mark.parametrize(
    ("moved", "runs"),
    [
        ((0.0,) * 4, FEWEST_RUNS),
        ((0.0, 0.0, 1e-9, 0.0), MOST_RUNS),
        ((1.0, math.inf), MOST_RUNS),
        ((math.inf, math.nan), MOST_RUNS),
        ((math.nan, 1.0), MOST_RUNS),
        ((1.0, math.nan), MOST_RUNS),
    ],
)
def test_nothing_that_moved_is_alike_and_what_cannot_be_compared_is_not(moved, runs):
    assert runs_wanted([moved], 4) == runs


def test_without_a_tensor_that_has_an_envelope_no_more_runs_are_wanted():
    assert runs_wanted([], 4) == FEWEST_RUNS


@pytest.mark.parametrize(("directions", "share"), [(1, 0.998), (600, 0.0)])
def test_few_directions_are_told_from_many(directions, share):
    """The share of recordings that go on after four runs: nearly all, and nearly none."""
    generator = np.random.Generator(np.random.PCG64(0))
    moved = np.linalg.norm(generator.standard_normal((3000, FEWEST_RUNS, directions)), axis=2)
    going_on = [runs_wanted([tuple(map(float, one))], 1) == MOST_RUNS for one in moved]
    assert np.mean(going_on) == pytest.approx(share, abs=0.004)


def test_the_largest_of_as_many_runs_is_no_accident():
    """One direction: a result beyond four times the largest of four runs is a matter of luck."""
    generator = np.random.Generator(np.random.PCG64(1))
    seen, runs = generator.standard_normal(100_000), generator.standard_normal((100_000, MOST_RUNS))
    alarms = [
        np.mean(np.abs(seen) > 4.0 * np.abs(runs[:, :count]).max(axis=1))
        for count in (FEWEST_RUNS, MOST_RUNS)
    ]
    assert alarms[0] == pytest.approx(4e-3, rel=0.2)
    assert alarms[1] < 1e-4


def test_nan_elsewhere_in_one_disturbed_run_is_no_small_movement():
    clean = np.linspace(1.0, 2.0, 64)
    fallen = clean.copy()
    fallen[3] = np.nan
    moved = [
        compare_records(make_record(clean), make_record(other))
        for other in (clean * (1 + 1e-7), fallen)
    ]
    envelope = envelope_from(moved, method="m", seed=0, input_rel_l2=1e-8)
    assert math.isinf(envelope.rel_l2_max)
    assert proves_nothing(envelope, 4.0, 1e-2)
    assert not proves_nothing(
        envelope_from(moved[:1], method="m", seed=0, input_rel_l2=1e-8), 4.0, 1e-2
    )
