"""Keys, the facts that change bits, distances, and the order in which references are looked for."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_repro.environment import facts as facts_module
from pytest_repro.environment.facts import (
    FACTS,
    BitEffect,
    FactRule,
    changes_bits,
    chosen_facts,
    complete_key,
    make_fact,
    not_at_default,
    project_facts,
)
from pytest_repro.environment.key import (
    HardwareKind,
    Software,
    apart,
    compare_facts,
    cpu_key,
    distance,
    framework_key,
    gpu_key,
    order_references,
    parse_hardware,
    parse_key,
    parse_software,
    soc_family,
    soc_key,
    version_rank,
)
from pytest_repro.errors import EnvironmentFault
from pytest_repro.model.baseline import Environment, Fact
from pytest_repro.model.ids import EnvironmentKey
from pytest_repro.model.words import Distance

AVX2 = "cpu-x86_64-avx2-2c"
ONE_CORE = "cpu-x86_64-avx2-1c"
OURS = EnvironmentKey(AVX2, "mindspore-2.9.0")


def key(hardware, version, name="mindspore"):
    return EnvironmentKey(hardware, f"{name}-{version}")


def environment(where=OURS, **facts):
    return Environment(
        where, tuple(Fact(n.replace("__", "."), *v) for n, v in sorted(facts.items()))
    )


# --- keys ---------------------------------------------------------------------------------------


def test_a_cpu_key_reads_back():
    hardware = parse_hardware(cpu_key("x86_64", "avx512_core_bf16", 128, 512 << 10))
    assert (hardware.kind, hardware.arch) == (HardwareKind.CPU, "x86_64")
    assert (hardware.simd, hardware.core_count) == ("avx512_core_bf16", 128)
    assert (hardware.name, hardware.l2) == ("cpu-x86_64-avx512_core_bf16-128c", "512k")


@pytest.mark.parametrize(
    ("size", "text"), [(2 << 20, "2048k"), (512 << 10, "512k"), (1500, "1500b"), (0, "unknown")]
)
def test_a_cpu_key_says_the_l2_size_or_that_it_is_unknown(size, text):
    key_text = cpu_key("x86_64", "avx2", 2, size)
    assert key_text == f"cpu-x86_64-avx2-2c-l2_{text}"
    assert parse_hardware(key_text).l2 == text


@pytest.mark.parametrize(("arch", "cores"), [("x86-64", 2), ("x86_64", 0), ("", 2), ("X86_64", 2)])
def test_a_cpu_key_that_could_not_be_read_back_is_refused(arch, cores):
    with pytest.raises(EnvironmentFault, match="cannot be named"):
        cpu_key(arch, "avx2", cores, 0)


@pytest.mark.parametrize(
    ("name", "wanted", "family"),
    [
        ("Ascend910B", "ascend910b", "ascend910"),
        ("Ascend910B1", "ascend910b1", "ascend910b"),
        ("Ascend910B4-1", "ascend910b4-1", "ascend910b"),
        ("Ascend910_9392", "ascend910_9392", "ascend910_93"),
        ("Ascend310P3", "ascend310p3", "ascend310p"),
        (" ascend910B2C\n", "ascend910b2c", "ascend910b"),
        ("Ascend310", "ascend310", ""),
    ],
)
def test_a_soc_keeps_its_exact_name(name, wanted, family):
    assert soc_key(name) == wanted
    assert soc_family(wanted) == family
    assert parse_hardware(wanted).kind is HardwareKind.ASCEND


def test_a_910b_without_a_digit_is_no_910b1():
    assert soc_key("Ascend910B") != soc_key("Ascend910B1")
    assert soc_family(soc_key("Ascend910B")) != soc_family(soc_key("Ascend910B1"))


@pytest.mark.parametrize("name", ["Ascend910", "ascend910_93", "Ascend310P"])
def test_the_name_of_a_family_is_no_soc(name):
    with pytest.raises(EnvironmentFault, match="names a family"):
        soc_key(name)


@pytest.mark.parametrize(
    ("name", "says"), [("", "did not say"), ("  ", "did not say"), ("Tesla", "not the name")]
)
def test_a_device_without_a_name_is_a_fault_that_says_so(name, says):
    with pytest.raises(EnvironmentFault, match=says):
        soc_key(name)


def test_a_gpu_key_is_its_name():
    assert gpu_key("NVIDIA A100-SXM4 (40GB)") == "gpu-nvidia-a100-sxm4-40gb"
    assert parse_hardware("gpu-nvidia-a100").kind is HardwareKind.GPU
    with pytest.raises(EnvironmentFault, match="did not say its name"):
        gpu_key(" - ")


def test_a_framework_key_reads_back():
    text = f"{AVX2}/{framework_key('MindSpore', '2.10.0rc1')}"
    assert parse_key(text) == EnvironmentKey(AVX2, "mindspore-2.10.0rc1")
    assert str(parse_key(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", AVX2, f"{AVX2}/", f"{AVX2}/mindspore", "tensors/3f", "cpu-x86_64-avx2/mindspore-2.9.0"],
)
def test_what_is_no_key_is_refused_by_name(text):
    with pytest.raises(EnvironmentFault, match="is not a"):
        parse_key(text)


@pytest.mark.parametrize(
    ("cann", "text"),
    [("8.2.RC1", "8.2.rc1"), ("8.0.RC2.alpha-001", "8.0.rc2.alpha_001"), ("", "unknown")],
)
def test_on_ascend_the_framework_key_names_cann_or_says_that_it_is_unknown(cann, text):
    found = framework_key("mindspore", "2.7.1", cann=cann)
    assert found == f"mindspore-2.7.1+cann_{text}"
    assert parse_software(f"{found}~3fa9c1") == Software("mindspore", "2.7.1", text, "3fa9c1")


def test_a_local_version_is_no_cann():
    assert parse_software("mindspore-2.7.1+cpu") == Software("mindspore", "2.7.1+cpu")


def test_a_framework_without_a_version_has_no_key():
    with pytest.raises(EnvironmentFault, match="cannot be named"):
        framework_key("mindspore", "")


# --- versions -----------------------------------------------------------------------------------


def test_versions_have_the_order_of_pep_440():
    ascending = [
        *("nonsense", "1", "2.9.0", "2.10.0.dev1", "2.10.0a1", "2.10.0b2", "2.10.0rc1"),
        *("2.10.0rc2", "2.10.0", "2.10.0.post1", "2.10.1", "2.11", "3"),
    ]
    shuffled = random.Random(0).sample(ascending, len(ascending))
    assert sorted(shuffled, key=version_rank) == ascending
    assert version_rank("2.10") == version_rank("2.10.0")
    assert version_rank("2.10.0rc1") == version_rank("2.10.0-rc.1")


def test_versions_are_not_compared_as_text():
    assert "2.10.0" < "2.9.0"  # the fault that a comparison of texts would make
    assert version_rank("2.10.0") > version_rank("2.9.0")


# --- facts --------------------------------------------------------------------------------------


def test_facts_that_change_bits_come_first_then_by_name():
    before = environment(b__x=("1",), a__y=("1",), z__bits=("1", True), same__x=("1", True))
    now = environment(b__x=("2",), a__y=("2",), z__bits=("2", True), same__x=("1", True))
    assert [(one.name, one.changes_bits) for one in compare_facts(before, now)] == [
        ("z.bits", True),
        ("a.y", False),
        ("b.x", False),
    ]


def test_a_difference_has_both_sides_the_right_way_round():
    before, now = environment(a__x=("old",)), environment(a__x=("new",))
    (found,) = compare_facts(before, now)
    assert (found.baseline, found.observed) == ("old", "new")


def test_a_fact_that_one_side_never_looked_for_is_shown_but_changes_no_bits():
    (found,) = compare_facts(environment(), environment(a__x=("1", True)))
    assert (found.name, found.baseline, found.observed) == ("a.x", "", "1")
    assert not found.changes_bits
    (seen,) = compare_facts(environment(a__x=("", True)), environment(a__x=("1", True)))
    assert seen.changes_bits


@pytest.mark.parametrize("sides", [(True, False), (False, True)])
def test_a_fact_changes_bits_where_either_side_says_so(sides):
    before, now = (environment(a__x=(str(one), one)) for one in sides)
    (found,) = compare_facts(before, now)
    assert found.changes_bits


def test_every_rule_has_a_reason_and_a_name_of_its_own():
    assert all(rule.reason for rule in FACTS)
    assert len({rule.name for rule in FACTS}) == len(FACTS)


def test_a_pattern_never_hides_a_later_one():
    patterns = [rule.name[:-1] for rule in FACTS if rule.name.endswith("*")]
    hidden = [
        (one, late)
        for at, one in enumerate(patterns)
        for late in patterns[at + 1 :]
        if late.startswith(one)
    ]
    assert hidden == []


def test_effects_depend_on_the_key():
    cpu, numpy_key = OURS, key(AVX2, "1.26.4", "numpy")
    npu = key("ascend910b1", "2.9.0")
    effects = {
        name: tuple(changes_bits(name, where) for where in (cpu, numpy_key, npu))
        for name in (
            *("cann.version", "cpu.l2_per_core_bytes", "cpu.simd_native", "env.omp_num_threads"),
            *("mindone.version", "canary.raw", "mindspore.dispatch_threads", "env.whatever"),
        )
    }
    assert effects == {
        "cann.version": (False, False, True),
        "cpu.l2_per_core_bytes": (True, True, False),
        "cpu.simd_native": (False, False, False),
        "env.omp_num_threads": (False, True, False),
        "mindone.version": (False, False, False),
        "canary.raw": (True, True, True),
        "mindspore.dispatch_threads": (True, False, False),
        "env.whatever": (False, False, False),
    }


def test_a_fact_without_a_rule_is_refused():
    assert make_fact("os.name", "x", OURS) == Fact("os.name", "x", changes_bits=False)
    with pytest.raises(EnvironmentFault, match=r"'weather\.today'"):
        make_fact("weather.today", "rain", OURS)


def test_a_project_cannot_replace_a_fact_that_was_seen():
    facts = dict(project_facts({"cluster": "night", "numpy.version": "9", "bits.ops": "v3"}))
    assert facts == {
        "project.bits.ops": "v3",
        "project.cluster": "night",
        "project.numpy.version": "9",
    }
    assert changes_bits("project.bits.ops", OURS)
    assert not changes_bits("project.cluster", OURS)


@pytest.mark.parametrize("extra", [{"Cluster": "x"}, {"a b": "x"}, {"": "x"}, {"n": 3}])
def test_a_project_fact_of_the_wrong_form_is_named(extra):
    with pytest.raises(EnvironmentFault, match="pytest_repro_environment gave"):
        project_facts(extra)


def test_a_project_fact_under_two_spellings_is_an_error():
    with pytest.raises(EnvironmentFault, match="twice"):
        project_facts({"cluster": "a", "project.cluster": "b"})


def test_a_fact_that_the_project_adds_to_the_key_is_recorded_under_a_name_that_says_so():
    recorded = {"mindone.version": "0.5.0", "os.name": "x"}
    assert chosen_facts((), recorded) == ()
    (fact,) = chosen_facts(["mindone.version"], recorded)
    assert fact == ("project.bits.mindone.version", "0.5.0")
    assert changes_bits(fact[0], OURS)
    assert not changes_bits("mindone.version", OURS)


def test_a_fact_of_the_key_that_is_not_recorded_is_refused_with_those_near_it():
    with pytest.raises(EnvironmentFault, match=r"'mindone\.versoin'.*no recorded") as caught:
        chosen_facts(["mindone.versoin"], {"mindone.version": "0.5.0"})
    assert caught.value.facts == ("near it: mindone.version",)


# --- the suffix ---------------------------------------------------------------------------------

DEFAULTS = [("mindspore.dispatch_threads", "default"), ("canary.raw", "4cb17211accf1791")]


def test_facts_at_their_default_give_no_suffix():
    assert complete_key(OURS, [*DEFAULTS, ("os.name", "x"), ("cpu.simd", "avx2")]) == OURS


@pytest.mark.parametrize(
    "fact",
    [
        ("mindspore.dispatch_threads", "configured"),
        ("canary.raw", "0" * 16),
        ("env.onednn_cpu_isa_hints", "PREFER_YMM"),
        ("project.bits.ops", "v3"),
    ],
)
def test_a_fact_that_changes_bits_and_is_not_at_its_default_gives_a_suffix(fact):
    found = complete_key(OURS, [*DEFAULTS, fact] if fact[0] not in dict(DEFAULTS) else [fact])
    assert found.hardware == OURS.hardware
    assert found.framework.startswith(f"{OURS.framework}~")
    assert len(parse_software(found.framework).suffix) == 6
    assert complete_key(OURS, [(fact[0], fact[1] + "x")]) != found


def test_the_suffix_does_not_depend_on_the_order_of_the_facts():
    facts = [("project.bits.b", "1"), ("project.bits.a", "2"), ("canary.raw", "3")]
    assert complete_key(OURS, facts) == complete_key(OURS, facts[::-1])
    names = [name for name, _ in not_at_default(facts, OURS)]
    assert names == ["canary.raw", "project.bits.a", "project.bits.b"]


def test_a_fact_without_effect_under_the_key_gives_no_suffix():
    assert complete_key(OURS, [("env.omp_num_threads", "1"), ("ascend.conv_hf32", "1")]) == OURS
    assert complete_key(key(AVX2, "2.4.6", "numpy"), [("env.omp_num_threads", "1")]) != key(
        AVX2, "2.4.6", "numpy"
    )


def test_a_row_that_is_added_later_changes_only_keys_where_its_fact_is_not_at_its_default(
    monkeypatch,
):
    plain, deviating = [("os.name", "x")], [("project.bits.ops", "v3")]
    before = [complete_key(OURS, facts) for facts in (plain, deviating)]
    row = FactRule("new.switch", BitEffect.ALWAYS, "a new rule", default="off")
    monkeypatch.setattr(facts_module, "FACTS", (row, *FACTS))
    monkeypatch.setitem(facts_module.__dict__, "_EXACT", {**facts_module._EXACT, row.name: row})
    off, on = ("new.switch", "off"), ("new.switch", "on")
    assert [complete_key(OURS, [*facts, off]) for facts in (plain, deviating)] == before
    assert complete_key(OURS, [*plain, on]) not in before


# --- distance -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("baseline", "wanted"),
    [
        (OURS, Distance.OWN),
        (key(f"{AVX2}-l2_1024k", "2.9.0"), Distance.VARIANT),
        (key(f"{AVX2}-l2_unknown", "2.9.0"), Distance.VARIANT),
        (key(AVX2, "2.9.0~3fa9c1"), Distance.VARIANT),
        (key(f"{AVX2}-l2_1024k", "2.8.0"), Distance.RELEASE),
        (key(AVX2, "2.10.0"), Distance.RELEASE),
        (key(ONE_CORE, "2.9.0"), Distance.ANY),
        (key("cpu-aarch64-asimd-64c", "2.9.0"), Distance.ANY),
        (key("ascend910b1", "2.9.0"), None),
        (key("gpu-a100", "2.9.0"), None),
        (key(AVX2, "1.26.4", "numpy"), None),
        (key(AVX2, "2.13.0", "torch"), Distance.PORT),
        (key("ascend910b1", "2.13.0", "torch"), None),
        (EnvironmentKey("tensors", "3f"), None),
    ],
)
def test_distance_by_key(baseline, wanted):
    assert distance(OURS, baseline) is wanted


def test_another_cann_is_a_variant_and_unknown_equals_no_version():
    ours = key("ascend910b1", "2.7.1+cann_8.2.rc1")
    assert distance(ours, key("ascend910b1", "2.7.1+cann_8.1.rc1")) is Distance.VARIANT
    assert distance(ours, key("ascend910b1", "2.7.1+cann_unknown")) is Distance.VARIANT
    assert distance(ours, key("ascend910b2", "2.7.1+cann_8.2.rc1")) is Distance.ANY


def test_what_sets_a_variant_apart_is_said_in_words():
    ours = key(f"{AVX2}-l2_512k", "2.9.0")
    assert apart(ours, key(f"{AVX2}-l2_1024k", "2.9.0")) == "L2 1024k, here 512k"
    assert apart(ours, key(f"{AVX2}-l2_512k", "2.9.0~3fa9c1")) == "suffix 3fa9c1, here none"
    assert apart(ours, ours) == ""


# --- order --------------------------------------------------------------------------------------


def test_the_order_of_references_is_that_of_the_design():
    ordered = [
        (OURS, Distance.OWN),
        (key(AVX2, "2.9.0~3fa9c1"), Distance.VARIANT),
        (key(f"{AVX2}-l2_1024k", "2.9.0"), Distance.VARIANT),
        (key(f"{AVX2}-l2_1024k", "2.9.0~3fa9c1"), Distance.VARIANT),
        (key(AVX2, "2.8.0"), Distance.RELEASE),
        (key(AVX2, "2.7.0"), Distance.RELEASE),
        (key(AVX2, "2.10.0rc1"), Distance.RELEASE),
        (key(AVX2, "2.10.0"), Distance.RELEASE),
        (key(f"{AVX2}-l2_1024k", "2.8.0"), Distance.RELEASE),
        (key(ONE_CORE, "2.9.0"), Distance.ANY),
        (key("cpu-x86_64-sse41-2c", "2.9.0"), Distance.ANY),
        (key(ONE_CORE, "2.8.0"), Distance.ANY),
        (key(ONE_CORE, "2.10.0"), Distance.ANY),
    ]
    never = [
        key(AVX2, "2.9.0", "numpy"),
        key("ascend910b1", "2.9.0"),
        EnvironmentKey("tensors", "3f"),
    ]
    available = [one for one, _ in ordered] + never
    random.Random(1).shuffle(available)
    assert list(order_references(OURS, available, Distance.ANY)) == ordered
    port = key(AVX2, "2.13.0", "torch")
    assert list(order_references(OURS, [*available, port], Distance.ANY)) == ordered
    reached = list(order_references(OURS, [*available, port], Distance.PORT))
    assert reached == [*ordered, (port, Distance.PORT)]
    assert order_references(port, [OURS], Distance.PORT) == ()
    assert list(order_references(OURS, available, Distance.RELEASE)) == ordered[:9]
    assert list(order_references(OURS, available, Distance.VARIANT)) == ordered[:4]
    assert list(order_references(OURS, available, Distance.OWN)) == ordered[:1]


def test_nothing_available_gives_no_reference():
    assert order_references(OURS, [], Distance.ANY) == ()
    assert order_references(OURS, [key("ascend910b1", "2.9.0")], Distance.ANY) == ()


HARDWARE = st.sampled_from(
    [
        AVX2,
        f"{AVX2}-l2_512k",
        ONE_CORE,
        "cpu-x86_64-sse41-2c",
        "ascend910b1",
        "ascend910b2",
        "gpu-a100",
        "tensors",
    ]
)
VERSIONS = st.sampled_from(
    ["2.7.0", "2.8.0", "2.9", "2.9.0", "2.10.0", "2.10.0rc1", "2.10.0.post1", "2.9.0~3fa9c1", "3f"]
)
KEYS = st.builds(key, HARDWARE, VERSIONS, st.sampled_from(["mindspore", "numpy"]))
REACH = st.sampled_from(list(Distance))


@settings(max_examples=300, deadline=None)
@given(KEYS, st.lists(KEYS, max_size=12), REACH, st.randoms(use_true_random=False))
def test_the_order_does_not_depend_on_the_order_of_the_input(own, available, reach, shuffler):
    again = list(available) * 2
    shuffler.shuffle(again)
    assert order_references(own, available, reach) == order_references(own, again, reach)


@settings(max_examples=300, deadline=None)
@given(KEYS, st.lists(KEYS, max_size=12), KEYS, REACH)
def test_a_further_key_changes_no_verdict_of_one_that_has_its_own(own, available, further, reach):
    before = order_references(own, [own, *available], reach)
    after = order_references(own, [own, *available, further], reach)
    assert before[0] == after[0] == (own, Distance.OWN)


@settings(max_examples=300, deadline=None)
@given(KEYS, st.lists(KEYS, max_size=12, unique=True), st.sets(st.integers(0, 11)), REACH)
def test_removing_keys_keeps_the_order_of_the_rest(own, available, gone, reach):
    kept = [one for place, one in enumerate(available) if place not in gone]
    whole = order_references(own, available, reach)
    assert order_references(own, kept, reach) == tuple(one for one in whole if one[0] in set(kept))


@settings(max_examples=300, deadline=None)
@given(KEYS, st.lists(KEYS, max_size=12, unique=True))
def test_the_order_is_total_and_agrees_with_the_distance(own, available):
    ordered = order_references(own, available, Distance.ANY)
    wanted = {one: far for one in available if (far := distance(own, one)) is not None}
    assert dict(ordered) == wanted
    assert len(ordered) == len(wanted)
    ranks = [list(Distance).index(far) for _, far in ordered]
    assert ranks == sorted(ranks)


def test_the_effects_of_the_table_are_all_used():
    assert {rule.effect for rule in FACTS} == set(BitEffect)


@pytest.mark.parametrize("text", ["ascend910b2", "gpu-nvidia-a100"])
def test_what_is_no_cpu_has_no_cores(text):
    found = parse_hardware(text)
    assert (found.arch, found.simd, found.core_count, found.l2) == ("", "", 0, "")


@pytest.mark.parametrize(
    "same", [("1a2", "1alpha2"), ("1b2", "1beta2"), ("1rc2", "1c2", "1pre2", "1preview2")]
)
def test_stages_have_several_names(same):
    ranks = {version_rank(text) for text in same}
    assert len(ranks) == 1
    order = [version_rank(text) for text in ("1a9", "1b1", "1rc1", "1")]
    assert order == sorted(order)
    assert len(set(order)) == 4
