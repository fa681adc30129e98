"""Ids, digests, tensor records and the draw log: what an exact check needs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, NewType

if TYPE_CHECKING:
    from numpy.typing import NDArray


Digest = NewType("Digest", str)
"""SHA-256 in lower-case hex (64 characters) over dtype, shape and bytes; never over a file."""


class CheckId(NamedTuple):
    """Identity of a check: test module (POSIX path from the root folder), test, name.

    ``test`` is the rest of pytest's node id, with classes and parameters
    (``TestDdim::test_fast[float16]``).
    """

    module: str
    test: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}::{self.test}::{self.name}"

    @property
    def entry(self) -> str:
        """The id inside a module's manifest."""
        return f"{self.test}::{self.name}"


class EnvironmentKey(NamedTuple):
    """The part of an environment that selects a baseline, e.g. ``cpu-x86_64-avx2-2c-l2_512k`` and
    ``mindspore-2.10.0``. It contains every fact that is known to change bits.
    """

    hardware: str
    framework: str

    def __str__(self) -> str:
        return f"{self.hardware}/{self.framework}"


NO_INPUTS = Digest(hashlib.sha256().hexdigest())
"""Digest of the inputs of a check that watched no pipeline."""


class IndexEntry(NamedTuple):
    """All that an ``exact`` verdict needs; a tuple, because an index may hold thousands.

    Attributes:
        value: Digest of the value.
        noise: Digest of the draws.
        inputs: Digest of the weights and settings of the watched pipelines.
    """

    value: Digest
    noise: Digest
    inputs: Digest = NO_INPUTS


@dataclass(frozen=True, slots=True, eq=False)
class TensorRecord:
    """A value in the form in which it is judged and stored: read-only, C-contiguous, little-endian.

    Attributes:
        dtype: Name in `dtypes.DTYPES`, e.g. ``bfloat16``.
        array: The numbers, with the numpy or ml_dtypes dtype of that name; any shape.
        digest: SHA-256 over dtype, shape and bytes.
    """

    dtype: str
    array: NDArray[Any]
    digest: Digest

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape


@dataclass(frozen=True, slots=True)
class DrawLog:
    """The ordered list of all draws of a test's generators.

    Attributes:
        generators: One text for each generator, in order of creation, e.g. ``PCG64(0)``.
        draws: All draws, in order.
        digest: SHA-256 over the canonical text of both.
    """

    generators: tuple[str, ...]
    draws: tuple[Draw, ...]
    digest: Digest


@dataclass(frozen=True, slots=True)
class FactDifference:
    """A fact that differs between the environment of a baseline and the current one."""

    name: str
    baseline: str
    observed: str
    changes_bits: bool


@dataclass(frozen=True, slots=True)
class Draw:
    """One call of a generator's method.

    Attributes:
        generator: Number of the generator within the test, from 0.
        method: Name of the method, e.g. ``standard_normal``.
        shape: Shape of the returned value; ``()`` for a scalar.
        dtype: dtype of the returned value, before any cast.
        arguments: Canonical text of the arguments other than shape and dtype, ``""`` for none.
        digest: SHA-256 of dtype, shape and bytes of the returned value.
    """

    generator: int
    method: str
    shape: tuple[int, ...]
    dtype: str
    arguments: str
    digest: Digest
