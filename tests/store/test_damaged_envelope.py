"""Numbers of an envelope that no recording writes are refused by key."""

from __future__ import annotations

import math

import pytest

from pytest_repro.store.manifest import _envelope_in

AMOUNTS = (
    "max_abs_max", "max_abs_mean", "rel_l2_max", "rel_l2_mean", "ulp_max", "ulp_mean",
    "mean_abs_max", "input_rel_l2",
)  # fmt: skip


def row(**changes):
    envelope = {"method": "m", "runs": 4, "seed": 1, **dict.fromkeys(AMOUNTS, 1e-6), **changes}
    return {"envelope": envelope, "envelope_statistics": {"mean": 0.0}}


def test_what_a_recording_writes_is_read():
    assert _envelope_in(row()).runs == 4
    assert _envelope_in(row(rel_l2_max=math.inf)).rel_l2_max == math.inf


@pytest.mark.parametrize("value", ["1e-6", True, None, -1.0, math.nan, [1.0]])
@pytest.mark.parametrize("key", AMOUNTS)
def test_what_is_no_amount_is_refused_by_key(key, value):
    with pytest.raises(ValueError, match=rf"envelope\.{key} is"):
        _envelope_in(row(**{key: value}))


@pytest.mark.parametrize("key", ["runs", "seed"])
def test_counts_are_whole_numbers(key):
    with pytest.raises(ValueError, match=rf"envelope\.{key} is 4.5, not a whole number"):
        _envelope_in(row(**{key: 4.5}))


def test_a_statistic_is_a_finite_number():
    damaged = {**row(), "envelope_statistics": {"mean": math.inf}}
    with pytest.raises(ValueError, match=r"envelope_statistics\.mean is inf"):
        _envelope_in(damaged)
