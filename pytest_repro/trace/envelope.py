"""How far each denoising step moves when the noise is perturbed: a fallback's bounds by step."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_repro.errors import CorruptBaseline
from pytest_repro.model.baseline import SignalRecord, StepRecord, Trace
from pytest_repro.model.ids import Digest
from pytest_repro.tensors.dtypes import DTYPES
from pytest_repro.tensors.record import digest_text
from pytest_repro.trace.divergence import Within, how_far

Row = tuple[Any, ...]
_FORMAT = 1
_DIGITS = 4
"""Significant digits kept: the distances are estimates, right to about 18 %."""


@dataclass(frozen=True, slots=True)
class Movement:
    """How far one signal of one step moved in the perturbed runs.

    Attributes:
        scheduler, position, signal: As in `trace.StepRecord`.
        rel_l2_max, rel_l2_mean: Largest and mean over the runs of ``||perturbed - clean||_2 /
            ||clean||_2``, from the sketches (`divergence.how_far`), like the distance that is
            judged by it.
    """

    scheduler: str
    position: int
    signal: str
    rel_l2_max: float
    rel_l2_mean: float


@dataclass(frozen=True, slots=True)
class StepEnvelope:
    """How far each step of a watched pipeline moves when the noise is perturbed.

    Attributes:
        runs: How many perturbed runs (K).
        movements: In the order of the steps; a signal that never moved has none.
    """

    runs: int
    movements: tuple[Movement, ...]

    def rel_l2(self, scheduler: str, position: int, signal: str) -> float:
        """The largest movement of a signal; 0.0 if it never moved."""
        found = (one for one in self.movements if one.signal == signal)
        place = (scheduler, position)
        return next((m.rel_l2_max for m in found if (m.scheduler, m.position) == place), 0.0)


def measure_steps(clean: Trace, disturbed: Sequence[Trace]) -> StepEnvelope | None:
    """The envelope of every step.

    ``None`` if it cannot be measured: no run or no step, other steps in a perturbed run, or a
    distance that is not finite.
    """
    if not disturbed or not clean.steps or any(_places(clean) != _places(t) for t in disturbed):
        return None
    movements: list[Movement] = []
    for at, step in enumerate(clean.steps):
        for name, signal in step.signals:
            others = [trace.steps[at].signal(name) for trace in disturbed]
            moved = [how_far(signal, one).rel_l2 for one in others if one is not None]
            if len(moved) < len(disturbed) or not all(map(math.isfinite, moved)):
                return None
            if any(moved):
                measured = _rounded(max(moved)), _rounded(sum(moved) / len(moved))
                movements.append(Movement(step.scheduler, step.position, name, *measured))
    return StepEnvelope(len(disturbed), tuple(movements))


def _places(trace: Trace) -> list[tuple[str, int]]:
    return [_place(step) for step in trace.steps]


def _place(step: StepRecord) -> tuple[str, int]:
    return step.scheduler, step.position


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS - 1}e}")


@dataclass(frozen=True, slots=True)
class StepBounds:
    """How far a step of a fallback may move: ``factor`` (above 0) times its envelope."""

    envelope: StepEnvelope
    factor: float


def within_steps(trace: Trace, bounds: StepBounds) -> Within:
    """Judges the signals of a fallback by ``factor`` times their envelope.

    A signal is found by its digest in ``trace``, the baseline's. Inputs and outputs of cells have
    no envelope of their own: the largest of their step counts. Every bound is at least ``factor``
    times one relative unit in the last place, because rounding also moves what noise does not.
    """
    limits, factor = _limits(trace, bounds.envelope), bounds.factor

    def within(baseline: SignalRecord, observed: SignalRecord) -> bool:
        bound = max(limits.get(baseline.digest, 0.0), _unit(baseline.dtype))
        return how_far(baseline, observed).rel_l2 <= factor * bound

    return within


def _limits(trace: Trace, envelope: StepEnvelope) -> Mapping[Digest, float]:
    moved = {(m.scheduler, m.position, m.signal): m.rel_l2_max for m in envelope.movements}
    largest = [
        max((moved.get((*_place(step), name), 0.0) for name, _ in step.signals), default=0.0)
        for step in trace.steps
    ]
    limits: dict[Digest, float] = {}
    for cell in trace.cells:
        # Calls after the last step are not measured either.
        limit = largest[min(cell.step, len(largest) - 1)] if largest else 0.0
        for signal in (*cell.inputs, *cell.outputs):
            limits[signal.digest] = max(limit, limits.get(signal.digest, 0.0))
    own: dict[Digest, float] = {}
    for step in trace.steps:
        for name, signal in step.signals:
            limit = moved.get((*_place(step), name), 0.0)
            own[signal.digest] = max(limit, own.get(signal.digest, 0.0))
    return {**limits, **own}


def _unit(dtype: str) -> float:
    row = DTYPES[dtype]
    return 2.0 ** (1 - row.significand_bits) if row.is_float else 0.0


def step_envelope_rows(envelope: StepEnvelope) -> tuple[Row, ...]:
    """The envelope as rows of text and numbers: a head, then a row for each movement."""
    movements = (
        ("moved", one.scheduler, one.position, one.signal, one.rel_l2_max, one.rel_l2_mean)
        for one in envelope.movements
    )
    return (("step envelope", _FORMAT, envelope.runs), *movements)


def digest_step_envelope(envelope: StepEnvelope) -> Digest:
    """SHA-256 over the canonical text of its rows."""
    return digest_text("\n".join(json.dumps(row) for row in step_envelope_rows(envelope)))


def step_envelope_from_rows(rows: Iterable[Sequence[Any]]) -> StepEnvelope:
    """The inverse of `step_envelope_rows`.

    Raises:
        CorruptBaseline: These are not such rows.
    """
    try:
        head, *body = rows
        word, form, runs = head
        if (word, form) != ("step envelope", _FORMAT):
            raise ValueError(f"format {word!r} {form!r}")
        return StepEnvelope(int(runs), tuple(_movements(body)))
    except (ValueError, TypeError, OverflowError) as fault:
        raise CorruptBaseline(
            "a stored envelope of steps cannot be read", facts=(str(fault),)
        ) from fault


def _movements(rows: Iterable[Sequence[Any]]) -> Iterator[Movement]:
    for word, scheduler, position, signal, largest, mean in rows:
        measured = float(largest), float(mean)
        if word != "moved" or not all(0 <= one < math.inf for one in measured):
            raise ValueError(f"{word!r} {measured}")
        yield Movement(str(scheduler), int(position), str(signal), *measured)
