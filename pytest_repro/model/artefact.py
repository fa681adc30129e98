"""What a run keeps of a check, what a report claims about it, and what accepting it changes."""

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
        observed: What would be stored of it; ``provenance.runs`` counts the runs that saw it
            bitwise alike, 1 where it was not repeated or the runs parted.
        growth: How the distance from the baseline grew over the steps, where both were watched.
    """

    observed: Baseline
    growth: tuple[GrowthPoint, ...] = ()


@dataclass(frozen=True, slots=True)
class Claim:
    """What a report says of one kept value: whose it is, what it came to, how often it was seen."""

    check: str
    verdict: Verdict
    key: str
    runs: int


@dataclass(frozen=True, slots=True)
class Judged:
    """What a report says of one check, whether its value was kept or not.

    Attributes:
        index: Digests of the value and the noise that were seen; ``None`` where nothing was, or
            where a version before schema 2 wrote the report.
        reference: Key of the baseline it was compared with, or ``""``.
        share: Largest used share of the tolerance; infinity where it allows nothing.
        runs: How many runs saw it bitwise alike; 0 where no value was kept.
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
        sentence: What happens, where there is nothing to measure: it is new, goes, or has another
            dtype or shape.
        difference: How far it moves, where both sides can be compared.
    """

    path: str
    sentence: str = ""
    difference: Difference | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """One value that may be accepted.

    Attributes:
        observed: What would be stored, under ``key``: the recording machine's, never ours.
        baseline: What is stored there now, if anything.
        refusal: Why it cannot be accepted; ``""`` when it can.
        is_stored: Whether the very same value and noise are stored there already.
        changes: What would change, tensor by tensor.
        warnings: Why its envelope is hard to believe; one sentence for each reason.
    """

    key: EnvironmentKey
    observed: Baseline
    baseline: Baseline | None
    refusal: str
    is_stored: bool
    changes: tuple[Change, ...]
    warnings: tuple[str, ...] = ()
