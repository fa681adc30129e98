"""Counts: which faults each rule catches, and how often it cries over a clean environment."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fault_rules import Reference, Rule, Ruling, make_reference, rule_on
from benchmarks.fault_runs import LEAVES, Kept, Run, disturbed_runs, kept_in, load_kept
from pytest_repro.model.words import Distance
from pytest_repro.tensors.compare import compare_records
from pytest_repro.tensors.record import digest_leaves, make_record
from pytest_repro.tolerance.bounds import DEFAULT_FACTOR
from tests.faults.fault import Fault

__all__ = [
    "Alarms",
    "CleanRun",
    "Drift",
    "FaultResult",
    "Place",
    "count_alarms",
    "count_own_alarms",
    "drifts_between",
    "group_equal",
    "judge_faults",
    "ratio",
    "references_of",
]


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """An environment of the benchmark: ``mindspore`` version, SIMD level, number of cores."""

    version: str
    simd: str
    cores: int

    def __str__(self) -> str:
        return f"{self.version} {self.simd} {self.cores}c"

    def folder(self, work: Path) -> Path:
        """Where its runs are kept."""
        return work / f"mindspore-{self.version}" / f"{self.simd}-{self.cores}c"


@dataclass(frozen=True, slots=True, eq=False)
class CleanRun:
    """A run without a fault in one environment.

    Attributes:
        place: Where.
        kept: What it gave.
        baseline: The recorded baseline, with its envelopes, where there is one; it is the run.
    """

    place: Place
    kept: Kept
    baseline: Reference | None = None


@dataclass(frozen=True, slots=True)
class FaultResult:
    """One fault in one run.

    Attributes:
        fault: Its name.
        run: The run's name.
        is_no_op: Whether image, latents and noise are bitwise the clean run's: no fault here.
        rulings: One a rule; for ``fallback`` the one of the reference that says least.
        alone: What ``fallback`` would say beside the home environment's own baseline, where no
            drift of another SIMD level is added: the size of the fault itself.
        release: What it says beside baselines of the same hardware made by other MindSpore
            versions that give different bits, the one that says least; ``None`` without one.
    """

    fault: str
    run: str
    is_no_op: bool
    rulings: tuple[tuple[Rule, Ruling], ...]
    alone: Ruling
    release: Ruling | None

    def ruling(self, rule: Rule) -> Ruling:
        """What ``rule`` says."""
        return dict(self.rulings)[rule]

    @property
    def envelopes(self) -> float:
        """How far the result is from another SIMD level's baseline, in that one's envelopes."""
        return self.ruling(Rule.FALLBACK).share * DEFAULT_FACTOR

    @property
    def envelopes_alone(self) -> float:
        """The size of the fault itself, in envelopes of the home environment."""
        return self.alone.share * DEFAULT_FACTOR


@dataclass(frozen=True, slots=True)
class Alarms:
    """How a rule takes clean runs of other environments.

    Attributes:
        distance: Whether all of it was the environment's own second run, another MindSpore version
            on the same hardware, or other hardware.
        pairs: Ordered pairs of baseline and observed.
        differing: Pairs whose bits differ.
        alarms: Pairs called wrong.
        refused: Pairs that were not judged.
        worst_share: Largest used share of the tolerance.
    """

    distance: Distance
    pairs: int
    differing: int
    alarms: int
    refused: int
    worst_share: float


@dataclass(frozen=True, slots=True)
class Drift:
    """Predicted and observed drift of one tensor between SIMD levels.

    Attributes:
        run, leaf: Which tensor.
        predicted_rel_l2: Smallest and largest envelope of the references.
        observed_rel_l2: Smallest and largest distance over the ordered pairs that differ.
        ratios: Smallest and largest observed over predicted, pair by pair, by rel_l2.
        abs_ratios: The same by largest absolute difference.
    """

    run: str
    leaf: str
    predicted_rel_l2: tuple[float, float]
    observed_rel_l2: tuple[float, float]
    ratios: tuple[float, float]
    abs_ratios: tuple[float, float]


def group_equal(runs: Sequence[CleanRun]) -> tuple[tuple[CleanRun, ...], ...]:
    """Runs with equal bits and equal noise together, in the order given."""
    groups: dict[str, list[CleanRun]] = {}
    for one in runs:
        groups.setdefault(_digest(one.kept), []).append(one)
    return tuple(tuple(group) for group in groups.values())


def _digest(kept: Kept) -> str:
    leaves = [(name, make_record(kept.arrays[name]).digest) for name in LEAVES]
    return f"{digest_leaves(leaves)} {kept.noise}"


def references_of(work: Path, run: Run, clean: Sequence[CleanRun]) -> dict[Place, Reference]:
    """The baseline of each environment; the envelope is measured once where bits are equal."""
    found: dict[Place, Reference] = {}
    for group in group_equal(clean):
        recorded = (one.baseline for one in group if one.baseline is not None)
        reference = next(recorded, None) or _measured(work, run, group[0])
        found.update({one.place: reference for one in group})
    return found


def _measured(work: Path, run: Run, clean: CleanRun) -> Reference:
    return make_reference(clean.kept, disturbed_runs(clean.place.folder(work), run.name))


def judge_faults(
    folder: Path,
    run: Run,
    faults: Sequence[Fault],
    home: Reference,
    others: Sequence[Reference],
    releases: Sequence[Reference],
) -> Iterator[FaultResult]:
    """Every fault of a run, observed in the home environment.

    Args:
        folder: Where the home environment's runs are kept.
        run: The run.
        faults: Those whose results are kept there.
        home: The home environment's own baseline, which all rules but ``fallback`` see.
        others: Baselines of other SIMD levels for ``fallback``; caught is what all of them catch.
        releases: Baselines of the same hardware by other MindSpore versions.
    """
    for fault in faults:
        observed = load_kept(kept_in(folder, run.name, f"fault-{fault.name}"))
        rulings = tuple((rule, _ruling(rule, home, others, observed)) for rule in Rule)
        own = dict(rulings)[Rule.OWN]
        alone = rule_on(Rule.FALLBACK, home, observed)
        release = _least(releases, observed) if releases else None
        yield FaultResult(fault.name, run.name, not own.caught, rulings, alone, release)


def _ruling(rule: Rule, home: Reference, others: Sequence[Reference], observed: Kept) -> Ruling:
    if rule is not Rule.FALLBACK:
        return rule_on(rule, home, observed)
    return _least(others, observed)


def _least(references: Sequence[Reference], observed: Kept) -> Ruling:
    """What ``fallback`` says beside the reference that says least."""
    return min((rule_on(Rule.FALLBACK, one, observed) for one in references), key=_severity)


def _severity(ruling: Ruling) -> tuple[bool, float]:
    return ruling.caught, ruling.share


def count_alarms(
    rule: Rule, clean: Sequence[CleanRun], references: dict[Place, Reference]
) -> Iterator[Alarms]:
    """How ``rule`` takes every clean run beside the baseline of every other environment.

    Counted apart for pairs that differ in the MindSpore version alone, and for all others.
    """
    pairs = [(one, other) for one in clean for other in clean if one.place != other.place]
    for distance in (Distance.RELEASE, Distance.ANY):
        near = [pair for pair in pairs if _distance(*pair) is distance]
        rulings = [rule_on(rule, references[one.place], other.kept) for one, other in near]
        yield Alarms(
            distance=distance,
            pairs=len(near),
            differing=sum(_digest(one.kept) != _digest(other.kept) for one, other in near),
            alarms=sum(ruling.caught for ruling in rulings),
            refused=sum(ruling.refused for ruling in rulings),
            worst_share=max((ruling.share for ruling in rulings), default=0.0),
        )


def _distance(one: CleanRun, other: CleanRun) -> Distance:
    same = (one.place.simd, one.place.cores) == (other.place.simd, other.place.cores)
    return Distance.RELEASE if same else Distance.ANY


def count_own_alarms(clean: Sequence[CleanRun], again: Sequence[CleanRun]) -> Alarms:
    """How ``own`` takes each environment's second run, made by another process."""
    second = {one.place: one.kept for one in again}
    rulings = [
        rule_on(Rule.OWN, make_reference(one.kept, ()), second[one.place])
        for one in clean
        if one.place in second
    ]
    wrong = sum(ruling.caught for ruling in rulings)
    return Alarms(Distance.OWN, len(rulings), wrong, wrong, 0, math.inf if wrong else 0.0)


def drifts_between(
    run: Run, clean: Sequence[CleanRun], references: dict[Place, Reference]
) -> Iterator[Drift]:
    """Predicted and observed drift of each tensor over all ordered pairs of these environments."""
    for at, leaf in enumerate(LEAVES):
        pairs = [
            (references[one.place].summaries[at].envelope, _compare(one.kept, other.kept, leaf))
            for one in clean
            for other in clean
            if one.place != other.place
        ]
        apart = [
            (envelope, rel_l2, largest)
            for envelope, (rel_l2, largest) in pairs
            if envelope is not None and rel_l2 > 0.0
        ]
        if apart:
            yield Drift(
                run.name,
                leaf,
                _range([one.rel_l2_max for one, _, _ in apart]),
                _range([rel_l2 for _, rel_l2, _ in apart]),
                _range([ratio(rel_l2, one.rel_l2_max) for one, rel_l2, _ in apart]),
                _range([ratio(largest, one.max_abs_max) for one, _, largest in apart]),
            )


def _compare(baseline: Kept, observed: Kept, leaf: str) -> tuple[float, float]:
    records = make_record(baseline.arrays[leaf]), make_record(observed.arrays[leaf])
    difference = compare_records(*records)
    worst = difference.worst_abs
    return difference.rel_l2, 0.0 if worst is None else worst.amount


def ratio(observed: float, predicted: float) -> float:
    """Observed over predicted; infinity where nothing was predicted."""
    return observed / predicted if predicted else math.inf


def _range(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)
