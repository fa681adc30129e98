"""Tolerances: what people may write, what passes, and what must not; each with its twin."""

from __future__ import annotations

import ast
import math
from dataclasses import asdict, replace

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_repro.errors import SettingError, ValueRefused
from pytest_repro.tensors.compare import compare_records, compare_summaries, summary_of
from pytest_repro.tensors.record import make_record
from pytest_repro.tolerance.bounds import (
    BOUND_KEYS,
    DEFAULT_FACTOR,
    STATISTIC_NAMES,
    StatisticBound,
    Tolerance,
    describe,
    tolerance_from,
)
from pytest_repro.tolerance.judge import (
    elementwise_share,
    needs_elements,
    passing_tolerance,
    unjudged,
    uses,
    without_elements,
)
from pytest_repro.tolerance.measured import (
    ceiling,
    envelope_from,
    fallback_tolerance,
    measured_tolerance,
    proves_nothing,
)

NORMAL = np.random.default_rng(0).standard_normal((3, 32, 32)).astype(np.float32)
ORIGIN = "the marker of test_ddim"


def difference(baseline, observed):
    return compare_records(make_record(np.asarray(baseline)), make_record(np.asarray(observed)))


def summaries(baseline, observed):
    """The same difference seen without the baseline's tensor."""
    records = (make_record(np.asarray(baseline)), make_record(np.asarray(observed)))
    return compare_summaries(*(summary_of("", record) for record in records))


def written(value):
    return tolerance_from(value, origin=ORIGIN)


def passes(value, baseline, observed):
    tolerance = value if isinstance(value, Tolerance) else written(value)
    share = elementwise_share(tolerance, np.asarray(baseline), np.asarray(observed))
    found = uses(tolerance, difference(baseline, observed), elementwise=share)
    return all(use.share <= 1.0 for use in found)


def moved(amount=0.0, at=(0, 0, 0)):
    observed = NORMAL.copy()
    observed[at] += np.float32(amount)
    return observed


# What people write


def test_words_and_mappings_are_read():
    assert written("exact") is Tolerance.EXACT
    assert written("measured").factor == DEFAULT_FACTOR
    assert written({"rel_l2": 1e-5, "max_ulp": 4}) == Tolerance(rel_l2=1e-5, max_ulp=4.0)
    assert written({"mean": {"atol": 1e-6}, "std": 1e-3}).statistics == (
        StatisticBound("mean", atol=1e-6),
        StatisticBound("std", rtol=1e-3),
    )
    assert written(Tolerance(psnr=40.0)) == Tolerance(psnr=40.0)
    assert written({"atol": np.float32(0.5), "max_ulp": np.int64(2)}) == Tolerance(0.5, max_ulp=2)


@pytest.mark.parametrize("key", BOUND_KEYS)
def test_every_key_is_read_into_its_own_bound(key):
    beside = (
        {"psnr": 60.0} if key.endswith("_count") or key == "differing" else {}
    )  # alone these bound no number
    tolerance = written({key: 0.25, **beside})
    bound = tolerance.statistic(key)
    assert (bound.rtol if bound else getattr(tolerance, key)) == 0.25
    others = replace(tolerance, statistics=()) if bound else replace(tolerance, **{key: None})
    assert others == Tolerance(**beside)


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ({"rel_l3": 1e-5}, "did you mean 'rel_l2'?"),
        ({"mean": {"atoll": 1}}, "did you mean 'atol'?"),
        ("exakt", "did you mean 'exact'?"),
        ({3: 1.0}, "no key 3"),
        ({"atol": True}, "atol must be a number, not bool True"),
        ({"atol": "1e-5"}, "atol must be a number, not str '1e-5'"),
        ({"atol": None}, "atol must be a number"),
        ({"rtol": -1e-9}, "rtol must be a finite number >= 0"),
        ({"rtol": float("nan")}, "rtol must be a finite number >= 0"),
        ({"max_ulp": math.inf}, "max_ulp must be a finite number >= 0"),
        ({"max_ulp": 10**400}, "max_ulp must be a finite number >= 0"),
        ({"std": {"rtol": -1}}, "std.rtol must be a finite number >= 0"),
        ({"std": {}}, "std is empty"),
        ({"cosine": 0.999}, "for a similarity of 0.999 write 0.001"),
        ({}, "an empty tolerance bounds nothing"),
        ({"nan_count": 1}, "nan_count alone bounds no number"),
        ({"differing": 0.5}, "differing alone bounds no number"),
        ({"differing": 1.5, "atol": 1}, "differing is a share from 0 to 1, not 1.5"),
        ({"nan_count": 0, "posinf_count": {"atol": 1}}, "nan_count and posinf_count alone"),
        (1e-5, "a tolerance cannot be float 1e-05"),
        (True, "a tolerance cannot be bool"),
        (None, "a tolerance cannot be NoneType"),
        ([1e-5], "a tolerance cannot be list"),
        (Tolerance(atol=math.nan), "atol must be a finite number >= 0"),
        (Tolerance(statistics=(StatisticBound("mode"),)), "no statistic 'mode'"),
        (Tolerance(statistics=(StatisticBound("min", atol=-1.0),)), "min.atol must be"),
        (Tolerance(factor=0.0), "factor must be above 0"),
    ],
)
def test_what_no_tolerance_can_be_is_refused_and_named(value, named):
    with pytest.raises(SettingError) as caught:
        written(value)
    message = str(caught.value)
    assert named in message
    assert ORIGIN in message
    assert all(key in message for key in BOUND_KEYS)


def test_a_key_far_from_all_others_gets_no_wrong_hint():
    with pytest.raises(SettingError) as caught:
        written({"zzz": 1})
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("exact", "exact"),
        ("measured", "measured x 4"),
        ({"rel_l2": 1e-5, "max_ulp": 4}, "rel_l2 <= 1e-05, max_ulp <= 4"),
        ({"atol": 1e-6}, "|o-b| <= 1e-06"),
        ({"rtol": 1e-5}, "|o-b| <= 1e-05*|b|"),
        ({"atol": 1e-6, "rtol": 1e-5}, "|o-b| <= 1e-06 + 1e-05*|b|"),
        ({"psnr": 40, "cosine": 1e-6}, "cosine <= 1e-06, psnr >= 40 dB"),
        ({"mean": {"atol": 1e-6}, "std": 1e-3}, "mean +- 1e-06, std +- 0.001*|b|"),
        ({"rel_l2": 1, "min": 0, "max": 0, "l2": 0}, "rel_l2 <= 1, 3 statistics"),
        ({"atol": 0}, "|o-b| <= 0"),
        ({"atol": 1, "differing": 0.125}, "differing <= 0.125, |o-b| <= 1"),
    ],
)
def test_a_tolerance_is_described_shortly(value, text):
    assert describe(written(value)) == text


# What passes


def test_exact_refuses_one_differing_bit_and_passes_none():
    negative_zero, zero = np.float32([-0.0]), np.float32([0.0])
    assert passes("exact", NORMAL, NORMAL.copy())
    assert not passes("exact", zero, negative_zero)
    use = uses(Tolerance.EXACT, difference(NORMAL, moved(1.0)))[0]
    assert (use.measure, use.observed, use.allowed, use.share) == ("exact", 1.0, 0.0, math.inf)


@pytest.mark.parametrize(
    ("value", "inside", "outside"),
    [
        ({"atol": 0.5}, 0.5, 0.51),
        ({"rel_l2": 0.5 / float(np.linalg.norm(NORMAL.astype(np.float64)))}, 0.49, 0.51),
        ({"psnr": 40}, 0.1, 10.0),
        ({"cosine": 1e-4}, 0.1, 10.0),
    ],
)
def test_a_bound_passes_what_is_inside_and_refuses_what_is_outside(value, inside, outside):
    assert passes(value, NORMAL, moved(inside))
    assert not passes(value, NORMAL, moved(outside))


def test_differing_counts_elements_whatever_their_distance():
    few, many = NORMAL.copy(), NORMAL.copy()
    few.reshape(-1)[:2] += 1
    many.reshape(-1)[:3] += 1
    tolerance = {"differing": 2 / NORMAL.size, "atol": 1.5}
    assert passes(tolerance, NORMAL, few)
    assert not passes(tolerance, NORMAL, many)
    few.reshape(-1)[0] += 1
    assert not passes(tolerance, NORMAL, few)


def test_max_ulp_counts_steps_of_the_dtype():
    for dtype in (np.float16, np.float32, np.float64, ml_dtypes.bfloat16):
        baseline = np.array([1.0, 2.0], dtype)
        step = ml_dtypes.finfo(dtype).eps
        observed = np.array([1.0 + 4 * float(step), 2.0], dtype)
        assert passes({"max_ulp": 4}, baseline, observed)
        assert not passes({"max_ulp": 3}, baseline, observed)


@pytest.mark.parametrize("name", [name for name in STATISTIC_NAMES if "count" not in name])
def test_each_statistic_is_judged_by_its_own_bound(name):
    found = difference(NORMAL, NORMAL * np.float32(1.5) + np.float32(1.0))
    before, after = asdict(found.baseline_statistics), asdict(found.observed_statistics)
    amount = abs(after[name] - before[name])
    assert amount > 0
    for part, worst in ((1.01, False), (0.99, True)):
        absolute = uses(written({name: {"atol": amount * part}}), found)
        relative = uses(written({name: amount * part / abs(before[name])}), found)
        assert [use.measure for use in (*absolute, *relative)] == [name, name]
        assert all((use.share > 1.0) is worst for use in (*absolute, *relative))


def test_all_bounds_must_hold_and_the_worst_comes_first():
    tolerance = written({"atol": 1.0, "rel_l2": 1e-9, "psnr": 1})
    found = uses(tolerance, difference(NORMAL, moved(0.5)), elementwise=None)
    shares = [use.share for use in found]
    assert found[0].measure == "rel_l2"
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 1.0 > shares[-1]


def test_the_share_of_psnr_is_the_share_of_the_error():
    half, quarter = difference(NORMAL, moved(0.5)), difference(NORMAL, moved(0.25))
    tolerance = written({"psnr": 40})
    shares = [uses(tolerance, found)[0].share for found in (half, quarter)]
    assert shares[0] == pytest.approx(2 * shares[1], rel=1e-6)
    far = difference(NORMAL, moved(50.0))
    assert uses(tolerance, far)[0].share == pytest.approx(100 * shares[0], rel=1e-4)
    assert uses(tolerance, difference(NORMAL, NORMAL))[0].share == 0.0


def test_a_psnr_equal_to_its_bound_passes():
    found = difference(NORMAL, moved(0.5))
    assert uses(Tolerance(psnr=found.psnr_db), found)[0].share == 1.0
    above = math.nextafter(found.psnr_db, math.inf)
    assert uses(Tolerance(psnr=above), found)[0].share > 1.0


def test_a_measure_that_is_nan_never_passes():
    clean = difference(NORMAL, moved(0.5))
    every = written({"rel_l2": 1e9, "cosine": 0.5, "psnr": 0, "mean": {"atol": 1e9}})
    assert all(use.share <= 1.0 for use in uses(every, clean))
    statistics = replace(clean.observed_statistics, mean=math.nan)
    broken = replace(
        clean, rel_l2=math.nan, cosine=math.nan, psnr_db=math.nan, observed_statistics=statistics
    )
    assert [use.share for use in uses(every, broken)] == [math.inf] * 4


def test_a_measured_tolerance_without_an_envelope_judges_nothing():
    with pytest.raises(SettingError, match="envelope"):
        uses(written("measured"), difference(NORMAL, NORMAL))


def test_a_bound_exceeded_by_one_ulp_is_exceeded():
    base = difference(NORMAL, moved(0.5))
    for bound in np.random.default_rng(1).random(2000):
        just_above = replace(base, rel_l2=math.nextafter(bound, 1.0))
        assert uses(Tolerance(rel_l2=bound), just_above)[0].share > 1.0
        assert uses(Tolerance(rel_l2=bound), replace(base, rel_l2=bound))[0].share == 1.0


# NaN and infinity


@pytest.mark.parametrize(
    ("odd", "name"),
    [(np.nan, "nan_count"), (np.inf, "posinf_count"), (-np.inf, "neginf_count")],
)
def test_a_value_that_became_non_finite_passes_no_loose_bound(odd, name):
    observed = NORMAL.copy()
    observed[1, 2, 3] = odd
    loose = {"atol": 1e9, "rtol": 1e9, "rel_l2": 1e9, "psnr": 0, "mean": 1e9}
    tolerance = written(loose)
    found = uses(tolerance, difference(NORMAL, observed), elementwise=0.0)
    assert {use.measure for use in found if use.share > 1.0} == {name, "non_finite"}
    assert passes(loose, NORMAL, moved(1.0))
    assert passes({**loose, name: {"atol": 1}}, NORMAL, observed)
    other = next(one for one in ("nan_count", "posinf_count") if one != name)
    assert not passes({**loose, other: {"atol": 1}}, NORMAL, observed)


def test_nan_that_moved_to_another_place_is_refused_though_its_count_is_equal():
    before, after = NORMAL.copy(), NORMAL.copy()
    before[0, 0, 0], after[0, 0, 1] = np.nan, np.nan
    loose = {"atol": 1e9, "rel_l2": 1e9}
    assert not passes(loose, before, after)
    assert passes(loose, before, before + np.float32(0.5))


# Elements


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int64, np.uint64])
def test_integers_are_subtracted_without_wrap_around(dtype):
    ends = np.iinfo(dtype)
    low, high = np.array([ends.min, 5], dtype), np.array([ends.max, 5], dtype)
    span = float(int(ends.max) - int(ends.min))
    for baseline, observed in ((low, high), (high, low)):
        share = elementwise_share(Tolerance(atol=1.0), baseline, observed)
        assert share == span
        assert not passes({"atol": 100}, baseline, observed)
    assert elementwise_share(Tolerance(atol=1.0), high, high) == 0.0


def test_neighbours_among_large_integers_are_one_apart():
    large = np.array([2**62 + 1, -(2**62)], np.int64)
    assert elementwise_share(Tolerance(atol=1.0), large, large + 1) == 1.0


def test_uint8_off_by_one_passes_one_and_nothing_less():
    baseline = np.array([0, 7, 255], np.uint8)
    observed = np.array([1, 6, 254], np.uint8)
    assert passes({"atol": 1}, baseline, observed)
    assert not passes({"atol": 0.5}, baseline, observed)


def test_bool_is_zero_or_one():
    assert elementwise_share(Tolerance(atol=0.5), np.array([True]), np.array([False])) == 2.0


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_halves_are_compared_in_double(dtype):
    limits = ml_dtypes.finfo(dtype)
    baseline, observed = np.array([limits.min], dtype), np.array([limits.max], dtype)
    span = 2.0 * float(limits.max)
    assert elementwise_share(Tolerance(atol=1.0), baseline, observed) == span


@given(
    st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=1, max_size=20),
    st.floats(0, 1e3),
    st.floats(0, 1.0),
)
def test_elementwise_share_is_the_plain_formula(pairs, atol, rtol):
    baseline, observed = (np.array(part) for part in zip(*pairs, strict=True))
    tolerance = Tolerance(atol=atol, rtol=rtol)
    share = elementwise_share(tolerance, baseline, observed)
    inside = all(abs(o - b) <= atol + rtol * abs(b) for b, o in pairs)
    assert (share <= 1.0) is inside
    found = uses(tolerance, difference(baseline, observed))
    if found[0].share <= 1.0:
        assert inside, "the upper limit passed what the elements refuse"


def test_an_element_beyond_its_bound_by_one_ulp_is_beyond_it():
    for bound in np.random.default_rng(2).random(500):
        baseline, observed = np.zeros(3), np.array([0.0, math.nextafter(bound, 2.0), 0.0])
        assert elementwise_share(Tolerance(atol=bound), baseline, observed) > 1.0
        assert elementwise_share(Tolerance(atol=observed[1]), baseline, observed) == 1.0


def test_the_worst_element_is_found_in_any_block():
    baseline = np.ones(400_000, np.float32)
    for place in (0, 131_071, 131_072, 399_999):
        observed = baseline.copy()
        observed[place] = 3.0
        assert elementwise_share(Tolerance(rtol=1.0), baseline, observed) == 2.0
    assert elementwise_share(Tolerance(rtol=1.0), baseline, baseline) == 0.0


def test_atol_and_rtol_together_need_the_elements():
    baseline, observed = np.array([0.0, 100.0]), np.array([0.01, 101.0])
    tolerance = written({"atol": 0.01, "rtol": 0.01})
    found = difference(baseline, observed)
    assert needs_elements(tolerance)
    assert uses(written({"atol": 1e-9, "rtol": 0.5}), difference([2.0], [2.25]))[0].share < 1.0
    assert uses(written({"atol": 0.5, "rtol": 1e-9}), difference([2.0], [2.25]))[0].share < 1.0
    assert not needs_elements(written({"atol": 0.01}))
    assert uses(tolerance, found)[0].share > 1.0
    share = elementwise_share(tolerance, baseline, observed)
    assert uses(tolerance, found, elementwise=share)[0].share <= 1.0
    assert not passes({"atol": 0.005, "rtol": 0.005}, baseline, observed)


def test_rtol_alone_refuses_a_zero_that_moved():
    assert not passes({"rtol": 0.5}, [0.0, 1.0], [1e-30, 1.0])
    assert passes({"rtol": 0.5}, [0.0, 1.0], [0.0, 1.4])


def test_overflowing_distances_are_infinite_and_not_lost():
    big = np.array([1.7e308])
    assert elementwise_share(Tolerance(atol=1.0), big, -big) == math.inf
    assert elementwise_share(Tolerance(rtol=1e300), big, -big) == math.inf


def test_arrays_of_other_shape_or_dtype_are_refused():
    for observed in (NORMAL[:1], NORMAL.astype(np.float64)):
        with pytest.raises(ValueRefused, match="different dtype or shape"):
            elementwise_share(Tolerance(atol=1.0), NORMAL, observed)
    empty = np.zeros((0, 3), np.float32)
    assert elementwise_share(Tolerance(atol=1.0), empty, empty) == 0.0


# Without the tensor, and without ULP


def test_without_the_tensor_only_what_needs_no_elements_is_judged():
    found = summaries(NORMAL, NORMAL * np.float32(1.001))
    tolerance = written({"atol": 1e9, "max_ulp": 1e9, "rel_l2": 2e-3, "abs_sum": 2e-3})
    shares = {use.measure: use.share for use in uses(tolerance, found)}
    assert shares["atol/rtol"] == shares["max_ulp"] == math.inf
    assert shares["rel_l2"] < 1.0 > shares["abs_sum"]
    notes = unjudged(tolerance, found)
    assert [note.split()[0] for note in notes] == ["atol/rtol", "max_ulp"]
    rest = without_elements(tolerance)
    assert all(use.share <= 1.0 for use in uses(rest, found))
    far = summaries(NORMAL, NORMAL * np.float32(1.01))
    assert any(use.share > 1.0 for use in uses(rest, far))
    assert not unjudged(rest, found)


@pytest.mark.parametrize("value", [{"atol": 0.5}, {"rtol": 0.5}])
def test_a_bound_that_cannot_be_judged_is_still_named(value):
    use = uses(written(value), summaries(NORMAL, moved(1e-3)))[0]
    assert (use.measure, use.observed, use.allowed) == ("atol/rtol", math.inf, 0.5)
    same = summaries(NORMAL, NORMAL)
    assert uses(written(value), same)[0].share == 0.0
    assert not unjudged(written(value), same)


def test_with_the_tensor_nothing_is_unjudged():
    tolerance = written({"atol": 1e9, "max_ulp": 1e9})
    assert unjudged(tolerance, difference(NORMAL, moved(0.5))) == ()


def test_a_tolerance_of_elements_alone_becomes_exact_without_them():
    assert without_elements(written({"atol": 1, "max_ulp": 2})).is_exact
    found = summaries(NORMAL, moved(1e-3))
    assert uses(Tolerance.EXACT, found)[0].share == math.inf
    assert uses(Tolerance.EXACT, summaries(NORMAL, NORMAL))[0].share == 0.0


def test_max_ulp_of_integers_is_refused_with_the_way_out():
    found = difference(np.uint8([1]), np.uint8([2]))
    tolerance = written({"max_ulp": 9})
    assert uses(tolerance, found)[0].share == math.inf
    assert "use atol" in unjudged(tolerance, found)[0]
    same = difference(np.uint8([1]), np.uint8([1]))
    assert uses(tolerance, same)[0].share == 0.0
    assert not unjudged(tolerance, same)


# What would pass

PAIRS = [
    (NORMAL, moved(1.2345e-3)),
    (NORMAL, NORMAL * np.float32(1.00123)),
    (NORMAL, NORMAL[::-1].copy()),
    (NORMAL.astype(np.float16), NORMAL.astype(np.float16) * np.float16(1.01)),
    (NORMAL.astype(ml_dtypes.bfloat16), (NORMAL * 1.01).astype(ml_dtypes.bfloat16)),
    (np.uint8([0, 255, 3]), np.uint8([255, 0, 3])),
    (np.int64([2**62, 1]), np.int64([-(2**62), 1])),
    (np.array([True, False]), np.array([False, False])),
    (np.float32([0.0, 0.0]), np.float32([1e-30, 0.0])),
    (np.float32([0.0]), np.float32([-0.0])),
    (np.float64([5e-324]), np.float64([1e-323])),
    (np.float64([1e300, 1.0]), np.float64([1.1e300, 1.0])),
    (np.float32(1.0), np.float32(1.5)),
]


@pytest.mark.parametrize("pair", range(len(PAIRS)))
@pytest.mark.parametrize("seen", [difference, summaries])
def test_the_passing_tolerance_passes_its_own_judgement(pair, seen):
    baseline, observed = PAIRS[pair]
    found = seen(baseline, observed)
    text = passing_tolerance(found)
    if seen is summaries and not text:
        assert not math.isfinite(found.rel_l2)
        return
    tolerance = written(ast.literal_eval(text))
    assert all(use.share <= 1.0 for use in uses(tolerance, found)), text


@given(st.floats(1e-30, 1e30), st.floats(1e-12, 10.0))
def test_the_passing_tolerance_is_tight(scale, step):
    baseline = np.array([scale, 0.5 * scale])
    found = difference(baseline, baseline * (1.0 + step))
    if not found.differing_count:
        return
    bounds = ast.literal_eval(passing_tolerance(found))
    assert set(bounds) == {"atol", "rel_l2"}
    for key in bounds:
        assert all(use.share <= 1.0 for use in uses(written({key: bounds[key]}), found))
        tighter = {key: bounds[key] * 0.989}
        assert uses(written(tighter), found)[0].share > 1.0


def test_the_passing_tolerance_reads_well():
    assert passing_tolerance(difference(NORMAL, NORMAL)) == '"exact"'
    assert passing_tolerance(difference(np.float32([0.0]), np.float32([-0.0]))) == '{"atol": 0}'
    assert passing_tolerance(difference(np.uint8([4]), np.uint8([5]))) == (
        '{"atol": 1, "rel_l2": 0.25}'
    )
    assert passing_tolerance(difference([1.0], [1.0 + 2.0**-20])) == (
        '{"atol": 9.54e-07, "rel_l2": 9.54e-07}'
    )


def test_nothing_would_pass_a_nan():
    observed = NORMAL.copy()
    observed[0, 0, 0] = np.nan
    assert passing_tolerance(difference(NORMAL, observed)) == ""
    assert passing_tolerance(summaries(NORMAL, observed)) == ""


# Fallback and measured tolerance


def disturbed(runs, seed=0, scale=2.0**-23):
    """Differences of runs whose every element moved by a random share of ``scale``."""
    signs = np.random.default_rng(seed)
    found = []
    for _ in range(runs):
        noise = signs.uniform(-1.0, 1.0, NORMAL.shape).astype(np.float32)
        found.append(difference(NORMAL, NORMAL * (1 + noise * np.float32(scale))))
    return found


def envelope(differences):
    return envelope_from(differences, method="test", seed=0, input_rel_l2=1e-8)


# rel_l2 as measured on the CPU: DDIM 2 steps, UnCLIP 2 steps, one ULP at 10 steps of DDIM.
CLEAN = (3e-7, 6.0e-7, 4.55e-5, 8.02e-5, 1.3e-4)


def test_the_float32_fallback_passes_clean_environments_and_refuses_the_smallest_fault():
    fallback = fallback_tolerance("float32")
    base = difference(NORMAL, NORMAL)
    for rel_l2 in CLEAN:
        assert all(use.share <= 1 / 3.5 for use in uses(fallback, replace(base, rel_l2=rel_l2)))
    smallest_fault = math.sqrt(2 * 7.5e-7)
    assert uses(fallback, replace(base, rel_l2=smallest_fault))[0].share > 2.0


def test_a_systematic_change_is_refused_by_statistics_that_rel_l2_would_pass():
    fallback = fallback_tolerance("float32")
    brighter = difference(NORMAL, NORMAL * np.float32(1 + 2e-4))
    rounded = difference(NORMAL, NORMAL * (1 + 2e-4 * np.sign(np.roll(NORMAL, 1))))
    assert brighter.rel_l2 == pytest.approx(rounded.rel_l2, rel=0.01)
    shares = {use.measure: use.share for use in uses(fallback, brighter)}
    assert shares["rel_l2"] <= 1.0 < min(shares["abs_sum"], shares["l2"])
    assert all(use.share <= 1.0 for use in uses(fallback, rounded))


@pytest.mark.parametrize("name", ["float64", "float32", "float16", "bfloat16"])
def test_every_fallback_lies_between_its_epsilon_and_its_ceiling(name):
    dtype = ml_dtypes.bfloat16 if name == "bfloat16" else np.dtype(name)
    epsilon = float(ml_dtypes.finfo(dtype).eps)
    fallback = fallback_tolerance(name)
    assert 4 * epsilon < fallback.rel_l2 < ceiling(name) < 0.4
    assert all(bound.rtol == fallback.rel_l2 / 8 for bound in fallback.statistics)


@pytest.mark.parametrize("name", ["bool", "uint8", "int64", "float128"])
def test_the_fallback_of_integers_and_of_unknown_dtypes_is_exact(name):
    assert fallback_tolerance(name).is_exact


def test_a_measured_tolerance_is_factor_times_the_envelope():
    measured = envelope(disturbed(4))
    for factor in (1.0, 4.0):
        tolerance = measured_tolerance(measured, factor)
        assert tolerance.rel_l2 == factor * measured.rel_l2_max
        assert tolerance.atol == factor * measured.max_abs_max
        assert not tolerance.is_measured
    names = {bound.name for bound in tolerance.statistics}
    assert names == {"min", "max", "mean", "std", "abs_sum", "l2"}


def test_a_measured_statistic_is_its_movement_and_an_eighth_of_the_arrays():
    movements = (("abs_sum", 3.0), ("l2", 2.0), ("max", 0.1), ("mean", 1.0), ("nan_count", 0.0))
    measured = replace(
        envelope(disturbed(1)),
        max_abs_max=0.5,
        mean_abs_max=0.25,
        rel_l2_max=0.002,
        statistics=(*movements, ("min", 0.7), ("std", 0.0)),
    )
    assert measured_tolerance(measured, 2.0).statistics == (
        StatisticBound("abs_sum", atol=6.0, rtol=0.0005),
        StatisticBound("l2", atol=4.0, rtol=0.0005),
        StatisticBound("max", atol=1.0),
        StatisticBound("mean", atol=2.0625),
        StatisticBound("min", atol=1.4),
        StatisticBound("std", atol=0.0625),
    )


def test_a_measured_tolerance_passes_the_runs_that_made_it():
    runs = disturbed(4)
    tolerance = measured_tolerance(envelope(runs), 1.0)
    assert all(use.share <= 1.0 for run in runs for use in uses(tolerance, run))
    smaller = measured_tolerance(envelope(runs), 0.5)
    assert all(uses(smaller, run)[0].share > 1.0 for run in runs)


def test_a_measured_tolerance_raises_no_false_alarm_and_catches_a_small_fault():
    """400 clean environments that move results by 2.5 envelopes, the worst measured (rel_l2)."""
    alarms = bare_alarms = 0
    for seed in range(100):
        measured = envelope(disturbed(4, seed))
        tolerance = measured_tolerance(measured, DEFAULT_FACTOR)
        amounts = dict(measured.statistics)
        bare = replace(
            tolerance,
            statistics=tuple(
                StatisticBound(one.name, atol=DEFAULT_FACTOR * amounts[one.name])
                for one in tolerance.statistics
            ),
        )
        for other in disturbed(4, 10_000 + seed, scale=2.5 * 2.0**-23):
            alarms += uses(tolerance, other)[0].share > 1.0
            bare_alarms += uses(bare, other)[0].share > 1.0
    assert alarms == 0
    assert bare_alarms > 0, "without the eighth chance would decide: the control"
    fault = difference(NORMAL, NORMAL * np.float32(1 + 4e-6))
    assert uses(tolerance, fault)[0].share > 1.0


def test_an_envelope_of_zero_is_exact():
    still = envelope([difference(NORMAL, NORMAL)])
    assert measured_tolerance(still, 4.0).is_exact
    assert not measured_tolerance(envelope(disturbed(1)), 4.0).is_exact


def test_a_measurement_never_allows_a_nan():
    with_nan = NORMAL.copy()
    with_nan[0, 0, 0] = np.nan
    moving = envelope([difference(NORMAL, with_nan), *disturbed(1)])
    assert dict(moving.statistics)["nan_count"] == 1.0
    assert proves_nothing(moving, 4.0, ceiling("float32"))
    # Nor where an envelope knew only of the count: no measurement loosens it.
    tolerance = measured_tolerance(replace(moving, rel_l2_max=1e-7), 4.0)
    found = uses(tolerance, difference(NORMAL, with_nan))
    assert "nan_count" in {use.measure for use in found if use.share > 1.0}


def test_a_fallback_proves_nothing_above_its_ceiling():
    measured = replace(envelope(disturbed(1)), rel_l2_max=2.5e-3)
    assert not proves_nothing(measured, 4.0, ceiling("float32"))
    assert proves_nothing(measured, 4.1, ceiling("float32"))
    assert not proves_nothing(measured, 4.1, ceiling("float16"))
    for broken in ({"rel_l2_max": math.nan}, {"rel_l2_max": math.inf}, {"max_abs_max": math.inf}):
        assert proves_nothing(replace(measured, **broken), 4.0, 1e9)


@pytest.mark.parametrize("factor", [0.0, -1.0, math.nan, math.inf])
def test_a_factor_that_is_none_is_refused(factor):
    with pytest.raises(SettingError, match="factor"):
        measured_tolerance(envelope(disturbed(1)), factor)


def test_an_infinite_envelope_is_refused():
    with pytest.raises(SettingError, match="inf"):
        measured_tolerance(replace(envelope(disturbed(1)), rel_l2_max=math.inf), 4.0)


def test_a_psnr_barely_missed_is_used_barely_above_one():
    seen = replace(difference([1.0, 2.0], [1.0, 2.1]), psnr_db=39.99)
    (use,) = uses(Tolerance(psnr=40.0), seen)
    assert use.share == pytest.approx(10 ** (0.01 / 20), rel=1e-12)
    (use,) = uses(Tolerance(psnr=math.nextafter(39.99, 40.0)), seen)
    assert 1.0 < use.share < 1.0 + 1e-12


def test_without_the_tensor_even_one_element_is_not_judged_by_its_bound():
    seen = summaries([1.0], [2.0])
    for tolerance, allowed in ((Tolerance(atol=5.0), 5.0), (Tolerance(atol=0.0, rtol=0.0), 0.0)):
        (use,) = uses(tolerance, seen)
        assert (use.share, use.allowed) == (math.inf, allowed)
        assert len(unjudged(tolerance, seen)) == 1


def test_no_tolerance_is_proposed_where_none_is_finite():
    assert passing_tolerance(summaries([0.0], [1.0])) == ""


@pytest.mark.parametrize(
    ("amount", "text"), [(1e6, "1000000.0"), (999_000.0, "999000"), (2e6, "2000000.0")]
)
def test_proposed_bounds_are_plain_integers_below_a_million(amount, text):
    assert passing_tolerance(difference([1.0, 0.0], [1.0, amount])).startswith(f'{{"atol": {text},')


@pytest.mark.parametrize(
    ("name", "rel_l2", "most"),
    [
        ("float64", 4096 * 2.0**-52, 1e-2),
        ("float32", 4096 * 2.0**-23, 1e-2),
        ("float16", 2.5e-2, 5e-2),
        ("bfloat16", 5e-2, 1e-1),
    ],
)
def test_the_fallback_of_every_float_is_the_one_that_was_measured(name, rel_l2, most):
    assert ceiling(name) == most
    tolerance = fallback_tolerance(name)
    assert tolerance == Tolerance(
        rel_l2=rel_l2,
        statistics=tuple(StatisticBound(one, rtol=rel_l2 / 8) for one in ("abs_sum", "l2")),
    )
    assert fallback_tolerance("int32") == Tolerance.EXACT


def test_a_long_value_is_cut_off_in_the_refusal():
    whole, longer = "9" * 60, "9" * 61
    for value, shown in ((whole, whole), (longer, f"{whole}...")):
        with pytest.raises(SettingError) as caught:
            written(Shown(value))
        assert caught.value.what.endswith(f"cannot be Shown {shown}")


class Shown:
    """Something with a text of its own."""

    def __init__(self, text):
        self.text = text

    def __repr__(self):
        return self.text


@pytest.mark.parametrize(
    ("number", "hint"),
    [(0.99, "for a similarity of 0.99 write 0.01"), (1.0, "for a similarity of 1 write 0")],
)
def test_a_similarity_written_as_a_distance_is_turned_round(number, hint):
    with pytest.raises(SettingError, match=hint):
        written({"cosine": number})


@pytest.mark.parametrize("number", [1.5, 2.0])
def test_what_is_no_similarity_either_gets_no_hint(number):
    with pytest.raises(SettingError) as caught:
        written({"cosine": number})
    assert "similarity" not in str(caught.value)


@pytest.mark.parametrize("field", ["atol", "rtol"])
def test_the_bounds_of_a_statistic_in_a_tolerance_object_are_checked(field):
    bound = replace(StatisticBound("mean"), **{field: -1.0})
    with pytest.raises(SettingError, match=f"mean.{field} must be a finite number >= 0"):
        written(Tolerance(statistics=(bound,)))
