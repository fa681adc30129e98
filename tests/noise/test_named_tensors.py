"""Tensors that a test names to be disturbed."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_repro.errors import UsageError
from pytest_repro.noise.generator import NoiseBook
from pytest_repro.noise.sources import Disturbed, Fresh, NamedTensors, SignStream

ONES = np.linspace(1.0, 1.9, 500).astype(np.float32)


def test_a_clean_run_gets_the_very_array():
    named = NamedTensors(Fresh())
    assert named.disturb(ONES) is ONES
    assert (named.count, named.input_rel_l2) == (1, 0.0)


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_a_disturbed_run_gets_every_element_one_ulp_away(dtype):
    array = ONES.astype(dtype)
    named = NamedTensors(Disturbed(5, dtype))
    given = named.disturb(array)
    up, down = (np.nextafter(array, np.array(end, dtype)) for end in (np.inf, -np.inf))
    assert np.all((given == up) | (given == down))
    assert 100 < np.count_nonzero(given == up) < 400
    assert 0.0 < named.input_rel_l2 < np.finfo(dtype).eps


def test_each_name_has_signs_of_its_own_and_other_signs_than_draws():
    named = NamedTensors(Disturbed(5))
    first, second = named.disturb(ONES), named.disturb(ONES)
    assert not np.array_equal(first, second)
    again = NamedTensors(Disturbed(5))
    assert np.array_equal(again.disturb(ONES), first)
    clean = NoiseBook(Fresh()).generator(0).random(500, dtype=np.float32)
    drawn = NoiseBook(Disturbed(5)).generator(0).random(500, dtype=np.float32)
    named_up = NamedTensors(Disturbed(5)).disturb(clean) > clean
    agreeing = np.count_nonzero(named_up == (drawn > clean))
    assert 150 < agreeing < 350


def test_integers_have_no_ulp():
    with pytest.raises(UsageError, match="int32 has no unit in the last place"):
        NamedTensors(Fresh()).disturb(np.arange(3, dtype=np.int32))


def test_the_signs_are_those_of_a_seed_far_from_the_draws():
    rises = SignStream(5 + 2**32).rises(ONES.shape)
    given = NamedTensors(Disturbed(5)).disturb(ONES)
    assert np.array_equal(given > ONES, rises)


def test_the_size_is_the_mean_over_the_named_tensors():
    alone, both = NamedTensors(Disturbed(5)), NamedTensors(Disturbed(5))
    alone.disturb(ONES)
    both.disturb(ONES)
    both.disturb(ONES)
    assert both.count == 2
    assert both.input_rel_l2 == pytest.approx(alone.input_rel_l2, rel=0.1)
