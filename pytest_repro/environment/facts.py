"""Every fact that is recorded about an environment, and whether a difference changes bits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from types import MappingProxyType

from pytest_repro.errors import EnvironmentFault
from pytest_repro.model.baseline import Fact
from pytest_repro.model.ids import EnvironmentKey

KERNELS = "kernels"
"""The fact of a recorded environment that names the record of its kernel probe."""

PROJECT_PREFIX = "project."
"""What the names of facts from the hook ``pytest_repro_environment`` begin with."""


class BitEffect(str, Enum):
    """Under which keys a difference of a fact is known or documented to change results."""

    ALWAYS = "always"
    ON_CPU = "on cpu"
    ON_ASCEND = "on ascend"
    ON_NUMPY = "on numpy"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class FactRule:
    """One fact.

    Attributes:
        name: Dotted lower-case name; ``*`` at the end stands for any rest.
        effect: Where a difference changes bits.
        reason: Why, with the evidence: measured, documented, or none.
    """

    name: str
    effect: BitEffect
    reason: str


_ALWAYS, _CPU, _NPU = BitEffect.ALWAYS, BitEffect.ON_CPU, BitEffect.ON_ASCEND
_NUMPY, _NEVER = BitEffect.ON_NUMPY, BitEffect.NEVER
_KERNELS = "selects other Ascend kernels (name read in MindSpore 2.10.0's libraries, not measured)"
_KEYED = "part of the key"
_UNMEASURED = "no evidence that it does; not measured"
_CODE = "a new version is what a regression test is for: its drift is called code, not environment"

# The first rule that fits decides, so names stand before patterns.
FACTS: tuple[FactRule, ...] = (
    FactRule("canary.*", _ALWAYS, "the noise itself: fixed draws of the stream"),
    FactRule(KERNELS, _NEVER, "a digest of results; the probe itself names what differs"),
    FactRule("cann.version", _NPU, "CANN documents: not equal between CANN versions or NPU models"),
    FactRule(
        "driver.version", _NPU, "carries AICPU kernels of its own (aicpu_version in its file)"
    ),
    FactRule("firmware.version", _NPU, "belongs to the driver; not measured"),
    FactRule("ascend.family", _NEVER, "follows from the exact SoC, which is in the key"),
    FactRule("ascend.conv_hf32", _NPU, "HF32 keeps 11 bits of the mantissa (CANN --allow_hf32)"),
    FactRule("ascend.matmul_hf32", _NPU, "HF32 keeps 11 bits of the mantissa (CANN --allow_hf32)"),
    FactRule("ascend.precision_mode", _NPU, "decides the dtype of operators (MindSpore's docs)"),
    FactRule("ascend.op_precision_mode", _NPU, "decides precision by operator (MindSpore's docs)"),
    FactRule(
        "cpu.l2_per_core_bytes",
        _CPU,
        "measured: oneDNN's gemm convolution blocks by it; 256 K, 512 K, 1 M and 2 M differ",
    ),
    FactRule(
        "cpu.simd_native",
        _NUMPY,
        "measured: numpy's exp and tanh change; MindSpore's do not once oneDNN is limited",
    ),
    FactRule("cpu.simd", _NEVER, _KEYED),
    FactRule("cpu.cores", _NEVER, _KEYED),
    FactRule("cpu.quota", _NEVER, _UNMEASURED),
    FactRule("cpu.model", _NEVER, "cache and instruction sets are facts of their own"),
    FactRule("numpy.simd", _NUMPY, "measured: numpy's exp, sin, tanh change without AVX-512"),
    FactRule("onednn.version", _CPU, "measured: UnCLIP differs between 2.2.0 and 3.10.1"),
    FactRule("host.arch", _NPU, "another libm and other CPU kernels beside the device"),
    FactRule("os.*", _NEVER, "libm is covered by the canary; the rest: " + _UNMEASURED),
    FactRule("python.version", _NEVER, "Python computes nothing of a result"),
    FactRule("numpy.version", _NEVER, "the ledger and the canary prove the noise"),
    FactRule("mindspore.version", _NEVER, _KEYED),
    FactRule("mindspore.device", _NEVER, _KEYED),
    FactRule("mindspore.mode", _NPU, "other kernels and fusions; on CPU measured equal"),
    FactRule("mindspore.jit_level", _NPU, "other kernels and fusions; on CPU measured equal"),
    FactRule(
        "mindspore.deterministic",
        _NPU,
        "CANN lists forward operators that change; on CPU measured equal",
    ),
    FactRule("mindspore.dispatch_threads", _CPU, "measured: 1, 2 and the default differ on DDIM"),
    FactRule("mindspore.op_threads", _NEVER, "measured: 1, 2 and 8 agree"),
    FactRule("mindone.version", _NEVER, _CODE),
    FactRule("mindone.commit", _NEVER, _CODE),
    FactRule("transformers.version", _NEVER, _CODE),
    FactRule("code.*", _NEVER, _CODE),
    FactRule("env.onednn_default_fpmath_mode", _CPU, "oneDNN documents: lets it round inputs down"),
    FactRule("env.dnnl_default_fpmath_mode", _CPU, "oneDNN documents: lets it round inputs down"),
    FactRule("env.onednn_cpu_isa_hints", _CPU, "oneDNN documents: prefers other kernels"),
    FactRule("env.dnnl_cpu_isa_hints", _CPU, "oneDNN documents: prefers other kernels"),
    FactRule("env.npy_disable_cpu_features", _NUMPY, "measured: numpy's exp, sin, tanh change"),
    FactRule("env.openblas_coretype", _NUMPY, "measured: float32 and float64 products change"),
    FactRule("env.hccl_deterministic", _NPU, "CANN documents: order of reductions"),
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
    FactRule("project.bits.*", _ALWAYS, "the project's hook says so"),
    FactRule("project.*", _NEVER, "the project's hook says so"),
)

_EXACT = MappingProxyType({rule.name: rule for rule in FACTS if not rule.name.endswith("*")})
_PATTERNS = tuple(rule for rule in FACTS if rule.name.endswith("*"))
_NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_-]+)+")


def is_in_key(name: str) -> bool:
    """Whether the key holds the fact, so that another value of it is another folder."""
    return any(rule.name == name and rule.reason == _KEYED for rule in FACTS)


def changes_bits(name: str, key: EnvironmentKey) -> bool:
    """Whether a difference of fact ``name`` is known or documented to change results under ``key``.

    Raises:
        EnvironmentFault: `FACTS` has no rule for the name.
    """
    effect = _rule(name).effect
    if effect is BitEffect.ON_NUMPY:
        return key.framework.startswith("numpy-")
    if effect is BitEffect.ON_CPU:
        # numpy never calls oneDNN, whose limits these are.
        return key.hardware.startswith("cpu-") and not key.framework.startswith("numpy-")
    if effect is BitEffect.ON_ASCEND:
        return key.hardware.startswith("ascend")
    return effect is BitEffect.ALWAYS


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


def _rule(name: str) -> FactRule:
    found = _EXACT.get(name) or next(
        (rule for rule in _PATTERNS if fnmatchcase(name, rule.name)), None
    )
    if found is None:
        raise EnvironmentFault(
            f"no rule says whether the fact {name!r} changes bits",
            next_step="add it to FACTS in pytest_repro/core/facts.py with its evidence",
        )
    return found
