"""The outcome of one check: what was observed, the reference, the verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_repro.model.ids import (
    NO_INPUTS,
    CheckId,
    Digest,
    DrawLog,
    EnvironmentKey,
    FactDifference,
    IndexEntry,
    TensorRecord,
)
from pytest_repro.model.words import Cause, Distance, Gate, Verdict

if TYPE_CHECKING:
    from pytest_repro.model.baseline import (
        Baseline,
        Configuration,
        Difference,
        DrawLogDifference,
        ToleranceUse,
        WeightsDigest,
    )
    from pytest_repro.model.trace import Trace


@dataclass(frozen=True, slots=True)
class Observation:
    """What one call of `repro_check` observed: the value, and the noise so far.

    ``tensors`` and ``structure`` come from `frameworks.values.CheckedValue`; ``inputs`` is the
    digest of the watched pipelines' ``weights`` and ``settings``.
    """

    check: CheckId
    tensors: tuple[tuple[str, TensorRecord], ...]
    digest: Digest
    draw_log: DrawLog
    weights: tuple[WeightsDigest, ...] = ()
    trace: Trace | None = None
    structure: tuple[tuple[str, str], ...] = ()
    settings: tuple[Configuration, ...] = ()
    inputs: Digest = NO_INPUTS

    @property
    def index(self) -> IndexEntry:
        """The digests by which it is compared."""
        return IndexEntry(self.digest, self.draw_log.digest, self.inputs)


@dataclass(frozen=True, slots=True)
class Reference:
    """The baseline that a check was compared with, and how far away it is.

    Attributes:
        key: Where it was found.
        distance: ``own``, ``variant``, ``release`` or ``any``.
        manifest: Path of the manifest, relative to the root folder.
        apart: How a variant differs from this machine's key, in words; ``""`` for others.
    """

    key: EnvironmentKey
    distance: Distance
    manifest: str
    apart: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything known about one judged check; a report computes nothing itself.

    Attributes:
        gate: The gate that decided.
        reference: What it was compared with; ``None`` if nothing was found.
        differences: Path and difference of each tensor that differs.
        uses: Used share of each bound of the tolerance, worst first.
        tolerance: The tolerance as text, ``exact`` or e.g. ``rel_l2 <= 1e-05``.
        tolerance_origin: Where it came from, e.g. ``policy.yaml line 7``.
        detail: More sentences: a value-gate fault, why nothing was found, what is corrupt.
        unrepeated: Why a drifted test did not run again; ``""`` where it did.
        called_at: ``file:line`` of the call of `repro_check`.
        evidence: The cause, then its evidence, in sentences.
        began: The first difference of the traces, in sentences, most important first.
        operators: For a drift on an Ascend device, how msprobe dumps single operators.
    """

    check: CheckId
    verdict: Verdict
    gate: Gate
    reference: Reference | None = None
    observation: Observation | None = None
    baseline: Baseline | None = None
    noise: DrawLogDifference | None = None
    weights: tuple[str, ...] = ()
    cause: Cause | None = None
    facts: tuple[FactDifference, ...] = ()
    differences: tuple[tuple[str, Difference], ...] = ()
    uses: tuple[ToleranceUse, ...] = ()
    tolerance: str = "exact"
    tolerance_origin: str = ""
    passing_tolerance: str = ""
    detail: tuple[str, ...] = ()
    unrepeated: str = ""
    called_at: str = ""
    evidence: tuple[str, ...] = ()
    began: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()

    @property
    def sentences(self) -> tuple[str, ...]:
        """``detail``, and why the test did not run again where it did not."""
        return (*self.detail, *filter(None, (self.unrepeated,)))

    @property
    def share(self) -> float:
        """The largest used share of the tolerance; 0.0 for ``exact``."""
        return max([use.share for use in self.uses], default=0.0)
