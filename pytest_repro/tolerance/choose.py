"""The value gate and the tolerance gate for one check: pure decisions on given values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pytest_repro.errors import CorruptBaseline
from pytest_repro.model.baseline import Difference, TensorSummary, ToleranceUse
from pytest_repro.model.ids import Digest, TensorRecord
from pytest_repro.model.words import Distance
from pytest_repro.tensors.compare import compare_records, compare_summaries, summary_of
from pytest_repro.tolerance.bounds import DEFAULT_FACTOR, PORT_FACTOR, Tolerance, describe
from pytest_repro.tolerance.judge import elementwise_share, unjudged, uses, without_elements
from pytest_repro.tolerance.measured import (
    QUANTIZED,
    ceiling,
    fallback_tolerance,
    measured_something,
    measured_tolerance,
    proves_nothing,
    quantized_fallback,
    quantized_tolerance,
)
from pytest_repro.tolerance.policy import Resolved


@dataclass(frozen=True, slots=True)
class Structured:
    """The places of a value's tensors, and the kinds of what holds them."""

    tensors: tuple[str, ...]
    structure: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Chosen:
    """The tolerance for a leaf.

    Attributes:
        tolerance: The rule.
        origin: Where it came from, in words.
        written: Whether a person wrote its numbers; otherwise, if the baseline's tensor is absent,
            the parts that need it do not count.
        proves_nothing: Why no fallback can be judged here; ``""`` if one can.
    """

    tolerance: Tolerance
    origin: str
    written: bool = False
    proves_nothing: str = ""


@dataclass(frozen=True, slots=True)
class LeafJudgement:
    """The result of the tolerance gate for one tensor."""

    path: str
    difference: Difference
    chosen: Chosen
    uses: tuple[ToleranceUse, ...]
    unjudged: tuple[str, ...] = ()

    @property
    def passes(self) -> bool:
        return all(use.share <= 1.0 for use in self.uses)


def value_faults(
    baseline: Sequence[TensorSummary], observed: Sequence[tuple[str, TensorRecord]]
) -> tuple[str, ...]:
    """The value gate except NaN and infinity: a sentence for each place, dtype or shape changed."""
    before = {one.path: (one.dtype, one.shape) for one in baseline}
    now = {path: (record.dtype, record.shape) for path, record in observed}
    faults = [f"{_place(path)} is no longer there" for path in before if path not in now]
    faults += [f"{_place(path)} is new" for path in now if path not in before]
    for path in before.keys() & now.keys():
        (old_dtype, old_shape), (new_dtype, new_shape) = before[path], now[path]
        if old_dtype != new_dtype:
            faults.append(f"{_place(path)} dtype {old_dtype} became {new_dtype}")
        if old_shape != new_shape:
            faults.append(f"{_place(path)} shape {old_shape} became {new_shape}")
    return tuple(sorted(faults))


def structure_faults(baseline: Structured, observed: Structured) -> tuple[str, ...]:
    """The value gate for containers: a sentence for each place whose kind changed."""
    before, now = dict(baseline.structure), dict(observed.structure)
    return tuple(
        f"{path or 'the value'} was {_kind(baseline, path)} and is {_kind(observed, path)}"
        for path in sorted(before.keys() | now.keys())
        if before.get(path) != now.get(path)
    )


def _kind(value: Structured, path: str) -> str:
    """The kind of the container at a place, in words, even if the structure does not name it."""
    places = value.tensors
    plain = "absent"
    if path in places:
        plain = "an array"
    elif any(place.startswith(f"{path}[") for place in places):
        plain = "a tuple or dict"
    elif not path or any(place.startswith(f"{path}.") for place in places):
        plain = "a dict"
    return dict(value.structure).get(path, plain)


def _place(path: str) -> str:
    return f"tensor {path!r}:" if path else "the tensor's"


def choose_tolerance(
    asked: Sequence[tuple[Tolerance | None, str]],
    resolved: Resolved,
    distance: Distance,
    summary: TensorSummary,
    no_envelope: str = "",
) -> Chosen:
    """The tolerance for one tensor: of the call, the marker, the policy, or the distance's default.

    The form ``measured`` never loosens ``own``, which is exact: it is for other hardware.

    Args:
        asked: Tolerances of the call and the marker with their origins, nearest first.
        resolved: What the policy says about the check.
        distance: The distance of the reference.
        summary: The baseline's tensor, with its envelope if one was measured.
        no_envelope: Why the baseline has none, if that was recorded.
    """
    for tolerance, origin in (*asked, (resolved.tolerance, resolved.origin("tolerance"))):
        if tolerance is not None and not tolerance.is_measured:
            return Chosen(tolerance, origin, written=True)
        if tolerance is not None and distance is not Distance.OWN:
            factor = _factor(tolerance, resolved, distance)
            return _measured(factor, origin, resolved, summary, no_envelope)
    if distance is Distance.OWN:
        return Chosen(Tolerance.EXACT, "the default for this machine's key")
    origin = _DEFAULT_ORIGIN[distance]
    factor = _factor(None, resolved, distance)
    return _measured(factor, origin, resolved, summary, no_envelope)


_DEFAULT_ORIGIN = {
    Distance.VARIANT: "the default for another variant of this hardware",
    Distance.RELEASE: "the default for another framework version",
    Distance.ANY: "the default for other hardware",
    Distance.PORT: "the default for a port",
}


def factor_of(
    asked: Sequence[tuple[Tolerance | None, str]],
    resolved: Resolved,
    distance: Distance = Distance.ANY,
) -> float:
    """The factor for an envelope: of the policy, the call or marker, or the default."""
    measured = (one for one, _ in asked if one is not None and one.is_measured)
    return _factor(next(measured, resolved.tolerance), resolved, distance)


def _factor(tolerance: Tolerance | None, resolved: Resolved, distance: Distance) -> float:
    if resolved.factor is not None:
        return resolved.factor
    written = None if tolerance is None else tolerance.factor
    default = PORT_FACTOR if distance is Distance.PORT else DEFAULT_FACTOR
    return default if written is None else written


HOW_TO_MEASURE = "; pytest --repro-update=envelope under the baseline's own key adds one"


def _measured(
    factor: float, origin: str, resolved: Resolved, summary: TensorSummary, no_envelope: str
) -> Chosen:
    envelope = summary.envelope
    if envelope is None or not measured_something(envelope, summary.dtype):
        return _unmeasured(origin, summary, no_envelope if envelope is None else "it is 0")
    if summary.dtype in QUANTIZED and (few := quantized_tolerance(summary, envelope, factor)):
        return Chosen(few, f"{origin}: measured flips between two levels x {factor:g}")
    limit = resolved.ceiling if resolved.ceiling is not None else ceiling(summary.dtype)
    if proves_nothing(envelope, factor, limit):
        moved = envelope.rel_l2_max
        sentence = (
            f"one ULP of noise moves this result by rel_l2 {moved:.2g}; {factor:g} times that "
            f"exceeds {limit:g}, so a fallback proves nothing: this pipeline needs a baseline of "
            "its own hardware and framework version"
        )
        return Chosen(Tolerance.EXACT, origin, proves_nothing=sentence)
    return Chosen(measured_tolerance(envelope, factor), f"{origin}: measured envelope x {factor:g}")


def _unmeasured(origin: str, summary: TensorSummary, why: str) -> Chosen:
    quantized = summary.dtype in QUANTIZED
    tolerance = quantized_fallback(summary) if quantized else fallback_tolerance(summary.dtype)
    because = f" ({why})" if why else ""
    origin = f"{origin}: {summary.dtype}, no envelope recorded{because}{HOW_TO_MEASURE}"
    return Chosen(tolerance, origin)


def judge_leaves(
    baseline: Sequence[TensorSummary],
    observed: Sequence[tuple[str, TensorRecord]],
    stored: Callable[[Digest], TensorRecord | None],
    choose: Callable[[TensorSummary], Chosen],
) -> tuple[LeafJudgement, ...]:
    """Measure and judge every tensor whose digest differs; worst first.

    Both sides have equal paths, dtypes and shapes. ``stored`` gives a baseline's tensor, or
    ``None`` if it was not pulled: then statistics and sketch are judged.
    """
    records = dict(observed)
    judged = [
        _judge_leaf(one, records[one.path], stored(one.digest), choose(one))
        for one in baseline
        if one.digest != records[one.path].digest
    ]
    return tuple(sorted(judged, key=_worst_share, reverse=True))


def _worst_share(leaf: LeafJudgement) -> float:
    return max(use.share for use in leaf.uses)


def _judge_leaf(
    summary: TensorSummary, record: TensorRecord, stored: TensorRecord | None, chosen: Chosen
) -> LeafJudgement:
    if stored is None:
        return _judge_summary(summary, record, chosen)
    if (stored.dtype, stored.shape) != (summary.dtype, summary.shape):
        raise CorruptBaseline(
            "a manifest and its tensor disagree about dtype or shape",
            facts=(f"{summary.dtype} {summary.shape} against {stored.dtype} {stored.shape}",),
        )
    difference = compare_records(stored, record)
    share = None
    if chosen.tolerance.is_elementwise:
        share = elementwise_share(chosen.tolerance, stored.array, record.array)
    return LeafJudgement(
        summary.path,
        difference,
        chosen,
        uses(chosen.tolerance, difference, elementwise=share),
        unjudged(chosen.tolerance, difference),
    )


def _judge_summary(summary: TensorSummary, record: TensorRecord, chosen: Chosen) -> LeafJudgement:
    difference = compare_summaries(summary, summary_of(summary.path, record))
    tolerance = chosen.tolerance if chosen.written else without_elements(chosen.tolerance)
    return LeafJudgement(
        summary.path,
        difference,
        replace(chosen, tolerance=tolerance),
        uses(tolerance, difference),
        unjudged(tolerance, difference),
    )


def described(leaves: Sequence[LeafJudgement]) -> tuple[str, str]:
    """The worst leaf's tolerance and its origin, in words."""
    if not leaves:
        return "exact", ""
    return describe(leaves[0].chosen.tolerance), leaves[0].chosen.origin
