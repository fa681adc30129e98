"""Which instruction set oneDNN may use, by flags, variables and generation of the library."""

from __future__ import annotations

import pytest

from pytest_repro.environment.simd import (
    CpuFeatures,
    OneDnnRules,
    normal_arch,
    simd_level,
    simd_of_mask,
)

SSE = "sse4_1"
AVX = f"{SSE} avx"
AVX2 = f"{AVX} avx2 fma"
CORE = f"{AVX2} avx512f avx512bw avx512vl avx512dq"
BF16 = f"{CORE} avx512_vnni avx512_bf16"
FP16 = f"{BF16} avx512_fp16 avx_vnni"
AMX = f"{FP16} amx_tile amx_int8 amx_bf16"


def cpu(flags, arch="x86_64", sve_bits=0):
    return CpuFeatures(arch, frozenset(flags.split()), sve_bits)


@pytest.mark.parametrize(
    ("flags", "level"),
    [
        ("sse2", "generic"),
        (SSE, "sse41"),
        (AVX, "avx"),
        (AVX2, "avx2"),
        (f"{AVX2} avx_vnni", "avx2_vnni"),
        (f"{AVX2} avx_vnni avx_vnni_int8 avx_ne_convert", "avx2_vnni_2"),
        (f"{AVX2} avx512f avx512cd", "avx2"),
        (CORE, "avx512_core"),
        (f"{CORE} avx512_vnni", "avx512_core_vnni"),
        (BF16, "avx512_core_bf16"),
        (f"{CORE} avx512_bf16", "avx512_core"),
        (FP16, "avx512_core_fp16"),
        (AMX, "avx512_core_amx"),
        (f"{AMX} amx_fp16", "avx512_core_amx_fp16"),
        ("", "unknown"),
    ],
)
def test_the_level_follows_from_the_flags(flags, level):
    assert simd_level(cpu(flags), {}) == level


# What dnnl_get_effective_cpu_isa() of oneDNN 3.10.1 answered on a CPU with AVX512_BF16.
ANSWERS_3_10_1 = {
    "SSE41": "sse41",
    "AVX": "avx",
    "AVX2": "avx2",
    "AVX2_VNNI": "avx2",
    "AVX2_VNNI_2": "avx2",
    "AVX512_CORE": "avx512_core",
    "AVX512_CORE_VNNI": "avx512_core_vnni",
    "AVX512_CORE_BF16": "avx512_core_bf16",
    "AVX512_CORE_FP16": "avx512_core_bf16",
    "AVX512_CORE_AMX": "avx512_core_bf16",
    "AVX10_1_512": "avx512_core_bf16",
    "AVX512_MIC": "avx512_core_bf16",
    "DEFAULT": "avx512_core_bf16",
    "avx2": "avx2",
    "nonsense": "avx512_core_bf16",
    "": "avx512_core_bf16",
    " AVX2": "avx512_core_bf16",
}
# The same of 2.2.0, which MindSpore 2.7 and 2.8 carry. To AVX512_MIC it answered 0, "none of
# these", which is what it answers for its unnamed level avx512_common.
ANSWERS_2_2_0 = ANSWERS_3_10_1 | {
    "AVX2_VNNI_2": "avx512_core_bf16",
    "avx2": "avx512_core_bf16",
    "AVX512_MIC": "avx512_common",
}


@pytest.mark.parametrize("name", ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"])
@pytest.mark.parametrize(("value", "level"), ANSWERS_3_10_1.items())
def test_the_limit_is_read_as_version_3_reads_it(name, value, level):
    assert simd_level(cpu(BF16), {name: value}, onednn_version="3.10.1") == level


@pytest.mark.parametrize(("value", "level"), ANSWERS_2_2_0.items())
def test_the_limit_is_read_as_version_2_2_reads_it(value, level):
    assert simd_level(cpu(BF16), {"DNNL_MAX_CPU_ISA": value}, onednn_version="2.2.0") == level


@pytest.mark.parametrize("value", ANSWERS_2_2_0)
def test_version_2_2_does_not_know_the_newer_variable(value):
    limited = simd_level(cpu(BF16), {"ONEDNN_MAX_CPU_ISA": value}, onednn_version="2.2.0")
    assert limited == "avx512_core_bf16"


@pytest.mark.parametrize(
    ("newer", "older", "level"),
    [
        ("AVX", "SSE41", "avx"),
        ("", "SSE41", "sse41"),
        ("nonsense", "SSE41", "avx512_core_bf16"),
        ("DEFAULT", "SSE41", "avx512_core_bf16"),
    ],
)
def test_the_newer_variable_decides_unless_it_is_empty(newer, older, level):
    variables = {"ONEDNN_MAX_CPU_ISA": newer, "DNNL_MAX_CPU_ISA": older}
    assert simd_level(cpu(BF16), variables) == level


@pytest.mark.parametrize(
    ("alias", "level"),
    [
        ("AVX10_1_512", "avx512_core_fp16"),
        ("AVX10_1_512_AMX", "avx512_core_amx"),
        ("AVX10_1_512_AMX_FP16", "avx512_core_amx_fp16"),
    ],
)
def test_version_3_knows_levels_by_their_avx10_names_too(alias, level):
    newest = cpu(f"{AMX} amx_fp16")
    assert simd_level(newest, {"ONEDNN_MAX_CPU_ISA": alias}, onednn_version="3.7") == level
    assert simd_level(newest, {"ONEDNN_MAX_CPU_ISA": alias}, onednn_version="2.7") == (
        simd_level(newest, {}, onednn_version="2.7")
    )


def test_a_limit_above_the_cpu_changes_nothing():
    assert simd_level(cpu(AVX2), {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}) == "avx2"


def test_version_2_2_uses_amx_only_when_it_is_named():
    assert simd_level(cpu(AMX), {}, onednn_version="2.2.0") == "avx512_core_bf16"
    named = {"DNNL_MAX_CPU_ISA": "AVX512_CORE_AMX"}
    assert simd_level(cpu(AMX), named, onednn_version="2.2.0") == "avx512_core_amx"


@pytest.mark.parametrize(
    ("flags", "bits", "limit", "level"),
    [
        ("asimd", 0, "", "asimd"),
        ("asimd sve", 128, "", "sve128"),
        ("asimd sve", 256, "", "sve256"),
        ("asimd sve", 384, "", "sve256"),
        ("asimd sve", 2048, "", "sve512"),
        ("asimd sve", 512, "", "sve512"),
        ("asimd sve", 512, "SVE_128", "sve128"),
        ("asimd sve", 512, "SVE_256", "sve256"),
        ("asimd sve", 512, "SVE_512", "sve512"),
        ("asimd sve", 128, "SVE_512", "sve128"),
        ("asimd sve", 512, "ASIMD", "asimd"),
        ("asimd sve", 256, "nonsense", "sve256"),
        ("asimd sve", 512, "SVE_1024", "sve512"),
        ("asimd sve", 0, "", "sve"),
        ("asimd sve", 0, "ASIMD", "asimd"),
        ("sve", 512, "ASIMD", "generic"),
        ("fp", 0, "", "generic"),
        ("", 0, "", "unknown"),
    ],
)
def test_arm_levels(flags, bits, limit, level):
    assert simd_level(cpu(flags, "aarch64", bits), {"ONEDNN_MAX_CPU_ISA": limit}) == level


def test_a_cpu_whose_sve_length_nobody_read_claims_none():
    assert simd_level(CpuFeatures("aarch64", frozenset({"asimd", "sve"})), {}) == "sve"


def test_another_architecture_is_generic():
    assert simd_level(cpu("v", "riscv64"), {"ONEDNN_MAX_CPU_ISA": "AVX2"}) == "generic"


# dnnl_cpu_isa_t of dnnl_types.h: a level has the bits of what it needs, and one of its own.
BITS = {
    "sse41": (0,),
    "avx": (0, 1),
    "avx2": (0, 1, 2),
    "avx2_vnni": (0, 1, 2, 3),
    "avx2_vnni_2": (0, 1, 2, 3, 4),
    "avx512_core": (0, 1, 2, 5),
    "avx512_core_vnni": (0, 1, 2, 5, 6),
    "avx512_core_bf16": (0, 1, 2, 5, 6, 7),
    "avx512_core_fp16": (0, 1, 2, 3, 5, 6, 7, 8),
    "avx512_core_amx": (0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11),
    "avx512_core_amx_fp16": (0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12),
}


@pytest.mark.parametrize(("level", "bits"), BITS.items())
def test_the_numbers_of_the_library_have_names(level, bits):
    assert simd_of_mask(sum(1 << bit for bit in bits)) == level


def test_a_number_that_does_not_say_has_no_name():
    assert simd_of_mask(0) == simd_of_mask(0x12345) == ""


def test_an_architecture_has_one_name():
    assert [normal_arch(name) for name in ("AMD64", "x86_64", "arm64", "aarch64", "")] == [
        *("x86_64", "x86_64", "aarch64", "aarch64", "unknown"),
    ]


def test_the_newer_prefix_came_with_2_5():
    assert OneDnnRules.of_version("2.4.4").prefixes == ("DNNL_",)
    assert OneDnnRules.of_version("2.5").prefixes == ("ONEDNN_", "DNNL_")
    assert OneDnnRules.of_version("") == OneDnnRules.of_version("3.10.1")


def test_xeon_phi_went_with_2_6_and_float16_came_with_3():
    known = {
        version: (rules.has_mic, rules.has_avx10)
        for version in ("2.5.4", "2.6", "2.6.3", "2.7.3", "3.0", "")
        for rules in [OneDnnRules.of_version(version)]
    }
    assert known == {
        "2.5.4": (True, False),
        "2.6": (False, False),
        "2.6.3": (False, False),
        "2.7.3": (False, False),
        "3.0": (False, True),
        "": (False, True),
    }
