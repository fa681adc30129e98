"""Statistics are right at the edges of every dtype and do not lose digits to cancellation."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pytest_repro.model.baseline import Statistics
from pytest_repro.tensors.dtypes import DTYPES
from pytest_repro.tensors.record import make_record
from pytest_repro.tensors.sketch import sketch_array
from pytest_repro.tensors.statistics import BLOCK_ELEMENTS, STATISTIC_NAMES, summarise


def of(values, dtype="<f8"):
    return summarise(make_record(np.array(values, dtype)))


def test_the_names_are_those_of_the_model():
    assert tuple(Statistics.__slots__) == STATISTIC_NAMES
    assert STATISTIC_NAMES[:4] == ("min", "max", "mean", "std")


def test_small_values_by_hand():
    assert of([-3.0, 0.0, 4.0, 3.0]) == Statistics(
        -3.0, 4.0, 1.0, math.sqrt(30 / 4), 10.0, math.sqrt(34), 0, 0, 0
    )


def test_blocks_agree_with_exact_sums():
    values = np.random.default_rng(0).standard_normal(2 * BLOCK_ELEMENTS + 77) * 3 + 1
    seen = of(values)
    mean = math.fsum(values) / values.size
    assert seen.mean == pytest.approx(mean, rel=1e-13)
    std = math.sqrt(math.fsum((values - mean) ** 2) / values.size)
    assert seen.std == pytest.approx(std, rel=1e-13)
    assert seen.abs_sum == pytest.approx(math.fsum(np.abs(values)), rel=1e-13)
    assert seen.l2 == pytest.approx(math.sqrt(math.fsum(values**2)), rel=1e-13)
    values[-1] += 1e3  # the last, short block counts too
    assert of(values).max == values[-1]
    assert of(values).mean != seen.mean


def test_a_large_mean_does_not_eat_the_deviation():
    values = np.random.default_rng(0).standard_normal(3 * BLOCK_ELEMENTS) + 1e8
    naive = math.sqrt(max(0.0, float(np.mean(values * values) - np.mean(values) ** 2)))
    exact = math.sqrt(math.fsum((values - math.fsum(values) / values.size) ** 2) / values.size)
    assert of(values).std == pytest.approx(exact, rel=1e-9)
    assert abs(naive - exact) > 1e-3  # what the textbook formula gives here


def test_non_finite_elements_are_counted_and_left_out():
    seen = of([1.0, math.nan, math.inf, 3.0, -math.inf, math.inf, math.nan, math.nan])
    assert (seen.nan_count, seen.posinf_count, seen.neginf_count) == (3, 2, 1)
    assert (seen.min, seen.max, seen.mean, seen.std) == (1.0, 3.0, 2.0, 1.0)


@pytest.mark.parametrize("values", [[], [math.nan], [math.inf, -math.inf]])
def test_nothing_finite_gives_zeros(values):
    seen = of(values)
    assert (seen.min, seen.max, seen.mean, seen.std, seen.abs_sum, seen.l2) == (0.0,) * 6
    assert seen.nan_count + seen.posinf_count + seen.neginf_count == len(values)


@pytest.mark.parametrize("size", [1e-200, 5e-324, 1e200, 1.7e308])
def test_squares_never_leave_float64_s_range(size):
    seen = of([size, -size, size, size])
    assert (seen.min, seen.max) == (-size, size)
    assert seen.l2 == pytest.approx(2 * size) if size < 1e308 else seen.l2 == math.inf
    assert seen.std == pytest.approx(size * math.sqrt(0.75), rel=1e-12, abs=5e-324)


@pytest.mark.parametrize("name", DTYPES)
def test_every_dtype_is_summed_by_value(name):
    seen = of([1, 0, 1, 1], DTYPES[name].numpy)
    assert seen == Statistics(0.0, 1.0, 0.75, math.sqrt(0.1875), 3.0, math.sqrt(3), 0, 0, 0)


def test_float16_sums_do_not_overflow():
    assert of([60000.0] * 100, "<f2").abs_sum == 60000.0 * 100


def test_uint8_and_int64_extremes_do_not_wrap():
    assert of([255, 255], "u1").abs_sum == 510
    assert of([-(2**63), -(2**63)], "<i8").abs_sum == 2.0**64
    assert of([2**64 - 1] * 2, "<u8").abs_sum == 2.0**65


def test_threads_that_measure_at_once_do_not_share_their_work_arrays():
    arrays = [np.random.default_rng(seed).standard_normal(200_000) * 10.0**seed for seed in (0, 3)]
    records = [make_record(array.astype(np.float32)) for array in arrays]
    alone = [(summarise(record), sketch_array(record)) for record in records]

    def measure(at):
        return at, [(summarise(records[at]), sketch_array(records[at])) for _ in range(20)]

    with ThreadPoolExecutor(4) as pool:
        for at, found in pool.map(measure, (0, 1, 0, 1)):
            assert found == [alone[at]] * 20


def test_sums_are_by_blocks_of_131072_elements_to_the_last_bit():
    array = np.random.default_rng(1).random(181_072)
    first, rest = np.add.reduce(array[:131_072]), np.add.reduce(array[131_072:])
    assert first + rest != np.add.reduce(array)
    assert summarise(make_record(array)).abs_sum == first + rest


@pytest.mark.parametrize("size", [1e-20, 1e-100, 1e-300])
def test_the_mean_of_small_numbers_keeps_its_digits(size):
    assert of([size, 3 * size]).mean == pytest.approx(2 * size, rel=1e-15)


@pytest.mark.parametrize("values", [[-0.5, 0.25], [-3.0, 0.5, 0.0], [-0.5, 3.0]])
def test_the_absolute_sum_of_small_numbers_of_both_signs(values):
    assert of(values).abs_sum == math.fsum(map(abs, values))


@pytest.mark.parametrize("size", [1e-320, 1e-200, 1.0, 1e200])
def test_every_statistic_is_right_at_float64_s_ends(size):
    low, high = np.array([-1.0, 3.0]) * size
    seen = of([low, high])
    assert (seen.min, seen.max) == (low, high)
    assert seen.mean == pytest.approx(size, rel=1e-3)  # a subnormal has few digits
    assert seen.std == pytest.approx(2 * size, rel=1e-3)
    assert seen.abs_sum == pytest.approx(4 * size, rel=1e-3)
    assert seen.l2 == pytest.approx(math.sqrt(10) * size, rel=1e-3)
