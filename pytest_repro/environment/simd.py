"""Which instruction set oneDNN may use: from the CPU's flags and the variables that limit it.

Sources: oneDNN's page "CPU Dispatcher Control"; ``src/cpu/x64/cpu_isa_traits.{cpp,hpp}``,
``src/cpu/aarch64/cpu_isa_traits.{cpp,hpp}`` and ``getenv_string_user`` in ``src/common/utils.cpp``
of the tags v2.2, v2.5 and v3.7. A test compares the result with what the library itself answers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

GENERIC = "generic"
"""The CPU has none of the instruction sets that oneDNN generates code for."""
UNKNOWN = "unknown"
"""The flags could not be read (not Linux), so nothing is claimed."""


@dataclass(frozen=True, slots=True)
class CpuFeatures:
    """What a CPU can do.

    Attributes:
        arch: ``x86_64``, ``aarch64`` or another lower-case machine name.
        flags: Names as in ``/proc/cpuinfo``; empty when they could not be read.
        sve_bits: Length of an SVE register on aarch64; 0 when there is none or it is unknown.
    """

    arch: str
    flags: frozenset[str]
    sve_bits: int = 0


@dataclass(frozen=True, slots=True)
class OneDnnRules:
    """How one generation of oneDNN reads its variables.

    Attributes:
        prefixes: Prefixes of ``MAX_CPU_ISA``; the first variable that is not empty decides.
        any_case: Whether the value may be written in lower case.
        has_mic: Whether it knows the Xeon Phi levels and the AVX-512 subset under them.
        has_avx10: Whether it knows float16 levels and the AVX2 ones with VNNI.
    """

    prefixes: tuple[str, ...]
    any_case: bool
    has_mic: bool
    has_avx10: bool

    @classmethod
    def of_version(cls, version: str) -> OneDnnRules:
        """The rules of oneDNN ``version``; the newest when it is ``""``.

        MindSpore 2.7 and 2.8 carry 2.2.0, which does not know the prefix ``ONEDNN_`` at all;
        2.9 and 2.10 carry 3.10.1.
        """
        numbers = tuple(int(part) for part in re.findall(r"\d+", version)) or (math.inf,)
        modern = numbers >= (2, 5)
        prefixes = ("ONEDNN_", "DNNL_") if modern else ("DNNL_",)
        return cls(prefixes, any_case=modern, has_mic=numbers < (2, 6), has_avx10=numbers >= (3, 0))


@dataclass(frozen=True, slots=True)
class _Level:
    """An instruction set: the bits a limit must contain, and the flags the CPU must have."""

    name: str
    bits: frozenset[str]
    flags: frozenset[str]


def _level(name: str, bits: str, flags: str) -> _Level:
    return _Level(name, frozenset(bits.split()), frozenset(flags.split()))


_AVX2 = "sse41 avx avx2"
_CORE = f"{_AVX2} common evex"
_BF16 = f"{_CORE} evex_vnni bf16"
_AVX10 = f"{_BF16} vex_vnni fp16"
_CORE_FLAGS = "avx512f avx512bw avx512vl avx512dq"
_BF16_FLAGS = f"{_CORE_FLAGS} avx512_vnni avx512_bf16"
_FP16_FLAGS = f"{_BF16_FLAGS} avx512_fp16 avx_vnni avx2"
_AMX_FLAGS = "amx_tile amx_int8 amx_bf16"
_MIC_FLAGS = "avx512f avx512cd avx512er avx512pf"

# Best first: the order in which oneDNN asks. Flags are spelt as Linux spells them.
_SHARED = (
    _level("avx512_core_bf16", _BF16, _BF16_FLAGS),
    _level("avx512_core_vnni", f"{_CORE} evex_vnni", f"{_CORE_FLAGS} avx512_vnni"),
    _level("avx512_core", _CORE, _CORE_FLAGS),
)
_NEWEST = (
    _level(
        "avx512_core_amx_fp16", f"{_AVX10} amx amx_fp16", f"{_FP16_FLAGS} {_AMX_FLAGS} amx_fp16"
    ),
    _level("avx512_core_amx", f"{_AVX10} amx", f"{_FP16_FLAGS} {_AMX_FLAGS}"),
    _level("avx512_core_fp16", _AVX10, _FP16_FLAGS),
)
_VEX_VNNI = (
    _level(
        "avx2_vnni_2",
        f"{_AVX2} vex_vnni vex_vnni_2",
        "avx2 avx_vnni avx_vnni_int8 avx_ne_convert",
    ),
    _level("avx2_vnni", f"{_AVX2} vex_vnni", "avx2 avx_vnni"),
)
_OLD_AMX = (_level("avx512_core_amx", f"{_BF16} amx", f"{_BF16_FLAGS} {_AMX_FLAGS}"),)
_MIC = (
    _level(
        "avx512_mic_4ops",
        f"{_AVX2} common mic mic_4ops",
        f"{_MIC_FLAGS} avx512_4fmaps avx512_4vnniw",
    ),
    _level("avx512_mic", f"{_AVX2} common mic", _MIC_FLAGS),
    _level("avx512_common", f"{_AVX2} common", "avx512f"),
)
_LEAST = (
    _level("avx2", _AVX2, "avx2"),
    _level("avx", "sse41 avx", "avx"),
    _level("sse41", "sse41", "sse4_1"),
)
_ALIASES = {
    "avx10_1_512": "avx512_core_fp16",
    "avx10_1_512_amx": "avx512_core_amx",
    "avx10_1_512_amx_fp16": "avx512_core_amx_fp16",
}
# dnnl_cpu_isa_t of dnnl_types.h, version 3. Version 2.2 has the same numbers up to bfloat16; its
# 0 ("none of these") means avx512_common or no instruction set, so it is not read.
_MASKS = {
    0x1: "sse41",
    0x3: "avx",
    0x7: "avx2",
    0xF: "avx2_vnni",
    0x1F: "avx2_vnni_2",
    0x27: "avx512_core",
    0x67: "avx512_core_vnni",
    0xE7: "avx512_core_bf16",
    0x1EF: "avx512_core_fp16",
    0xFEF: "avx512_core_amx",
    0x1FEF: "avx512_core_amx_fp16",
}


def normal_arch(machine: str) -> str:
    """The architecture under one name: ``AMD64`` is ``x86_64``, ``arm64`` is ``aarch64``."""
    lower = machine.strip().lower() or UNKNOWN
    return {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}.get(lower, lower)


def simd_of_mask(mask: int) -> str:
    """The level of a ``dnnl_cpu_isa_t``, or ``""`` where the number does not say."""
    return _MASKS.get(mask, "")


def simd_level(cpu: CpuFeatures, variables: Mapping[str, str], *, onednn_version: str = "") -> str:
    """The instruction set that oneDNN may use, as its lower-case ISA name.

    A limit that oneDNN does not know is no limit, as in oneDNN. A limit cuts bits, not a rank:
    ``AVX2_VNNI`` leaves ``avx2`` on a CPU that has AVX-512 but no VNNI for AVX2.

    Args:
        cpu: The CPU.
        variables: Environment variables; empty for what the CPU has before any limit.
        onednn_version: Version of the library, e.g. ``3.10.1``; ``""`` follows version 3.

    Returns:
        E.g. ``sse41``, ``avx2``, ``avx512_core_bf16``; ``asimd``, ``sve256`` on aarch64; `GENERIC`
        where there is none of these; `UNKNOWN` when the flags are not known.
    """
    rules = OneDnnRules.of_version(onednn_version)
    if cpu.arch == "aarch64":
        return _arm_level(cpu, _limit_text(variables, rules))
    if cpu.arch != "x86_64":
        return GENERIC
    if not cpu.flags:
        return UNKNOWN
    levels = _x86_levels(rules)
    allowed = _allowed_bits(levels, rules, _limit_text(variables, rules))
    fitting = (one for one in levels if one.bits <= allowed and one.flags <= cpu.flags)
    return next((one.name for one in fitting), GENERIC)


def _x86_levels(rules: OneDnnRules) -> tuple[_Level, ...]:
    newest = _NEWEST if rules.has_avx10 else _OLD_AMX
    middle = _VEX_VNNI if rules.has_avx10 else ()
    return (*newest, *_SHARED, *(_MIC if rules.has_mic else ()), *middle, *_LEAST)


def _limit_text(variables: Mapping[str, str], rules: OneDnnRules) -> str:
    """The limit in lower case, ``""`` for none."""
    names = (f"{prefix}MAX_CPU_ISA" for prefix in rules.prefixes)
    text = next((value for name in names if (value := variables.get(name, ""))), "")
    if rules.any_case:
        return text.lower()
    return text.lower() if text == text.upper() else ""


def _allowed_bits(levels: tuple[_Level, ...], rules: OneDnnRules, limit: str) -> frozenset[str]:
    name = _ALIASES.get(limit, limit) if rules.has_avx10 else limit
    if not rules.has_avx10 and name == "avx2_vnni":
        name = "avx2"  # 2.x takes the limit but never reports the level
    # AMX is off in 2.x unless it is asked for by name.
    everything = frozenset().union(*(one.bits for one in levels)) - (
        frozenset() if rules.has_avx10 else {"amx"}
    )
    return next((one.bits for one in levels if one.name == name), everything)


def _arm_level(cpu: CpuFeatures, limit: str) -> str:
    if not cpu.flags:
        return UNKNOWN
    if "sve" not in cpu.flags or limit == "asimd":
        return "asimd" if "asimd" in cpu.flags else GENERIC
    if not cpu.sve_bits:
        return "sve"
    named = re.fullmatch("sve_(128|256|512)", limit)
    most = min(cpu.sve_bits, int(named[1])) if named else cpu.sve_bits
    return f"sve{next((bits for bits in (512, 256) if bits <= most), 128)}"
