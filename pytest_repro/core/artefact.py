"""What a run keeps of a check for a report, and what a report claims about it."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_repro.core.divergence import how_far
from pytest_repro.core.model import Baseline, Verdict
from pytest_repro.core.trace import Trace

__all__ = ["Artefact", "Claim", "GrowthPoint", "growth_of"]


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


def growth_of(baseline: Trace, observed: Trace) -> tuple[GrowthPoint, ...]:
    """How far the results of equal steps are apart, in the order of the observed steps."""
    before = {
        (step.scheduler, step.position): step.signals[-1][1]
        for step in baseline.steps
        if step.signals
    }
    return tuple(
        GrowthPoint(
            step.scheduler,
            step.position,
            how_far(before[step.scheduler, step.position], step.signals[-1][1]).rel_l2,
        )
        for step in observed.steps
        if step.signals and (step.scheduler, step.position) in before
    )
