"""Differences are measured right for every dtype, where the peers are wrong, and at every edge."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from pytest_repro.tensors.compare import compare_records, compare_summaries, summary_of
from pytest_repro.tensors.dtypes import DTYPES, ordered_integers, widen
from pytest_repro.tensors.record import make_record
from pytest_repro.tensors.statistics import BLOCK_ELEMENTS, summarise


def difference(baseline, observed, dtype):
    return compare_records(
        make_record(np.array(baseline, dtype)), make_record(np.array(observed, dtype))
    )


@pytest.mark.parametrize("name", DTYPES)
def test_equal_tensors_differ_nowhere(name):
    for shape in ((), (0,), (3, 2)):
        array = np.ones(shape, DTYPES[name].numpy)
        record = make_record(array)
        seen = compare_records(record, make_record(array.copy()))
        assert (seen.element_count, seen.differing_count) == (array.size, 0)
        assert (seen.worst_abs, seen.worst_rel, seen.worst_ulp, seen.non_finite) == (None,) * 4
        assert (seen.mean_abs, seen.rel_l2, seen.cosine, seen.psnr_db) == (0.0, 0.0, 0.0, math.inf)
        assert seen.baseline_statistics == seen.observed_statistics == summarise(record)
        assert not seen.statistics_only


def test_all_measures_by_hand():
    seen = difference([[1.0, 2.0], [4.0, 0.0]], [[1.0, 2.5], [3.0, 0.0]], "<f4")
    assert (seen.element_count, seen.differing_count) == (4, 2)
    assert (seen.worst_abs.amount, seen.worst_abs.index) == (1.0, (1, 0))
    assert (seen.worst_abs.baseline, seen.worst_abs.observed) == ("4.0", "3.0")
    assert (seen.worst_rel.amount, seen.worst_rel.index) == (0.25, (0, 1))
    assert (seen.worst_ulp.amount, seen.worst_ulp.index) == (2.0**22, (1, 0))
    assert seen.mean_abs == 0.375
    assert seen.rel_l2 == pytest.approx(math.sqrt(1.25 / 21), rel=1e-15)
    assert seen.cosine == pytest.approx(1 - 18 / math.sqrt(21 * 16.25), rel=1e-12)
    assert seen.psnr_db == pytest.approx(10 * math.log10(16 / (1.25 / 4)), rel=1e-14)


def test_uint8_does_not_wrap_around():
    seen = difference([5, 7, 0], [4, 9, 0], "u1")
    assert (seen.worst_abs.amount, seen.worst_abs.index) == (2.0, (1,))
    assert seen.mean_abs == 1.0
    assert seen.worst_ulp is None


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [("i1", -128, 127), ("<i4", -(2**31), 2**31 - 1), ("<i8", -(2**63), 2**63 - 1)],
)
def test_the_widest_distance_of_signed_integers_is_right(dtype, low, high):
    seen = difference([low, 0], [high, 0], dtype)
    assert seen.worst_abs.amount == float(high - low)
    assert (seen.worst_abs.baseline, seen.worst_abs.observed) == (str(low), str(high))


@pytest.mark.parametrize("dtype", ["<i8", "<u8"])
def test_64_bit_neighbours_are_one_apart(dtype):
    large = 2**62
    assert float(large) == float(large + 1)  # what float64 alone would see
    seen = difference([large, large], [large + 1, large - 3], dtype)
    assert (seen.worst_abs.amount, seen.worst_abs.index) == (3.0, (1,))
    assert seen.mean_abs == 2.0


def test_bool_counts_as_0_and_1():
    seen = difference([True, False, True], [True, True, True], "?")
    assert (seen.differing_count, seen.worst_abs.amount, seen.worst_abs.index) == (1, 1.0, (1,))
    assert (seen.worst_abs.baseline, seen.worst_abs.observed) == ("False", "True")
    assert seen.worst_ulp is None


def test_float16_does_not_overflow():
    seen = difference([60000.0] * 50, [-60000.0] * 50, "<f2")
    assert (seen.worst_abs.amount, seen.mean_abs) == (120000.0, 120000.0)
    assert seen.rel_l2 == 2.0
    assert seen.cosine == 2.0


@pytest.mark.parametrize(
    ("name", "step"), [("float16", 2**-10), ("bfloat16", 2**-7), ("float32", 2**-23)]
)
def test_one_ulp_is_one_step_of_the_tensor_s_own_dtype(name, step):
    dtype = DTYPES[name].numpy
    seen = difference([1.0, 1.0], [1.0, 1.0 + step], dtype)
    assert (seen.worst_ulp.amount, seen.worst_ulp.index) == (1.0, (1,))
    assert (seen.worst_abs.amount, seen.worst_rel.amount) == (step, step)
    assert difference([1.0], [1.0 + 2 * step], dtype).worst_ulp.amount == 2.0


@pytest.mark.parametrize("name", [name for name, row in DTYPES.items() if row.is_float])
def test_ulps_are_counted_through_zero(name):
    bits = np.dtype(f"<u{DTYPES[name].itemsize}")
    sign = 1 << (8 * DTYPES[name].itemsize - 1)
    smallest = np.array([1, sign | 1], bits).view(DTYPES[name].numpy)
    seen = difference(smallest[:1], smallest[1:], smallest.dtype)
    assert seen.worst_ulp.amount == 2.0
    assert seen.worst_abs.amount > 0.0  # subnormals are not flushed


def test_a_float32_subnormal_difference_is_measured():
    seen = difference([0.0, 1e-45], [0.0, 3e-45], "<f4")
    assert seen.worst_abs.amount == 2.0**-149
    assert seen.worst_ulp.amount == 1.0
    assert seen.rel_l2 == 1.0


def test_minus_zero_differs_in_bits_only_and_the_bits_are_shown():
    seen = difference([1.0, 0.0], [1.0, -0.0], "<f4")
    assert seen.differing_count == 1
    assert (seen.worst_abs.amount, seen.worst_abs.index) == (0.0, (1,))
    assert (seen.worst_abs.baseline, seen.worst_abs.observed) == (
        "0.0 (0x00000000)",
        "-0.0 (0x80000000)",
    )
    assert (seen.worst_rel, seen.worst_ulp, seen.non_finite) == (None, None, None)
    assert (seen.rel_l2, seen.psnr_db) == (0.0, math.inf)


def test_a_nan_payload_differs_in_bits_only_and_the_bits_are_shown():
    bits = np.array([[0x7FC00000, 0x3F800000], [0x7FC00001, 0x3F800000]], "<u4").view("<f4")
    seen = compare_records(make_record(bits[0]), make_record(bits[1]))
    assert (seen.differing_count, seen.non_finite) == (1, None)
    assert (seen.worst_abs.baseline, seen.worst_abs.observed) == (
        "nan (0x7fc00000)",
        "nan (0x7fc00001)",
    )


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "float64"])
def test_a_new_nan_or_infinity_is_counted_and_does_not_hide_the_rest(name):
    dtype = DTYPES[name].numpy
    baseline = [math.nan, 1.0, math.inf, 2.0, -math.inf, math.inf, 8.0]
    observed = [math.nan, math.nan, math.inf, 3.0, math.inf, 5.0, 8.0]
    seen = difference(baseline, observed, dtype)
    assert (seen.non_finite.count, seen.non_finite.index) == (3, (1,))
    assert (seen.non_finite.baseline, seen.non_finite.observed) == ("1.0", "nan")
    assert (seen.worst_abs.amount, seen.worst_abs.index) == (1.0, (3,))
    assert seen.worst_ulp.index == (3,)
    assert seen.mean_abs == 0.5  # the two places that are finite in both
    assert seen.rel_l2 == pytest.approx(1 / math.sqrt(68))
    assert seen.baseline_statistics.nan_count == 1
    assert seen.observed_statistics.nan_count == 2


def test_agreeing_nan_and_infinity_are_no_disagreement():
    values = [math.nan, math.inf, -math.inf, 1.0]
    seen = difference(values, [*values[:3], 2.0], "<f4")
    assert seen.non_finite is None
    assert (seen.differing_count, seen.worst_abs.index) == (1, (3,))
    seen = difference(values, [math.nan, -math.inf, -math.inf, 1.0], "<f4")
    assert (seen.non_finite.count, seen.worst_abs) == (1, None)


def test_places_in_later_blocks_have_their_own_index():
    shape = (3, BLOCK_ELEMENTS // 2 + 5)
    baseline = np.random.default_rng(0).standard_normal(shape).astype("<f4")
    observed = baseline.copy()
    observed[2, 11] += 1.0
    observed[1, 7] += 0.25
    seen = compare_records(make_record(baseline), make_record(observed))
    assert seen.differing_count == 2
    assert seen.worst_abs.index == (2, 11)
    assert seen.worst_abs.amount == float(observed[2, 11]) - float(baseline[2, 11])
    observed[2, 12] = np.nan
    seen = compare_records(make_record(baseline), make_record(observed))
    assert (seen.non_finite.index, seen.worst_abs.index) == ((2, 12), (2, 11))


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "float64", "int32"])
@pytest.mark.parametrize("step", [1e-3, 1.0])
def test_worst_places_over_many_blocks_equal_a_search_of_every_element(name, step):
    row = DTYPES[name]
    for seed in range(3):
        rng = np.random.default_rng(seed)
        baseline = (rng.standard_normal(3 * BLOCK_ELEMENTS + 1) * 100).astype(row.numpy)
        # The largest steps come late, so that what was seen before must not hide them.
        late = np.linspace(0.1, 1, baseline.size) * step
        moved = widen(row, baseline) * (1 + late * rng.standard_normal(baseline.size))
        observed = moved.astype(row.numpy)
        wide = widen(row, baseline), widen(row, observed)
        gap = np.abs(wide[1] - wide[0])
        with np.errstate(all="ignore"):
            rel = np.where(gap > 0, gap / np.abs(wide[0]), 0.0)
        seen = compare_records(make_record(baseline), make_record(observed))
        searched = [(seen.worst_abs, gap), (seen.worst_rel, rel)]
        if row.is_float:
            ranks = [ordered_integers(row, x).astype(object) for x in (baseline, observed)]
            searched.append((seen.worst_ulp, np.abs(ranks[1] - ranks[0]).astype(np.float64)))
        for place, amounts in searched:
            assert place.amount == amounts.max()
            assert place.index == (int(np.flatnonzero(amounts == amounts.max())[0]),)
        assert seen.mean_abs == pytest.approx(gap.mean(), rel=1e-12)


def test_the_first_of_equal_places_is_named():
    baseline = np.zeros(3 * BLOCK_ELEMENTS, "<f4")
    observed = baseline.copy()
    observed[[5, 9, 2 * BLOCK_ELEMENTS]] = 1.0
    seen = compare_records(make_record(baseline), make_record(observed))
    assert seen.worst_abs.index == seen.worst_rel.index == seen.worst_ulp.index == (5,)
    assert seen.worst_rel.amount == seen.rel_l2 == math.inf
    assert seen.cosine == 1.0


def test_the_statistics_are_those_of_summarise_to_the_last_bit():
    rng = np.random.default_rng(0)
    baseline, observed = rng.standard_normal((2, 2 * BLOCK_ELEMENTS + 3)).astype("<f4")
    records = make_record(baseline), make_record(observed)
    seen = compare_records(*records)
    assert seen.baseline_statistics == summarise(records[0])
    assert seen.observed_statistics == summarise(records[1])


@pytest.mark.parametrize(("one", "other"), [(1e300, 1e300), (1e-300, 1.0), (1.0, 1e300)])
def test_the_statistics_are_those_of_summarise_at_float64_s_ends_too(one, other):
    records = make_record(np.array([one, -one])), make_record(np.array([other, other / 2]))
    seen = compare_records(*records)
    assert seen.baseline_statistics == summarise(records[0])
    assert seen.observed_statistics == summarise(records[1])
    assert seen.baseline_statistics.l2 == pytest.approx(one * math.sqrt(2))


def test_cosine_is_right_far_below_float64_s_epsilon():
    baseline = np.zeros(2)
    baseline[0] = 1.0
    seen = difference(baseline, [1.0, 1e-12], "<f8")
    assert seen.cosine == pytest.approx(0.5e-24, rel=1e-6)
    assert difference([1.0, 2.0], [2.0, 4.0], "<f8").cosine == 0.0
    assert difference([1.0, 0.0], [0.0, 1.0], "<f8").cosine == pytest.approx(1.0)


def test_a_constant_baseline_has_the_range_one():
    assert difference([3.0, 3.0], [3.1, 3.1], "<f8").psnr_db == pytest.approx(20.0)
    assert difference([0.0, 3.0], [0.1, 3.1], "<f8").psnr_db == pytest.approx(29.542425)


@pytest.mark.parametrize("size", [1e300, 1e-300])
def test_float64_s_ends_keep_their_relative_measures(size):
    near = difference([size, -size], [size * 1.5, -size], "<f8")
    assert near.rel_l2 == pytest.approx(0.5 / math.sqrt(2))
    assert near.mean_abs == pytest.approx(size / 4)
    assert near.psnr_db == pytest.approx(10 * math.log10(4 / 0.125))
    assert near.cosine == pytest.approx(1 - 2.5 / math.sqrt(2 * 3.25))
    assert near.worst_rel.amount == pytest.approx(0.5)


def test_unequal_dtype_or_shape_is_a_programming_error():
    one = make_record(np.zeros(2, "<f4"))
    for other in (np.zeros(2, "<f8"), np.zeros((2, 1), "<f4")):
        with pytest.raises(ValueError, match="equal dtype and shape"):
            compare_records(one, make_record(other))
        with pytest.raises(ValueError, match="equal dtype and shape"):
            compare_summaries(summary_of("", one), summary_of("", make_record(other)))


def images():
    baseline = np.linspace(0, 1, 3072, dtype="<f4").reshape(1, 32, 32, 3)
    return make_record(baseline), make_record(baseline[:, ::-1])


def test_summaries_see_a_flip_and_say_that_they_saw_statistics_only():
    baseline, flipped = images()
    true = compare_records(baseline, flipped)
    seen = compare_summaries(summary_of("x", baseline), summary_of("x", flipped))
    assert seen.statistics_only
    assert (seen.worst_abs, seen.worst_rel, seen.worst_ulp) == (None, None, None)
    assert seen.differing_count == seen.element_count == 3072
    assert seen.rel_l2 == pytest.approx(true.rel_l2, rel=0.5)
    assert seen.psnr_db == pytest.approx(true.psnr_db, abs=4)
    assert 0.0 < seen.cosine < 2.0
    assert seen.mean_abs > 0.0
    same = compare_summaries(summary_of("x", baseline), summary_of("x", images()[0]))
    assert (same.differing_count, same.rel_l2, same.psnr_db) == (0, 0.0, math.inf)
    assert same.statistics_only


def test_a_difference_below_the_sketch_s_digits_is_not_called_zero():
    baseline = np.ones(50_000)
    observed = baseline.copy()
    observed[7] += 1e-12
    seen = compare_summaries(
        summary_of("", make_record(baseline)), summary_of("", make_record(observed))
    )
    assert 0.0 < seen.rel_l2 < 1e-8


def test_summaries_count_the_fewest_disagreements_about_nan():
    whole = np.ones(10, "<f4")
    holes = whole.copy()
    holes[:3] = [np.nan, np.nan, np.inf]
    seen = compare_summaries(summary_of("", make_record(whole)), summary_of("", make_record(holes)))
    assert (seen.non_finite.count, seen.non_finite.index) == (3, ())
    assert seen.non_finite.observed == "2 nan, 1 inf, 0 -inf"
    back = compare_summaries(summary_of("", make_record(holes)), summary_of("", make_record(whole)))
    assert back.non_finite.count == 3
    same = replace(summary_of("", make_record(holes)), path="y")
    assert compare_summaries(same, same).non_finite is None


def test_summaries_measure_against_the_baseline_s_own_size():
    near, far = np.full(512, 1.0, "<f4"), np.full(512, 3.0, "<f4")
    near[0], far[0] = 2.0, 5.0
    before, after = (summary_of("", make_record(array)) for array in (near, far))
    exact = difference(near, far, "<f4")
    forth, back = compare_summaries(before, after), compare_summaries(after, before)
    assert forth.mean_abs == back.mean_abs
    norms = [np.linalg.norm(array) for array in (near, far)]
    assert forth.rel_l2 / back.rel_l2 == pytest.approx(norms[1] / norms[0], rel=1e-6)
    assert forth.rel_l2 == pytest.approx(exact.rel_l2, rel=0.3)  # a sketch estimates


@pytest.mark.parametrize("shape", [(0,), (), (3, 2)])
def test_summaries_of_equal_tensors_differ_nowhere(shape):
    one = summary_of("", make_record(np.ones(shape, "<f4")))
    seen = compare_summaries(one, one)
    assert (seen.element_count, seen.differing_count) == (math.prod(shape), 0)
    assert (seen.mean_abs, seen.rel_l2, seen.cosine, seen.psnr_db) == (0.0, 0.0, 0.0, math.inf)
    assert (seen.worst_abs, seen.worst_rel, seen.worst_ulp, seen.non_finite) == (None,) * 4


@pytest.mark.parametrize(
    ("before", "after", "fewest"),
    [
        ([math.nan] * 2 + [1.0], [math.nan] * 3, 1),
        ([math.nan] * 3, [math.nan] * 2 + [1.0], 1),
        ([math.nan] * 2 + [1.0], [math.inf] * 2 + [1.0], 2),
        ([math.nan, math.inf, 1.0], [math.inf, -math.inf, math.inf], 2),
    ],
)
def test_only_what_came_or_went_counts_as_a_disagreement_about_nan(before, after, fewest):
    one, other = (summary_of("", make_record(np.array(array))) for array in (before, after))
    assert compare_summaries(one, other).non_finite.count == fewest


def test_a_range_that_float64_cannot_hold_still_has_its_psnr():
    # The range is twice 1.7e308, and one difference of 1.7e308 among four has half of it as rms.
    seen = difference([1.7e308, -1.7e308, 0.0, 0.0], [1.7e308, -1.7e308, 1.7e308, 0.0], "<f8")
    assert seen.psnr_db == pytest.approx(20 * math.log10(2 / 0.5), rel=1e-12)


@pytest.mark.parametrize("seed", [3, 5])  # of these a sketch estimates more than twice the norm
def test_a_cosine_distance_from_summaries_never_exceeds_two(seed):
    array = np.random.default_rng(seed).standard_normal(300).astype("<f4")
    seen = compare_summaries(*(summary_of("", make_record(one)) for one in (array, -array)))
    assert seen.rel_l2 > 2.2
    assert seen.cosine == 2.0


@pytest.mark.parametrize(
    "others",
    [[math.inf, -math.inf], [math.nan, -math.inf], [math.nan, math.inf, -math.inf, -math.inf]],
)
def test_infinities_of_both_signs_do_not_cancel_out(others):
    seen = difference([*others, 1.0, 4.0], [*others, 2.0, 4.0], "<f8")
    assert (seen.differing_count, seen.non_finite) == (1, None)
    assert (seen.mean_abs, seen.rel_l2) == (0.5, 1 / math.sqrt(17))


@pytest.mark.parametrize("steps", [1, 100])
def test_a_worst_place_that_is_larger_by_the_last_digits_is_found_in_a_later_block(steps):
    baseline = np.ones(BLOCK_ELEMENTS + 2)
    observed = baseline.copy()
    observed[3], observed[-1] = 1.5, 1.5 + steps * 2.0**-52
    seen = difference(baseline, observed, "<f8")
    for place in (seen.worst_abs, seen.worst_rel, seen.worst_ulp):
        assert place.index == (BLOCK_ELEMENTS + 1,)
