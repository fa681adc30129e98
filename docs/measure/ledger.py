"""Measures what the ledger costs: DDIM in two steps, numpy's own generator beside the fixture's.

Run: ``python docs/measure/ledger.py``; needs mindone. Prints two Markdown tables. One process, full
network, seeded weights. The first table pairs whole runs in alternating order, so that a machine
which grows slower is even to both; its last row pairs a run with itself and says what the pairs
can tell apart. The second times what the ledger adds, without the network around it, and gives
its share of a run: a cost far below what pairs can tell apart is seen there only.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import perf_counter, process_time

import numpy as np

from pytest_repro.adapters.pipeline_calls import watch_pipeline_calls
from pytest_repro.adapters.randomness import guard_randomness
from pytest_repro.core.generator import NoiseBook
from pytest_repro.core.settings import RngMode
from pytest_repro.pipelines import load_ddim, parse_source

PAIRS = 11
STEPS = 2
SHAPE = (1, 3, 32, 32)
REPEATS = 300

Run = Callable[[Callable[[np.random.Generator], object]], object]


def plain(use):
    """As without the plugin."""
    return use(np.random.Generator(np.random.PCG64(0)))


def ledger(use):
    """With the fixture's generator, and the ledger as one check takes it."""
    book = NoiseBook()
    used = use(book.generator(0))
    assert len(book.ledger().draws) == 1
    return used


def guarded(use):
    """The same inside what surrounds the body of a marked test."""
    book = NoiseBook()
    with guard_randomness(RngMode.ERROR), watch_pipeline_calls(book):
        used = use(book.generator(0))
        assert len(book.ledger().draws) == 1
    return used


def _timed(action: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the wall and seconds of all cores."""
    began = perf_counter(), process_time()
    action()
    return perf_counter() - began[0], process_time() - began[1]


def _pairs(run: Run, other: Run, use) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    pairs = []
    for number in range(PAIRS):
        if number % 2:
            two, one = _timed(lambda: other(use)), _timed(lambda: run(use))
        else:
            one, two = _timed(lambda: run(use)), _timed(lambda: other(use))
        pairs.append((one, two))
    return pairs


def _row(name: str, pairs) -> str:
    cells = []
    for clock in (0, 1):
        shares = sorted(two[clock] / one[clock] - 1 for one, two in pairs)
        quarter = len(shares) // 4
        cells.append(f"{median(one[clock] for one, _ in pairs):.3f}")
        cells.append(
            f"{median(shares):+.2%} ({shares[quarter]:+.2%} to {shares[-1 - quarter]:+.2%})"
        )
    return f"| {name} | {' | '.join(cells)} |"


def _draw(generator):
    return generator.standard_normal(SHAPE)


def main():
    """Print the tables."""
    ddim = load_ddim(parse_source("seeded"))

    def use(generator):
        return ddim(num_inference_steps=STEPS, output_type="np", generator=generator)[0]

    assert np.array_equal(plain(use), guarded(use))  # warm, and the same bits
    ways = (("ledger", ledger), ("ledger and guard", guarded), ("numpy again", plain))
    measured = [(name, _pairs(plain, way, use)) for name, way in ways]
    print(f"DDIM, {STEPS} steps, {PAIRS} pairs; share: median (middle half)\n")
    print(
        "| beside numpy | wall, s | share | all cores, s | share |\n| --- | --- | --- | --- | --- |"
    )
    print("\n".join(_row(name, pairs) for name, pairs in measured))
    run_s = median(one[0] for _, pairs in measured for one, _ in pairs)
    print("\n| without the network | us | added, us | share of a run |\n| --- | --- | --- | --- |")
    alone = {
        name: 1e6 * median(_timed(lambda one=way: one(_draw))[0] for _ in range(REPEATS))
        for name, way in (("numpy", plain), *ways[:2])
    }
    for name, cost_us in alone.items():
        added = cost_us - alone["numpy"]
        print(f"| {name} | {cost_us:.0f} | {added:.0f} | {added / (1e6 * run_s):.4%} |")


if __name__ == "__main__":
    main()
