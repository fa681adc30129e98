"""The records of a trace: made, paired with another trace's, written as rows and read."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from pytest_repro.errors import CorruptBaseline
from pytest_repro.model.baseline import CellRecord, SignalRecord, StepRecord, Trace
from pytest_repro.model.ids import Digest, TensorRecord
from pytest_repro.model.words import TraceLevel
from pytest_repro.tensors.record import digest_text
from pytest_repro.tensors.sketch import sketch_array
from pytest_repro.tensors.statistics import summarise

_FORMAT = 2
DIGEST_DIGITS = 32


def measure_signal(record: TensorRecord, *, sketched: bool) -> SignalRecord:
    """The signal of ``record``; ``sketched`` adds the sketch, which doubles the cost."""
    seen = summarise(record)
    sketch = sketch_array(record) if sketched else ()
    measured = (seen.min, seen.max, seen.mean, seen.std, seen.l2)
    counts = (seen.nan_count, seen.posinf_count + seen.neginf_count)
    return SignalRecord(record.dtype, record.shape, record.digest, *measured, *counts, sketch)


def trace_signal(record: TensorRecord, *, sketched: bool) -> SignalRecord:
    """As `measure_signal`, with the short digest of a trace."""
    signal = measure_signal(record, sketched=sketched)
    return replace(signal, digest=short_digest(signal.digest))


def short_digest(digest: Digest) -> Digest:
    """The first half of a digest, 128 bits: enough to distinguish the tensors of a run."""
    return Digest(digest[:DIGEST_DIGITS])


def make_trace(
    level: TraceLevel, steps: Iterable[StepRecord], cells: Iterable[CellRecord] = ()
) -> Trace:
    """A trace with its digest."""
    kept_steps, kept_cells = tuple(steps), tuple(cells)
    return Trace(
        level, kept_steps, kept_cells, digest_trace(_FORMAT, level, kept_steps, kept_cells)
    )


def digest_trace(
    form: int, level: TraceLevel, steps: Sequence[StepRecord], cells: Sequence[CellRecord]
) -> Digest:
    """The digest of a trace in the format of that number: 1 counts digests of full length."""
    digits = None if form == 1 else DIGEST_DIGITS
    lines = [f"trace {form} {level}"]
    for step in steps:
        named = [f"{name}={signal.digest[:digits]}" for name, signal in step.signals]
        lines.append(repr(("step", step.scheduler, step.position, step.timestep, *named)))
    for cell in cells:
        ends = [[signal.digest[:digits] for signal in side] for side in (cell.inputs, cell.outputs)]
        lines.append(repr((cell.number, cell.step, cell.name, cell.class_name, *ends)))
    return digest_text("\n".join(lines))


_Record = TypeVar("_Record")


@dataclass(frozen=True, slots=True)
class Pair(Generic[_Record]):
    """The same record in both traces, or a record that only one trace has.

    Attributes:
        index: Index in the baseline, or in this run for a record that only this run has.
        moved: For a single record: the other trace has it too, at another place.
    """

    index: int
    baseline: _Record | None
    observed: _Record | None
    moved: bool = False

    @property
    def record(self) -> _Record:
        """The record, the baseline's if both exist."""
        found = self.observed if self.baseline is None else self.baseline
        assert found is not None
        return found


def align(
    baseline: Sequence[_Record], observed: Sequence[_Record], key: Callable[[_Record], Hashable]
) -> tuple[Pair[_Record], ...]:
    """Pairs in order of time, single records included.

    Two records are a pair if their keys are equal and they come in the same order.
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


Row = tuple[Any, ...]
_OLD_FORMAT = 1
_NOT_ROWS = (ValueError, TypeError, LookupError, AttributeError, OverflowError)
_MOST_FLOAT32 = float(np.finfo(np.float32).max)


def trace_rows(trace: Trace) -> tuple[Row, ...]:
    """The trace as rows of text and numbers; equal traces give equal rows.

    Signals of steps are kept whole. Signals that only cells mention are kept short (`shortened`),
    in columns: a call costs at most 40 bytes of the compressed file.
    """
    signals = _Signals(trace)
    head = ("trace", _FORMAT, str(trace.level), str(trace.digest))
    whole = (_signal_row(signal) for signal in signals.whole)
    steps = (
        ("step", one.scheduler, one.position, one.timestep, *signals.named(one.signals))
        for one in trace.steps
    )
    if not trace.cells:
        return (head, *whole, *steps)
    return (head, *whole, *steps, *_short_rows(signals.short), *_cell_rows(trace.cells, signals))


def shortened(signal: SignalRecord) -> SignalRecord:
    """What is kept of a signal that only cells mention.

    Mean and standard deviation as float32, and the l2 norm that follows from them; no sketch, and
    NaN as minimum and maximum. A signal of float64, or with NaN or infinity, stays whole.
    """
    if not _may_be_short(signal):
        return signal
    mean, std = float(np.float32(signal.mean)), float(np.float32(signal.std))
    return replace(
        signal,
        digest=short_digest(signal.digest),
        min=math.nan,
        max=math.nan,
        mean=mean,
        std=std,
        l2=_norm(mean, std, signal.shape),
        sketch=(),
    )


def _norm(mean: float, std: float, shape: tuple[int, ...]) -> float:
    return math.sqrt(math.prod(shape)) * math.hypot(mean, std)


def _may_be_short(signal: SignalRecord) -> bool:
    finite = not signal.nan_count and not signal.inf_count and signal.dtype != "float64"
    return finite and max(abs(signal.mean), signal.std) < _MOST_FLOAT32


class _Signals:
    """Every signal of a trace once, numbered: first those kept whole, then the short ones."""

    def __init__(self, trace: Trace) -> None:
        of_steps = (signal for step in trace.steps for _, signal in step.signals)
        of_cells = (one for cell in trace.cells for one in (*cell.inputs, *cell.outputs))
        whole: dict[Digest, SignalRecord] = {}
        for signal in of_steps:
            digest = short_digest(signal.digest)
            # Of two records of one tensor, keep the one with a sketch.
            if digest not in whole or signal.sketch:
                whole[digest] = signal
        others = {short_digest(one.digest): one for one in of_cells}
        whole.update(
            (digest, one)
            for digest, one in others.items()
            if digest not in whole and not _may_be_short(one)
        )
        self.whole = list(whole.values())
        self.short = [one for digest, one in others.items() if digest not in whole]
        in_order = dict.fromkeys((*whole, *others))
        self._numbers = {digest: at for at, digest in enumerate(in_order)}

    def number(self, signal: SignalRecord) -> int:
        return self._numbers[short_digest(signal.digest)]

    def named(self, signals: tuple[tuple[str, SignalRecord], ...]) -> tuple[str | int, ...]:
        return tuple(part for name, signal in signals for part in (name, self.number(signal)))


def _signal_row(signal: SignalRecord) -> Row:
    measured = (signal.min, signal.max, signal.mean, signal.std, signal.l2)
    counts = (signal.nan_count, signal.inf_count)
    digest = str(short_digest(signal.digest))
    return ("signal", signal.dtype, _shape_text(signal), digest, *measured, *counts, *signal.sketch)


def _shape_text(signal: SignalRecord) -> str:
    return ",".join(str(length) for length in signal.shape)


def _short_rows(signals: Sequence[SignalRecord]) -> Iterator[Row]:
    kinds: dict[Row, int] = {}
    numbers = [kinds.setdefault((one.dtype, _shape_text(one)), len(kinds)) for one in signals]
    yield from (("kind", *kind) for kind in kinds)
    yield ("kinds", *numbers)
    yield "digests", _packed(np.frombuffer(bytes.fromhex(_digits(signals)), np.uint8))
    yield "means", _packed(_planes(np.array([one.mean for one in signals], "<f4")))
    yield "stds", _packed(_planes(np.array([one.std for one in signals], "<f4")))


def _digits(signals: Sequence[SignalRecord]) -> str:
    return "".join(short_digest(one.digest) for one in signals)


def _planes(values: NDArray[Any]) -> NDArray[np.uint8]:
    """The bytes of numbers, all lowest bytes first, which compresses best."""
    planes: NDArray[np.uint8] = values.view(np.uint8).reshape(-1, values.dtype.itemsize).T
    return planes


def _packed(values: NDArray[np.uint8]) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")


def _cell_rows(cells: Sequence[CellRecord], signals: _Signals) -> Iterator[Row]:
    names: dict[tuple[str, str], int] = {}
    called = [names.setdefault((one.name, one.class_name), len(names)) for one in cells]
    yield from (("cell", *name) for name in names)
    yield ("called", *called)
    numbers = [one.number for one in cells]
    # Differences, not numbers: they are the same in every step, so they compress.
    yield ("numbers", *(now - old for old, now in zip([0, *numbers], numbers, strict=False)))
    yield ("steps", *(one.step for one in cells))
    yield ("inputs", *(len(one.inputs) for one in cells))
    yield ("outputs", *(len(one.outputs) for one in cells))
    yield ("mentions", *_mentions(cells, signals))


def _mentions(cells: Sequence[CellRecord], signals: _Signals) -> Iterator[int]:
    """0 for the next short signal, n for the n-th before it, below 0 for one kept whole."""
    following = len(signals.whole)
    for cell in cells:
        for signal in (*cell.inputs, *cell.outputs):
            number = signals.number(signal)
            yield -number - 1 if number < len(signals.whole) else following - number
            following += number == following


def trace_from_rows(rows: Iterable[Sequence[Any]]) -> Trace:
    """The inverse of `trace_rows`, with the signals of cells `shortened`.

    Rows may be lists, as JSON reads them, or of the older format.

    Raises:
        CorruptBaseline: These are not the rows of a trace, or their digest is wrong.
    """
    try:
        head, *body = rows
        word, form, level, digest = head
        if word != "trace" or form not in (_FORMAT, _OLD_FORMAT):
            raise ValueError(f"format {word!r} {form!r}")
        read = _read if form == _FORMAT else _read_old
        trace, found = read(TraceLevel(level), body)
    except _NOT_ROWS as fault:
        raise CorruptBaseline("a stored trace cannot be read", facts=(str(fault),)) from fault
    if found != digest:
        raise CorruptBaseline(
            "a stored trace is not what was recorded",
            facts=(f"digest written  {digest}", f"digest of rows  {found}"),
        )
    return trace


def is_current(rows: Sequence[Sequence[Any]]) -> bool:
    """Whether these are rows of a trace in the format that `trace_rows` writes."""
    return bool(rows) and tuple(rows[0][:2]) == ("trace", _FORMAT)


def _read(level: TraceLevel, body: Sequence[Sequence[Any]]) -> tuple[Trace, Digest]:
    signals = [_signal_from(row) for row in body if row[0] == "signal"]
    steps = [_step_from(row, signals) for row in body if row[0] == "step"]
    rest = [row for row in body if row[0] not in ("signal", "step")]
    cells = _cells_from(_Columns(rest), signals) if rest else ()
    trace = make_trace(level, steps, cells)
    return trace, trace.digest


@dataclass(frozen=True, slots=True)
class _Columns:
    """The rows of cells and their signals, by the first word of each row."""

    rows: Sequence[Sequence[Any]]

    def table(self, word: str) -> list[Sequence[Any]]:
        """Every row of that word, without it."""
        return [row[1:] for row in self.rows if row[0] == word]

    def column(self, word: str, count: int | None = None) -> list[int]:
        """The numbers of the only row of that word."""
        (found,) = self.table(word)
        if count is not None and len(found) != count:
            raise ValueError(f"{len(found)} of {word}, not {count}")
        return [int(one) for one in found]

    def packed(self, word: str, count: int) -> list[float]:
        """The float32 numbers that `_planes` and `_packed` were given."""
        planes = np.frombuffer(self.data(word), np.uint8).reshape(4, count)
        values: list[float] = np.ascontiguousarray(planes.T).view("<f4").reshape(count).tolist()
        return values

    def data(self, word: str) -> bytes:
        """The bytes of the only row of that word."""
        ((text,),) = self.table(word)
        return base64.b64decode(text, validate=True)


def _cells_from(columns: _Columns, signals: list[SignalRecord]) -> list[CellRecord]:
    known = [*signals, *_short_from(columns)]
    names = [(str(name), str(class_name)) for name, class_name in columns.table("cell")]
    called = columns.column("called")
    numbers = np.cumsum(columns.column("numbers", len(called)), dtype=np.int64).tolist()
    steps = columns.column("steps", len(called))
    inputs = columns.column("inputs", len(called))
    outputs = columns.column("outputs", len(called))
    if min((*inputs, *outputs, *called), default=0) < 0:
        raise ValueError("a negative count")
    mentions = columns.column("mentions", sum(inputs) + sum(outputs))
    ends = [known[at] for at in _mentioned(mentions, len(signals))]
    cells, begin = [], 0
    for at, name in enumerate(called):
        middle = begin + inputs[at]
        end = middle + outputs[at]
        sides = tuple(ends[begin:middle]), tuple(ends[middle:end])
        cells.append(CellRecord(numbers[at], steps[at], *names[name], *sides))
        begin = end
    return cells


def _mentioned(mentions: Sequence[int], whole_count: int) -> Iterator[int]:
    following = whole_count
    for mention in mentions:
        number = -mention - 1 if mention < 0 else following - mention
        if number < 0 or (mention < 0) != (number < whole_count):
            raise ValueError(f"mention {mention}")
        yield number
        following += mention == 0


def _short_from(columns: _Columns) -> Iterator[SignalRecord]:
    kinds = [(str(dtype), _shape_from(shape)) for dtype, shape in columns.table("kind")]
    numbers = columns.column("kinds")
    if min(numbers, default=0) < 0:
        raise ValueError("a negative kind")
    count = len(numbers)
    digits = columns.data("digests").hex()
    if len(digits) != count * DIGEST_DIGITS:
        raise ValueError(f"{len(digits)} digits of {count} digests")
    means, stds = columns.packed("means", count), columns.packed("stds", count)
    for at, (number, mean, std) in enumerate(zip(numbers, means, stds, strict=True)):
        dtype, shape = kinds[number]
        digest = Digest(digits[at * DIGEST_DIGITS : (at + 1) * DIGEST_DIGITS])
        norm = _norm(mean, std, shape)
        yield SignalRecord(dtype, shape, digest, math.nan, math.nan, mean, std, norm, 0, 0)


def _shape_from(text: str) -> tuple[int, ...]:
    return tuple(int(length) for length in text.split(",") if length)


def _signal_from(row: Sequence[Any]) -> SignalRecord:
    _, dtype, shape, digest, low, high, mean, std, l2, nans, infs, *sketch = row
    measured = (float(low), float(high), float(mean), float(std), float(l2))
    kept = tuple(float(part) for part in sketch)
    counts = int(nans), int(infs)
    return SignalRecord(
        str(dtype), _shape_from(shape), Digest(str(digest)), *measured, *counts, kept
    )


def _step_from(row: Sequence[Any], signals: list[SignalRecord]) -> StepRecord:
    _, scheduler, position, timestep, *mentions = row
    names, numbers = mentions[::2], mentions[1::2]
    named = tuple((str(n), signals[k]) for n, k in zip(names, numbers, strict=True))
    time = None if timestep is None else float(timestep)
    return StepRecord(str(scheduler), int(position), time, named)


def _read_old(level: TraceLevel, body: Sequence[Sequence[Any]]) -> tuple[Trace, Digest]:
    """Reads format 1: a row for each signal, step and call, and digests of full length.

    Such a trace keeps the digest under which it is stored.
    """
    signals = [_signal_from(row) for row in body if row[0] == "signal"]
    steps = [_step_from(row, signals) for row in body if row[0] == "step"]
    cells = [_old_cell_from(row, signals) for row in body if row[0] == "cell"]
    if len(body) != len(signals) + len(steps) + len(cells):
        raise ValueError("a row that is neither signal, step nor cell")
    digest = digest_trace(_OLD_FORMAT, level, steps, cells)
    short = [replace(one, digest=short_digest(one.digest)) for one in signals]
    steps = [_step_from(row, short) for row in body if row[0] == "step"]
    cells = [_old_cell_from(row, short) for row in body if row[0] == "cell"]
    return Trace(level, tuple(steps), tuple(cells), digest), digest


def _old_cell_from(row: Sequence[Any], signals: list[SignalRecord]) -> CellRecord:
    _, number, step, name, class_name, input_count, *mentions = row
    ends = tuple(signals[mention] for mention in mentions)
    inputs, outputs = ends[:input_count], ends[input_count:]
    return CellRecord(int(number), int(step), str(name), str(class_name), inputs, outputs)
