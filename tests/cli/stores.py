"""Small stores for the command's tests: real arrays through the real functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from pytest_repro.cli import main
from pytest_repro.model.baseline import Baseline, Environment, Fact, Provenance
from pytest_repro.model.ids import CheckId, Draw, EnvironmentKey, IndexEntry, TensorRecord
from pytest_repro.noise.draw_log import make_draw_log
from pytest_repro.store.store import Store
from pytest_repro.tensors.compare import compare_records, summary_of
from pytest_repro.tensors.record import digest_leaves, make_record
from pytest_repro.tolerance.measured import envelope_from

OLD = EnvironmentKey("cpu-x86_64-avx2-2c", "mindspore-2.9.0")
NEW = EnvironmentKey("cpu-x86_64-avx2-2c", "mindspore-2.10.0")
SSE = EnvironmentKey("cpu-x86_64-sse41-2c", "mindspore-2.10.0")
MODULE = "tests/models/test_ddim.py"
IMAGE = CheckId(MODULE, "test_ddim", "image")
LATENTS = CheckId(MODULE, "TestBatch::test_four[float16-1]", "latents")

CLEAN = np.random.Generator(np.random.PCG64(0)).standard_normal((4, 8), dtype=np.float32)


def draw_log_of(seed: int = 0):
    """The draw log of one draw, made by the real function."""
    noise = make_record(np.random.Generator(np.random.PCG64(seed)).standard_normal((2, 3)))
    draw = Draw(0, "standard_normal", noise.shape, noise.dtype, "", noise.digest)
    return make_draw_log([f"PCG64({seed})"], [draw])


def baseline_of(
    check: CheckId,
    key: EnvironmentKey,
    leaves: Mapping[str, np.ndarray] | np.ndarray,
    *,
    seed: int = 0,
    moved: np.ndarray | None = None,
) -> tuple[Baseline, list[TensorRecord]]:
    """A baseline and its tensors; ``moved`` is what a disturbed run gave, for an envelope."""
    arrays = {"": leaves} if isinstance(leaves, np.ndarray) else leaves
    records = {path: make_record(array) for path, array in arrays.items()}
    summaries = tuple(summary_of(path, record) for path, record in records.items())
    if moved is not None:
        difference = compare_records(records[""], make_record(moved))
        envelope = envelope_from(
            [difference], method="one float32 ULP", seed=1, input_rel_l2=2.0**-24
        )
        summaries = tuple(replace(one, envelope=envelope) for one in summaries)
    draw_log = draw_log_of(seed)
    value = digest_leaves((path, record.digest) for path, record in records.items())
    facts = (Fact("cann.version", "8.0", True), Fact("os.name", "Linux"))
    provenance = Provenance("2026-01-02T03:04:05Z", 2, Environment(key, facts), "pytest-repro 0")
    index = IndexEntry(value, draw_log.digest)
    return Baseline(check, index, summaries, draw_log, (), provenance), list(records.values())


def put(store: Store, check: CheckId, key: EnvironmentKey, leaves, **options) -> Baseline:
    """Store a check's baseline."""
    baseline, tensors = baseline_of(check, key, leaves, **options)
    store.write(key, check.module, [baseline], tensors)
    return baseline


def store_in(root: Path) -> Store:
    """An empty store below ``root``."""
    return Store(root / "baselines", root=root)


def fill(root: Path) -> Store:
    """Three keys: 2.9.0 and 2.10.0 agree on the image and not on latents; SSE differs on both."""
    store = store_in(root)
    for key in (OLD, NEW):
        put(store, IMAGE, key, CLEAN, moved=CLEAN * np.float32(1 + 1e-5))
    put(store, IMAGE, SSE, CLEAN * np.float32(1 + 1e-6))
    put(store, LATENTS, OLD, CLEAN + 1)
    put(store, LATENTS, NEW, CLEAN + np.float32(1.001))
    put(store, LATENTS, SSE, CLEAN + 2)
    return store_in(root)


def tensor_file(root: Path, array: np.ndarray) -> Path:
    """Where a stored array lies."""
    return store_in(root).tensor_path(make_record(array).digest)


def run(root: Path, *arguments: str) -> int:
    """Run the command in this process on the store below ``root``."""
    return main([*arguments, "--root", str(root)])
