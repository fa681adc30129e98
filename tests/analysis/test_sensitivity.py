"""Sensitivity: amplification and surviving digits follow from the envelope alone."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from pytest_repro.analysis.sensitivity import least_probability, sensitivity_of
from pytest_repro.model.ids import CheckId, EnvironmentKey
from pytest_repro.tensors.compare import compare_records, summary_of
from pytest_repro.tensors.record import make_record
from pytest_repro.tolerance.measured import envelope_from

CLEAN = np.linspace(1.0, 2.0, 64)


def _sensitivity(*factors: float, input_rel_l2: float = 1e-8):
    clean = make_record(CLEAN)
    moved = [compare_records(clean, make_record(CLEAN * factor)) for factor in factors]
    envelope = envelope_from(moved, method="m", seed=0, input_rel_l2=input_rel_l2)
    summary = replace(summary_of("", clean), envelope=envelope)
    return sensitivity_of(CheckId("m.py", "t", "n"), EnvironmentKey("h", "f-1"), summary)


def test_amplification_is_mean_movement_over_disturbance():
    assert _sensitivity(1 + 1e-5, 1 + 3e-5).amplification == pytest.approx(2e-5 / 1e-8, rel=1e-6)


def test_digits_are_those_of_the_worst_run():
    assert _sensitivity(1 + 1e-5, 1 + 1e-3).digits == pytest.approx(3.0)
    assert _sensitivity(1 + 1e-5).digits == pytest.approx(5.0)


def test_nothing_moved_keeps_all_and_everything_moved_keeps_none():
    assert math.isinf(_sensitivity(1.0).digits)
    assert _sensitivity(20.0).digits == 0.0
    assert _sensitivity(math.inf).digits == 0.0


def test_without_envelope_or_disturbance_nothing_is_claimed():
    summary = summary_of("", make_record(CLEAN))
    assert sensitivity_of(CheckId("m.py", "t", "n"), EnvironmentKey("h", "f"), summary) is None
    assert _sensitivity(1.0, input_rel_l2=0.0).amplification is None


def test_few_runs_refute_little():
    assert least_probability(4) == pytest.approx(0.473, abs=1e-3)
    assert least_probability(58) < 0.95 < least_probability(59)
    # Four successes of four under the bound are as improbable as the confidence says.
    assert least_probability(4) ** 4 == pytest.approx(0.05)


@pytest.mark.parametrize("worst", [3e-8, 1e-5, 2.0**-10, 0.2, 0.7])
def test_digits_are_those_of_the_published_package_but_for_its_whole_bits(worst):
    published = pytest.importorskip("significantdigits")
    moves = np.array([worst, worst / 2, worst / 3, worst / 10])
    bits = published.significant_digits(
        1.0 + moves, reference=np.array(1.0), error="relative", method="general"
    )
    digits = _sensitivity(*(1.0 + moves)).digits / math.log10(2.0)
    # The two subtractions round otherwise by a few 1e-16, which counts only at a power of two.
    assert int(bits) - 1e-6 <= digits < int(bits) + 1 + 1e-6


@pytest.mark.parametrize(("runs", "confidence"), [(4, 0.95), (59, 0.95), (10, 0.66)])
def test_the_published_package_asks_for_as_many_runs(runs, confidence):
    published = pytest.importorskip("significantdigits")
    probability = least_probability(runs, confidence)
    needed = published.minimum_number_of_trials(probability - 1e-9, confidence)
    assert needed == runs
