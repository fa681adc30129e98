"""A sketch sees order, and estimates distances to its stated accuracy."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_repro.tensors.dtypes import DTYPES
from pytest_repro.tensors.record import make_record
from pytest_repro.tensors.sketch import (
    PROJECTIONS,
    SKETCH_DIGITS,
    estimate_distance,
    estimate_floor,
    sketch_array,
)
from pytest_repro.tensors.statistics import BLOCK_ELEMENTS, summarise


def sketch(array):
    return sketch_array(make_record(array))


def image(seed=0, shape=(1, 32, 32, 3)):
    ramp = np.linspace(0, 1, int(np.prod(shape)), dtype="<f4").reshape(shape)
    return ramp + np.random.default_rng(seed).random(shape, dtype="f4") / 10


def mixed(counter):
    """splitmix64 by the reference algorithm, in Python's integers."""
    mask = 2**64 - 1
    state = (counter + 1) * 0x9E3779B97F4A7C15 & mask
    state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & mask
    state = (state ^ state >> 27) * 0x94D049BB133111EB & mask
    return state ^ state >> 31


def test_splitmix64_is_the_published_one():
    # First outputs for seed 0, as published with the generator.
    assert [mixed(0), mixed(1)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]


def test_projections_are_the_signed_sums_by_definition():
    values = np.random.default_rng(0).standard_normal(BLOCK_ELEMENTS + 9)
    codes = np.array([mixed(i // 4) >> 16 * (i % 4) & 0xFFFF for i in range(values.size)])
    by_definition = [
        float(np.where(codes >> bit & 1, values, -values).sum()) for bit in range(PROJECTIONS)
    ]
    assert sketch(values) == pytest.approx(by_definition, rel=1e-8)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x[:, ::-1],
        lambda x: x[:, :, ::-1],
        lambda x: x.transpose(0, 2, 1, 3),
        lambda x: x[..., ::-1],
        lambda x: np.random.default_rng(3).permutation(x.ravel()).reshape(x.shape),
        lambda x: np.roll(x, 1, axis=2),
    ],
    ids=["vertical flip", "mirror", "transpose", "channel swap", "permutation", "shift"],
)
def test_a_reordered_image_moves_the_sketch_by_its_true_distance(change):
    before = image()
    after = np.ascontiguousarray(change(before))
    assert sorted(before.ravel()) == sorted(after.ravel())
    assert summarise(make_record(after)).l2 == pytest.approx(summarise(make_record(before)).l2)
    true = np.linalg.norm(after.astype("f8") - before)
    assert 0.5 < estimate_distance(sketch(before), sketch(after)) / true < 1.6
    assert estimate_distance(sketch(before), sketch(before.copy())) == 0.0


def test_a_swap_of_two_elements_is_seen_wherever_they_are():
    base = image().ravel()
    rng = np.random.default_rng(0)
    for _ in range(300):
        i, j = rng.choice(base.size, 2, replace=False)
        swapped = base.copy()
        swapped[i], swapped[j] = base[j], base[i]
        true = abs(float(base[i]) - float(base[j])) * 2**0.5
        assert true < 1e-6 or estimate_distance(sketch(base), sketch(swapped)) > 0.2 * true


def test_the_estimate_has_the_stated_mean_and_spread():
    base = np.zeros(3000)
    ratios = []
    for seed in range(400):
        step = np.random.default_rng(seed).standard_normal(3000)
        ratios.append(estimate_distance(sketch(base), sketch(step)) / np.linalg.norm(step))
    squares = np.square(ratios)
    # Mean 1 +- 4 standard errors; variance of the square at most 2/k (plus sampling error).
    assert abs(squares.mean() - 1) < 4 * np.sqrt(2 / PROJECTIONS / 400)
    assert 0.6 * 2 / PROJECTIONS < squares.var() < 1.5 * 2 / PROJECTIONS
    assert 0.12 < np.std(ratios) < 0.24


def test_a_single_changed_element_is_measured_exactly():
    before, after = np.zeros(5000), np.zeros(5000)
    after[1234] = 0.125
    assert estimate_distance(sketch(before), sketch(after)) == 0.125


def test_non_finite_elements_count_as_zero():
    holes = image()
    holes[0, 0, 0] = [np.nan, np.inf, -np.inf]
    zeros = holes.copy()
    zeros[0, 0, 0] = 0
    assert sketch(holes) == sketch(zeros)
    assert sketch(holes) != sketch(image())


def test_rounding_is_the_floor_of_the_estimate():
    array = np.random.default_rng(0).standard_normal(100_000)
    projections = sketch(array)
    assert all(float(f"{p:.{SKETCH_DIGITS - 1}e}") == p for p in projections)
    norm = np.linalg.norm(array)
    floor = estimate_floor(projections)
    assert 1e-10 * norm < floor < 1e-8 * norm
    below, above = array.copy(), array.copy()
    below[5] += floor / 100
    above[5] += floor * 100
    assert estimate_distance(projections, sketch(below)) <= floor
    assert estimate_distance(projections, sketch(above)) == pytest.approx(100 * floor, rel=0.05)
    assert estimate_floor((0.0,) * PROJECTIONS) == 0.0


@pytest.mark.parametrize("name", DTYPES)
def test_every_dtype_shape_and_extreme_gives_16_finite_numbers(name):
    dtype = DTYPES[name].numpy
    largest = 1 if name == "bool" else None
    if largest is None:
        exact = DTYPES[name].is_float
        largest = float(np.finfo("f8").max) if name == "float64" else 3e4 if exact else 100
    for array in (np.zeros((), dtype), np.zeros((0, 2), dtype), np.full(7, largest, dtype)):
        values = sketch(array)
        assert len(values) == PROJECTIONS
        assert np.isfinite(values).all()
        assert any(values) == bool(array.size and array.ravel()[0])


def test_sketches_of_different_length_are_refused():
    with pytest.raises(ValueError, match="16 and 15"):
        estimate_distance((0.0,) * 16, (0.0,) * 15)
    with pytest.raises(ValueError, match="0 and 0"):
        estimate_distance((), ())


@pytest.mark.parametrize(
    ("projection", "unit"), [(1.5e3, 1e-5), (9.99, 1e-8), (-2.5e-4, 1e-12), (1.0, 1e-8)]
)
def test_the_floor_is_one_unit_in_the_ninth_digit(projection, unit):
    assert estimate_floor((projection,)) == pytest.approx(unit, rel=1e-12)
    assert estimate_floor((projection,) * 4) == pytest.approx(unit, rel=1e-12)


def test_no_projections_hide_nothing():
    assert estimate_floor(()) == 0.0


def test_sums_beyond_float64_saturate_and_those_of_both_signs_count_as_nothing():
    signs = np.random.default_rng(0).choice([-1.0, 1.0], 4096)
    largest = np.finfo("f8").max
    sums = sketch(signs * largest)
    assert set(np.abs(sums)) <= {0.0, float(f"{largest:.{SKETCH_DIGITS - 1}e}"), np.inf}
    assert 0.0 in sums


@pytest.mark.parametrize("array", [np.zeros(5), -np.zeros(5), np.zeros(0)])
def test_nothing_has_projections_of_plus_zero(array):
    assert [str(projection) for projection in sketch(array)] == ["0.0"] * PROJECTIONS
