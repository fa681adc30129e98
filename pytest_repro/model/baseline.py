"""Environments, tensors, differences, traces and baselines as frozen values.

Nothing here measures, decides, words or stores. The glossary is in ARCHITECTURE.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pytest_repro.model.ids import (
    CheckId,
    Digest,
    Draw,
    DrawLog,
    EnvironmentKey,
    IndexEntry,
)
from pytest_repro.model.words import TraceLevel


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact about the machine or its software.

    Attributes:
        name: Dotted lower-case name, e.g. ``cann.version``.
        value: Its text; ``""`` if it does not exist here.
        changes_bits: Whether a difference is known or documented to change results.
    """

    name: str
    value: str
    changes_bits: bool = False


@dataclass(frozen=True, slots=True)
class Environment:
    """All facts, sorted by name, and the key made from them."""

    key: EnvironmentKey
    facts: tuple[Fact, ...] = ()

    def value(self, name: str) -> str:
        """The text of fact ``name``, or ``""``."""
        return next((fact.value for fact in self.facts if fact.name == name), "")


@dataclass(frozen=True, slots=True)
class Statistics:
    """Summary of a tensor, computed in float64 over its finite elements.

    ``std`` is the population standard deviation; ``abs_sum`` and ``l2`` are the L1 and L2 norms.
    An empty or wholly non-finite tensor has 0.0 everywhere.
    """

    min: float
    max: float
    mean: float
    std: float
    abs_sum: float
    l2: float
    nan_count: int
    posinf_count: int
    neginf_count: int


@dataclass(frozen=True, slots=True)
class Envelope:
    """How far a tensor moves when the noise is perturbed by one ULP: the measured tolerance.

    Attributes:
        method: How the noise was perturbed: dtype and signs, in words.
        runs: How many perturbed runs (K).
        seed: Seed of the signs.
        max_abs_max, max_abs_mean: Largest and mean of the runs' largest absolute difference.
        rel_l2_max, rel_l2_mean: The same for ``||perturbed - clean||_2 / ||clean||_2``.
        ulp_max, ulp_mean: The same for the largest ULP distance.
        mean_abs_max: Largest of the runs' mean absolute difference.
        input_rel_l2: Mean relative size of the perturbation; output rel_l2 over it is the
            amplification.
        statistics: Largest absolute movement of each statistic.
    """

    method: str
    runs: int
    seed: int
    max_abs_max: float
    max_abs_mean: float
    rel_l2_max: float
    rel_l2_mean: float
    ulp_max: float
    ulp_mean: float
    mean_abs_max: float
    input_rel_l2: float
    statistics: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class TensorSummary:
    """What a manifest says about one tensor; the bytes are in another file, named by ``digest``.

    Attributes:
        path: Place inside the checked value, e.g. ``latents[0]``; ``""`` for a single tensor.
        sketch: Order-aware random projections (`sketch.sketch_array`); a flip or permutation
            changes them but not the statistics.
        envelope: How far this tensor moves when the noise is perturbed, if that was measured.
    """

    path: str
    dtype: str
    shape: tuple[int, ...]
    digest: Digest
    statistics: Statistics
    sketch: tuple[float, ...]
    envelope: Envelope | None = None


@dataclass(frozen=True, slots=True)
class DrawLogDifference:
    """The first difference between two draw logs.

    Attributes:
        position: Index of the first differing draw, from 0.
        kind: ``extra``, ``absent``, ``swapped``, ``generator``, ``method``, ``shape``, ``dtype``,
            ``arguments`` or ``bits``.
        sentence: E.g. ``draw 3 of 5: standard_normal (1, 3, 32, 32) became (2, 3, 32, 32)``.
        baseline, observed: The draw there, if that side has one.
    """

    position: int
    kind: str
    sentence: str
    baseline: Draw | None
    observed: Draw | None


@dataclass(frozen=True, slots=True)
class WeightsDigest:
    """The digest of all parameters of one component of a pipeline.

    Attributes:
        tensors: Name and digest of each parameter, if they were just read; never stored.
    """

    component: str
    digest: Digest
    tensors: tuple[tuple[str, Digest], ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Configuration:
    """The configuration of a component: its entries as canonical text, sorted by name."""

    component: str
    class_name: str
    entries: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Provenance:
    """When, how and in which environment a baseline was recorded.

    Attributes:
        recorded_at: UTC time, ISO 8601 to the second.
        runs: How many runs agreed bitwise before it was recorded (two or more).
        environment: Every fact of that environment.
        tool: ``pytest-repro <version>``.
    """

    recorded_at: str
    runs: int
    environment: Environment
    tool: str


@dataclass(frozen=True, slots=True)
class Baseline:
    """What is stored of one check under one key.

    ``trace``, ``configuration`` and ``step_envelope`` are digests of records in other files, if a
    pipeline was watched; a component's digest names the table of its weights. ``no_envelope`` says
    why a tensor has no envelope; ``""`` if all have one, and in baselines older than this field.
    ``structure`` holds place and kind of each container that the tensors' places do not show.
    """

    check: CheckId
    index: IndexEntry
    tensors: tuple[TensorSummary, ...]
    draw_log: DrawLog
    weights: tuple[WeightsDigest, ...]
    provenance: Provenance
    trace: Digest | None = None
    configuration: Digest | None = None
    step_envelope: Digest | None = None
    no_envelope: str = ""
    structure: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ElementDifference:
    """The place where one measure of difference is largest; the elements as exact text."""

    amount: float
    index: tuple[int, ...]
    baseline: str
    observed: str


@dataclass(frozen=True, slots=True)
class NonFiniteDifference:
    """Places where only one tensor has NaN or infinity, or the two have different ones."""

    count: int
    index: tuple[int, ...]
    baseline: str
    observed: str


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference between two tensors of equal dtype and shape, over all elements.

    Attributes:
        element_count: Number of elements.
        differing_count: Elements whose bytes differ (so -0.0 differs from 0.0).
        worst_abs, worst_rel, worst_ulp: Largest ``|o - b|``, ``|o - b| / |b|`` and distance in
            units in the last place of the baseline's dtype, over places finite in both; ``None``
            if there is none (``worst_ulp`` also for integers and bool).
        mean_abs: Mean of ``|o - b|``.
        rel_l2: ``||o - b||_2 / ||b||_2``; infinity if only the baseline is zero.
        cosine: ``1 - <o, b> / (||o|| ||b||)``, 0.0 if both are zero.
        psnr_db: ``10 log10(range(b)^2 / mse)``, infinity if equal.
        non_finite: Difference in NaN and infinity, if any.
        statistics_only: Whether the baseline's tensor was absent: ``rel_l2`` is an estimate from
            the sketch, and the worst places are ``None``.
    """

    element_count: int
    differing_count: int
    worst_abs: ElementDifference | None
    worst_rel: ElementDifference | None
    worst_ulp: ElementDifference | None
    mean_abs: float
    rel_l2: float
    cosine: float
    psnr_db: float
    non_finite: NonFiniteDifference | None
    baseline_statistics: Statistics
    observed_statistics: Statistics
    statistics_only: bool = False


@dataclass(frozen=True, slots=True)
class ToleranceUse:
    """How much of one bound of a tolerance a difference used.

    Attributes:
        measure: ``atol/rtol``, ``max_ulp``, ``rel_l2``, ``cosine``, ``psnr``, ``exact`` or the name
            of a statistic.
        observed: The measured amount, in the measure's unit.
        allowed: The bound.
        share: ``observed / allowed``; above 1.0 the bound is exceeded; infinity if the bound is
            zero and the amount is not.
    """

    measure: str
    observed: float
    allowed: float
    share: float


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
