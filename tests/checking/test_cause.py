"""The cause of a drift: order, names and evidence, with the clean twin of each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pytest_repro.checking.explain import Evidence, decide_cause
from pytest_repro.environment.facts import changes_bits
from pytest_repro.model.baseline import CellRecord, DrawLogDifference, Environment, Fact
from pytest_repro.model.ids import Digest, Draw, EnvironmentKey, FactDifference
from pytest_repro.model.words import Cause
from pytest_repro.tensors.record import make_record
from pytest_repro.trace.components import (
    ComponentWeights,
    Configuration,
    SettingChange,
    TensorChange,
    WeightsChange,
    compare_configurations,
    compare_weights,
    digest_weights,
)
from pytest_repro.trace.records import measure_signal

DRAW = Draw(0, "standard_normal", (1, 3, 8, 8), "float64", "", Digest("a" * 64))
NOISE = DrawLogDifference(
    1, "shape", "draw 1 of 2: standard_normal (1, 3, 8, 8) became (2, 3, 8, 8)", DRAW, DRAW
)
SIMD = FactDifference("cpu.simd", "avx2", "sse41", changes_bits=True)
CACHE = FactDifference("cpu.l2_per_core_bytes", "1", "2", changes_bits=True)
KERNEL = FactDifference("host.kernel", "6.1", "6.2", changes_bits=False)
MINDONE = FactDifference("mindone.version", "0.2.0", "0.3.0", changes_bits=True)
COMMIT = FactDifference("code.commit", "aaaa111", "bbbb222", changes_bits=False)
KEY = EnvironmentKey("cpu-x86_64-avx2-2c", "mindspore-2.10.0")
THEN = Environment(
    KEY,
    (
        Fact("code.commit", "aaaa111"),
        Fact("mindone.version", "0.2.0"),
        Fact("mindspore.version", "2.10.0"),
    ),
)

OTHER = Environment(EnvironmentKey("cpu-x86_64-sse41-2c", "mindspore-2.10.0"))


def tensors(component="unet", **moved):
    """Three parameters, each told by its name, with one moved by so much at one place."""
    rows = []
    for at, name in enumerate(("conv_in.bias", "conv_in.weight", "conv_out.weight")):
        array = np.random.default_rng(at).standard_normal((4, 4)).astype(np.float32)
        array[1, 2] += moved.get(name.replace(".", "_"), 0.0)
        rows.append((name, measure_signal(make_record(array), sketched=True)))
    return ComponentWeights(component, tuple(rows))


def digest(weights):
    return digest_weights(weights.component, [(n, s.digest) for n, s in weights.tensors])


def changed_weights(*, known=True, **moved):
    old, new = tensors(), tensors(**moved)
    if not known:
        return compare_weights([digest(old)], [digest(new)])
    return compare_weights(
        [digest(old)], [digest(new)], baseline_tensors=[old], observed_tensors=[new]
    )


WEIGHTS = changed_weights(conv_in_weight=0.5)


@pytest.mark.parametrize(
    ("known", "cause"),
    [
        (Evidence("run 2 parted at draw 3", NOISE, WEIGHTS, (), (SIMD,)), Cause.NONDETERMINISM),
        (Evidence("", NOISE, WEIGHTS, (), (SIMD,)), Cause.NOISE),
        (Evidence("", None, WEIGHTS, (), (SIMD,)), Cause.WEIGHTS),
        (Evidence("", None, (), (), (COMMIT, SIMD)), Cause.ENVIRONMENT),
        (Evidence("", None, (), (), (COMMIT, KERNEL)), Cause.CODE),
        (Evidence("", None, (), (), (MINDONE,)), Cause.CODE),
        (Evidence("", None, (), (), (KERNEL,)), Cause.CODE),
        (Evidence(), Cause.CODE),
    ],
)
def test_the_first_cause_that_applies_is_given(known, cause):
    assert decide_cause(known).cause is cause


def test_causes_further_down_are_not_lost():
    found = decide_cause(Evidence("", NOISE, WEIGHTS, (), (SIMD, COMMIT)))
    also = [line for line in found.evidence if line.startswith("also: ")]
    assert len(also) == 3
    for line, words in zip(also, ("of unet", "avx2 became sse41", "bbbb222"), strict=True):
        assert words in line
    assert not any("also" in line for line in decide_cause(Evidence(noise=NOISE)).evidence)


def test_noise_quotes_the_first_differing_draw():
    found = decide_cause(Evidence(noise=NOISE))
    assert "draw 1 of 2: standard_normal (1, 3, 8, 8) became (2, 3, 8, 8)" in found.sentence


def test_weights_name_component_tensor_and_distance():
    found = decide_cause(Evidence(weights=WEIGHTS))
    assert found.sentence == "the weights of unet differ from the baseline"
    assert found.evidence[0] == "unet: 1 of 3 tensors differ"
    assert found.evidence[1].startswith("conv_in.weight: float32 (4, 4), rel_l2 about ")
    truth = 0.5 / tensors().tensors[1][1].l2
    assert abs(float(found.evidence[1].split("about ")[1].split(",")[0]) / truth - 1) < 0.06


def test_equal_weights_are_no_change():
    assert changed_weights() == ()
    assert changed_weights(conv_out_weight=1e-7) != ()


def test_weights_without_tensors_say_so():
    (line,) = decide_cause(
        Evidence(weights=changed_weights(known=False, conv_in_bias=1.0))
    ).evidence
    assert "the tensors were not recorded" in line


def test_a_component_that_one_side_lacks_is_a_change():
    unet, vae = digest(tensors()), digest(tensors("vae"))
    found = decide_cause(Evidence(weights=compare_weights([unet], [unet, vae])))
    assert found.evidence == ("vae: only this run has it",)
    assert compare_weights([], [unet]) == ()


def test_a_parameter_that_one_side_lacks_is_named():
    old = tensors()
    new = replace(old, tensors=old.tensors[:2])
    changes = compare_weights(
        [digest(old)], [digest(new)], baseline_tensors=[old], observed_tensors=[new]
    )
    assert (
        "conv_out.weight: only in the baseline" in decide_cause(Evidence(weights=changes)).evidence
    )


def test_order_of_parameters_does_not_matter():
    weights = tensors()
    assert digest(weights) == digest(replace(weights, tensors=weights.tensors[::-1]))


def test_facts_that_change_bits_come_first():
    found = decide_cause(Evidence(facts=(COMMIT, KERNEL, CACHE)))
    assert (
        found.sentence
        == "the environment differs from the baseline: cpu.l2_per_core_bytes 1 became 2"
    )
    assert found.evidence[0] == "cpu.l2_per_core_bytes 1 became 2"
    assert "host.kernel 6.1 became 6.2 (not known to change bits)" in found.evidence


def test_what_the_key_holds_changes_bits():
    facts = (CACHE, KERNEL, replace(SIMD, changes_bits=changes_bits("cpu.simd", KEY)))
    found = decide_cause(Evidence(facts=facts, baseline=THEN, observed=OTHER))
    named = "cpu.l2_per_core_bytes 1 became 2, cpu.simd avx2 became sse41"
    assert found.sentence == f"the environment differs from the baseline: {named}"


def test_no_environment_changes_dtype_shape_or_structure():
    facts = (CACHE, KERNEL)
    found = decide_cause(Evidence(facts=facts, baseline=THEN, observed=OTHER, value_passed=False))
    assert found.cause is Cause.CODE
    assert "no environment changes dtype" in found.sentence
    assert "cpu.l2_per_core_bytes 1 became 2" in found.evidence
    assert decide_cause(Evidence(facts=facts)).cause is Cause.ENVIRONMENT


def test_another_key_is_the_environment_even_without_facts():
    found = decide_cause(Evidence(baseline=THEN, observed=OTHER))
    assert found.cause is Cause.ENVIRONMENT
    assert "cpu-x86_64-avx2-2c" in found.sentence
    assert decide_cause(Evidence(baseline=THEN, observed=THEN)).cause is Cause.CODE


def call(class_name, dtype="float32"):
    signal = measure_signal(make_record(np.ones((1, 2, 4, 4), dtype)), sketched=False)
    return CellRecord(3, 0, "unet.conv_in", class_name, (signal,), (signal,))


@pytest.mark.parametrize(
    ("cell", "uses"),
    [
        (call("Conv2d"), "uses conv_3x3.float32"),
        (call("LoRACompatibleConv"), "uses conv_3x3.float32"),
        (call("Dense"), "uses none of them"),
        (call("Conv2d", "float16"), "uses none of them"),
    ],
)
def test_kernels_that_differ_are_named_with_the_first_cell_that_uses_one(cell, uses):
    kernels = ("conv_3x3.float32", "softmax.float32")
    found = decide_cause(Evidence(kernels=kernels, first_cell=cell))
    assert found.cause is Cause.ENVIRONMENT
    assert found.evidence == (
        "kernels  different bits in 2: conv_3x3.float32, softmax.float32",
        f"kernels  the first differing cell, unet.conv_in ({cell.class_name}), {uses}",
    )
    equal = decide_cause(Evidence(kernels=(), first_cell=cell))
    assert equal.cause is Cause.CODE
    assert not any("first differing cell" in line for line in equal.evidence)
    refused = decide_cause(Evidence(kernels=kernels, first_cell=cell, value_passed=False))
    assert refused.cause is Cause.CODE


def test_code_names_versions_and_commits_then_and_now():
    now = Environment(KEY, (Fact("code.commit", "bbbb222"), *THEN.facts[1:]))
    found = decide_cause(Evidence(facts=(COMMIT,), baseline=THEN, observed=now))
    assert found.sentence == "the code changed: code.commit aaaa111 became bbbb222"
    assert found.evidence == ("code.commit  then aaaa111, now bbbb222",)
    unchanged = decide_cause(Evidence(baseline=THEN, observed=THEN))
    assert "noise, weights and environment match the baseline" in unchanged.sentence


def test_a_changed_setting_of_a_scheduler_is_a_cause_of_its_own_and_named():
    old = Configuration("scheduler", "DDIMScheduler", (("beta_end", "0.02"), ("clip", "true")))
    new = replace(old, entries=(("beta_end", "0.03"), ("clip", "true")))
    changes = compare_configurations([old], [new])
    found = decide_cause(Evidence(settings=changes))
    assert found.cause is Cause.SETTINGS
    assert (
        found.sentence
        == "the settings differ from the baseline: scheduler.beta_end 0.02 became 0.03"
    )
    added = compare_configurations([old], [replace(old, entries=(*old.entries, ("new", "1")))])
    only_here = decide_cause(Evidence(settings=added))
    assert only_here.cause is Cause.CODE
    assert only_here.evidence == ("scheduler.new nothing became 1 (only one side has it)",)
    assert compare_configurations([old], [old]) == ()
    assert compare_configurations([], [old]) == ()
    (swap,) = compare_configurations([old], [replace(old, class_name="DDPMScheduler")])
    assert (swap.name, swap.observed) == ("class", "DDPMScheduler")


def lines_of(**known):
    return decide_cause(Evidence(**known)).evidence


def numbered(count, prefix="host.", **fields):
    return tuple(
        FactDifference(f"{prefix}{at}", "1", "2", **{"changes_bits": False, **fields})
        for at in range(count)
    )


def test_the_noise_shows_each_draw_that_there_is():
    shown = "standard_normal (1, 3, 8, 8) float64 aaaaaaaaaaaa"
    assert lines_of(noise=NOISE) == (f"baseline  {shown}", f"observed  {shown}")
    assert lines_of(noise=replace(NOISE, baseline=None)) == (f"observed  {shown}",)
    assert lines_of(noise=replace(NOISE, observed=None)) == (f"baseline  {shown}",)


@pytest.mark.parametrize(("count", "more"), [(4, ()), (5, ("and 1 more",)), (7, ("and 3 more",))])
def test_four_tensors_of_a_component_are_shown_and_the_rest_counted(count, more):
    old = measure_signal(make_record(np.ones(3, "<f4")), sketched=True)
    new = measure_signal(make_record(np.ones(2, "<f8")), sketched=True)
    changes = tuple(TensorChange(f"t{at}", old, new) for at in range(count))
    (first, *shown) = lines_of(weights=(WeightsChange("unet", "a", "b", changes, 9),))
    assert first == f"unet: {count} of 9 tensors differ"
    assert tuple(shown[4:]) == more
    assert shown[:4] == [f"t{at}: float32 (3,) became float64 (2,)" for at in range(4)]


@pytest.mark.parametrize(("count", "more"), [(8, ()), (9, ("and 1 more facts",))])
def test_eight_facts_are_shown_and_the_rest_counted(count, more):
    lines = lines_of(facts=numbered(count))
    assert lines[8:] == more
    assert lines[:8] == tuple(f"host.{at} 1 became 2 (not known to change bits)" for at in range(8))


def test_three_facts_and_three_settings_are_named_in_the_sentence():
    found = decide_cause(Evidence(facts=numbered(4, "cpu.", changes_bits=True)))
    names = ", ".join(f"cpu.{at} 1 became 2" for at in range(3))
    assert found.sentence == f"the environment differs from the baseline: {names}"
    settings = tuple(SettingChange("unet", f"s{at}", "1", "2") for at in range(4))
    found = decide_cause(Evidence(settings=settings))
    names = ", ".join(f"unet.s{at} 1 became 2" for at in range(3))
    assert found.sentence == f"the settings differ from the baseline: {names}"
    assert found.evidence == tuple(f"unet.s{at} 1 became 2" for at in range(4))


def test_alone_the_code_lists_every_other_fact_and_beside_another_cause_none():
    facts = (COMMIT, KERNEL)
    kernel = "host.kernel 6.1 became 6.2 (not known to change bits)"
    assert lines_of(facts=facts) == (kernel,)
    beside = lines_of(facts=facts, weights=WEIGHTS)
    assert beside[-1] == "also: the code changed: code.commit aaaa111 became bbbb222"
    assert kernel not in beside


def test_the_code_is_shown_then_and_now_where_both_environments_are_known():
    now = Environment(KEY, (Fact("mindone.version", "0.3.0"), Fact("code.dirty", "yes")))
    assert lines_of(baseline=THEN, observed=now) == (
        "mindone.version  then 0.2.0, now 0.3.0",
        "code.commit  then aaaa111, now unknown",
        "code.dirty  then unknown, now yes",
        "mindspore.version  then 2.10.0, now unknown",
    )
    assert lines_of(baseline=THEN) == ()
    assert lines_of(observed=THEN) == ()


def test_without_the_baselines_table_no_tensor_is_named():
    old, new = tensors(), tensors(conv_in_weight=0.5)
    (change,) = compare_weights([digest(old)], [digest(new)], observed_tensors=[new])
    assert (change.tensors, change.tensor_count) == ((), 0)


def test_a_tensor_that_was_put_back_after_the_check_is_named_by_what_the_check_saw():
    old, new = tensors(), tensors(conv_in_weight=0.5)
    changes = compare_weights(
        [digest(old)], [digest(new)], baseline_tensors=[old], observed_tensors=[old]
    )
    (change,) = changes
    assert [one.name for one in change.tensors] == ["conv_in.weight"]
    line = decide_cause(Evidence(weights=changes)).evidence[1]
    assert line.startswith("conv_in.weight: float32 (4, 4), digest ")


def renamed_to(name, **moved):
    """What differs where ``conv_in.weight`` has another name."""
    old, new = tensors(), tensors(**moved)
    names = {"conv_in.weight": name}
    new = replace(new, tensors=tuple((names.get(one, one), signal) for one, signal in new.tensors))
    return compare_weights(
        [digest(old)], [digest(new)], baseline_tensors=[old], observed_tensors=[new]
    )


def test_a_parameter_with_another_name_in_its_cell_and_its_bits_is_the_same():
    assert renamed_to("conv_in.gamma") == ()


@pytest.mark.parametrize(
    ("name", "moved"),
    [
        ("conv_in.gamma", {"conv_in_weight": 0.5}),
        ("conv_in.gamma", {"conv_out_weight": 0.5}),
        ("conv_mid.weight", {}),
        ("conv_in.inner.weight", {}),
    ],
)
def test_other_bits_or_another_cell_are_other_weights(name, moved):
    (change,) = renamed_to(name, **moved)
    assert name in [one.name for one in change.tensors]


def test_exchanged_parameters_are_other_weights():
    old = tensors()
    (bias, one), (weight, other), last = old.tensors
    new = replace(old, tensors=((bias, other), (weight, one), last))
    assert compare_weights(
        [digest(old)], [digest(new)], baseline_tensors=[old], observed_tensors=[new]
    )


def test_a_weights_change_without_tables_counts_none():
    assert WeightsChange("unet", "a", "b").tensor_count == 0
