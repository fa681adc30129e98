"""How the cost of a check grows with the number of checks in the suite and of keys in the store.

``python benchmarks/growth.py [--short]``. Tests are driven without pytest, whose own cost would
hide ours.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from measure import Cost
from page import GOALS, mark, table, write_section

from pytest_repro.checking.context import RunContext, open_run
from pytest_repro.checking.evaluation import Ending
from pytest_repro.checking.spec import make_spec
from pytest_repro.checking.writer import Writer
from pytest_repro.model.baseline import Baseline, Provenance
from pytest_repro.model.ids import CheckId, EnvironmentKey, IndexEntry
from pytest_repro.model.words import Verdict
from pytest_repro.noise.draw_log import make_draw_log
from pytest_repro.plugin.active import ActiveTest
from pytest_repro.settings import settings_from
from pytest_repro.store import manifest as codec
from pytest_repro.tensors.compare import summary_of
from pytest_repro.tensors.record import make_record

ARRAY = np.arange(4, dtype=np.float32)
MODULE_CHECKS = 1000


def opened(root: Path) -> RunContext:
    return open_run(settings_from({"framework": "numpy"}, {}), root=root)


def fill(context: RunContext, checks: int, keys: int) -> None:
    """Store the same checks under our own key and ``keys - 1`` others."""
    own = context.key
    others = [EnvironmentKey(f"{own.hardware}-{n}", own.framework) for n in range(1, keys)]
    for begin in range(0, checks, MODULE_CHECKS):
        module = f"tests/test_{begin}.py"
        text = _manifest(context, module, min(MODULE_CHECKS, checks - begin))
        for key in (own, *others):
            path = context.store.manifest_path(key, module)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace(f"key: {own}\n", f"key: {key}\n", 1), encoding="utf-8")


def _manifest(context: RunContext, module: str, checks: int) -> str:
    record, draw_log = make_record(ARRAY), make_draw_log((), ())
    made = Provenance("2026-01-01T00:00:00Z", 2, context.environment, context.tool)
    first = Baseline(
        check=CheckId(module, "test", "value"),
        index=IndexEntry(record.digest, draw_log.digest),
        tensors=(summary_of("", record),),
        draw_log=draw_log,
        weights=(),
        provenance=made,
    )
    baselines = tuple(
        replace(first, check=CheckId(module, f"test_{n}", "value")) for n in range(checks)
    )
    return codec.encode_manifest(codec.Manifest(context.key, module, baselines))


def run_checks(root: Path, checks: int) -> float:
    """CPU seconds a check of a whole session of exact checks, without its opening."""
    context = opened(root)
    writer = Writer(context)
    began = time.process_time()
    for number in range(checks):
        module = f"tests/test_{number // MODULE_CHECKS * MODULE_CHECKS}.py"
        test = f"test_{number % MODULE_CHECKS}"
        spec = make_spec((module, test), {}, context.settings, marked=True)
        active = ActiveTest(context, writer, spec)
        active.begin()
        with active.body():
            active.trial.check(ARRAY)
        active.judge(Ending(), None)
        active.end()
        assert [one.verdict for one in active.outcomes] == [Verdict.EXACT]
    return (time.process_time() - began) / checks


def cost_us(checks: int, keys: int, rounds: int) -> float:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        fill(opened(root), checks, keys)
        return statistics.median(run_checks(root, checks) for _ in range(rounds)) * 1e6


def matrix_cost(checks: int, keys: int) -> Cost:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        fill(opened(root), checks, keys)
        began, used = time.perf_counter(), time.process_time()
        done = subprocess.run(
            [sys.executable, "-m", "pytest_repro.cli", "matrix"],
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode > 1 or not done.stdout.strip():
            raise RuntimeError(done.stderr)
        return Cost(time.process_time() - used, time.perf_counter() - began)


def main() -> None:
    short = "--short" in sys.argv
    rounds = 3
    sizes = (10, 1000, 4000) if short else (10, 100, 1000, 20_000)
    by_checks = {n: cost_us(n, 1, 9 if n < 1000 else rounds) for n in sizes}
    keys = (1, 10, 100)
    by_keys = {n: cost_us(500, n, rounds) for n in keys}
    matrix = (2000, 5) if short else (20_000, 20)
    taken = matrix_cost(*matrix)
    rows = [(f"{n} checks, 1 key", "", f"{us:.0f} us a check", "") for n, us in by_checks.items()]
    rows += [(f"500 checks, {n} keys", "", f"{us:.0f} us a check", "") for n, us in by_keys.items()]
    largest, middle = by_checks[sizes[-1]], by_checks[1000]
    rows.append((f"{sizes[-1]} checks by 1000 checks", *mark(largest / middle, 1.2)))
    rows.append(("100 keys by 1 key", *mark(by_keys[100] / by_keys[1], 1.2)))
    rows.append((f"matrix of {matrix[0]} checks x {matrix[1]} keys, s", *mark(taken.wall_s, 10)))
    write_section("growth", "Growth", table(("load", *GOALS), rows))


if __name__ == "__main__":
    main()
