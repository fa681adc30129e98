"""The first call of a cell at which two traces part."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from pytest_repro.model.words import Word
from pytest_repro.trace.alignment import Pair, align
from pytest_repro.trace.records import CellRecord, SignalRecord

__all__ = ["CellDivergence", "Change", "Within", "first_cells"]

Within = Callable[[SignalRecord, SignalRecord], bool]
"""Whether an observed signal (second) is as good as its baseline (first)."""


class Change(Word):
    """What sets an observed step or call apart from the baseline's."""

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
        change: ``signal`` (inputs agree, an output does not), ``inputs`` (it was handed something
            else), ``absent``, ``extra`` or ``order``.
        output: Index of the first output that differs, for ``signal``; else 0.
        agreed_count: Calls that ended before it and agree in inputs and outputs.
        last_inner, next_inner: For a cell around others: the last call inside it that agrees, and
            the first inside it that was handed something else, so that the fault lies between
            them; ``""`` where there is none.
        baseline, observed: The call in both traces, where they have it.
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
        """The call, the baseline's where both exist."""
        found = self.observed if self.baseline is None else self.baseline
        assert found is not None
        return found


@dataclass(frozen=True, slots=True)
class _Judged:
    """A pair of calls, and what sets them apart, if anything."""

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
    """The call to blame, and the call where a difference came in from outside before it.

    Calls come in the order in which they ended, so the innermost cell is blamed, and a cell around
    others only for what it does itself. The second is ``None`` unless a call was handed something
    else earlier than, and not inside, the call to blame.
    """
    judged = [_judge(pair, agree) for pair in align(baseline, observed, _key)]
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


def _key(cell: CellRecord) -> Hashable:
    return cell.step, cell.name


def _judge(pair: Pair[CellRecord], agree: Within) -> _Judged:
    old, new = pair.baseline, pair.observed
    if old is None or new is None:
        lone = Change.EXTRA if old is None else Change.ABSENT
        return _Judged(pair, Change.ORDER if pair.moved else lone)
    if _first_unlike(old.inputs, new.inputs, agree) is not None:
        return _Judged(pair, Change.INPUTS)
    output = _first_unlike(old.outputs, new.outputs, agree)
    return _Judged(pair, None) if output is None else _Judged(pair, Change.SIGNAL, output)


def _first_unlike(
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
