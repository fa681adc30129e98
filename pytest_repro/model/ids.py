"""What a passing check is made of, in a module of its own, so that it can pass without the rest.

`model` shows these nouns beside the others; import them from there unless the import itself counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, NewType

from pytest_repro.model.words import Cause, Distance, Gate, Verdict

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_repro.model.baseline import (
        Baseline,
        Difference,
        Draw,
        FactDifference,
        LedgerDifference,
        ToleranceUse,
        WeightsDigest,
    )
    from pytest_repro.trace.msprobe_target import DumpTarget
    from pytest_repro.trace.records import Trace

__all__ = [
    "CheckId",
    "Digest",
    "EnvironmentKey",
    "IndexEntry",
    "Ledger",
    "Observation",
    "Outcome",
    "Reference",
    "TensorRecord",
]

Digest = NewType("Digest", str)
"""SHA-256 in lower-case hex (64 characters) over dtype, shape and bytes; never over a file."""


@dataclass(frozen=True, slots=True, order=True)
class CheckId:
    """Identity of a check: test module (POSIX path from the root folder), test, name.

    ``test`` is what follows the module in pytest's node id, classes and parameters included
    (``TestDdim::test_fast[float16]``), so two checks never share an id by accident.
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


@dataclass(frozen=True, slots=True, order=True)
class EnvironmentKey:
    """The short part of an environment that picks a folder, e.g. ``cpu-x86_64-avx2-2c`` and
    ``mindspore-2.10.0``.
    """

    hardware: str
    framework: str

    def __str__(self) -> str:
        return f"{self.hardware}/{self.framework}"


class IndexEntry(NamedTuple):
    """All that an ``exact`` verdict needs: digest of the value and of the ledger.

    A tuple, because an index is read whole and holds thousands.
    """

    value: Digest
    noise: Digest


@dataclass(frozen=True, slots=True, eq=False)
class TensorRecord:
    """A value as it will be judged and stored: read-only, C-contiguous, little-endian.

    Attributes:
        dtype: Our name of the dtype (`dtypes.DTYPES`), e.g. ``bfloat16``.
        array: The numbers; numpy (or ml_dtypes) dtype of that name, any shape, 0-d and empty too.
        digest: SHA-256 over dtype, shape and bytes.
    """

    dtype: str
    array: NDArray[Any]
    digest: Digest

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape


@dataclass(frozen=True, slots=True)
class Ledger:
    """The ordered list of all draws of a test's generators.

    Attributes:
        generators: One text a generator, in order of creation, e.g. ``PCG64(0)``.
        draws: All draws in the order in which they happened.
        digest: SHA-256 over the canonical text of both.
    """

    generators: tuple[str, ...]
    draws: tuple[Draw, ...]
    digest: Digest


@dataclass(frozen=True, slots=True)
class Observation:
    """What one call of `repro_check` saw: the leaves of the value, and the noise up to there."""

    check: CheckId
    tensors: tuple[tuple[str, TensorRecord], ...]
    digest: Digest
    ledger: Ledger
    weights: tuple[WeightsDigest, ...] = ()
    trace: Trace | None = None


@dataclass(frozen=True, slots=True)
class Reference:
    """The baseline that a check was compared with, and how far away it is.

    Attributes:
        key: Where it was found.
        distance: ``own``, ``release`` or ``any``.
        manifest: Path of the manifest, relative to the root folder.
        reasons: Facts that change bits and made an own key count as ``release``.
    """

    key: EnvironmentKey
    distance: Distance
    manifest: str
    reasons: tuple[FactDifference, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything that is known about one judged check, so that a report never recomputes.

    Attributes:
        gate: The gate that decided.
        reference: What it was compared with; ``None`` when nothing was found.
        differences: One a tensor that differs: path and difference.
        uses: One a bound of the tolerance in force, worst first.
        tolerance: The tolerance in force as text, ``exact`` or e.g. ``rel_l2 <= 1e-05``.
        tolerance_origin: Where it came from, e.g. ``policy.yaml line 7``.
        detail: Further sentences: a value-gate fault, why nothing was found, what is corrupt.
        called_at: ``file:line`` of the call of `repro_check`.
        evidence: Sentences behind the cause, the cause itself first.
        began: Where the traces part, in sentences, most important first.
        dump_target: For a drift on an Ascend device, what msprobe is to dump.
        dump_config: Where a report holds msprobe's ``config.json`` for it; ``""`` where none does.
    """

    check: CheckId
    verdict: Verdict
    gate: Gate
    reference: Reference | None = None
    observation: Observation | None = None
    baseline: Baseline | None = None
    noise: LedgerDifference | None = None
    weights: tuple[str, ...] = ()
    cause: Cause | None = None
    facts: tuple[FactDifference, ...] = ()
    differences: tuple[tuple[str, Difference], ...] = ()
    uses: tuple[ToleranceUse, ...] = ()
    tolerance: str = "exact"
    tolerance_origin: str = ""
    passing_tolerance: str = ""
    detail: tuple[str, ...] = ()
    called_at: str = ""
    evidence: tuple[str, ...] = ()
    began: tuple[str, ...] = ()
    dump_target: DumpTarget | None = None
    dump_config: str = ""

    @property
    def share(self) -> float:
        """The largest used share of the tolerance in force; 0.0 for ``exact``."""
        return max([use.share for use in self.uses], default=0.0)
