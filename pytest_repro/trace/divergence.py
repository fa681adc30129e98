"""The first difference between two traces: step, cell, and how the difference develops."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from pytest_repro.model.baseline import CellRecord, SignalRecord, StepRecord, Trace
from pytest_repro.model.outcome import CellPoint, GrowthPoint
from pytest_repro.model.words import TraceLevel, Word
from pytest_repro.tensors.sketch import estimate_distance, estimate_floor
from pytest_repro.trace.records import Pair, align


@dataclass(frozen=True, slots=True)
class StepDivergence:
    """The first step that differs.

    Attributes:
        index: Index among all steps of the baseline (of this run, for an extra step), from 0.
        change: ``signal``, ``timestep``, ``absent``, ``extra`` or ``order``.
        signal: Name of the first signal that differs, for ``signal``; else ``""``.
        baseline, observed: The step in each trace, if it has it.
    """

    index: int
    change: Change
    signal: str
    baseline: StepRecord | None
    observed: StepRecord | None

    @property
    def step(self) -> StepRecord:
        """The step, the baseline's if both exist."""
        found = self.observed if self.baseline is None else self.baseline
        assert found is not None
        return found


@dataclass(frozen=True, slots=True)
class Apart:
    """How far an observed signal is from its baseline.

    Attributes:
        rel_l2: ``||observed - baseline||_2 / ||baseline||_2``; 0.0 if bitwise equal; infinity if
            only the baseline is zero, or shapes or counts of NaN and infinity differ.
        is_bound: Whether it is a lower bound from statistics, not an estimate from sketches.
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
    """The first difference between two traces, and what comes after.

    Attributes:
        step: The first step that differs; ``None`` if only cells do.
        cell: The first call with equal inputs and another output, or that is absent, extra or out
            of order; ``None`` if there is none, or no cells were recorded.
        entered: The first call with different inputs, if it comes before ``cell`` and not inside
            it: the difference entered from the code around the cells.
        growth: A point for each step from the first that differs.
        rejoins: The step from which all results of that scheduler agree again, if any.
        step_counts: ``(scheduler, baseline, observed)`` if a scheduler's number of steps differs.
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
    """The first difference between two traces; ``None`` if there is none.

    Cells are searched up to and in the first differing step (`first_cells`). ``within`` judges
    signals whose bits differ, for a fallback; by default every different bit counts.
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
    """The last step whose cells may be the origin."""
    if step is None:
        return math.inf
    # The cells of a step are not the reason for another timestep or another step.
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


Within = Callable[[SignalRecord, SignalRecord], bool]
"""Whether an observed signal (second) is as good as its baseline (first)."""


class Change(Word):
    """How an observed step or call differs from the baseline's."""

    SIGNAL = "signal"
    TIMESTEP = "timestep"
    INPUTS = "inputs"
    ABSENT = "absent"
    EXTRA = "extra"
    ORDER = "order"


@dataclass(frozen=True, slots=True)
class CellDivergence:
    """A call of a cell that differs.

    Attributes:
        change: ``signal`` (inputs agree, an output does not), ``inputs`` (its inputs differ),
            ``absent``, ``extra`` or ``order``.
        output: Index of the first output that differs, for ``signal``; else 0.
        agreed_count: Calls that ended before it and agree in inputs and outputs.
        last_inner, next_inner: For a cell around others: the last call inside it that agrees, and
            the first inside it with different inputs: the fault is between them; ``""`` for none.
        baseline, observed: The call in each trace, if it has it.
    """

    change: Change
    output: int
    agreed_count: int
    last_inner: str
    next_inner: str
    baseline: CellRecord | None
    observed: CellRecord | None

    @property
    def call(self) -> CellRecord:
        """The call, the baseline's if both exist."""
        found = self.observed if self.baseline is None else self.baseline
        assert found is not None
        return found


@dataclass(frozen=True, slots=True)
class _Judged:
    """A pair of calls, and how they differ, if they do."""

    pair: Pair[CellRecord]
    change: Change | None
    output: int = 0

    @property
    def is_blamed(self) -> bool:
        return self.change is not None and self.change is not Change.INPUTS

    def is_inside(self, around: CellRecord) -> bool:
        """Whether this call is of a cell inside ``around`` and began after it."""
        mine = self.pair.record
        inner = mine.name.startswith(f"{around.name}.") and mine.step == around.step
        return inner and mine.number > around.number


def first_cells(
    baseline: Sequence[CellRecord], observed: Sequence[CellRecord], agree: Within
) -> tuple[CellDivergence | None, CellDivergence | None]:
    """The call where the difference begins, and the call where it entered from outside before.

    Calls are in the order in which they ended, so the first is the innermost cell; a cell around
    others only for its own code. The second is ``None`` unless a call before the first, and not
    inside it, got different inputs.
    """
    judged = [_judge(pair, agree) for pair in align(baseline, observed, _cell_key)]
    blamed = next((at for at, each in enumerate(judged) if each.is_blamed), None)
    handed = next((at for at, each in enumerate(judged) if each.change is Change.INPUTS), None)
    cell = None if blamed is None else _located(judged, blamed)
    if handed is None:
        return cell, None
    if blamed is not None:
        inside = judged[handed].is_inside(judged[blamed].pair.record)
        if handed > blamed or inside:
            return cell, None
    return cell, _located(judged, handed)


def _cell_key(cell: CellRecord) -> Hashable:
    return cell.step, cell.name


def _judge(pair: Pair[CellRecord], agree: Within) -> _Judged:
    old, new = pair.baseline, pair.observed
    if old is None or new is None:
        lone = Change.EXTRA if old is None else Change.ABSENT
        return _Judged(pair, Change.ORDER if pair.moved else lone)
    if _cell_first_unlike(old.inputs, new.inputs, agree) is not None:
        return _Judged(pair, Change.INPUTS)
    output = _cell_first_unlike(old.outputs, new.outputs, agree)
    return _Judged(pair, None) if output is None else _Judged(pair, Change.SIGNAL, output)


def _cell_first_unlike(
    baseline: Sequence[SignalRecord], observed: Sequence[SignalRecord], agree: Within
) -> int | None:
    for at, (old, new) in enumerate(zip(baseline, observed, strict=False)):
        if not agree(old, new):
            return at
    shorter, longer = sorted((len(baseline), len(observed)))
    return None if shorter == longer else shorter


def _located(judged: Sequence[_Judged], at: int) -> CellDivergence:
    found = judged[at]
    change = found.change
    assert change is not None
    agreed = sum(each.change is None for each in judged[:at])
    last, following = "", ""
    if change is Change.SIGNAL:
        last, following = _around_fault(judged[:at], found.pair.record)
    pair = found.pair
    return CellDivergence(
        change, found.output, agreed, last, following, pair.baseline, pair.observed
    )


def _around_fault(before: Sequence[_Judged], around: CellRecord) -> tuple[str, str]:
    inner = [each for each in before if each.is_inside(around)]
    handed = next((at for at, each in enumerate(inner) if each.change is not None), len(inner))
    last = inner[handed - 1].pair.record.name if handed else ""
    return last, inner[handed].pair.record.name if handed < len(inner) else ""


def unpaired_sentences(divergence: Divergence, baseline: Trace, observed: Trace) -> tuple[str, ...]:
    """Which cells could not be compared, in sentences; none if both traces hold cells."""
    if divergence.cells_compared or divergence.step is None:
        return ()
    if observed.level is not TraceLevel.CELLS:
        return _without_cells(baseline)
    calls = [call for call in observed.cells if call.step == divergence.step.index]
    counted = f"of its {len(calls)} calls of cells none could be compared"
    sentences = [
        f"the baseline's trace holds steps only: the step was run again with cells, but {counted}"
    ]
    old, new = divergence.step.baseline, divergence.step.observed
    if old is not None and new is not None:
        sentences.extend(_suspects(calls, old, new))
    return tuple(sentences)


def _without_cells(baseline: Trace) -> tuple[str, ...]:
    if baseline.level is not TraceLevel.CELLS:
        return ()
    return ("this run could not record cells, so none was compared with the baseline's",)


def _suspects(calls: Sequence[CellRecord], old: StepRecord, new: StepRecord) -> list[str]:
    source = _source(calls, new.signal("model_output"))
    sentences = [] if source is None else [_about(source, old, new)]
    broken = next((call for call in calls if _breaks(call)), None)
    if broken is not None:
        sentences.append(
            f"first cell that makes NaN or infinity of finite inputs: {broken.name} "
            f"({broken.class_name}, call {broken.number})"
        )
    return sentences


def _about(source: CellRecord, old: StepRecord, new: StepRecord) -> str:
    if _digest(old.signal("model_output")) == _digest(new.signal("model_output")):
        return f"{source.name} gave the baseline's model output: no cell differs"
    how = "which did not get the step's sample itself"
    if _was_handed(source, old.signal("sample")):
        how = "which got the baseline's sample: the fault is inside it"
    return f"the model's output came out of {source.name} ({source.class_name}), {how}"


def _source(calls: Sequence[CellRecord], output: SignalRecord | None) -> CellRecord | None:
    """The outermost call that gave ``output``; calls are in the order in which they ended."""
    if output is None:
        return None
    giving = (
        call for call in reversed(calls) if any(one.digest == output.digest for one in call.outputs)
    )
    return next(giving, None)


def _was_handed(call: CellRecord, sample: SignalRecord | None) -> bool:
    return sample is not None and any(one.digest == sample.digest for one in call.inputs)


def _breaks(call: CellRecord) -> bool:
    return not any(map(_unpaired_non_finite, call.inputs)) and any(
        map(_unpaired_non_finite, call.outputs)
    )


def _unpaired_non_finite(signal: SignalRecord) -> bool:
    return bool(signal.nan_count + signal.inf_count)


def _digest(signal: SignalRecord | None) -> str:
    return "" if signal is None else str(signal.digest)


def growth_of(baseline: Trace, observed: Trace) -> tuple[GrowthPoint, ...]:
    """The distance of each step's result from the baseline's, in the order of observed steps.

    A step without a result, or that only one side has, gives no point.
    """
    before = {(step.scheduler, step.position): step.signal("result") for step in baseline.steps}
    points: list[GrowthPoint] = []
    for step in observed.steps:
        old, new = before.get((step.scheduler, step.position)), step.signal("result")
        if old is not None and new is not None:
            points.append(GrowthPoint(step.scheduler, step.position, how_far(old, new).rel_l2))
    return tuple(points)


def cells_of(baseline: Trace, observed: Trace) -> tuple[CellPoint, ...]:
    """The calls of the first step in which one differs bitwise, in the order in which they ended.

    The first with the change ``signal`` is the innermost cell that computes something else. Empty
    if all calls agree, or a trace has none.
    """
    if not baseline.cells or not observed.cells:
        return ()
    agree = _agreement(None)
    judged = [_judge(pair, agree) for pair in align(baseline.cells, observed.cells, _cell_key)]
    step = next((one.pair.record.step for one in judged if one.change is not None), None)
    return tuple(_cell_point(one) for one in judged if one.pair.record.step == step)


def _cell_point(one: _Judged) -> CellPoint:
    old, new = one.pair.baseline, one.pair.observed
    outputs = () if old is None or new is None else zip(old.outputs, new.outputs, strict=False)
    far = max((how_far(before, now).rel_l2 for before, now in outputs), default=0.0)
    return CellPoint(one.pair.record.name, "" if one.change is None else str(one.change), far)
