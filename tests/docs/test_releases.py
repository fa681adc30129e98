"""The page docs/evidence/releases.md: what is counted, and which releases are compared."""

from __future__ import annotations

import numpy as np
import pytest

from docs.measure.releases import Apart, Pair, _cell, _summary, compare, neighbours
from pytest_repro.model.ids import EnvironmentKey
from tests.cli.stores import CLEAN, IMAGE, baseline_of, store_in
from tests.faults.planted import PLANTS, unnamed

CHECK = "tests/models/test_latent_pipelines.py::test_dit::image"
FAILURE = {
    "check": CHECK,
    "verdict": "drift",
    "cause": "code",
    "detail": ["noise, weights and environment match the baseline; the code is the likely cause"],
    "began": [
        "first step that differs: scheduler step 0 (timestep 1)",
        "first cell that differs: transformer.transformer_blocks.0.attn1.to_q (Dense, call 9)",
    ],
}


def test_a_fault_counts_as_named_only_with_cause_place_step_and_cell():
    assert unnamed("attention", FAILURE) == ""
    assert unnamed("attention", {**FAILURE, "cause": "environment"}) == "cause code"
    other = [FAILURE["began"][0].replace("step 0", "step 1"), "first cell that differs: x (y)"]
    assert "the first step, cell transformer" in unnamed("attention", {**FAILURE, "began": other})


def test_unnamed_drifts_and_checks_that_did_not_drift_are_not_counted():
    made = {plant: {CHECK: {**FAILURE, "verdict": "exact"}} for plant in PLANTS}
    made |= {"record": {CHECK: {"verdict": "recorded"}}, "compare": {CHECK: {"verdict": "exact"}}}
    assert _cell(made, "test_dit") == "1; 1; 0 of 4"
    assert _cell({**made, "attention": {CHECK: FAILURE}}, "test_dit") == "1; 1; 1 of 4"
    assert _cell({**made, "weight": {CHECK: FAILURE}}, "test_dit") == "1; 1; 0 of 4"
    assert _cell(made, "test_animatediff") == "-"


def test_each_combination_is_compared_with_the_next_release_of_either():
    pairs = [Pair("", ms, one) for one in ("0.5.0", "0.2.0") for ms in ("2.10.0", "2.9.0", "2.7.0")]
    found = [(one.name, other.name) for one, other in neighbours(pairs)]
    assert len(found) == 7
    assert ("2.9.0 + 0.2.0", "2.10.0 + 0.2.0") in found
    assert ("2.7.0 + 0.2.0", "2.7.0 + 0.5.0") in found
    assert ("2.7.0 + 0.2.0", "2.10.0 + 0.2.0") not in found


def test_two_baselines_differ_by_their_values_and_inputs(tmp_path):
    store = store_in(tmp_path)
    keys = [EnvironmentKey("cpu-x86_64-avx2-2c", f"mindspore-2.{n}.0") for n in (9, 10)]
    for key, value in zip(keys, (CLEAN, CLEAN * np.float32(1.5)), strict=True):
        baseline, tensors = baseline_of(IMAGE, key, value)
        store.write(key, IMAGE.module, [baseline], tensors)
    first, second = (store.baseline(key, IMAGE) for key in keys)
    assert compare(store, first, first) == Apart(0.0, (), "no trace")
    assert compare(store, first, second).rel_l2 == pytest.approx(0.5)


def test_the_most_frequent_beginning_is_shown():
    apart = [Apart(0.0, (), ""), Apart(2e-6, ("draws",), "scheduler step 0, `a`")]
    assert _summary(apart) == [
        "1 of 2",
        "2.0e-06",
        "draws",
        "scheduler step 0, `a` (1 of 2 checks)",
    ]
