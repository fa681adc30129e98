"""Measures what tracing costs on two-step DDIM with the full network: time, and peak memory.

Run: ``python docs/measure/trace_cost.py``; needs mindone. Writes the table of docs/trace.md.

Every round runs every way once, in an order that rotates, so that a slow moment of the machine
meets each of them alike; a ratio is taken within a round. Peaks are of processes of their own.
"""

from __future__ import annotations

import argparse
import gc
import importlib.metadata
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from pytest_repro.frameworks.watch import watch
from pytest_repro.model.words import TraceLevel
from pytest_repro.pipelines.registry import load_pipeline
from pytest_repro.pipelines.source import parse_source

PAGE = Path(__file__).parents[1] / "trace.md"
BEGIN, END = "<!-- trace_cost -->", "<!-- end of trace_cost -->"
BARE = "untraced"
WAYS = (BARE, "steps", "cells", "digests of the weights and steps")
LIMITS = {"steps": 1.05, "cells": 1.5}
MOST_MEMORY = 1.1
RUNS_OF_A_PEAK = 2

Rounds = Sequence[Mapping[str, tuple[float, float]]]
"""Of every round, by the way it was run: seconds on the wall and of all cores."""
Peaks = Mapping[str, Sequence[float]]


def _image(ddim: Any) -> Any:
    generator = np.random.Generator(np.random.PCG64(0))
    return ddim(num_inference_steps=2, output_type="np", generator=generator)[0]


def _run(ddim: Any, way: str) -> Any:
    """One run; a traced one from the first tap to the digest of its trace."""
    if way == BARE:
        return _image(ddim)
    watched = watch(ddim, TraceLevel(way.rsplit(maxsplit=1)[-1]))
    if way not in LIMITS:
        watched.weights()
    with watched:
        image = _image(ddim)
    trace = watched.trace()
    assert trace.steps
    assert bool(trace.cells) == (way == "cells")
    return image


def _time(ddim: Any, way: str) -> tuple[float, float, bytes]:
    gc.collect()
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    image = _run(ddim, way)
    return time.perf_counter() - wall_s, time.process_time() - cpu_s, image.tobytes()


def _rounds(ddim: Any, count: int) -> Rounds:
    """Seconds on the clock and of CPU of every way in every round; the image must never move."""
    clean = _image(ddim).tobytes()
    for way in WAYS:
        _run(ddim, way)
    rounds = []
    for number in range(count):
        shift = number % len(WAYS)
        found = {}
        for way in WAYS[shift:] + WAYS[:shift]:
            wall_s, cpu_s, image = _time(ddim, way)
            assert image == clean, f"{way} changed the image"
            found[way] = (wall_s, cpu_s)
        rounds.append(found)
    return rounds


def _peak_mb(way: str) -> float:
    """Peak memory of a process that runs one way; the load of the pipeline is part of it."""
    ddim = load_pipeline("ddim", parse_source("seeded"))
    for _ in range(RUNS_OF_A_PEAK):
        _run(ddim, way)
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found, "this kernel keeps no peaks"
    return int(found[1]) / 1024


def _peaks(count: int) -> Peaks:
    """Peaks of ``count`` processes a way, in turns."""
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(count):
        for way in WAYS:
            command = [sys.executable, __file__, "--peak-of", way]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found[way].append(json.loads(done.stdout.splitlines()[-1]))
    return found


def _judged(value: float, limit: float | None) -> str:
    if limit is None:
        return f"{value:.3f}"
    return f"{value:.3f} (at most {limit:g}: {'met' if value <= limit else '**missed**'})"


def _row(way: str, rounds: Rounds, peaks: Peaks) -> str:
    walls, cpus = zip(*(found[way] for found in rounds), strict=True)
    peak_mb = statistics.median(peaks[way])
    cells = [f"{statistics.median(walls):.3f}", "-", f"{statistics.median(cpus):.3f}", "-"]
    cells += [f"{peak_mb:.0f}", "-"]
    if way != BARE:
        for place, at in ((1, 0), (3, 1)):
            ratios = [found[way][at] / found[BARE][at] for found in rounds]
            limit = LIMITS.get(way) if at == 0 else None
            spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
            cells[place] = f"{_judged(statistics.median(ratios), limit)}; {spread}"
        cells[5] = _judged(peak_mb / statistics.median(peaks[BARE]), MOST_MEMORY)
    return f"| {way} | {' | '.join(cells)} |"


def _lines(rounds: Rounds, peaks: Peaks) -> Iterator[str]:
    yield "| way | s | by untraced; range | CPU s | by untraced; range | peak MB | by untraced |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    yield from (_row(way, rounds, peaks) for way in WAYS)
    yield ""
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("mindspore", "mindone", "numpy")
    )
    peak_count = len(peaks[BARE])
    yield (
        f"*{datetime.now(timezone.utc).date()}, {len(rounds)} rounds after one warm run, "
        f"{peak_count} processes a peak, {len(os.sched_getaffinity(0))} cores, {versions}, "
        f"`ONEDNN_MAX_CPU_ISA={os.environ.get('ONEDNN_MAX_CPU_ISA', '')}`. "
        "Every image was bitwise the untraced one.*"
    )


def _write(lines: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    head, _, rest = page.partition(BEGIN)
    PAGE.write_text(
        f"{head}{BEGIN}\n{lines}\n{END}{rest.partition(END)[2]}",
        encoding="utf-8",
    )


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--peaks", type=int, default=2)
    parser.add_argument("--peak-of", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--print", action="store_true", help="leave the page as it is")
    asked = parser.parse_args()
    if asked.peak_of:
        print(json.dumps(_peak_mb(asked.peak_of)))
        return
    rounds = _rounds(load_pipeline("ddim", parse_source("seeded")), asked.rounds)
    lines = "\n".join(_lines(rounds, _peaks(asked.peaks)))
    print(lines)
    if not asked.print:
        _write(lines)


if __name__ == "__main__":
    main()
