"""Makes the records of a trace, and pairs the records of two traces."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import Generic, TypeVar

from pytest_repro.model.ids import Digest, TensorRecord
from pytest_repro.model.trace import CellRecord, SignalRecord, StepRecord, Trace
from pytest_repro.model.words import TraceLevel
from pytest_repro.tensors.digest import digest_text
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
