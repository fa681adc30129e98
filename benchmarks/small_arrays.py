"""What recording small arrays and a drift of 1 MB cost, beside syrupy and pytest-regressions.

``python benchmarks/small_arrays.py [--short]``; needs syrupy and pytest-regressions.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from measure import run_pytest
from page import GOALS, mark, table, write_section
from projects import WAYS, Load, make_variant

from pytest_repro.report.failure import failure_text  # noqa: F401  imported before it is timed
from pytest_repro.tensors.compare import compare_records
from pytest_repro.tensors.record import make_record

_WAYS = ("floor", "pytest-repro", "syrupy", "ndarrays_regression")
_STORED = ("baselines", "__snapshots__", "test_load", "tmp")


def recording_s(load: Load, rounds: int) -> dict[str, float]:
    """Median CPU seconds of recording everything for the first time, by way."""
    spent: dict[str, list[float]] = {way: [] for way in _WAYS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        variants = {way: make_variant(folder, way, load, records=False) for way in _WAYS}
        for number in range(rounds + 1):
            for way, variant in variants.items():
                for stored in _STORED:
                    shutil.rmtree(variant.folder / stored, ignore_errors=True)
                record = (WAYS[way].record,) if WAYS[way].record else ()
                used = run_pytest(variant.folder, (*variant.arguments, *record)).cpu_s
                if number:  # the first round compiles what is imported
                    spent[way].append(used)
    return {way: statistics.median(found) for way, found in spent.items()}


def drift_ratio(rounds: int) -> float:
    """Comparing a drifted array of 1 MB, by loading a file and ``assert_allclose``."""
    observed = np.random.Generator(np.random.PCG64(0)).standard_normal(1 << 18).astype("f4")
    moved = observed * np.float32(1 + 1e-6)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "array.npy"
        np.save(path, moved)

        def theirs() -> None:
            np.testing.assert_allclose(observed, np.load(path), rtol=1e-3)

        def ours() -> None:
            compare_records(make_record(np.load(path)), make_record(observed))

        pairs = [(_cpu_s(theirs), _cpu_s(ours)) for _ in range(rounds)]
    return statistics.median(ours_s / theirs_s for theirs_s, ours_s in pairs)


def _cpu_s(call: Callable[[], None]) -> float:
    began = time.process_time()
    for _ in range(5):
        call()
    return time.process_time() - began


def main() -> None:
    short = "--short" in sys.argv
    loads = [Load(300, 1024), Load(600, 4)] if short else [Load(1000, 1024), Load(5000, 4)]
    goals, costs = [], []
    for load in loads:
        found = recording_s(load, 3)
        size = load.elements * np.dtype(load.dtype).itemsize
        name = f"{load.checks} x {size:,} B"
        costs += [(name, way, f"{spent:.2f}") for way, spent in found.items()]
        for other in ("syrupy", "ndarrays_regression"):
            ratio = found["pytest-repro"] / found[other]
            goals.append((f"{name}: recording, by {other}", *mark(ratio, 1.0)))
    goals.append(("a drift of 1 MB, by numpy.load and assert_allclose", *mark(drift_ratio(9), 2.0)))
    lines = [*table(("figure", *GOALS), goals), "", *table(("load", "way", "CPU s"), costs)]
    write_section("small", "Recording small arrays", lines)


if __name__ == "__main__":
    main()
