"""What a run keeps of a check, what a report says about it, and what accepting it changes."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_repro.model.baseline import Baseline, Difference
from pytest_repro.model.ids import EnvironmentKey, IndexEntry
from pytest_repro.model.words import Verdict


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
class Artefact:
    """What was kept of one check that was not exact.

    Attributes:
        observed: What would be stored; ``provenance.runs`` counts the bitwise equal runs, 1 if it
            was not repeated or the runs differ.
        growth: The distance from the baseline step by step, if both were watched.
    """

    observed: Baseline
    growth: tuple[GrowthPoint, ...] = ()


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
