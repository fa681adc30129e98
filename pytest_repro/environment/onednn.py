"""What the oneDNN library inside MindSpore says of itself."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path

from pytest_repro.environment.simd import simd_of_mask

__all__ = ["OneDnn", "find_library", "probe"]


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
