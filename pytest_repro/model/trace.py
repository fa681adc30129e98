"""What a watched pipeline did, as values: signals, steps, calls of cells."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_repro.model.ids import Digest
from pytest_repro.model.words import TraceLevel


@dataclass(frozen=True, slots=True)
class SignalRecord:
    """What a trace keeps of one tensor; never the tensor itself.

    Attributes:
        dtype: Name in `dtypes.DTYPES`.
        digest: SHA-256 over dtype, shape and bytes; it alone decides equality.
        min, max, mean, std, l2: As in `model.Statistics`: over the finite elements, in float64.
        nan_count, inf_count: How many elements are NaN, or an infinity of either sign.
        sketch: Order-aware projections (`sketch.sketch_array`), or empty.
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
        signals: Named tensors in order: ``sample``, ``model_output``, any other input tensor,
            and last ``result``.
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
        number: Number of the call, in the order in which calls began, from 0.
        step: Index in `Trace.steps` of the step in progress; ``len(steps)`` after the last one.
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
        cells: In the order in which calls ended, so a cell comes before the cell around it.
        digest: SHA-256 over everything but the statistics: it does not depend on the numpy that
            computed them.
    """

    level: TraceLevel
    steps: tuple[StepRecord, ...]
    cells: tuple[CellRecord, ...]
    digest: Digest
