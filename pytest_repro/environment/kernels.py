"""The kernel probe: the bits of single operators on fixed inputs.

It never decides a verdict. It says which operators differ between two environments, and whether
each repeats itself on this machine.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_repro.environment.facts import KERNELS
from pytest_repro.errors import CorruptBaseline
from pytest_repro.frameworks.framework import FrameworkAdapter, default_framework
from pytest_repro.frameworks.kernels import Kernel, Shape, mindspore_kernels, numpy_kernels
from pytest_repro.model.baseline import Environment, Fact
from pytest_repro.model.ids import Digest
from pytest_repro.tensors.dtypes import DTYPES
from pytest_repro.tensors.record import digest_text, make_record

_CPU_DTYPES = ("float32", "float16")
_UNSUPPORTED = (RuntimeError, TypeError, ValueError, AttributeError)
"""How MindSpore says that a device has no kernel for a dtype."""

Kernels = Mapping[str, Digest]
"""By ``operator.dtype``, sorted; what this device cannot compute is left out."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Operators and how their results become arrays.

    Attributes:
        kernels: What is computed.
        dtypes: In which dtypes.
        adapter: The framework; ``None`` for numpy alone.
    """

    kernels: tuple[Kernel, ...]
    dtypes: tuple[str, ...] = _CPU_DTYPES
    adapter: FrameworkAdapter | None = None

    def measure(self) -> Kernels:
        """The digest of every operator and dtype; takes below two seconds on two cores."""
        with np.errstate(all="ignore"):  # a project may raise on underflow
            return dict(sorted(self._measured()))

    def _measured(self) -> Iterator[tuple[str, Digest]]:
        for kernel in self.kernels:
            for dtype in self.dtypes:
                digest = self._digest(kernel, dtype)
                if digest is not None:
                    yield f"{kernel.name}.{dtype}", digest

    def _digest(self, kernel: Kernel, dtype: str) -> Digest | None:
        arrays = [
            _input(kernel.name, number, shape).astype(DTYPES[dtype].numpy)
            for number, shape in enumerate(kernel.shapes)
        ]
        try:
            return make_record(self._array(kernel, arrays)).digest
        except _UNSUPPORTED:
            return None

    def _array(self, kernel: Kernel, arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
        if self.adapter is None:
            return np.asarray(kernel.run(*arrays))
        return self.adapter.to_numpy(kernel.run(*map(self.adapter.from_numpy, arrays)))


def _input(name: str, number: int, shape: Shape) -> NDArray[np.float32]:
    seed = zlib.crc32(f"{name} {number}".encode())
    return np.random.Generator(np.random.PCG64(seed)).standard_normal(shape, dtype=np.float32)


def probe_of(framework: str, adapter: FrameworkAdapter) -> Probe:
    """The probe of ``mindspore`` or ``numpy``; imports the framework."""
    if framework == "mindspore":
        # MindSpore's CPU kernels know bfloat16 for little more than additions.
        on_cpu = adapter.device()[0] == "CPU"
        dtypes = _CPU_DTYPES if on_cpu else (*_CPU_DTYPES, "bfloat16")
        return Probe(mindspore_kernels(), dtypes, adapter)
    return Probe(numpy_kernels())


@functools.cache
def kernels_here(framework: str) -> Kernels:
    """The kernels of this process, measured once."""
    return probe_of(framework, default_framework()).measure()


def differing(first: Kernels, second: Kernels) -> tuple[str, ...]:
    """The operators that both sides have and whose bits differ, sorted."""
    return tuple(sorted(name for name in first if second.get(name, first[name]) != first[name]))


def with_kernels(environment: Environment, kernels: Kernels) -> Environment:
    """The environment with a fact that names its kernels, where there are any."""
    if not kernels:
        return environment
    fact = Fact(KERNELS, str(digest_kernels(kernels)))
    return replace(environment, facts=tuple(sorted((*environment.facts, fact), key=_by_name)))


def _by_name(fact: Fact) -> str:
    return fact.name


def named_kernels(environment: Environment) -> Digest | None:
    """The digest of the record with the kernels of a recorded environment, if it has one."""
    text = environment.value(KERNELS)
    return Digest(text) if text else None


def kernel_rows(kernels: Kernels) -> tuple[tuple[str, str], ...]:
    """The kernels as rows of a record."""
    return tuple(sorted((name, str(digest)) for name, digest in kernels.items()))


def digest_kernels(kernels: Kernels) -> Digest:
    """SHA-256 over all names and digests."""
    return digest_text("\n".join(f"{name} {digest}" for name, digest in kernel_rows(kernels)))


def kernels_from_rows(rows: Iterable[Sequence[Any]]) -> Kernels:
    """What `kernel_rows` was given.

    Raises:
        CorruptBaseline: They are not such rows.
    """
    try:
        return {str(name): Digest(str(digest)) for name, digest in rows}
    except (TypeError, ValueError) as fault:
        raise CorruptBaseline(
            "a stored record of kernels cannot be read", facts=(str(fault),)
        ) from fault
