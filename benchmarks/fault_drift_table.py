"""The part of docs/evidence/fault_score.md about drift between SIMD levels; words only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from benchmarks.fault_baselines import StoredDrift
from benchmarks.fault_counting import Drift, Place
from benchmarks.page import columns, row
from pytest_repro.tolerance.bounds import DEFAULT_FACTOR

__all__ = ["drift_lines", "stored_lines"]


def drift_lines(home: Place, drifts: Sequence[Drift]) -> Iterator[str]:
    """Predicted and observed drift of the runs of the score."""
    yield "## Predicted and observed drift between SIMD levels"
    yield ""
    yield (
        f"MindSpore {home.version}, {home.cores} cores, all ordered pairs of SIMD "
        "levels; predicted is the baseline's envelope (largest of its disturbed runs). Smallest "
        "to largest."
    )
    yield ""
    yield from columns(
        "run", "tensor", "predicted rel_l2", "observed rel_l2", "observed / predicted", "by max_abs"
    )
    for drift in drifts:
        pairs = (drift.predicted_rel_l2, drift.observed_rel_l2)
        yield row(
            drift.run,
            drift.leaf,
            *(f"{low:.1e} to {high:.1e}" for low, high in pairs),
            *(f"{low:.2f} to {high:.2f}" for low, high in (drift.ratios, drift.abs_ratios)),
        )
    yield ""


def stored_lines(stored: Sequence[StoredDrift]) -> Iterator[str]:
    """The same from the recorded baselines."""
    yield "## The same for every recorded model test"
    yield ""
    yield (
        "From the stored baselines, over ordered pairs of keys that differ in SIMD level alone and "
        "hold different bits; largest figures. `refused`: a factor of "
        f"{DEFAULT_FACTOR:g} exceeds the dtype's ceiling, so that a fallback is not judged."
    )
    yield ""
    yield from columns(
        "check", "tensor", "pairs", "predicted rel_l2", "observed rel_l2",
        "observed / predicted", "by max_abs", "",
    )  # fmt: skip
    for drift in stored:
        refused = DEFAULT_FACTOR * drift.predicted_rel_l2 > drift.ceiling
        yield row(
            f"`{PurePosixPath(drift.check.module).name}::{drift.check.entry}`",
            drift.path or "-",
            drift.pairs,
            f"{drift.predicted_rel_l2:.1e}",
            f"{drift.observed_rel_l2:.1e}",
            f"{drift.worst_ratio:.2f}",
            f"{drift.worst_abs_ratio:.2f}",
            "refused" if refused else "",
        )
    yield ""
