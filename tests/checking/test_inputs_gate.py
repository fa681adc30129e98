"""The inputs gate: draws, weights and settings equal the baseline's, at every distance."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from pytest_repro.checking.judging import Judging
from pytest_repro.checking.references import References
from pytest_repro.checking.trial import CheckCall
from pytest_repro.model.baseline import Configuration, Environment, WeightsDigest
from pytest_repro.model.ids import EnvironmentKey
from pytest_repro.model.outcome import Observation
from pytest_repro.model.words import Distance, Gate, Verdict
from pytest_repro.store.manifest import index_of
from pytest_repro.tensors.record import digest_leaves, digest_text, make_record
from pytest_repro.tolerance.bounds import tolerance_from
from pytest_repro.tolerance.policy import Policy, Rule, resolve
from pytest_repro.trace.components import (
    ComponentWeights,
    configurations_rows,
    digest_inputs,
    digest_settings,
    digest_weights,
    weights_rows,
)
from pytest_repro.trace.records import measure_signal
from tests.cli.stores import CLEAN, IMAGE, baseline_of, draw_log_of, store_in

KEY = EnvironmentKey("cpu-x86_64-avx2-2c-l2_512k", "mindspore-2.10.0")
KEYS = {
    "own": KEY,
    "variant": EnvironmentKey("cpu-x86_64-avx2-2c-l2_1024k", KEY.framework),
    "release": EnvironmentKey(KEY.hardware, "mindspore-2.9.0"),
    "any": EnvironmentKey("cpu-x86_64-sse41-2c-l2_512k", KEY.framework),
}
TABLE = ComponentWeights(
    "unet", (("proj.table", measure_signal(make_record(CLEAN), sketched=False)),)
)
LEAVES = [(name, signal.digest) for name, signal in TABLE.tensors]
UNET = digest_weights("unet", LEAVES)
RENAMED = digest_weights("unet", [("proj.weight", digest) for _, digest in LEAVES])
SCHEDULER = Configuration("scheduler", "DDIMScheduler", (("beta_end", "0.02"), ("eta", "0")))
NO_POLICY = Policy()
SAME, ROUNDED = CLEAN, CLEAN * np.float32(1 + 1e-6)


def judge(
    root,
    distance="own",
    *,
    value=SAME,
    seed=0,
    weights=(UNET,),
    settings=(SCHEDULER,),
    pulled=True,
    policy=NO_POLICY,
):
    """Store a baseline ``distance`` away and judge one observation by it; 1e-5 is tolerated."""
    store = store_in(root)
    baseline, tensors = baseline_of(IMAGE, KEYS[distance], CLEAN)
    baseline = replace(baseline, weights=(UNET,), configuration=digest_settings([SCHEDULER]))
    store.write(
        KEYS[distance], IMAGE.module, [replace(baseline, index=index_of(baseline))], tensors
    )
    if pulled:
        rows = {baseline.configuration: configurations_rows([SCHEDULER])}
        store.write_rows({**rows, UNET.digest: weights_rows(TABLE)})
    record = make_record(value)
    seen = Observation(
        IMAGE,
        (("", record),),
        digest_leaves([("", record.digest)]),
        draw_log_of(seed),
        weights,
        settings=settings,
        inputs=digest_inputs(weights, digest_settings(settings)),
    )
    context = SimpleNamespace(
        settings=SimpleNamespace(reference=Distance.ANY),
        store=store,
        references=References(store, KEY),
        environment=Environment(KEY),
        key=KEY,
        resolve=lambda check: resolve(policy, str(check)),
        shown=str,
    )
    spec = SimpleNamespace(asked=SimpleNamespace(reference=Distance.ANY, tolerance=None))
    bound = tolerance_from({"rel_l2": 1e-5}, origin="test")
    return Judging(context).judge(spec, CheckCall(seen, bound, Distance.ANY, "test_x.py:1"))


DISTANCES = pytest.mark.parametrize("distance", KEYS)
VALUES = pytest.mark.parametrize("value", [SAME, ROUNDED], ids=["equal", "rounded"])


@DISTANCES
def test_equal_inputs_pass(tmp_path, distance):
    assert judge(tmp_path, distance).verdict is Verdict.EXACT
    assert judge(tmp_path, distance, value=ROUNDED).verdict is Verdict.WITHIN


@DISTANCES
@VALUES
def test_other_weights_are_drift_even_where_the_result_is_equal(tmp_path, distance, value):
    other = WeightsDigest("unet", digest_text("other weights"))
    found = judge(tmp_path, distance, value=value, weights=(other,))
    assert (found.verdict, found.gate) == (Verdict.DRIFT, Gate.INPUTS)


@DISTANCES
def test_weights_with_other_names_are_the_same_and_are_named(tmp_path, distance):
    said = ("parameters of unet have other names and the same bits",)
    equal = judge(tmp_path / "equal", distance, weights=(RENAMED,))
    rounded = judge(tmp_path / "rounded", distance, weights=(RENAMED,), value=ROUNDED)
    assert (equal.verdict, equal.detail) == (Verdict.EXACT, said)
    assert rounded.verdict is Verdict.WITHIN
    assert rounded.detail[-1:] == said


def test_weights_with_other_names_differ_where_the_table_was_not_pulled(tmp_path):
    found = judge(tmp_path, weights=(RENAMED,), pulled=False)
    assert (found.verdict, found.gate) == (Verdict.DRIFT, Gate.INPUTS)


@DISTANCES
@VALUES
def test_other_draws_are_drift_even_where_the_result_is_equal(tmp_path, distance, value):
    found = judge(tmp_path, distance, value=value, seed=1)
    assert (found.verdict, found.gate) == (Verdict.DRIFT, Gate.INPUTS)
    assert found.noise is not None


@DISTANCES
def test_another_setting_is_never_within_and_is_named_where_the_result_is_equal(tmp_path, distance):
    changed = replace(SCHEDULER, entries=(("beta_end", "0.03"), ("eta", "0")))
    drift = judge(tmp_path, distance, value=ROUNDED, settings=(changed,))
    assert (drift.verdict, drift.gate) == (Verdict.DRIFT, Gate.INPUTS)
    exact = judge(tmp_path, distance, settings=(changed,))
    assert exact.verdict is Verdict.EXACT
    assert exact.detail == ("scheduler.beta_end 0.02 became 0.03, and the result is equal",)


@DISTANCES
def test_an_entry_that_only_one_side_has_raises_no_alarm(tmp_path, distance):
    added = replace(SCHEDULER, entries=(*SCHEDULER.entries, ("new", "1")))
    exact = judge(tmp_path, distance, settings=(added,))
    assert (exact.verdict, exact.detail) == (Verdict.EXACT, ())
    rounded = judge(tmp_path, distance, value=ROUNDED, settings=(added,))
    assert rounded.verdict is Verdict.WITHIN


@DISTANCES
def test_settings_whose_record_was_not_pulled_are_said_and_never_within(tmp_path, distance):
    changed = replace(SCHEDULER, entries=(("beta_end", "0.03"), ("eta", "0")))
    said = "the settings differ; the record that says which ones was not pulled"
    drift = judge(tmp_path, distance, value=ROUNDED, settings=(changed,), pulled=False)
    assert (drift.verdict, drift.gate) == (Verdict.DRIFT, Gate.INPUTS)
    assert drift.detail == (said,)
    exact = judge(tmp_path, distance, settings=(changed,), pulled=False)
    assert (exact.verdict, exact.detail) == (
        Verdict.EXACT,
        (f"{said}, and the result is equal",),
    )
    equal = judge(tmp_path, distance, value=ROUNDED, pulled=False)
    assert (equal.verdict, equal.detail) == (Verdict.WITHIN, ())


OTHER = WeightsDigest("unet", digest_text("other weights"))
CHANGED = replace(SCHEDULER, entries=(("beta_end", "0.03"), ("eta", "0")))
INPUTS = {
    "noise": ({"seed": 1}, "other draws"),
    "weights": ({"weights": (OTHER,)}, "other weights of unet"),
    "settings": ({"settings": (CHANGED,)}, "scheduler.beta_end 0.02 became 0.03"),
}


def letting(*inputs):
    return Policy((Rule("*", inputs=inputs, reason="the adapter is random", line=4),))


@DISTANCES
@VALUES
@pytest.mark.parametrize("name", INPUTS)
def test_an_input_that_the_policy_lets_differ_is_named_and_the_value_is_judged(
    tmp_path, distance, value, name
):
    other, said = INPUTS[name]
    found = judge(tmp_path, distance, value=value, policy=letting(name), **other)
    assert found.verdict is (Verdict.EXACT if value is SAME else Verdict.WITHIN)
    assert found.detail == (f"{said} (policy.yaml line 4: the adapter is random)",)
    far = judge(tmp_path, distance, value=CLEAN * 2, policy=letting(name), **other)
    assert (far.verdict, far.gate) == (Verdict.DRIFT, Gate.TOLERANCE)


@pytest.mark.parametrize("name", INPUTS)
def test_the_control_only_the_named_input_may_differ(tmp_path, name):
    others = [one for one in INPUTS if one != name]
    found = judge(tmp_path, value=ROUNDED, policy=letting(*others), **INPUTS[name][0])
    assert (found.verdict, found.gate) == (Verdict.DRIFT, Gate.INPUTS)
