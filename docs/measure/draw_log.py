"""Measures what the draw log costs in a two-step DDIM run, compared with numpy's own generator.

Run: ``python docs/measure/draw_log.py``; needs mindone. Writes the table of docs/how-to/noise.md.

One process, full network, seeded weights. Each round runs every variant once, in rotating order;
ratios are taken within a round. Whole runs cannot show a small cost: running numpy twice shows how
much they vary. So the time inside the draws, the draw log and the guard is measured as well.
"""

from __future__ import annotations

import argparse
import gc
import importlib.metadata
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np

from pytest_repro.guard.guard import guard_randomness
from pytest_repro.guard.pipeline_calls import watch_pipeline_calls
from pytest_repro.model.words import RngMode
from pytest_repro.noise.generator import LoggedGenerator, NoiseBook
from pytest_repro.pipelines.registry import load_pipeline
from pytest_repro.pipelines.source import parse_source

PAGE = Path(__file__).parents[1] / "how-to" / "noise.md"
BEGIN, END = "<!-- draw_log -->", "<!-- end of draw_log -->"
STEPS = 2
LIMIT = 0.03
NUMPY, AGAIN = "numpy", "numpy again"

Use = Callable[[Any], Any]
"""Makes an image from a generator."""
Rounds = Sequence[Mapping[str, Sequence[float]]]
"""Of every round, by the way it was run: seconds on the wall, of all cores, and on noise."""


class Clock:
    """Seconds spent on noise."""

    def __init__(self) -> None:
        self.spent_s = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time inside."""
        began = perf_counter()
        try:
            yield
        finally:
            self.spent_s += perf_counter() - began


def timed(kind: type[Any], clock: Clock) -> type[Any]:
    """A generator class whose draws are counted by ``clock``."""

    def standard_normal(self: Any, *args: Any, **kwargs: Any) -> Any:
        with clock.running():
            return kind.standard_normal(self, *args, **kwargs)

    return type("Timed", (kind,), {"standard_normal": standard_normal})


def plain(use: Use, clock: Clock) -> Any:
    """As without the plugin."""
    return use(timed(np.random.Generator, clock)(np.random.PCG64(0)))


def logged(use: Use, clock: Clock) -> Any:
    """With the fixture's generator, and the draw log that one check takes."""
    with clock.running():
        book = NoiseBook()
        generator = timed(LoggedGenerator, clock)(np.random.PCG64(0), book, "PCG64(0)")
    image = use(generator)
    with clock.running():
        assert len(book.draw_log().draws) == 1
    return image


def guarded(use: Use, clock: Clock) -> Any:
    """The same inside what surrounds the body of a marked test."""

    def within(generator: LoggedGenerator) -> Any:
        watching = watch_pipeline_calls(generator.book)
        guard = guard_randomness(RngMode.ERROR)
        with clock.running():
            guard.__enter__()
            watching.__enter__()
        image = use(generator)
        with clock.running():
            watching.__exit__(None, None, None)
            guard.__exit__(None, None, None)
        return image

    return logged(within, clock)


WAYS = {NUMPY: plain, "draw log": logged, "draw log and guard": guarded, AGAIN: plain}


def _run(way: str, use: Use) -> tuple[float, float, float, bytes]:
    """Seconds on the wall, of all cores, and on noise; the image."""
    gc.collect()
    clock = Clock()
    wall_s, cpu_s = perf_counter(), process_time()
    image = WAYS[way](use, clock)
    return perf_counter() - wall_s, process_time() - cpu_s, clock.spent_s, image.tobytes()


def _rounds(use: Use, count: int) -> Rounds:
    clean = _run(NUMPY, use)[3]
    for way in WAYS:
        _run(way, use)  # warm
    names = tuple(WAYS)
    rounds = []
    for number in range(count):
        shift = number % len(names)
        found = {}
        for way in names[shift:] + names[:shift]:
            *seconds, image = _run(way, use)
            assert image == clean, f"{way} changed the image"
            found[way] = seconds
        rounds.append(found)
    return rounds


def _ratio(rounds: Rounds, way: str, at: int) -> str:
    ratios = sorted(found[way][at] / found[NUMPY][at] for found in rounds)
    quarter = len(ratios) // 4
    return f"{median(ratios):.3f}; {ratios[quarter]:.2f} to {ratios[-1 - quarter]:.2f}"


def _row(rounds: Rounds, way: str) -> list[str]:
    noise_us = median(found[way][2] for found in rounds) * 1e6
    cells = [way, f"{median(found[way][0] for found in rounds):.2f}"]
    if way == NUMPY:
        return [*cells, "-", "-", f"{noise_us:.0f}", "-", "-"]
    added = [found[way][2] - found[NUMPY][2] for found in rounds]
    shares = [more / found[NUMPY][0] for more, found in zip(added, rounds, strict=True)]
    share = f"{median(shares):.4%}; at most {max(shares):.4%}"
    if way != AGAIN:
        share += f" (goal {LIMIT:.0%}: {'met' if max(shares) <= LIMIT else '**missed**'})"
    ratios = [_ratio(rounds, way, at) for at in (0, 1)]
    return [*cells, *ratios, f"{noise_us:.0f}", f"{median(added) * 1e6:.0f}", share]


def _lines(rounds: Rounds, parameters: int) -> Iterator[str]:
    yield (
        "| generator | run, s | by numpy; middle half | CPU by numpy; middle half | on noise, us "
        "| added, us | added, of the run |"
    )
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for way in WAYS:
        yield f"| {' | '.join(_row(rounds, way))} |"
    yield ""
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("mindspore", "mindone", "numpy")
    )
    yield (
        f"*{datetime.now(timezone.utc).date()}, two-step DDIM of {parameters:,} parameters, "
        f"{len(rounds)} rounds after one warm run, "
        f"{len(os.sched_getaffinity(0))} cores, {versions}, "
        f"`ONEDNN_MAX_CPU_ISA={os.environ.get('ONEDNN_MAX_CPU_ISA', '')}`. "
        "Every image was bitwise that of numpy's generator.*"
    )


def _write(lines: str) -> None:
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    text = f"{head}{BEGIN}\n{lines}\n{END}{rest.partition(END)[2]}"
    PAGE.write_text(text, encoding="utf-8")


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--print", action="store_true", help="leave the page as it is")
    asked = parser.parse_args()
    ddim = load_pipeline("ddim", parse_source("seeded"))

    def use(generator: np.random.Generator) -> Any:
        return ddim(num_inference_steps=STEPS, output_type="np", generator=generator)[0]

    parameters = sum(one.size for one in ddim.unet.get_parameters())
    lines = "\n".join(_lines(_rounds(use, asked.rounds), parameters))
    print(lines)
    if not asked.print:
        _write(lines)


if __name__ == "__main__":
    main()
