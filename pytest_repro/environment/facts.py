"""Every fact that is recorded about an environment, and whether a difference changes bits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from fnmatch import fnmatchcase
from types import MappingProxyType

from pytest_repro.errors import EnvironmentFault
from pytest_repro.model.baseline import Fact
from pytest_repro.model.ids import EnvironmentKey
from pytest_repro.tensors.record import digest_text

KERNELS = "kernels"
"""The fact of a recorded environment that names the record of its kernel probe."""

IDENTITY = "host.identity"
"""The fact that keeps machines apart where a fact of the key cannot be read."""

PROJECT_PREFIX = "project."
"""What the names of facts from the hook ``pytest_repro_environment`` begin with."""


class BitEffect(str, Enum):
    """Under which keys a difference of a fact is known or documented to change results."""

    ALWAYS = "always"
    ON_CPU = "on cpu"
    ON_ONEDNN = "on cpu with mindspore"
    ON_NUMPY = "on numpy"
    ON_MINDSPORE = "on mindspore"
    ON_ASCEND = "on ascend"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class FactRule:
    """One fact.

    Attributes:
        name: Dotted lower-case name; ``*`` at the end means any rest.
        effect: Where a difference changes bits.
        reason: Why, with the evidence: measured, documented, or none.
        default: The documented default. A fact that changes bits and has another value adds to the
            suffix of the key.
        named: Whether the rest of the key says it already, so that the suffix need not.
    """

    name: str
    effect: BitEffect
    reason: str
    default: str = ""
    named: bool = False


_ALWAYS, _CPU, _ONEDNN = BitEffect.ALWAYS, BitEffect.ON_CPU, BitEffect.ON_ONEDNN
_NUMPY, _MINDSPORE, _NPU = BitEffect.ON_NUMPY, BitEffect.ON_MINDSPORE, BitEffect.ON_ASCEND
_NEVER = BitEffect.NEVER
_KERNELS = "selects other Ascend kernels (name read in MindSpore 2.10.0's libraries, not measured)"
_STREAM = "the noise itself: fixed draws; measured equal for numpy 1.26 to 2.4 on x86_64"
_KEYED = "named by the key"
_UNMEASURED = "no evidence that it does; not measured"
_CODE = "a new version is what a regression test is for: its drift is called code, not environment"
_HF32 = "HF32 keeps 11 bits of the mantissa (CANN --allow_hf32)"

# The first rule that fits decides, so names come before patterns. The suffix of a key is hashed in
# this order. A row that is added later changes only the keys of machines where its fact is not at
# its default; moving rows changes every suffix.
FACTS: tuple[FactRule, ...] = (
    FactRule(KERNELS, _NEVER, "a digest of results; the probe itself names what differs"),
    FactRule("canary.raw", _ALWAYS, _STREAM, default="4cb17211accf1791"),
    FactRule("canary.uniform", _ALWAYS, _STREAM, default="46166225a8115db1"),
    FactRule("canary.integers", _ALWAYS, _STREAM, default="2964b4e240bce4ee"),
    FactRule("canary.normal", _ALWAYS, _STREAM, default="73909d2549cb824f"),
    FactRule("canary.normal.float32", _ALWAYS, _STREAM, default="ea468a3034420c59"),
    FactRule(
        "cann.version",
        _NPU,
        "CANN documents: not equal between CANN versions or NPU models",
        named=True,
    ),
    FactRule("driver.version", _NPU, "has AICPU kernels of its own (aicpu_version in its file)"),
    FactRule("firmware.version", _NPU, "belongs to the driver; not measured"),
    FactRule("ascend.family", _NEVER, "follows from the exact SoC, which is in the key"),
    FactRule("ascend.conv_hf32", _NPU, _HF32),
    FactRule("ascend.matmul_hf32", _NPU, _HF32),
    FactRule("ascend.precision_mode", _NPU, "decides the dtype of operators (MindSpore's docs)"),
    FactRule("ascend.op_precision_mode", _NPU, "decides precision by operator (MindSpore's docs)"),
    FactRule(
        "cpu.l2_per_core_bytes",
        _CPU,
        "measured: oneDNN's gemm convolution blocks by it; 256 K, 512 K, 1 M and 2 M differ",
        named=True,
    ),
    FactRule("cpu.simd", _CPU, _KEYED, named=True),
    FactRule("cpu.cores", _CPU, _KEYED, named=True),
    FactRule(
        "cpu.simd_native",
        _NEVER,
        "numpy's key names it as cpu.simd; MindSpore's kernels follow the limit, not the CPU",
    ),
    FactRule("cpu.quota", _NEVER, _UNMEASURED),
    FactRule("cpu.model", _NEVER, "cache and instruction sets are facts of their own"),
    FactRule(
        "numpy.simd",
        _NUMPY,
        "measured: numpy's exp, sin, tanh change without AVX-512; follows from cpu.simd, "
        "numpy.version and NPY_DISABLE_CPU_FEATURES",
        named=True,
    ),
    FactRule(
        "onednn.version",
        _ONEDNN,
        "measured: UnCLIP differs between 2.2.0 and 3.10.1; follows from mindspore.version",
        named=True,
    ),
    FactRule(
        "host.arch",
        _NPU,
        "another libm and other CPU kernels beside the device",
        default="aarch64",
    ),
    FactRule(
        IDENTITY,
        _ALWAYS,
        "recorded only where a fact of the key cannot be read: two machines never share such a key",
    ),
    FactRule("os.*", _NEVER, "libm is covered by the canary; the rest: " + _UNMEASURED),
    FactRule("python.version", _NEVER, "Python computes nothing of a result"),
    FactRule("numpy.version", _NUMPY, _KEYED, named=True),
    FactRule("mindspore.version", _MINDSPORE, _KEYED, named=True),
    FactRule("mindspore.device", _NEVER, "the key names the device; its number changes nothing"),
    FactRule(
        "mindspore.mode",
        _NPU,
        "other kernels and fusions; on CPU measured equal",
        default="PYNATIVE",
    ),
    FactRule("mindspore.jit_level", _NPU, "other kernels and fusions; on CPU measured equal"),
    FactRule(
        "mindspore.deterministic",
        _NPU,
        "CANN lists forward operators that change; on CPU measured equal; pytest-repro sets ON",
        default="ON",
    ),
    FactRule(
        "mindspore.dispatch_threads",
        _ONEDNN,
        "measured: 1, 2 and the default differ on DDIM; MindSpore does not give the number back, "
        "so a number that a project sets belongs in its fact bits.dispatch_threads",
        default="default",
    ),
    FactRule(
        "mindspore.mint_cpu",
        _ONEDNN,
        "measured: a composition of operators rounds otherwise than a native kernel",
    ),
    FactRule("mindspore.op_threads", _NEVER, "measured: 1, 2 and 8 agree"),
    FactRule("mindone.version", _NEVER, _CODE),
    FactRule("mindone.commit", _NEVER, _CODE),
    FactRule("transformers.version", _NEVER, _CODE),
    FactRule("torch.version", _NEVER, "the framework key names it; the build was not measured"),
    FactRule("diffusers.version", _NEVER, _CODE),
    FactRule("code.*", _NEVER, _CODE),
    FactRule("env.onednn_default_fpmath_mode", _ONEDNN, "oneDNN documents: rounds inputs down"),
    FactRule("env.dnnl_default_fpmath_mode", _ONEDNN, "oneDNN documents: rounds inputs down"),
    FactRule("env.onednn_cpu_isa_hints", _ONEDNN, "oneDNN documents: prefers other kernels"),
    FactRule("env.dnnl_cpu_isa_hints", _ONEDNN, "oneDNN documents: prefers other kernels"),
    FactRule("env.npy_disable_cpu_features", _NUMPY, "measured: numpy's exp, sin, tanh change"),
    FactRule("env.openblas_coretype", _NUMPY, "measured: float32 and float64 products change"),
    FactRule(
        "env.hccl_deterministic",
        _NPU,
        "CANN documents: order of reductions; MindSpore sets it with its switch",
        default="true",
    ),
    FactRule("env.lccl_deterministic", _NPU, "CANN documents: order of reductions"),
    FactRule("env.acl_opt_deterministic", _NPU, "CANN documents: deterministic operators"),
    FactRule("env.atb_matmul_shuffle_k_enable", _NPU, "vllm-ascend FAQ: order of accumulation"),
    FactRule("env.atb_llm_lcoc_enable", _NPU, "vllm-ascend FAQ: order of accumulation"),
    FactRule("env.ms_enable_internal_boost", _NPU, _KERNELS),
    FactRule("env.ms_internal_enable_custom_kernel_list", _NPU, _KERNELS),
    FactRule("env.ms_internal_disable_custom_kernel_list", _NPU, _KERNELS),
    FactRule("env.ms_enable_aclnn", _NPU, _KERNELS),
    FactRule("env.onednn_*", _NEVER, "MAX_CPU_ISA is in the key; of the rest: " + _UNMEASURED),
    FactRule("env.dnnl_*", _NEVER, "MAX_CPU_ISA is in the key; of the rest: " + _UNMEASURED),
    FactRule(
        "env.omp_num_threads",
        _NUMPY,
        "measured: numpy's products change; 1, 2 and 4 agree on DDIM and UnCLIP under MindSpore",
    ),
    FactRule("env.openblas_num_threads", _NUMPY, "measured: numpy's products change"),
    FactRule("env.glibc_tunables", _NEVER, "measured: 37 operators agree without AVX2 and FMA"),
    FactRule("env.*", _NEVER, _UNMEASURED),
    FactRule("project.bits.*", _ALWAYS, "the project's hook or its repro_key_facts says so"),
    FactRule("project.*", _NEVER, "the project's hook says so"),
)

_EXACT = MappingProxyType({rule.name: rule for rule in FACTS if not rule.name.endswith("*")})
_PATTERNS = tuple(rule for rule in FACTS if rule.name.endswith("*"))
_NEEDED = (
    ("cpu-", ("cpu.l2_per_core_bytes", "cpu.simd")),
    ("ascend", ("cann.version", "driver.version")),
)
_SUFFIX_DIGITS = 6
_NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_-]+)+")


def changes_bits(name: str, key: EnvironmentKey) -> bool:
    """Whether a difference of fact ``name`` is known or documented to change results under ``key``.

    Raises:
        EnvironmentFault: `FACTS` has no rule for the name.
    """
    return _has_effect(_rule(name), key)


def not_at_default(
    facts: Iterable[tuple[str, str]], key: EnvironmentKey
) -> tuple[tuple[str, str], ...]:
    """The facts that the suffix of ``key`` is made from, in the order of `FACTS`, then by name.

    Args:
        facts: Names and values.
        key: Hardware and framework; a suffix that it has already does not matter.
    """
    ruled = [(rule, fact) for fact in facts if (rule := _rule_or_none(fact[0])) is not None]
    ruled.sort(key=lambda one: (FACTS.index(one[0]), one[1]))
    return tuple(
        fact
        for rule, fact in ruled
        if _has_effect(rule, key) and not rule.named and fact[1] != rule.default
    )


def unread_facts(facts: Iterable[tuple[str, str]], key: EnvironmentKey) -> tuple[str, ...]:
    """The facts that tell machines of this hardware apart and could not be read."""
    known = {name for name, value in facts if value not in ("", "unknown")}
    return tuple(
        name
        for hardware, names in _NEEDED
        if key.hardware.startswith(hardware)
        for name in names
        if name not in known
    )


def default_of(name: str) -> str:
    """The documented default of a fact.

    Raises:
        EnvironmentFault: `FACTS` has no rule for the name.
    """
    return _rule(name).default


def complete_key(key: EnvironmentKey, facts: Iterable[tuple[str, str]]) -> EnvironmentKey:
    """``key`` with the suffix that these facts give it; none where all are at their default."""
    found = not_at_default(facts, key)
    if not found:
        return key
    text = "\n".join(f"{name}={value}" for name, value in found)
    return EnvironmentKey(key.hardware, f"{key.framework}~{digest_text(text)[:_SUFFIX_DIGITS]}")


def make_fact(name: str, value: str, key: EnvironmentKey) -> Fact:
    """A fact with the effect that `FACTS` gives it under ``key``.

    Raises:
        EnvironmentFault: `FACTS` has no rule for the name.
    """
    return Fact(name, value, changes_bits(name, key))


def project_facts(extra: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Names and values from the hook, sorted, each name below ``project.``.

    A name without that prefix gets it, so that a project cannot replace a fact that was seen;
    ``bits.custom_ops`` becomes ``project.bits.custom_ops``, a fact that changes bits.

    Raises:
        EnvironmentFault: A name or value is not text of the right form, or two names become one.
    """
    named: dict[str, str] = {}
    for given, value in sorted(extra.items()):
        name = given if given.startswith(PROJECT_PREFIX) else PROJECT_PREFIX + given
        if not _NAME.fullmatch(name) or not isinstance(value, str):
            raise EnvironmentFault(
                f"pytest_repro_environment gave the fact {given!r}: {value!r}",
                next_step="name it in lower-case letters, digits, dots, _ and -; its value is text",
            )
        if name in named:
            raise EnvironmentFault(
                f"pytest_repro_environment gave the fact {name!r} twice",
                facts=(f"values: {named[name]!r}, {value!r}",),
            )
        named[name] = value
    return tuple(named.items())


def chosen_facts(names: Iterable[str], recorded: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The facts that ``repro_key_facts`` names, once more as facts that change bits.

    ``mindone.version`` becomes ``project.bits.mindone.version``, so that the suffix of a stored key
    follows from the stored facts alone.

    Raises:
        EnvironmentFault: No fact of that name is recorded here.
    """
    for name in names:
        if name not in recorded:
            near = get_close_matches(name, recorded, 3)
            raise EnvironmentFault(
                f"repro_key_facts names {name!r}, which is no recorded fact",
                facts=(f"near it: {', '.join(near)}",) if near else (),
                next_step="pytest-repro env --json, without the setting, names every fact",
            )
    return tuple((f"{PROJECT_PREFIX}bits.{name}", recorded[name]) for name in names)


def _has_effect(rule: FactRule, key: EnvironmentKey) -> bool:
    is_cpu, is_numpy = key.hardware.startswith("cpu-"), key.framework.startswith("numpy-")
    return {
        BitEffect.ALWAYS: True,
        BitEffect.ON_CPU: is_cpu,
        BitEffect.ON_ONEDNN: is_cpu and not is_numpy,
        BitEffect.ON_NUMPY: is_numpy,
        BitEffect.ON_MINDSPORE: not is_numpy,
        BitEffect.ON_ASCEND: key.hardware.startswith("ascend"),
        BitEffect.NEVER: False,
    }[rule.effect]


def _rule_or_none(name: str) -> FactRule | None:
    return _EXACT.get(name) or next(
        (rule for rule in _PATTERNS if fnmatchcase(name, rule.name)), None
    )


def _rule(name: str) -> FactRule:
    found = _rule_or_none(name)
    if found is None:
        raise EnvironmentFault(
            f"no rule says whether the fact {name!r} changes bits",
            next_step="add it to FACTS in pytest_repro/environment/facts.py with its evidence",
        )
    return found
