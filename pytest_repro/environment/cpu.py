"""The part of a key that the CPU makes, and all of it where numpy alone computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pytest_repro.environment import host
from pytest_repro.environment.key import cpu_key, framework_key
from pytest_repro.environment.simd import simd_level
from pytest_repro.model.ids import EnvironmentKey

__all__ = ["SeenCpu", "numpy_key", "see_cpu"]


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
    return SeenCpu(cpu_key(cpu.features.arch, simd, cores), facts)


def numpy_key(variables: Mapping[str, str]) -> EnvironmentKey:
    """The key of an environment without another framework, as `observe_environment` makes it."""
    return EnvironmentKey(see_cpu(variables).hardware, framework_key("numpy", np.__version__))
