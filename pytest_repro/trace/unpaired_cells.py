"""What the cells of one run alone say, where the baseline's trace holds steps only.

Without the baseline's cells no call can be compared. But the call that gave the step's model output
is known by its bits, and so is whether it was handed the baseline's sample; and a cell that makes
NaN or infinity of finite inputs needs no baseline to be a suspect.
"""

from __future__ import annotations

from collections.abc import Sequence

from pytest_repro.settings import TraceLevel
from pytest_repro.trace.divergence import Divergence
from pytest_repro.trace.records import CellRecord, SignalRecord, StepRecord, Trace

__all__ = ["unpaired_sentences"]


def unpaired_sentences(divergence: Divergence, baseline: Trace, observed: Trace) -> tuple[str, ...]:
    """What was compared of cells and what could not be; nothing where both traces hold them.

    Args:
        divergence: Where the traces part.
        baseline: The stored trace.
        observed: This run's.
    """
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
        return f"{source.name} gave the baseline's model output: no cell is to blame"
    how = "which was not handed the step's sample itself"
    if _was_handed(source, old.signal("sample")):
        how = "which was handed the baseline's sample: the fault is inside it"
    return f"the model's output came out of {source.name} ({source.class_name}), {how}"


def _source(calls: Sequence[CellRecord], output: SignalRecord | None) -> CellRecord | None:
    """The outermost call that gave ``output``: calls stand in the order in which they ended."""
    if output is None:
        return None
    giving = (
        call for call in reversed(calls) if any(one.digest == output.digest for one in call.outputs)
    )
    return next(giving, None)


def _was_handed(call: CellRecord, sample: SignalRecord | None) -> bool:
    return sample is not None and any(one.digest == sample.digest for one in call.inputs)


def _breaks(call: CellRecord) -> bool:
    return not any(map(_non_finite, call.inputs)) and any(map(_non_finite, call.outputs))


def _non_finite(signal: SignalRecord) -> bool:
    return bool(signal.nan_count + signal.inf_count)


def _digest(signal: SignalRecord | None) -> str:
    return "" if signal is None else str(signal.digest)
