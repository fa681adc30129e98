"""Traces: what a watched pipeline did, step by step and cell by cell, as values and as rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_repro.errors import CorruptBaseline
from pytest_repro.model.baseline import Digest, TensorRecord
from pytest_repro.settings import TraceLevel
from pytest_repro.tensors.digest import digest_text
from pytest_repro.tensors.sketch import sketch_array
from pytest_repro.tensors.statistics import summarise

__all__ = [
    "CellRecord",
    "SignalRecord",
    "StepRecord",
    "Trace",
    "make_trace",
    "measure_signal",
    "trace_from_rows",
    "trace_rows",
]

Row = tuple[Any, ...]
_FORMAT = 1
_NOT_ROWS = (ValueError, TypeError, LookupError, AttributeError, OverflowError)


@dataclass(frozen=True, slots=True)
class SignalRecord:
    """What a trace keeps of one tensor that passed by; never the tensor.

    Attributes:
        dtype: Our name of the dtype.
        digest: SHA-256 over dtype, shape and bytes; decides equality. All else only says how far.
        min, max, mean, std, l2: As in `model.Statistics`: over the finite elements, in float64.
        nan_count, inf_count: How many elements are NaN, or an infinity of either sign.
        sketch: Order-aware projections (`sketch.sketch_array`); empty where none was taken.
    """

    dtype: str
    shape: tuple[int, ...]
    digest: Digest
    min: float
    max: float
    mean: float
    std: float
    l2: float
    nan_count: int
    inf_count: int
    sketch: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One denoising step, or one call of a cell that is watched on its own.

    Attributes:
        scheduler: Name of the scheduler in its pipeline (``scheduler``, ``prior_scheduler``, ...),
            or of the watched cell.
        position: Number of the step within that scheduler, from 0.
        timestep: The scheduler's time; ``None`` where there is none.
        signals: Named tensors in the order in which they came to be: ``sample``,
            ``model_output``, any other tensor that was handed in, and last ``result``.
    """

    scheduler: str
    position: int
    timestep: float | None
    signals: tuple[tuple[str, SignalRecord], ...]

    def signal(self, name: str) -> SignalRecord | None:
        """The signal called ``name``, if there is one."""
        return next((signal for label, signal in self.signals if label == name), None)


@dataclass(frozen=True, slots=True)
class CellRecord:
    """One call of one cell.

    Attributes:
        number: Number of the call in the order in which calls began, from 0.
        step: Index in `Trace.steps` of the step that was being prepared; ``len(steps)`` for calls
            after the last one.
        name: Path of the cell from its component, e.g. ``unet.down_blocks.0.resnets.1.conv1``.
        class_name: Name of its class.
        inputs: Tensors and numbers among the arguments, in order.
        outputs: Tensors and numbers of the result, in order.
    """

    number: int
    step: int
    name: str
    class_name: str
    inputs: tuple[SignalRecord, ...]
    outputs: tuple[SignalRecord, ...]


@dataclass(frozen=True, slots=True)
class Trace:
    """All records of a watched pipeline.

    Attributes:
        level: Whether cells were recorded.
        steps: In the order in which they ended.
        cells: In the order in which calls ended, so that a cell stands before the cell around it.
        digest: SHA-256 over everything but the statistics: equal exactly when the same was
            computed in the same order, whatever numpy measured the statistics.
    """

    level: TraceLevel
    steps: tuple[StepRecord, ...]
    cells: tuple[CellRecord, ...]
    digest: Digest


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
