"""A jump: where a result within its envelope got a local error that rounding does not make."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pytest_repro.model.baseline import CellRecord, SignalRecord, Trace
from pytest_repro.tensors.dtypes import DTYPES

LARGEST = 5.0
"""How many times what moved before it in its step, and one rounding, a signal may move.

Over all pairs of 24 environments rounding moved a signal at most 3 times as far; of the faults
that the envelope alone let pass, the smallest that it finds moved one 5.9 times as far
(docs/evidence/cell_jumps.md)."""


@dataclass(frozen=True, slots=True)
class Jump:
    """The largest jump of a trace.

    Attributes:
        cell: The call.
        is_input: Whether an input of the call jumped: the error came from the code around cells.
        moved: How far its mean, standard deviation or root mean square moved, relative to the last.
        before: How far the signals before it in its step had moved, with one rounding.
    """

    cell: CellRecord
    is_input: bool
    moved: float
    before: float

    @property
    def times(self) -> float:
        """How many times what moved before it."""
        return self.moved / self.before

    @property
    def sentence(self) -> str:
        """What to tell a reader."""
        side = "inputs" if self.is_input else "output"
        return (
            f"the {side} of {self.cell.name} ({self.cell.class_name}, call {self.cell.number}) "
            f"moved by {self.moved:.1e}, {self.times:.0f} times as far as anything before it in "
            f"its step: rounding explains {LARGEST:g} times at most"
        )


def largest_jump(baseline: Trace, observed: Trace) -> Jump | None:
    """The signal that moved most beside those before it in its step; ``None`` if the calls differ.

    Statistics say it, not bits: a signal's sum over many elements averages rounding out, and keeps
    a systematic error.
    """
    if [cell.name for cell in baseline.cells] != [cell.name for cell in observed.cells]:
        return None
    entered = _entered(baseline, observed)
    moved_before, step, jumps = 0.0, None, []
    for cell, is_input, old, new in _signals(baseline, observed):
        if cell.step != step:
            step, moved_before = cell.step, entered.get(cell.step, 0.0)
        moved = _movement(old, new)
        rounding = _rounding(old, () if is_input else cell.inputs)
        jumps.append(Jump(cell, is_input, moved, moved_before + rounding))
        moved_before = max(moved_before, moved)
    return max(jumps, key=lambda one: one.times, default=None)


def _entered(baseline: Trace, observed: Trace) -> dict[int, float]:
    """By step, how far the inputs of its components moved: what earlier steps did."""
    found: dict[int, float] = {}
    for cell, is_input, old, new in _signals(baseline, observed):
        if is_input and "." not in cell.name:
            found[cell.step] = max(found.get(cell.step, 0.0), _movement(old, new))
    return found


def _signals(
    baseline: Trace, observed: Trace
) -> Iterator[tuple[CellRecord, bool, SignalRecord, SignalRecord]]:
    """The pairs of float signals, in the order in which calls ended."""
    for old, new in zip(baseline.cells, observed.cells, strict=True):
        sides = (True, old.inputs, new.inputs), (False, old.outputs, new.outputs)
        for is_input, before, now in sides:
            for one, other in zip(before, now, strict=False):
                if one.shape == other.shape and _is_float(one) and _is_float(other):
                    yield new, is_input, one, other


def _is_float(signal: SignalRecord) -> bool:
    return signal.dtype in DTYPES and DTYPES[signal.dtype].is_float


def _movement(old: SignalRecord, new: SignalRecord) -> float:
    """The largest movement of mean, standard deviation and root mean square, relative to it."""
    root = math.sqrt(math.prod(old.shape))
    if old.digest == new.digest or not old.l2:
        return 0.0
    by_mean, by_std = abs(new.mean - old.mean), abs(new.std - old.std)
    return max(root * by_mean, root * by_std, abs(new.l2 - old.l2)) / old.l2


def _rounding(signal: SignalRecord, inputs: Sequence[SignalRecord]) -> float:
    """What one rounding moves the statistics of a signal by, at most.

    That is half a unit in the last place, ``2 ** -p``. An output sums at most all elements of the
    inputs, and the error of a sum grows with the root of their number (Higham and Mary, "A New
    Approach to Probabilistic Rounding Error Analysis", 2019); the mean over the output's elements
    lets it shrink with the root of theirs.
    """
    summed = sum(math.prod(one.shape) for one in inputs) / max(1, math.prod(signal.shape))
    return float(2.0 ** -DTYPES[signal.dtype].significand_bits) * math.sqrt(max(1.0, summed))
