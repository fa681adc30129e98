"""The outcome of one check, and what a report keeps, claims and changes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_repro.model.baseline import Baseline, Difference
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
        Trace,
        WeightsDigest,
    )


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
        is_on_hub: Whether its tensor is absent and the Hub has it.
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
    is_on_hub: bool = False

    @property
    def sentences(self) -> tuple[str, ...]:
        """``detail``, and why the test did not run again where it did not."""
        return (*self.detail, *filter(None, (self.unrepeated,)))

    @property
    def share(self) -> float:
        """The largest used share of the tolerance; 0.0 for ``exact``."""
        return max([use.share for use in self.uses], default=0.0)


@dataclass(frozen=True, slots=True)
class GrowthPoint:
    """How far the result of one step is from the baseline's.

    Attributes:
        scheduler: Name of the scheduler.
        position: Number of the step within it, from 0.
        rel_l2: Relative L2 distance, estimated from sketches or bounded from below.
    """

    scheduler: str
    position: int
    rel_l2: float


@dataclass(frozen=True, slots=True)
class CellPoint:
    """How one call of a cell compares with the baseline's.

    Attributes:
        name: Path of the cell from its component.
        change: ``signal`` (equal inputs, another output), ``inputs``, ``absent``, ``extra``,
            ``order``, or ``""`` for equal.
        rel_l2: Of the output that moved farthest, as in `GrowthPoint`; 0.0 for a lone call.
    """

    name: str
    change: str
    rel_l2: float


@dataclass(frozen=True, slots=True)
class Artefact:
    """What was kept of one check that was not exact.

    Attributes:
        observed: What would be stored; ``provenance.runs`` counts the bitwise equal runs, 1 if it
            was not repeated or the runs differ.
        growth: The distance from the baseline step by step, if both were watched.
        cells: The calls of the first step in which one differs, if both recorded cells.
    """

    observed: Baseline
    growth: tuple[GrowthPoint, ...] = ()
    cells: tuple[CellPoint, ...] = ()


@dataclass(frozen=True, slots=True)
class Claim:
    """What a report says about one kept value: its check, its verdict, how many runs agree."""

    check: str
    verdict: Verdict
    key: str
    runs: int


@dataclass(frozen=True, slots=True)
class Judged:
    """What a report says about one check, whether its value was kept or not.

    Attributes:
        index: Digests of the observed value and noise; ``None`` if there are none, or if a
            version before schema 2 wrote the report.
        reference: Key of the baseline it was compared with, or ``""``.
        share: Largest used share of the tolerance; infinity if it allows nothing.
        runs: How many runs agree bitwise; 0 if no value was kept.
    """

    check: str
    verdict: Verdict
    key: str
    index: IndexEntry | None
    cause: str
    distance: str
    reference: str
    share: float
    runs: int


@dataclass(frozen=True, slots=True)
class Change:
    """What accepting changes of one tensor.

    Attributes:
        path: Place inside the checked value.
        sentence: What changes if there is nothing to measure: it is new, removed, or has another
            dtype or shape.
        difference: How far it moves, if both sides can be compared.
    """

    path: str
    sentence: str = ""
    difference: Difference | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """One value that may be accepted.

    Attributes:
        observed: What would be stored, under ``key``: the key of the machine that computed it.
        baseline: What is stored there now, if anything.
        refusal: Why it cannot be accepted; ``""`` if it can.
        is_stored: Whether the same value and noise are already stored there.
        changes: What would change, tensor by tensor.
        warnings: Why its envelope is doubtful; one sentence for each reason.
    """

    key: EnvironmentKey
    observed: Baseline
    baseline: Baseline | None
    refusal: str
    is_stored: bool
    changes: tuple[Change, ...]
    warnings: tuple[str, ...] = ()
