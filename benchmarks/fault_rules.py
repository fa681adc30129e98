"""The six rules of the fault score: what each says of an observed result beside a baseline."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.fault_runs import LEAVES, Kept
from pytest_repro.model.baseline import Envelope, TensorSummary
from pytest_repro.model.ids import TensorRecord
from pytest_repro.model.words import Distance, Word
from pytest_repro.settings import DISTURBANCE_SEED
from pytest_repro.tensors.compare import compare_records, summary_of
from pytest_repro.tensors.record import make_record
from pytest_repro.tolerance.choose import Chosen, choose_tolerance, judge_leaves, value_faults
from pytest_repro.tolerance.measured import envelope_from
from pytest_repro.tolerance.policy import Resolved

__all__ = ["Reference", "Rule", "Ruling", "make_reference", "recorded_reference", "rule_on"]

_FALLBACK = Resolved()
Image = NDArray[Any]


class Rule(Word):
    """A rule of comparison, as it is called in the table."""

    OWN = "own"
    FALLBACK = "fallback"
    MINDONE_SLICE = "mindone slice"
    MINDONE_PIXEL = "mindone pixel"
    HUGGING_FACE = "Hugging Face"
    NUMPY = "numpy"


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """A baseline: the tensors of one run in one environment, with their envelopes."""

    kept: Kept
    records: tuple[tuple[str, TensorRecord], ...]
    summaries: tuple[TensorSummary, ...]


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a rule says.

    Attributes:
        caught: Whether it calls the result wrong.
        share: How much of its tolerance was used, above 1.0 exactly when it is exceeded; infinity
            where there is none to use: bits under ``own``, another draw log.
        where: The tensor and measure behind it, or ``noise``; ``""`` for the other rules.
        refused: Whether the rule would not judge, since its tolerance proves nothing.
    """

    caught: bool
    share: float
    where: str = ""
    refused: bool = False


def make_reference(clean: Kept, disturbed: Sequence[Kept]) -> Reference:
    """The baseline that ``pytest --repro-update`` would record of these runs."""
    records = _records(clean)
    others = [dict(_records(one)) for one in disturbed]
    input_rel_l2 = sum(one.input_rel_l2 for one in disturbed) / max(1, len(disturbed))
    summaries = tuple(
        replace(
            summary_of(path, record),
            envelope=_envelope(record, [other[path] for other in others], input_rel_l2),
        )
        for path, record in records
    )
    return Reference(clean, records, summaries)


def recorded_reference(kept: Kept, summaries: Sequence[TensorSummary]) -> Reference:
    """The baseline that was recorded: its tensors, and its summaries in the order of `LEAVES`."""
    return Reference(kept, _records(kept), tuple(summaries))


def _envelope(
    clean: TensorRecord, disturbed: list[TensorRecord], input_rel_l2: float
) -> Envelope | None:
    if not disturbed:
        return None
    return envelope_from(
        [compare_records(clean, one) for one in disturbed],
        method="every draw moved by one float32 ULP, random signs",
        seed=DISTURBANCE_SEED,
        input_rel_l2=input_rel_l2,
    )


def _records(kept: Kept) -> tuple[tuple[str, TensorRecord], ...]:
    return tuple((name, make_record(kept.arrays[name])) for name in LEAVES)


def rule_on(rule: Rule, reference: Reference, observed: Kept) -> Ruling:
    """What ``rule`` says of ``observed``; rules but ours look at the image alone, as there."""
    if rule is Rule.OWN:
        return _own(reference, observed)
    if rule is Rule.FALLBACK:
        return _fallback(reference, observed)
    return _PEERS[rule](reference.kept.arrays["image"], observed.arrays["image"])


def _own(reference: Reference, observed: Kept) -> Ruling:
    same = all(
        old.digest == new.digest
        for (_, old), (_, new) in zip(reference.records, _records(observed), strict=True)
    )
    caught = not same or reference.kept.noise != observed.noise
    return Ruling(caught, math.inf if caught else 0.0, "bits" if caught else "")


def _fallback(reference: Reference, observed: Kept) -> Ruling:
    records = _records(observed)
    if value_faults(reference.summaries, records):
        return Ruling(True, math.inf, "shape or dtype")
    if reference.kept.noise != observed.noise:
        return Ruling(True, math.inf, "noise")
    stored = {record.digest: record for _, record in reference.records}
    leaves = judge_leaves(reference.summaries, records, stored.get, _chosen)
    if any(leaf.chosen.proves_nothing for leaf in leaves):
        return Ruling(False, 0.0, "", refused=True)
    if not leaves:
        return Ruling(False, 0.0)
    worst = leaves[0]
    use = max(worst.uses, key=lambda one: one.share)
    return Ruling(not all(leaf.passes for leaf in leaves), use.share, f"{worst.path} {use.measure}")


def _chosen(summary: TensorSummary) -> Chosen:
    return choose_tolerance((), _FALLBACK, Distance.ANY, summary)


def _slice(image: Image) -> Image:
    return image[0, -3:, -3:, -1].astype(np.float64)


def _mindone_slice(baseline: Image, observed: Image) -> Ruling:
    # Source: mindone's pipeline tests: norm(expected_slice - image_slice) / norm(expected_slice)
    # below THRESHOLD_FP32 = 5e-3, on image[0, -3:, -3:, -1].
    old, new = _slice(baseline), _slice(observed)
    return _bounded(float(np.linalg.norm(old - new) / np.linalg.norm(old)), 5e-3)


def _mindone_pixel(baseline: Image, observed: Image) -> Ruling:
    # Source: the same tests, for images from files: mean(abs(image - expected)) of 0..255 below
    # THRESHOLD_PIXEL = 20.
    apart = np.abs(baseline.astype(np.float64) - observed) * 255.0
    return _bounded(float(apart.mean()), 20.0)


def _hugging_face(baseline: Image, observed: Image) -> Ruling:
    # Source: diffusers' pipeline tests: abs(image_slice - expected_slice).max() < 1e-2.
    return _bounded(float(np.abs(_slice(baseline) - _slice(observed)).max()), 1e-2)


def _numpy(baseline: Image, observed: Image) -> Ruling:
    try:
        np.testing.assert_allclose(observed, baseline)
    except AssertionError:
        return Ruling(True, math.inf)
    return Ruling(False, 0.0)


def _bounded(amount: float, bound: float) -> Ruling:
    share = amount / bound
    return Ruling(not share <= 1.0, share)


_PEERS: dict[Rule, Callable[[Image, Image], Ruling]] = {
    Rule.MINDONE_SLICE: _mindone_slice,
    Rule.MINDONE_PIXEL: _mindone_pixel,
    Rule.HUGGING_FACE: _hugging_face,
    Rule.NUMPY: _numpy,
}
