"""Where two traces part: the first step, the first cell, and how the difference goes on."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from pytest_repro.settings import TraceLevel
from pytest_repro.tensors.sketch import estimate_distance, estimate_floor
from pytest_repro.trace.alignment import Pair, align
from pytest_repro.trace.cell_divergence import CellDivergence, Change, Within, first_cells
from pytest_repro.trace.records import SignalRecord, StepRecord, Trace

__all__ = [
    "Apart",
    "CellDivergence",
    "Change",
    "Divergence",
    "Growth",
    "StepDivergence",
    "Within",
    "first_divergence",
    "how_far",
]


@dataclass(frozen=True, slots=True)
class StepDivergence:
    """The first step that differs.

    Attributes:
        index: Place among all steps of the baseline (of this run, for an extra step), from 0.
        change: ``signal``, ``timestep``, ``absent``, ``extra`` or ``order``.
        signal: Name of the first signal that differs, for ``signal``; else ``""``.
        baseline, observed: The step in both traces, where they have it.
    """

    index: int
    change: Change
    signal: str
    baseline: StepRecord | None
    observed: StepRecord | None

    @property
    def step(self) -> StepRecord:
        """The step, the baseline's where both exist."""
        found = self.observed if self.baseline is None else self.baseline
        assert found is not None
        return found


@dataclass(frozen=True, slots=True)
class Apart:
    """How far an observed signal is from its baseline.

    Attributes:
        rel_l2: ``||observed - baseline||_2 / ||baseline||_2``; 0.0 when bitwise equal; infinity
            when only the baseline is zero, or shapes or counts of NaN and infinity differ.
        is_bound: Whether the true figure may be larger: it was not estimated from sketches but
            bounded from below by statistics.
    """

    rel_l2: float
    is_bound: bool


@dataclass(frozen=True, slots=True)
class Growth:
    """How far the result of one step is from the baseline's."""

    scheduler: str
    position: int
    apart: Apart


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first place at which two traces part, and what comes after.

    Attributes:
        step: The first step that differs; ``None`` when only cells do.
        cell: The first call whose inputs agree and whose output does not, or that is absent, extra
            or out of order; ``None`` when no cell is to blame, or none were recorded.
        entered: The first call that was handed something else, when that happened before ``cell``
            and not inside it: the difference came in from the code around the cells.
        growth: One a step from the first that differs.
        rejoins: The step from which on all results of that scheduler agree again, if any.
        step_counts: ``(scheduler, baseline, observed)`` where a scheduler's steps differ in number.
        cells_compared: Whether both traces hold cells.
        is_within: Whether signals were judged by an envelope instead of by bits.
    """

    step: StepDivergence | None
    cell: CellDivergence | None
    entered: CellDivergence | None
    growth: tuple[Growth, ...]
    rejoins: StepRecord | None
    step_counts: tuple[tuple[str, int, int], ...]
    cells_compared: bool
    is_within: bool


def first_divergence(
    baseline: Trace, observed: Trace, *, within: Within | None = None
) -> Divergence | None:
    """The first place at which ``observed`` parts from ``baseline``; ``None`` when nowhere.

    Cells are searched up to and in the first differing step; see `cell_divergence.first_cells` for
    which one is blamed.

    Args:
        baseline: The stored trace.
        observed: This run's.
        within: Judges signals whose bits differ, for a fallback; by default bits alone count.
    """
    agree = _agreement(within)
    pairs = align(baseline.steps, observed.steps, _key)
    at, step = _first_step(pairs, agree)
    compared = baseline.level is observed.level is TraceLevel.CELLS
    cell = entered = None
    if compared:
        last = _last_step(step)
        calls = [[c for c in trace.cells if c.step <= last] for trace in (baseline, observed)]
        cell, entered = first_cells(calls[0], calls[1], agree)
    if step is None and cell is None and entered is None:
        return None
    growth, rejoins = _growth(pairs[at:]), _rejoins(pairs[at:], agree)
    counts = _step_counts(baseline.steps, observed.steps)
    return Divergence(step, cell, entered, growth, rejoins, counts, compared, within is not None)


def _agreement(within: Within | None) -> Within:
    def agree(baseline: SignalRecord, observed: SignalRecord) -> bool:
        if baseline.digest == observed.digest:
            return True
        return within is not None and within(baseline, observed)

    return agree


def _key(step: StepRecord) -> Hashable:
    return step.scheduler, step.position


def _first_step(
    pairs: Sequence[Pair[StepRecord]], agree: Within
) -> tuple[int, StepDivergence | None]:
    for at, pair in enumerate(pairs):
        change, signal = _step_change(pair, agree)
        if change is not None:
            return at, StepDivergence(pair.index, change, signal, pair.baseline, pair.observed)
    return len(pairs), None


def _step_change(pair: Pair[StepRecord], agree: Within) -> tuple[Change | None, str]:
    old, new = pair.baseline, pair.observed
    if old is None or new is None:
        lone = Change.EXTRA if old is None else Change.ABSENT
        return (Change.ORDER if pair.moved else lone), ""
    if old.timestep != new.timestep:
        return Change.TIMESTEP, ""
    unlike = _first_unlike(old, new, agree)
    return (Change.SIGNAL, unlike) if unlike else (None, "")


def _first_unlike(old: StepRecord, new: StepRecord, agree: Within) -> str:
    for name, signal in old.signals:
        other = new.signal(name)
        if other is None or not agree(signal, other):
            return name
    return next((name for name, _ in new.signals if old.signal(name) is None), "")


def _last_step(step: StepDivergence | None) -> float:
    """The last step whose cells may be to blame."""
    if step is None:
        return math.inf
    # Another timestep or another step is no doing of the cells that ran with it.
    return step.index if step.change is Change.SIGNAL else step.index - 1


def _growth(pairs: Sequence[Pair[StepRecord]]) -> tuple[Growth, ...]:
    growth: list[Growth] = []
    for pair in pairs:
        old = None if pair.baseline is None else pair.baseline.signal("result")
        new = None if pair.observed is None else pair.observed.signal("result")
        if old is not None and new is not None:
            record = pair.record
            growth.append(Growth(record.scheduler, record.position, how_far(old, new)))
    return tuple(growth)


def _rejoins(pairs: Sequence[Pair[StepRecord]], agree: Within) -> StepRecord | None:
    if not pairs:
        return None
    later = [p for p in pairs[1:] if p.record.scheduler == pairs[0].record.scheduler]
    rejoined = None
    for pair in reversed(later):
        old = None if pair.baseline is None else pair.baseline.signal("result")
        new = None if pair.observed is None else pair.observed.signal("result")
        if old is None or new is None or not agree(old, new):
            break
        rejoined = pair.record
    return rejoined


def _step_counts(
    baseline: Sequence[StepRecord], observed: Sequence[StepRecord]
) -> tuple[tuple[str, int, int], ...]:
    old, new = [s.scheduler for s in baseline], [s.scheduler for s in observed]
    names = dict.fromkeys((*old, *new))
    counts = ((name, old.count(name), new.count(name)) for name in names)
    return tuple(count for count in counts if count[1] != count[2])


def how_far(baseline: SignalRecord, observed: SignalRecord) -> Apart:
    """How far ``observed`` is from ``baseline``: from sketches, else a lower bound.

    The bound: ``||o - b||^2 = n (mean(o-b)^2 + var(o-b)) >= n ((mean(o) - mean(b))^2 + (std(o) -
    std(b))^2)``, by the triangle inequality for the standard deviation.
    """
    if baseline.digest == observed.digest:
        return Apart(0.0, is_bound=False)
    if baseline.shape != observed.shape or _non_finite(baseline) != _non_finite(observed):
        return Apart(math.inf, is_bound=False)
    if baseline.sketch and len(baseline.sketch) == len(observed.sketch):
        distance = estimate_distance(baseline.sketch, observed.sketch)
        if distance > estimate_floor(baseline.sketch):
            return Apart(_relative(distance, baseline.l2), is_bound=False)
    moved = math.hypot(observed.mean - baseline.mean, observed.std - baseline.std)
    return Apart(_relative(moved * math.sqrt(math.prod(baseline.shape)), baseline.l2), True)


def _non_finite(signal: SignalRecord) -> tuple[int, int]:
    return signal.nan_count, signal.inf_count


def _relative(distance: float, norm: float) -> float:
    if norm:
        return distance / norm
    return math.inf if distance else 0.0
