"""The value gate names what changed; the tolerance gate takes the rule in force, worst first."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from pytest_repro.errors import CorruptBaseline
from pytest_repro.model.words import Distance
from pytest_repro.tensors.compare import summary_of
from pytest_repro.tensors.record import make_record
from pytest_repro.tolerance.bounds import DEFAULT_FACTOR, Tolerance
from pytest_repro.tolerance.choose import (
    Chosen,
    choose_tolerance,
    described,
    factor_of,
    judge_leaves,
    value_faults,
)
from pytest_repro.tolerance.measured import envelope_from, fallback_tolerance, measured_tolerance
from pytest_repro.tolerance.policy import Policy, Resolved, Rule, resolve

NOTHING = Resolved()
MEASURED = Tolerance(factor=2.0)
LOOSE = Tolerance(rel_l2=0.5)
HERE = Chosen(LOOSE, "here")
ARRAY = np.linspace(1.0, 2.0, 64, dtype=np.float32)


def record(array):
    return make_record(np.asarray(array))


def summary(path="", array=ARRAY):
    return summary_of(path, record(array))


def with_envelope(rel_l2=1e-6):
    one = summary()
    amounts = dict.fromkeys(
        ("max_abs_max", "max_abs_mean", "rel_l2_mean", "ulp_max", "ulp_mean", "mean_abs_max"),
        rel_l2,
    )
    (leaf,) = judged({"": ARRAY}, {"": ARRAY * np.float32(1.01)})
    envelope = replace(
        envelope_from([leaf.difference], method="m", seed=0, input_rel_l2=1e-8),
        rel_l2_max=rel_l2,
        statistics=(),
        **amounts,
    )
    return replace(one, envelope=envelope)


def policy(**fields):
    return resolve(Policy((Rule("*", line=7, **fields),)), "tests/a.py::test::image")


def judged(baseline, observed, *, chosen=HERE, pulled=True):
    """The leaves of pairs of arrays by path."""
    before = {path: record(array) for path, array in baseline.items()}
    by_digest = {one.digest: one for one in before.values()}
    return judge_leaves(
        [summary_of(path, one) for path, one in before.items()],
        [(path, record(array)) for path, array in observed.items()],
        by_digest.get if pulled else lambda digest: None,
        lambda one: chosen,
    )


# The value gate


def test_equal_places_dtypes_and_shapes_have_no_fault():
    assert (
        value_faults([summary("a"), summary("b")], [("b", record(ARRAY)), ("a", record(ARRAY))])
        == ()
    )


def test_every_fault_of_the_value_is_said_in_the_order_of_the_places():
    before = [summary("a"), summary("b"), summary("c"), summary("d")]
    now = [
        ("a", record(ARRAY.astype("<f8"))),
        ("b", record(ARRAY[:3])),
        ("d", record(ARRAY)),
        ("e", record(ARRAY)),
    ]
    assert value_faults(before, now) == (
        "tensor 'a': dtype float32 became float64",
        "tensor 'b': shape (64,) became (3,)",
        "tensor 'c': is no longer there",
        "tensor 'e': is new",
    )


def test_a_lone_tensor_is_called_the_tensor():
    assert value_faults([summary()], [("", record(ARRAY[:3].astype("<f8")))]) == (
        "the tensor's dtype float32 became float64",
        "the tensor's shape (64,) became (3,)",
    )


# Which tolerance is in force


def test_the_nearest_written_tolerance_wins_at_every_distance():
    asked = [(None, "the call"), (LOOSE, "the marker")]
    resolved = policy(tolerance=Tolerance(atol=1.0))
    for distance in Distance:
        chosen = choose_tolerance(asked, resolved, distance, summary())
        assert chosen == Chosen(LOOSE, "the marker", written=True)
        chosen = choose_tolerance([(None, "the call")], resolved, distance, summary())
        assert chosen == Chosen(Tolerance(atol=1.0), "policy.yaml line 7", written=True)


def test_our_own_key_is_exact_without_a_written_tolerance_and_measured_does_not_loosen_it():
    for asked in ([], [(MEASURED, "the marker")]):
        chosen = choose_tolerance(asked, NOTHING, Distance.OWN, with_envelope())
        assert chosen == Chosen(Tolerance.EXACT, "the default for this machine's key")


def test_measured_before_a_written_one_still_lets_the_written_one_judge_our_own_key():
    asked = [(MEASURED, "the call"), (LOOSE, "the marker")]
    near = choose_tolerance(asked, NOTHING, Distance.OWN, with_envelope())
    far = choose_tolerance(asked, NOTHING, Distance.ANY, with_envelope())
    assert (near.origin, near.written) == ("the marker", True)
    assert (far.origin, far.written) == ("the call: measured envelope x 2", False)


@pytest.mark.parametrize(
    ("distance", "words"),
    [(Distance.RELEASE, "another framework version"), (Distance.ANY, "other hardware")],
)
def test_elsewhere_the_envelope_judges_by_default_and_without_one_the_dtype(distance, words):
    one = with_envelope()
    chosen = choose_tolerance([], NOTHING, distance, one)
    assert chosen.tolerance == measured_tolerance(one.envelope, DEFAULT_FACTOR)
    assert chosen.origin == f"the default for {words}: measured envelope x 4"
    assert (chosen.written, chosen.proves_nothing) == (False, "")
    bare = choose_tolerance([], NOTHING, distance, summary())
    assert bare.tolerance == fallback_tolerance("float32")
    assert bare.origin.startswith(f"the default for {words}: float32, no envelope recorded; ")
    assert "pytest --repro-update=envelope" in bare.origin
    because = choose_tolerance([], NOTHING, distance, summary(), "it draws no noise")
    assert "no envelope recorded (it draws no noise)" in because.origin


def test_an_envelope_beyond_the_ceiling_proves_nothing_and_passes_nothing():
    one = with_envelope(rel_l2=4e-3)
    chosen = choose_tolerance([], NOTHING, Distance.ANY, one)  # 4 x 4e-3 > 1e-2
    assert chosen.tolerance == Tolerance.EXACT
    assert "moves this result by rel_l2 0.004; 4 times that exceeds 0.01" in chosen.proves_nothing
    assert choose_tolerance([], policy(ceiling=0.5), Distance.ANY, one).proves_nothing == ""
    assert choose_tolerance([], policy(factor=2.0), Distance.ANY, one).proves_nothing == ""
    strict = choose_tolerance([], policy(ceiling=1e-7), Distance.ANY, with_envelope())
    assert "exceeds 1e-07" in strict.proves_nothing


def test_the_policy_s_factor_outranks_the_marker_s_and_that_ours():
    asked = [(None, "the call"), (LOOSE, "the marker"), (MEASURED, "the module")]
    assert factor_of([], NOTHING) == DEFAULT_FACTOR
    assert factor_of([(LOOSE, "the marker")], NOTHING) == DEFAULT_FACTOR
    assert factor_of(asked, NOTHING) == 2.0
    assert factor_of(asked, policy(factor=3.0)) == 3.0
    assert factor_of([], policy(tolerance=MEASURED)) == 2.0
    assert factor_of([(Tolerance(factor=5.0), "the call"), *asked], NOTHING) == 5.0


# The tolerance gate


def test_only_tensors_whose_bits_differ_are_judged_and_the_worst_stands_first():
    baseline = dict.fromkeys("abc", ARRAY)
    observed = {"c": ARRAY * np.float32(1.4), "b": ARRAY, "a": ARRAY * np.float32(1.1)}
    leaves = judged(baseline, observed)
    assert [leaf.path for leaf in leaves] == ["c", "a"]
    assert leaves[0].uses[0].share == pytest.approx(0.8, rel=1e-6)
    assert all(leaf.passes for leaf in leaves)
    first, second = leaves
    other = replace(second, chosen=Chosen(Tolerance.EXACT, "there"))
    assert described((first, other)) == ("rel_l2 <= 0.5", "here")
    assert judged(baseline, baseline) == ()
    assert described(()) == ("exact", "")


@pytest.mark.parametrize(("factor", "passes"), [(1.4, True), (1.6, False)])
def test_a_leaf_passes_while_no_bound_is_exceeded(factor, passes):
    (leaf,) = judged({"": ARRAY}, {"": ARRAY * np.float32(factor)})
    assert leaf.passes is passes


def test_a_bound_used_to_the_last_bit_still_passes():
    chosen = Chosen(Tolerance(atol=1.0), "here")
    (leaf,) = judged({"": np.float32([4.0])}, {"": np.float32([5.0])}, chosen=chosen)
    assert (leaf.uses[0].share, leaf.passes) == (1.0, True)


def test_atol_and_rtol_together_are_judged_by_element():
    # Neither alone would pass: 0.011 > atol, and 0.002 > rtol of the small one.
    before, after = np.float32([1.0, 100.0]), np.float32([1.002, 100.011])
    (leaf,) = judged(
        {"": before}, {"": after}, chosen=Chosen(Tolerance(atol=0.01, rtol=0.001), "here")
    )
    assert leaf.passes
    (use,) = [use for use in leaf.uses if use.measure == "atol/rtol"]
    assert use.share == pytest.approx(max(0.002 / 0.011, 0.011 / 0.11), rel=1e-3)


def test_a_tensor_that_is_not_what_its_manifest_says_is_corrupt():
    one = summary()
    changed = [("", record(ARRAY * 2))]
    for wrong in (record(ARRAY[:3]), record(ARRAY.astype("<f8"))):
        with pytest.raises(CorruptBaseline, match="disagree about dtype or shape") as caught:
            judge_leaves([one], changed, lambda digest, it=wrong: it, lambda _: Chosen(LOOSE, ""))
        assert f"float32 (64,) against {wrong.dtype} {wrong.shape}" in str(caught.value)


def test_without_the_tensor_a_written_bound_on_elements_fails_and_one_of_ours_gives_way():
    both = Tolerance(atol=1.0, rel_l2=0.5)
    arrays = {"": ARRAY}, {"": ARRAY * np.float32(1.1)}
    (kept,) = judged(*arrays, chosen=Chosen(both, "here", written=True), pulled=False)
    assert kept.difference.statistics_only
    assert (kept.chosen.tolerance, kept.passes) == (both, False)
    assert kept.uses[0].share == math.inf
    assert len(kept.unjudged) == 1
    (eased,) = judged(*arrays, chosen=Chosen(both, "here"), pulled=False)
    assert eased.chosen == Chosen(Tolerance(rel_l2=0.5), "here")
    assert (eased.passes, eased.unjudged) == (True, ())


# Pictures of whole levels

PICTURE = np.random.Generator(np.random.PCG64(5)).integers(0, 256, (48, 48, 3)).astype("uint8")


def flipped(count, levels=1):
    moved = PICTURE.astype(int)
    moved.reshape(-1)[:count] += np.where(moved.reshape(-1)[:count] < 128, levels, -levels)
    return moved.astype("uint8")


def picture_passes(observed, *, flips=None, size=1e-7):
    """Whether a fallback passes, with an envelope of so many flips or with none."""
    one = summary("", PICTURE)
    if flips is not None:
        (leaf,) = judged({"": PICTURE}, {"": flipped(max(flips, 1))})
        envelope = envelope_from([leaf.difference], method="m", seed=0, input_rel_l2=size)
        if not flips:
            zero = dict.fromkeys(("max_abs_max", "mean_abs_max", "rel_l2_max"), 0.0)
            envelope = replace(envelope, statistics=(), **zero)
        one = replace(one, envelope=envelope)
    chosen = choose_tolerance([], NOTHING, Distance.ANY, one)
    (leaf,) = judged({"": PICTURE}, {"": observed}, chosen=chosen)
    return leaf.passes


@pytest.mark.parametrize("flips", [None, 0, 2])
def test_a_few_flips_between_two_levels_pass_a_fallback_and_faults_do_not(flips):
    assert picture_passes(flipped(8), flips=flips)
    assert not picture_passes(flipped(1, levels=2), flips=flips)
    assert not picture_passes(flipped(PICTURE.size // 8), flips=flips)
    assert not picture_passes(PICTURE[:, ::-1], flips=flips)


def test_an_envelope_of_unmoved_noise_is_no_measurement():
    without = picture_passes(flipped(100), flips=None)
    assert picture_passes(flipped(100), flips=0, size=0.0) is without is True
    assert not picture_passes(flipped(100), flips=0)
    one = with_envelope()
    unmoved = replace(one, envelope=replace(one.envelope, input_rel_l2=0.0))
    chosen = choose_tolerance([], NOTHING, Distance.ANY, unmoved)
    assert chosen.tolerance == fallback_tolerance("float32")
