"""Facts about the host: CPU, cores, system, environment variables, packages, git."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pytest_repro.core.environment import cpu_key, simd_level

__all__ = ["Host"]

_PACKAGES = ("numpy", "mindspore", "mindone", "transformers", "safetensors", "ml_dtypes", "pytest")
_PREFIXES = ("ONEDNN_", "DNNL_", "OMP_", "MS_", "HCCL_", "LCCL_", "ATB_", "ASCEND_", "ACL_", "TE_")
# Paths and device numbers differ from run to run and say nothing about results.
_UNTOLD = frozenset({"ASCEND_HOME_PATH", "ASCEND_RT_VISIBLE_DEVICES", "ASCEND_SLOG_PRINT_TO_STDOUT"})
_GIT_TIMEOUT_S = 5


@dataclass(frozen=True, slots=True)
class Host:
    """The host as files, variables and calls show it; every source can be handed in.

    Attributes:
        environ: Environment variables.
        cpuinfo: Text of ``/proc/cpuinfo``; ``""`` elsewhere.
        arch: Machine name.
        cores: Cores that this process may run on.
    """

    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    cpuinfo: str = field(default_factory=lambda: _read(Path("/proc/cpuinfo")))
    arch: str = field(default_factory=platform.machine)
    cores: int = field(default_factory=lambda: _visible_cores())

    def simd(self) -> str:
        """The SIMD level that oneDNN may use here."""
        limit = self.environ.get("ONEDNN_MAX_CPU_ISA") or self.environ.get("DNNL_MAX_CPU_ISA", "")
        return simd_level(self.arch, self.flags(), limit)

    def cpu_key(self) -> str:
        """The hardware key of this CPU."""
        return cpu_key(self.arch, self.simd(), self.cores)

    def flags(self) -> frozenset[str]:
        """The CPU's flags; x86 calls the line ``flags``, ARM ``Features``."""
        for line in self.cpuinfo.splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("flags", "Features"):
                return frozenset(value.split())
        return frozenset()

    def model(self) -> str:
        """The CPU's name, or ``""``."""
        for line in self.cpuinfo.splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
        return ""

    def facts(self, root: Path) -> dict[str, str]:
        """Every fact about the host, by name."""
        return {
            "host.arch": self.arch,
            "host.cpu": self.model(),
            "host.cores": str(self.cores),
            "host.simd": self.simd(),
            "host.simd_native": simd_level(self.arch, self.flags()),
            "host.os": f"{platform.system()} {platform.release()}",
            "python.version": platform.python_version(),
            **dict(_packages()),
            **dict(self._variables()),
            **_git(root),
        }

    def _variables(self) -> Iterator[tuple[str, str]]:
        for name, value in self.environ.items():
            if name.startswith(_PREFIXES) and name not in _UNTOLD:
                yield f"env.{name}", value


def _packages() -> Iterator[tuple[str, str]]:
    for name in _PACKAGES:
        try:
            yield f"{name}.version", version(name)
        except PackageNotFoundError:
            yield f"{name}.version", ""


def _visible_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _git(root: Path) -> dict[str, str]:
    commit = _git_output(root, "rev-parse", "HEAD")
    if not commit:
        return {"git.commit": "", "git.dirty": ""}
    # Recorded baselines themselves must not make the code under test look changed.
    changes = _git_output(root, "status", "--porcelain", "--untracked-files=no", "--", "*.py")
    return {"git.commit": commit, "git.dirty": "yes" if changes else "no"}


def _git_output(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_GIT_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
