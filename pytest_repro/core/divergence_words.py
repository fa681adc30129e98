"""The sentences about a divergence; words only, nothing is decided or measured here."""

from __future__ import annotations

import math

from pytest_repro.core.divergence import (
    Apart,
    CellDivergence,
    Change,
    Divergence,
    StepDivergence,
    how_far,
)
from pytest_repro.core.trace import CellRecord, SignalRecord, StepRecord

__all__ = ["divergence_sentences"]

_WHAT_DIFFERS = {
    "sample": "the sample that was handed to the scheduler",
    "model_output": "the model's output; the sample agrees",
    "result": "the scheduler's result; sample and model output agree",
}


def divergence_sentences(divergence: Divergence) -> tuple[str, ...]:
    """What to tell a reader, most important first: step, cell, how it goes on.

    At most seven lines, each able to stand alone.
    """
    sentences: list[str] = []
    if divergence.step is not None:
        sentences.extend(_step_sentences(divergence.step, divergence.is_within))
    else:
        sentences.append("all steps agree; only cells differ")
    sentences.extend(_cell_sentences(divergence))
    sentences.extend(
        f"{scheduler} made {observed} steps instead of {baseline}"
        for scheduler, baseline, observed in divergence.step_counts
    )
    sentences.extend(_course_sentences(divergence))
    return tuple(sentences)


def _step_sentences(found: StepDivergence, is_within: bool) -> tuple[str, ...]:
    how = "within the envelope" if is_within else "bitwise"
    name = _step_name(found.step)
    first = f"first step that differs: {name}"
    if found.index:
        count = "the step" if found.index == 1 else f"all {found.index} steps"
        first += f"; {count} before it agree{'s' if found.index == 1 else ''} {how}"
    return first, f"there differs: {_step_change(found)}"


def _step_name(step: StepRecord) -> str:
    time = "" if step.timestep is None else f" (timestep {step.timestep:g})"
    return f"{step.scheduler} step {step.position}{time}"


def _step_change(found: StepDivergence) -> str:
    old, new = found.baseline, found.observed
    if old is None:
        return _LONE[found.change]
    if new is None:
        return _LONE[found.change]
    if found.change is Change.TIMESTEP:
        return f"the timestep, {_time(old)} became {_time(new)}"
    words = _WHAT_DIFFERS.get(found.signal, f"{found.signal}; what came before it agrees")
    return words + _signal_change(old.signal(found.signal), new.signal(found.signal))


_LONE = {
    Change.ABSENT: "it did not happen in this run",
    Change.EXTRA: "the baseline has no such step",
    Change.ORDER: "it happened at another place in the order",
}


def _time(step: StepRecord) -> str:
    return "none" if step.timestep is None else f"{step.timestep:g}"


def _signal_change(old: SignalRecord | None, new: SignalRecord | None) -> str:
    if old is None or new is None:
        return " (only in this run)" if old is None else " (only in the baseline)"
    if (old.dtype, old.shape) != (new.dtype, new.shape):
        return f" ({old.dtype} {old.shape} became {new.dtype} {new.shape})"
    lost = (new.nan_count + new.inf_count) - (old.nan_count + old.inf_count)
    if lost > 0:
        return f" ({new.nan_count} NaN, {new.inf_count} infinite; the baseline has {lost} fewer)"
    means = f"mean {old.mean:.6g} -> {new.mean:.6g}, std {old.std:.6g} -> {new.std:.6g}"
    return f" ({_amount(how_far(old, new))}; {means})"


def _amount(apart: Apart) -> str:
    if math.isinf(apart.rel_l2):
        return "rel_l2 infinite"
    if apart.is_bound:
        return f"rel_l2 at least {apart.rel_l2:.1e}" if apart.rel_l2 else "rel_l2 not measurable"
    return f"rel_l2 about {apart.rel_l2:.1e}"


def _cell_sentences(divergence: Divergence) -> tuple[str, ...]:
    if not divergence.cells_compared:
        return ()
    cell, entered = divergence.cell, divergence.entered
    sentences: list[str] = []
    if entered is not None:
        call = _call_name(entered.call)
        sentences.append(
            f"the difference came in from outside the cells: {call} was handed other inputs"
        )
    if cell is not None:
        sentences.extend(_blame(cell))
    if not sentences:
        return ("no cell is to blame: every call up to there agrees",)
    return tuple(sentences)


def _call_name(call: CellRecord) -> str:
    return f"{call.name} ({call.class_name}, call {call.number})"


def _blame(cell: CellDivergence) -> tuple[str, ...]:
    first = f"first cell: {_call_name(cell.call)}: {_cell_change(cell)}"
    if cell.agreed_count:
        first += f"; {cell.agreed_count} calls before it agree"
    return (first, between) if (between := _between(cell)) else (first,)


def _cell_change(cell: CellDivergence) -> str:
    old, new = cell.baseline, cell.observed
    if old is None or new is None:
        return _LONE_CALL[cell.change]
    words = "equal inputs, other output"
    if old.class_name != new.class_name:
        words = f"class {old.class_name} became {new.class_name}, {words}"
    outputs = [side.outputs[cell.output : cell.output + 1] for side in (old, new)]
    signals = [side[0] if side else None for side in outputs]
    return words + _signal_change(signals[0], signals[1])


_LONE_CALL = {
    Change.ABSENT: "it was not called in this run",
    Change.EXTRA: "the baseline has no such call",
    Change.ORDER: "it was called at another place in the order",
}


def _between(cell: CellDivergence) -> str:
    if cell.next_inner:
        start = f"after {cell.last_inner} and " if cell.last_inner else ""
        return f"it happens inside it, {start}before {cell.next_inner}, which got other inputs"
    return f"it happens inside it, after {cell.last_inner}" if cell.last_inner else ""


def _course_sentences(divergence: Divergence) -> tuple[str, ...]:
    growth = divergence.growth
    sentences: list[str] = []
    if len(growth) > 1:
        first, last = growth[0], growth[-1]
        worst = max(growth, key=lambda each: each.apart.rel_l2)
        course = (
            f"the result of {first.scheduler} step {first.position} is off by "
            f"{_amount(first.apart)}, that of {last.scheduler} step {last.position} by "
            f"{_amount(last.apart)}"
        )
        if worst not in (first, last):
            where = f"{worst.scheduler} step {worst.position}"
            course += f"; most in {where}, {_amount(worst.apart)}"
        sentences.append(course)
    if divergence.rejoins is not None:
        sentences.append(f"from {_step_name(divergence.rejoins)} on the results agree again")
    return tuple(sentences)
