"""Traces: what a watched pipeline did, step by step and cell by cell, as values and as rows."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Generic, TypeVar

from pytest_repro.errors import CorruptBaseline
from pytest_repro.model.ids import Digest, TensorRecord
from pytest_repro.model.trace import CellRecord, SignalRecord, StepRecord, Trace
from pytest_repro.model.words import TraceLevel
from pytest_repro.tensors.digest import digest_text
from pytest_repro.tensors.sketch import sketch_array
from pytest_repro.tensors.statistics import summarise

Row = tuple[Any, ...]
_FORMAT = 1
_NOT_ROWS = (ValueError, TypeError, LookupError, AttributeError, OverflowError)


def measure_signal(record: TensorRecord, *, sketched: bool) -> SignalRecord:
    """The signal of ``record``; ``sketched`` adds the sketch, which costs as much again."""
    seen = summarise(record)
    sketch = sketch_array(record) if sketched else ()
    measured = (seen.min, seen.max, seen.mean, seen.std, seen.l2)
    counts = (seen.nan_count, seen.posinf_count + seen.neginf_count)
    return SignalRecord(record.dtype, record.shape, record.digest, *measured, *counts, sketch)


def make_trace(
    level: TraceLevel, steps: Iterable[StepRecord], cells: Iterable[CellRecord] = ()
) -> Trace:
    """A trace with its digest."""
    kept_steps, kept_cells = tuple(steps), tuple(cells)
    return Trace(level, kept_steps, kept_cells, _digest_trace(level, kept_steps, kept_cells))


def _digest_trace(
    level: TraceLevel, steps: tuple[StepRecord, ...], cells: tuple[CellRecord, ...]
) -> Digest:
    lines = [f"trace {_FORMAT} {level}"]
    for step in steps:
        named = [f"{name}={signal.digest}" for name, signal in step.signals]
        lines.append(repr(("step", step.scheduler, step.position, step.timestep, *named)))
    for cell in cells:
        ends = [[signal.digest for signal in side] for side in (cell.inputs, cell.outputs)]
        lines.append(repr((cell.number, cell.step, cell.name, cell.class_name, *ends)))
    return digest_text("\n".join(lines))


def trace_rows(trace: Trace) -> tuple[Row, ...]:
    """The trace as rows of text, numbers and ``None``; equal traces give equal rows.

    The first row is ``("trace", format, level, digest)``. Then follow ``signal`` rows, one for each
    distinct tensor (cells hand on what they got, so there are about half as many as mentions),
    ``step`` rows and ``cell`` rows, which mention signals by their number.
    """
    table = _SignalTable()
    steps = [
        ("step", step.scheduler, step.position, step.timestep, *table.named(step.signals))
        for step in trace.steps
    ]
    cells = [
        ("cell", cell.number, cell.step, cell.name, cell.class_name, *table.ends(cell))
        for cell in trace.cells
    ]
    head = ("trace", _FORMAT, str(trace.level), str(trace.digest))
    return (head, *(_signal_row(signal) for signal in table.signals), *steps, *cells)


class _SignalTable:
    """Numbers signals in the order in which they are first mentioned."""

    def __init__(self) -> None:
        self.signals: list[SignalRecord] = []
        self._numbers: dict[SignalRecord, int] = {}

    def number(self, signal: SignalRecord) -> int:
        found = self._numbers.setdefault(signal, len(self.signals))
        if found == len(self.signals):
            self.signals.append(signal)
        return found

    def ends(self, cell: CellRecord) -> tuple[int, ...]:
        numbers = [self.number(signal) for signal in (*cell.inputs, *cell.outputs)]
        return (len(cell.inputs), *numbers)

    def named(self, signals: tuple[tuple[str, SignalRecord], ...]) -> tuple[str | int, ...]:
        return tuple(part for name, signal in signals for part in (name, self.number(signal)))


def _signal_row(signal: SignalRecord) -> Row:
    shape = ",".join(str(length) for length in signal.shape)
    measured = (signal.min, signal.max, signal.mean, signal.std, signal.l2)
    counts = (signal.nan_count, signal.inf_count)
    return ("signal", signal.dtype, shape, str(signal.digest), *measured, *counts, *signal.sketch)


def trace_from_rows(rows: Iterable[Sequence[Any]]) -> Trace:
    """The trace that `trace_rows` gave these rows for; rows may be lists, as JSON reads them.

    Raises:
        CorruptBaseline: They are not the rows of a trace, or their digest is another.
    """
    try:
        head, *body = rows
        word, form, level, digest = head
        if (word, form) != ("trace", _FORMAT):
            raise ValueError(f"format {word!r} {form!r}")
        signals = [_signal_from(row) for row in body if row[0] == "signal"]
        steps = [_step_from(row, signals) for row in body if row[0] == "step"]
        cells = [_cell_from(row, signals) for row in body if row[0] == "cell"]
        trace = make_trace(TraceLevel(level), steps, cells)
    except _NOT_ROWS as fault:
        raise CorruptBaseline("a stored trace cannot be read", facts=(str(fault),)) from fault
    if trace.digest != digest or len(body) != len(signals) + len(steps) + len(cells):
        raise CorruptBaseline(
            "a stored trace is not what was recorded",
            facts=(f"digest written  {digest}", f"digest of rows  {trace.digest}"),
        )
    return trace


def _signal_from(row: Sequence[Any]) -> SignalRecord:
    _, dtype, shape_text, digest, low, high, mean, std, l2, nans, infs, *sketch = row
    shape = tuple(int(length) for length in shape_text.split(",") if length)
    measured = (float(low), float(high), float(mean), float(std), float(l2))
    kept = tuple(float(part) for part in sketch)
    return SignalRecord(
        str(dtype), shape, Digest(str(digest)), *measured, int(nans), int(infs), kept
    )


def _step_from(row: Sequence[Any], signals: list[SignalRecord]) -> StepRecord:
    _, scheduler, position, timestep, *mentions = row
    names, numbers = mentions[::2], mentions[1::2]
    named = tuple((str(n), signals[k]) for n, k in zip(names, numbers, strict=True))
    time = None if timestep is None else float(timestep)
    return StepRecord(str(scheduler), int(position), time, named)


def _cell_from(row: Sequence[Any], signals: list[SignalRecord]) -> CellRecord:
    _, number, step, name, class_name, input_count, *mentions = row
    ends = tuple(signals[mention] for mention in mentions)
    inputs, outputs = ends[:input_count], ends[input_count:]
    return CellRecord(int(number), int(step), str(name), str(class_name), inputs, outputs)


_Record = TypeVar("_Record")


@dataclass(frozen=True, slots=True)
class Pair(Generic[_Record]):
    """A record of each trace that stand for the same thing, or one alone.

    Attributes:
        index: Place in the baseline; for a record that only this run has, its place there.
        moved: For a record that is alone: the other trace has it too, but elsewhere.
    """

    index: int
    baseline: _Record | None
    observed: _Record | None
    moved: bool = False

    @property
    def record(self) -> _Record:
        """The record, the baseline's where both exist."""
        found = self.observed if self.baseline is None else self.baseline
        assert found is not None
        return found


def align(
    baseline: Sequence[_Record], observed: Sequence[_Record], key: Callable[[_Record], Hashable]
) -> tuple[Pair[_Record], ...]:
    """Pairs in order of time; a record that the other trace lacks stands alone where it happened.

    Records are the same thing when their keys are equal and they lie in the same order.
    """
    old, new = [key(record) for record in baseline], [key(record) for record in observed]
    if old == new:
        both = enumerate(zip(baseline, observed, strict=True))
        return tuple(Pair(at, one, other) for at, (one, other) in both)
    blocks = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    changed = [block[1:] for block in blocks if block[0] != "equal"]
    lone_old = {k for start, end, _, _ in changed for k in old[start:end]}
    lone_new = {k for _, _, start, end in changed for k in new[start:end]}
    pairs: list[Pair[_Record]] = []
    for word, i, i_end, j, j_end in blocks:
        if word == "equal":
            matched = enumerate(zip(baseline[i:i_end], observed[j:j_end], strict=True))
            pairs.extend(Pair(i + at, one, other) for at, (one, other) in matched)
            continue
        pairs.extend(Pair(at, baseline[at], None, old[at] in lone_new) for at in range(i, i_end))
        pairs.extend(Pair(at, None, observed[at], new[at] in lone_old) for at in range(j, j_end))
    return tuple(pairs)
