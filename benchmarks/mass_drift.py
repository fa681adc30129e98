"""What a run costs in which every test drifts, as after an upgrade, beside a passing run.

``python benchmarks/mass_drift.py [--short]``
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from measure import REPRO, run_pytest
from page import GOALS, mark, table, write_section

_SOURCE = """
import os
import numpy as np
import pytest

ROTATION = np.linalg.qr(np.random.Generator(np.random.PCG64(1)).standard_normal((96, 96)))[0]

@pytest.mark.parametrize("number", range({tests}))
@pytest.mark.repro(seed=0)
def test_image(number, repro_generator, repro_check):
    value = repro_generator.standard_normal((96, 96))
    for _ in range({work}):
        value = ROTATION @ value
    repro_check(value + float(os.environ["BENCHMARK_MOVES"]) * value)
"""
_WORK = 500


def cost_s(folder: Path, *arguments: str, moves: str, exit_code: int = 0) -> float:
    """CPU seconds of a run whose results are moved by a part of themselves."""
    command = ("env", f"BENCHMARK_MOVES={moves}")
    return run_pytest(folder, (*REPRO, *arguments), exit_code, prefix=command).cpu_s


def main() -> None:
    tests, rounds = (60, 3) if "--short" in sys.argv else (300, 3)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = _SOURCE.format(tests=tests, work=_WORK)
        (folder / "test_drift.py").write_text(source, encoding="utf-8")
        (folder / "pytest.ini").write_text("[pytest]\nrepro_framework = numpy\n", encoding="utf-8")
        cost_s(folder, "--repro-update", "--repro-envelope=0", moves="0")
        pairs = [
            (cost_s(folder, moves="0"), cost_s(folder, moves="1e-6", exit_code=1))
            for _ in range(rounds)
        ]
    passing, drifting = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
    ratio = statistics.median(pair[1] / pair[0] for pair in pairs)
    rows = [
        (f"all {tests} tests of a module drift, by all pass", *mark(ratio, 1.3)),
        ("CPU s a passing test", "", f"{passing / tests:.3g}", ""),
        ("CPU s a drifting test", "", f"{drifting / tests:.3g}", ""),
    ]
    write_section("drift", "A run in which everything drifts", table(("figure", *GOALS), rows))


if __name__ == "__main__":
    main()
