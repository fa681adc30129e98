"""What the recorded baselines give: clean runs, and drift between SIMD levels for every test."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path

from benchmarks.fault_counting import CleanRun, Place, ratio
from benchmarks.fault_rules import recorded_reference
from benchmarks.fault_runs import LEAVES, Kept, Run
from pytest_repro.errors import BaselineError
from pytest_repro.model.baseline import Baseline, TensorSummary
from pytest_repro.model.ids import CheckId, EnvironmentKey
from pytest_repro.store.store import Store
from pytest_repro.tensors.compare import compare_records
from pytest_repro.tolerance.measured import ceiling

__all__ = ["StoredDrift", "recorded_run", "stored_drifts"]

_SIMD_FIELD = 2


@dataclass(frozen=True, slots=True)
class StoredDrift:
    """One tensor of one recorded check, over ordered pairs of keys that differ in SIMD level only.

    Attributes:
        check, path: Which tensor.
        pairs: How many pairs hold different bits.
        predicted_rel_l2: Largest envelope among their baselines.
        observed_rel_l2: Largest distance.
        worst_ratio: Largest observed over predicted, pair by pair, by rel_l2.
        worst_abs_ratio: The same by largest absolute difference.
        ceiling: The rel_l2 above which a fallback is refused, by dtype.
    """

    check: CheckId
    path: str
    pairs: int
    predicted_rel_l2: float
    observed_rel_l2: float
    worst_ratio: float
    worst_abs_ratio: float
    ceiling: float


@dataclass(frozen=True, slots=True)
class _Apart:
    """One tensor under two keys."""

    check: CheckId
    path: str
    dtype: str
    predicted: tuple[float, float]
    observed: tuple[float, float]


def recorded_run(folder: Path, place: Place, run: Run) -> CleanRun | None:
    """The baseline that the run's model test has under that environment, if it has one."""
    store = Store(folder, root=folder.parent)
    hardware = f"cpu-{platform.machine()}-{place.simd}-{place.cores}c"
    recorded = (
        one
        for one in store.keys()  # noqa: SIM118  a method, the store is no mapping
        if one.hardware.startswith(f"{hardware}-l2_")
        and one.framework == f"mindspore-{place.version}"
    )
    key = next(recorded, None)
    if key is None or run.module not in store.modules(key):
        return None
    found = {one.check.entry: one for one in store.manifest(key, run.module)}
    image, latents = (found.get(f"{run.test}::{name}") for name in ("image", "latents"))
    if image is None or latents is None:
        return None
    summaries = {one.path: one for one in latents.tensors}
    summaries["image"] = replace(image.tensors[0], path="image")
    records = {name: store.tensor(summaries[name].digest) for name in LEAVES}
    arrays = {name: record.array for name, record in records.items() if record is not None}
    if len(arrays) < len(LEAVES) or any(summaries[name].envelope is None for name in LEAVES):
        return None
    kept = Kept(arrays, str(image.draw_log.digest))
    ordered = [summaries[name] for name in LEAVES]
    return CleanRun(place, kept, recorded_reference(kept, ordered))


def stored_drifts(folder: Path) -> tuple[StoredDrift, ...]:
    """Every tensor of every check that two SIMD levels hold; empty where there are no baselines.

    A key whose manifest cannot be read (a recording is running) is left out.
    """
    store = Store(folder, root=folder.parent)
    found: dict[tuple[CheckId, str], list[_Apart]] = {}
    for one, other in permutations(store.keys(), 2):
        if _differ_in_simd_only(one, other):
            for apart in _pairs(store, one, other):
                found.setdefault((apart.check, apart.path), []).append(apart)
    return tuple(_summed(found[key]) for key in sorted(found))


def _differ_in_simd_only(one: EnvironmentKey, other: EnvironmentKey) -> bool:
    first, second = one.hardware.split("-"), other.hardware.split("-")
    if one.framework != other.framework or len(first) != len(second):
        return False
    unlike = [at for at, pair in enumerate(zip(first, second, strict=True)) if len(set(pair)) > 1]
    return unlike == [_SIMD_FIELD]


def _pairs(store: Store, one: EnvironmentKey, other: EnvironmentKey) -> Iterator[_Apart]:
    for module in set(store.modules(one)) & set(store.modules(other)):
        try:
            first, second = store.manifest(one, module), store.manifest(other, module)
        except BaselineError:
            continue
        observed = {baseline.check: baseline for baseline in second}
        for baseline in first:
            if baseline.check in observed:
                yield from _apart(store, baseline, observed[baseline.check])


def _apart(store: Store, baseline: Baseline, observed: Baseline) -> Iterator[_Apart]:
    others = {one.path: one for one in observed.tensors}
    for summary in baseline.tensors:
        other = others.get(summary.path)
        if other is None or other.digest == summary.digest or summary.envelope is None:
            continue
        predicted = summary.envelope.rel_l2_max, summary.envelope.max_abs_max
        distance = _distance(store, summary, other)
        if distance is not None:
            yield _Apart(baseline.check, summary.path, summary.dtype, predicted, distance)


def _distance(
    store: Store, summary: TensorSummary, other: TensorSummary
) -> tuple[float, float] | None:
    old, new = store.tensor(summary.digest), store.tensor(other.digest)
    if old is None or new is None or (old.dtype, old.shape) != (new.dtype, new.shape):
        return None
    difference = compare_records(old, new)
    worst = difference.worst_abs
    return difference.rel_l2, 0.0 if worst is None else worst.amount


def _summed(pairs: list[_Apart]) -> StoredDrift:
    return StoredDrift(
        check=pairs[0].check,
        path=pairs[0].path,
        pairs=len(pairs),
        predicted_rel_l2=max(one.predicted[0] for one in pairs),
        observed_rel_l2=max(one.observed[0] for one in pairs),
        worst_ratio=max(ratio(one.observed[0], one.predicted[0]) for one in pairs),
        worst_abs_ratio=max(ratio(one.observed[1], one.predicted[1]) for one in pairs),
        ceiling=ceiling(pairs[0].dtype),
    )
