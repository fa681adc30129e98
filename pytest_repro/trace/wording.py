"""The sentences about a divergence, and how msprobe dumps the operators after it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from pytest_repro.model.baseline import CellRecord, SignalRecord, StepRecord, Trace
from pytest_repro.trace.divergence import (
    Apart,
    CellDivergence,
    Change,
    Divergence,
    Growth,
    StepDivergence,
    how_far,
)
from pytest_repro.trace.envelope import StepBounds

_SHOWN_STEPS = 6
_WHOLE_ABOVE = 10

_WHAT_DIFFERS = {
    "sample": "the sample passed to the scheduler",
    "model_output": "the model's output; the sample agrees",
    "result": "the scheduler's result; sample and model output agree",
}


def divergence_sentences(
    divergence: Divergence, bounds: StepBounds | None = None, *, unpaired: Sequence[str] = ()
) -> tuple[str, ...]:
    """What to tell a reader, most important first: step, cell, how it goes on.

    At most eight lines; each can be read alone.

    Args:
        divergence: The first difference between two traces.
        bounds: What its steps were judged by; ``None`` without an envelope of steps.
        unpaired: What to say of cells that could not be compared (`unpaired_sentences`).
    """
    sentences: list[str] = []
    if divergence.step is not None:
        sentences.extend(_step_sentences(divergence.step, divergence.is_within, bounds))
    else:
        sentences.append("all steps agree; only cells differ")
    sentences.extend((*_cell_sentences(divergence), *unpaired))
    sentences.extend(_course_sentences(divergence, bounds))
    sentences.extend(
        f"{scheduler} made {observed} steps instead of {baseline}"
        for scheduler, baseline, observed in divergence.step_counts
    )
    return tuple(sentences)


def all_within_sentence(baseline: Trace, observed: Trace, bounds: StepBounds) -> str:
    """What to say of a fallback's drift that no step shows."""
    pairs = zip(baseline.steps, observed.steps, strict=False)
    last = [(old.signal("result"), new.signal("result")) for old, new in pairs][-1:]
    apart = [_amount(how_far(old, new)) for old, new in last if old is not None and new is not None]
    result = f" (last result: {apart[0]})" if apart else ""
    return (
        f"every step agrees within {bounds.factor:g} times its envelope{result}: the drift "
        "began after the last step, or is too small to show in one step"
    )


def _step_sentences(
    found: StepDivergence, is_within: bool, bounds: StepBounds | None
) -> tuple[str, ...]:
    how = "within the envelope" if is_within else "bitwise"
    what = "that differs"
    if bounds is not None:
        how = f"within {bounds.factor:g} times their envelopes"
        what = "outside its envelope" if found.change is Change.SIGNAL else "that differs"
    name = _step_name(found.step)
    first = f"first step {what}: {name}"
    if found.index:
        count = "the step" if found.index == 1 else f"the {found.index} steps"
        first += f"; {count} before it agree{'s' if found.index == 1 else ''} {how}"
    return first, f"what differs: {_step_change(found)}{_beside_envelope(found, bounds)}"


def _beside_envelope(found: StepDivergence, bounds: StepBounds | None) -> str:
    old, new = found.baseline, found.observed
    if bounds is None or old is None or new is None or found.change is not Change.SIGNAL:
        return ""
    one, other = old.signal(found.signal), new.signal(found.signal)
    moved = bounds.envelope.rel_l2(old.scheduler, old.position, found.signal)
    if one is None or other is None:
        return ""
    if not moved:
        return "; perturbed noise does not move it"
    times = how_far(one, other).rel_l2 / moved
    return f"; {times:,.{0 if times >= _WHOLE_ABOVE else 1}f} times its envelope, {moved:.1e}"


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
    words = _WHAT_DIFFERS.get(found.signal, f"{found.signal}; everything before it agrees")
    return words + _signal_change(old.signal(found.signal), new.signal(found.signal))


_LONE = {
    Change.ABSENT: "this run has no such step",
    Change.EXTRA: "the baseline has no such step",
    Change.ORDER: "the order of the steps",
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
            f"the difference entered from outside the cells: {call} got different inputs"
        )
    if cell is not None:
        sentences.extend(_blame(cell, divergence.is_within))
    if not sentences:
        return ("no cell differs: every call up to this step agrees",)
    return tuple(sentences)


def _call_name(call: CellRecord) -> str:
    return f"{call.name} ({call.class_name}, call {call.number})"


_BY_STATISTICS = " as far as mean and spread tell"
"""Cells have no sketch: within an envelope, values that changed places look equal."""


def _blame(cell: CellDivergence, is_within: bool) -> tuple[str, ...]:
    how = _BY_STATISTICS if is_within else ""
    first = f"first cell that differs: {_call_name(cell.call)}: {_cell_change(cell, how)}"
    if cell.agreed_count:
        count = "1 call" if cell.agreed_count == 1 else f"{cell.agreed_count} calls"
        first += f"; {count} before it agree{'s' if cell.agreed_count == 1 else ''}{how}"
    return (first, between) if (between := _between(cell)) else (first,)


def _cell_change(cell: CellDivergence, how: str) -> str:
    old, new = cell.baseline, cell.observed
    if old is None or new is None:
        return _LONE_CALL[cell.change]
    words = f"equal inputs{how}, different output"
    if old.class_name != new.class_name:
        words = f"class {old.class_name} became {new.class_name}, {words}"
    before, now = (next(iter(side.outputs[cell.output :]), None) for side in (old, new))
    return words + _signal_change(before, now)


_LONE_CALL = {
    Change.ABSENT: "this run does not call it",
    Change.EXTRA: "the baseline has no such call",
    Change.ORDER: "the order of the calls differs",
}


def _between(cell: CellDivergence) -> str:
    if cell.next_inner:
        start = f"after {cell.last_inner} and " if cell.last_inner else ""
        return (
            f"the fault is inside it, {start}before {cell.next_inner}, which got different inputs"
        )
    return f"the fault is inside it, after {cell.last_inner}" if cell.last_inner else ""


def _course_sentences(divergence: Divergence, bounds: StepBounds | None) -> tuple[str, ...]:
    growth = divergence.growth
    sentences: list[str] = []
    if len(growth) > 1:
        first, last = growth[0], growth[-1]
        worst = max(growth, key=lambda each: each.apart.rel_l2)
        course = (
            f"the result differs by {_amount(first.apart)} after {first.scheduler} step "
            f"{first.position}, and by {_amount(last.apart)} after {last.scheduler} step "
            f"{last.position}"
        )
        if worst not in (first, last):
            where = f"{worst.scheduler} step {worst.position}"
            course += f"; most after {where}, {_amount(worst.apart)}"
        sentences.append(course if bounds is None else _growth_sentence(growth, bounds))
    if divergence.rejoins is not None:
        again = f"from {_step_name(divergence.rejoins)} on the results agree again"
        # On one line: when the text is cut, it must not lose that the difference went away.
        sentences = ["; ".join((*sentences, again))]
    return tuple(sentences)


def _growth_sentence(growth: Sequence[Growth], bounds: StepBounds) -> str:
    """The difference of the results step by step, each beside its envelope."""
    # The first, the last, and some evenly between: fifty steps do not fit into a line.
    count = min(_SHOWN_STEPS, len(growth))
    places = sorted({round(at * (len(growth) - 1) / (count - 1)) for at in range(count)})
    shown = []
    for each in (growth[place] for place in places):
        moved = bounds.envelope.rel_l2(each.scheduler, each.position, "result")
        name = f"{each.scheduler} step {each.position}"
        shown.append(f"{name} {each.apart.rel_l2:.1e} vs {moved:.1e}")
    return f"difference of the results vs their envelope: {', '.join(shown)}"


def dump_lines(divergence: Divergence, observed: Trace) -> tuple[str, ...]:
    """What to paste so that msprobe dumps the first difference; empty if no step is known.

    If a cell's call differs, that call and every operator in it are dumped whole. Otherwise every
    cell is dumped as statistics, because the tensors may be many gigabytes.
    """
    call = _blamed_call(divergence)
    if call is not None:
        pipeline, component, path = _parts(call.name)
        step = _number(observed.steps[: call.step], pipeline)
        return _lines(step, component, _msprobe_name(call, path, observed.cells))
    if divergence.step is None:
        return ()
    pipeline = _parts(divergence.step.step.scheduler)[0]
    return _lines(_number(observed.steps[: divergence.step.index], pipeline), "", "")


def _lines(step: int, component: str, cell: str) -> tuple[str, ...]:
    model = f"pipeline.{component}" if component else "[every cell of the pipeline]"
    return (
        f"msprobe dumps {cell or 'every cell'} (step {step}) with this config.json:",
        dump_config(cell),
        "and these calls around the pipeline's (pip install mindstudio-probe):",
        f"debugger = PrecisionDebugger('config.json'); debugger.start({model}); debugger.stop()",
    )


def dump_config(cell: str) -> str:
    """The ``config.json`` for one call of one cell, or for every cell (``""``)."""
    task, level = ("tensor", "mix") if cell else ("statistics", "L0")
    chosen = {
        "scope": [],
        "list": [cell] if cell else [],
        "data_mode": ["forward"],
        "summary_mode": "md5",
    }
    document = {
        "task": task,
        "dump_path": "msprobe",
        "rank": [],
        "step": [],
        "level": level,
        "async_dump": False,
        task: chosen,
    }
    return json.dumps(document)


def _blamed_call(divergence: Divergence) -> CellRecord | None:
    blamed = divergence.cell or divergence.entered
    return None if blamed is None else blamed.observed


def _parts(name: str) -> tuple[str, str, str]:
    """``2/unet.mid.0`` as ``2/``, ``unet`` and ``mid.0``: pipeline, component, path in it."""
    pipeline, slash, rest = name.rpartition("/")
    component, _, path = rest.partition(".")
    return pipeline + slash, component, path


def _number(steps: Sequence[StepRecord], pipeline: str) -> int:
    """How many of ``steps`` belong to that pipeline."""
    return sum(_parts(step.scheduler)[0] == pipeline for step in steps)


def _msprobe_name(call: CellRecord, path: str, cells: Sequence[CellRecord]) -> str:
    """The name of a call in msprobe; ``""`` for the component itself, which msprobe does not hook.

    Its last part counts the calls of that cell since the debugger was started.
    """
    if not path:
        return ""
    earlier = sum(one.name == call.name and one.number < call.number for one in cells)
    return f"Cell.{path}.{call.class_name}.forward.{earlier}"
