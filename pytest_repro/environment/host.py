"""What this machine and its Python are: CPU, cores, system, packages, variables, git commit.

Everything is read through arguments (folders, mappings), so that texts recorded on other machines
can be read too. Off Linux, what cannot be read is ``""`` or `simd.UNKNOWN`; nothing is guessed.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_repro.environment.simd import CpuFeatures, normal_arch
from pytest_repro.tensors.record import digest_text

_PREFIXES = (
    *("ONEDNN_", "DNNL_", "OMP_", "KMP_", "GOMP_", "OPENBLAS_", "MKL_", "NPY_", "GLIBC_TUNABLES"),
    *("MS_", "MINDSPORE_", "HCCL_", "LCCL_", "ATB_", "ASCEND_", "ACL_", "TE_", "CUDA_VISIBLE"),
)
# MindSpore's import writes the first, a time. The second names the device of a worker; workers with
# different devices record the same bytes.
_UNRECORDED = frozenset({"HCCL_CONNECT_TIMEOUT", "ASCEND_RT_VISIBLE_DEVICES"})
# Baselines are committed, so nothing that may be a secret is ever written into one.
_SECRET = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|LICEN[CS]E|AUTH|(^|_)KEY(_|$)")
# Variables that change bits: recorded even when unset, so that setting one is a difference.
_ALWAYS_RECORDED = (
    *("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"),
    *("ONEDNN_CPU_ISA_HINTS", "DNNL_CPU_ISA_HINTS"),
    *("NPY_DISABLE_CPU_FEATURES", "OPENBLAS_CORETYPE", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"),
    *("HCCL_DETERMINISTIC", "LCCL_DETERMINISTIC", "ACL_OPT_DETERMINISTIC"),
    *("ATB_MATMUL_SHUFFLE_K_ENABLE", "ATB_LLM_LCOC_ENABLE"),
    *("MS_ENABLE_INTERNAL_BOOST", "MS_ENABLE_ACLNN"),
    *("MS_INTERNAL_ENABLE_CUSTOM_KERNEL_LIST", "MS_INTERNAL_DISABLE_CUSTOM_KERNEL_LIST"),
)
_MACHINE_IDS = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
_IDENTITY_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Cpu:
    """The CPU of this machine.

    Attributes:
        features: Architecture and flags.
        model: What it calls itself; ``""`` when unknown.
        l2_per_core_bytes: Size of the second-level cache that falls to one core; 0 when unknown.
    """

    features: CpuFeatures
    model: str
    l2_per_core_bytes: int


def read_cpu(
    *, proc: Path = Path("/proc"), sys: Path = Path("/sys"), machine: str | None = None
) -> Cpu:
    """Read the CPU's flags, name and second-level cache.

    Args:
        proc: The folder to read as ``/proc``.
        sys: The folder to read as ``/sys``.
        machine: Architecture; by default this machine's.
    """
    text = _text(proc / "cpuinfo")
    arch = normal_arch(machine if machine is not None else platform.machine())
    flags = frozenset(_field(text, "flags").split()) | frozenset(_field(text, "Features").split())
    sve_bytes = _text(proc / "sys/abi/sve_default_vector_length").strip()
    sve_bits = 8 * int(sve_bytes) if sve_bytes.isdigit() and "sve" in flags else 0
    model = _field(text, "model name") or _arm_model(text)
    return Cpu(CpuFeatures(arch, flags, sve_bits), model, _l2_per_core_bytes(sys))


def allowed_core_count() -> int:
    """Cores this process may run on: its affinity mask, or all cores where there is none."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_quota_cores(*, cgroup: Path = Path("/sys/fs/cgroup")) -> str:
    """The control group's limit of CPU time in cores, e.g. ``1.5``; ``""`` when there is none.

    Reads ``cpu.max`` (version 2) or ``cpu/cpu.cfs_quota_us`` (version 1) of the mounted root, which
    inside a container is the container's own group.
    """
    fields = _text(cgroup / "cpu.max").split()
    if len(fields) != 2:
        names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        fields = [_text(cgroup / "cpu" / name).strip() for name in names]
    quota, period = fields
    if not quota.isdigit() or not period.isdigit() or int(period) == 0:
        return ""
    return f"{int(quota) / int(period):g}"


def system_facts() -> tuple[tuple[str, str], ...]:
    """Names and values of what the operating system and Python are."""
    libc_name, libc_version = platform.libc_ver()
    return (
        ("host.arch", normal_arch(platform.machine())),
        ("os.kernel", platform.release()),
        ("os.libc", f"{libc_name} {libc_version}".strip()),
        ("os.name", _distribution_name() or platform.system()),
        ("python.version", platform.python_version()),
    )


def machine_identity(
    model: str, *, files: Sequence[Path] = _MACHINE_IDS, node: str | None = None
) -> str:
    """A hash that tells this machine from others, for keys with a fact that cannot be read.

    A container without a machine id has its host name, so that a new container is a new machine.

    Args:
        model: What the CPU calls itself.
        files: Where systemd and D-Bus keep the machine id.
        node: The host name; by default this machine's.
    """
    number = next((text for path in files if (text := _text(path).strip())), "")
    name = platform.node() if node is None else node
    return digest_text(f"{number}\n{name}\n{model}")[:_IDENTITY_DIGITS]


def recorded_variables(variables: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The environment variables that concern results, as ``env.<name in lower case>``, sorted.

    Those known to change bits are recorded with ``""`` when unset; nothing that may be a secret is.
    """
    wanted = {
        name: value
        for name, value in variables.items()
        if name.startswith(_PREFIXES) and name not in _UNRECORDED and not _SECRET.search(name)
    }
    unset = {name: "" for name in _ALWAYS_RECORDED if name not in wanted}
    return tuple(sorted((f"env.{name.lower()}", text) for name, text in (wanted | unset).items()))


def _l2_per_core_bytes(sys: Path) -> int:
    """The size divided by the processors that share the cache, as oneDNN divides it."""
    for index in sorted(sys.glob("devices/system/cpu/cpu0/cache/index*")):
        if _text(index / "level").strip() == "2":
            size = re.fullmatch(r"([0-9]+)K", _text(index / "size").strip())
            sharing = _count_of_list(_text(index / "shared_cpu_list").strip())
            return int(size[1]) * 1024 // sharing if size and sharing else 0
    return 0


def _count_of_list(text: str) -> int:
    """How many numbers ``0-3,8`` names; 0 when it is no such list."""
    if not re.fullmatch(r"[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*", text):
        return 0
    ends = [[int(end) for end in part.split("-")] for part in text.split(",")]
    return sum(pair[-1] - pair[0] + 1 for pair in ends)


def _arm_model(text: str) -> str:
    """Arm gives numbers instead of a name: the implementer (0x48 is HiSilicon) and the part."""
    implementer, part = _field(text, "CPU implementer"), _field(text, "CPU part")
    return f"implementer {implementer} part {part}" if implementer and part else ""


def _field(text: str, name: str) -> str:
    found = re.search(rf"^{re.escape(name)}[ \t]*:[ \t]*(.*)$", text, re.MULTILINE)
    return found[1].strip() if found else ""


def _distribution_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
