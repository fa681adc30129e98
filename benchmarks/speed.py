"""What a passing check costs: beside a floor, beside hashing, beside pytest-regressions.

``python benchmarks/speed.py [--short]``; needs pytest-regressions.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import ml_dtypes
import numpy as np
from measure import Cost, side_by_side
from page import GOALS, mark, table, write_section
from projects import Load, make_variant

from pytest_repro.tensors.compare import compare_records
from pytest_repro.tensors.record import ContentMemo, make_record


@dataclass(frozen=True, slots=True)
class Measured:
    """The median costs of the ways of checking one load."""

    load: Load
    costs: Mapping[str, Cost]

    def over_floor_s(self, name: str) -> float:
        return self.costs[name].cpu_s - self.costs["floor"].cpu_s


def measure(load: Load, names: tuple[str, ...], rounds: int) -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        variants = [make_variant(Path(folder), name, load) for name in names]
        return Measured(load, side_by_side(variants, rounds))


def fixed_s(rounds: int) -> float:
    """CPU seconds over the floor that a run with a single check of four numbers costs."""
    return measure(Load(1, 4), ("floor", "pytest-repro"), rounds).over_floor_s("pytest-repro")


def costs_table(all_measured: list[Measured], start_s: float) -> list[str]:
    rows = []
    for one in all_measured:
        for name, cost in one.costs.items():
            over_s = one.over_floor_s(name)
            each = (over_s - start_s * (name == "pytest-repro")) / one.load.checks * 1e3
            shown = "-" if name == "floor" else f"{each:.3f}"
            size = one.load.elements * 4
            rows.append(
                (
                    f"{one.load.checks} x {size:,} B",
                    name,
                    f"{cost.cpu_s:.2f}",
                    f"{cost.cpu_s / one.costs['floor'].cpu_s:.2f}",
                    shown,
                    f"{cost.written_bytes / 1e6:.1f}",
                )
            )
    head = ("load", "way", "CPU s", "over floor", "ms a check", "MB written")
    return table(head, rows)


def targets(large: Measured, small: list[Measured], start_s: float) -> list[str]:
    """The figures that the project holds itself to."""
    # Of the process the hashing is too small a part to be told from noise, so it is timed alone.
    array = np.zeros(large.load.elements, np.float32)
    hash_s = large.load.checks * best_s(lambda: hashlib.sha256(array.data).digest(), 50)
    ours_s = large.over_floor_s("pytest-repro")
    peer_s = large.over_floor_s("ndarrays_regression")
    checks_s = max(ours_s - start_s, hash_s)  # less than the hashing is noise
    rows = [
        ("1 MB: whole run over floor, by SHA-256", *mark(ours_s / hash_s, 1.5)),
        ("1 MB: the checks alone, by SHA-256", *mark(checks_s / hash_s, 1.5)),
        ("1 MB: ndarrays_regression by whole run", *mark(peer_s / ours_s, 60, least=True)),
        ("1 MB: ndarrays_regression by checks alone", *mark(peer_s / checks_s, 60, least=True)),
    ]
    for one in small:
        ours, floor = one.costs["pytest-repro"].cpu_s, one.costs["floor"].cpu_s
        name = f"{one.load.checks} x {one.load.elements * 4:,} B"
        # Of an empty test this is much, and no goal: what counts is a share of a model test.
        rows.append((f"{name}: whole run by floor", "", f"{ours / floor:.3g}", ""))
        each_s = (ours - start_s - floor) / one.load.checks
        rows.append((f"{name}: ms a test over the floor", "", f"{each_s * 1e3:.2g}", ""))
    written = max(one.costs["pytest-repro"].written_bytes for one in (large, *small))
    rows.append(("bytes written by a passing run", *mark(written, 0)))
    return table(("figure", *GOALS), rows)


def one_large(rounds: int, start_s: float) -> list[str]:
    """A passing check of 1 GiB: its time by hashing alone, its memory by the array alone."""
    load = Load(1, 1 << 28, constant=True)
    measured = measure(load, ("floor", "pytest-repro"), rounds)
    array = np.zeros(load.elements, np.float32)
    hash_s = best_s(lambda: hashlib.sha256(array.data).digest(), 3)
    over_s = measured.over_floor_s("pytest-repro") - start_s
    peak = measured.costs["pytest-repro"].peak_bytes / array.nbytes
    rows = [
        ("the check, by SHA-256", *mark(over_s / hash_s, 1.3)),
        ("peak memory of the whole run, by the array", *mark(peak, 1.2)),
    ]
    return table(("one array of 1 GiB", *GOALS), rows)


def best_s(work: Callable[[], object], times: int = 5) -> float:
    """The shortest CPU time of several: what the work costs when nothing disturbs it."""
    taken = []
    for _ in range(times):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return min(taken)


def arrays(mebibytes: int) -> list[str]:
    """One large array: its record and its drift, by what cannot be avoided."""
    count = mebibytes << 20
    data = np.random.Generator(np.random.PCG64(0)).standard_normal(count // 4, dtype=np.float32)
    plain_s = best_s(lambda: hashlib.sha256(data.view(np.uint8).data).digest())
    rows = []
    for dtype in (np.float32, np.float16, ml_dtypes.bfloat16, np.uint8):
        array = data.view(dtype)
        taken_s = best_s(lambda array=array: make_record(array))  # type: ignore[misc]
        rows.append(
            (f"record of {np.dtype(dtype).name}, by SHA-256", *mark(taken_s / plain_s, 1.3))
        )
    memo = ContentMemo(lambda array: make_record(array).digest)
    memo.of(data)
    again_s = best_s(lambda: memo.of(data))
    rows.append(("weights that were hashed before, by SHA-256", *mark(again_s / plain_s, 0.2)))
    other = data.copy()
    other[7] += 1
    pair = make_record(data), make_record(other)
    drift_s = best_s(lambda: compare_records(*pair), 3)
    numpy_s = best_s(lambda: np.abs(data - other).max(), 3)
    rows.append(("all statistics of a drift, by abs(a - b).max()", *mark(drift_s / numpy_s, 3)))
    return table((f"one array of {mebibytes} MiB", *GOALS), rows)


def main() -> None:
    short = "--short" in sys.argv
    rounds = 3 if short else 7
    every = ("floor", "pytest-repro", "ndarrays_regression")
    few = ("floor", "pytest-repro") if short else every
    start_s = fixed_s(2 * rounds + 1)
    large = measure(Load(100, 1 << 18), every, rounds)
    small = [measure(Load(1000, 1024), few, rounds)]
    if not short:
        small.append(measure(Load(5000, 4), ("floor", "pytest-repro"), 5))
    lines = [
        *targets(large, small, start_s),
        "",
        f"The start (imports, facts of the environment) costs {start_s * 1e3:.0f} ms a run, once; "
        "`ms a check` is without it.",
        "",
        *costs_table([large, *small], start_s),
        "",
        *arrays(32 if short else 128),
    ]
    if not short:
        lines += ["", *one_large(3, start_s)]
    write_section("speed", "Speed of a passing check", lines)


if __name__ == "__main__":
    main()
