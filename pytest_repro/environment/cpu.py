"""The part of a key that the CPU makes."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_repro.environment import host
from pytest_repro.environment.key import cpu_key
from pytest_repro.environment.simd import simd_level, simd_of_mask


@dataclass(frozen=True, slots=True)
class SeenCpu:
    """The hardware part of a key, and the facts that were read on the way to it."""

    hardware: str
    facts: tuple[tuple[str, str], ...]


def see_cpu(
    variables: Mapping[str, str], *, onednn_version: str = "", onednn_simd: str = ""
) -> SeenCpu:
    """See the CPU.

    Args:
        variables: Environment variables, of which some limit the instruction sets.
        onednn_version: Of the library that will compute; ``""`` without one.
        onednn_simd: What that library answers when asked for its level; ``""`` if it cannot be.
    """
    cpu, cores = host.read_cpu(), host.allowed_core_count()
    simd = onednn_simd or simd_level(cpu.features, variables, onednn_version=onednn_version)
    native = simd_level(cpu.features, {}, onednn_version=onednn_version)
    facts = (
        ("cpu.cores", str(cores)),
        ("cpu.l2_per_core_bytes", str(cpu.l2_per_core_bytes or "")),
        ("cpu.model", cpu.model),
        ("cpu.simd", simd),
        ("cpu.simd_native", native),
    )
    return SeenCpu(cpu_key(cpu.features.arch, simd, cores, cpu.l2_per_core_bytes), facts)


@dataclass(frozen=True, slots=True)
class OneDnn:
    """A loaded oneDNN.

    Attributes:
        version: E.g. ``3.10.1``.
        simd: The instruction set it will use; ``""`` when its answer is none that we know.
    """

    version: str
    simd: str


class _Version(ctypes.Structure):
    # The leading members of dnnl_version_t (dnnl_common_types.h); the rest is not read.
    _fields_ = (("major", ctypes.c_int), ("minor", ctypes.c_int), ("patch", ctypes.c_int))


def find_library(package: Path) -> Path | None:
    """The oneDNN library in MindSpore's package folder, if it carries one (its CPU kernels do)."""
    return next(iter(sorted((package / "lib").glob("libdnnl.so.*"))), None)


def probe(library: Path, *, with_simd: bool = True) -> OneDnn | None:
    """Ask a oneDNN library; ``None`` when it cannot be loaded or does not know the questions.

    Asking for the instruction set makes the library read its variables for good, as its first
    kernel would: what it answers stays true for this process.

    Args:
        library: The file. One that MindSpore has loaded is not loaded again.
        with_simd: Whether to ask for the instruction set.
    """
    try:
        loaded = ctypes.CDLL(str(library))
        ask_version, ask_simd = loaded.dnnl_version, loaded.dnnl_get_effective_cpu_isa
    except (OSError, AttributeError):
        return None
    ask_version.restype = ctypes.POINTER(_Version)
    said = ask_version().contents
    simd = simd_of_mask(int(ask_simd())) if with_simd else ""
    return OneDnn(f"{said.major}.{said.minor}.{said.patch}", simd)
