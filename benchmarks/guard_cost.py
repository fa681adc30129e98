"""What surrounds a marked test where MindSpore is loaded, part by part, and by a run of DDIM.

``python benchmarks/guard_cost.py``; needs MindSpore and mindone.
"""

from __future__ import annotations

import importlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from measure import REPRO, run_pytest
from page import GOALS, mark, table, write_section
from recording import CONFTEST

from pytest_repro.frameworks.framework import default_framework
from pytest_repro.frameworks.torch import TorchState
from pytest_repro.guard.global_state import LoadedModules
from pytest_repro.guard.guard import Isolation, guard_randomness
from pytest_repro.pipelines.registry import Pipelines
from pytest_repro.tensors.record import make_record

_ROUNDS, _MODEL_ROUNDS = 200, 6
_BUDGET = 1
"""Per cent of the cheapest model test."""
_LOOKS = 6
"""Two guards a test; each asks twice when it is entered and once when it is left."""
_TESTS = f"""
import numpy as np
import pytest

@pytest.mark.parametrize("number", range({_ROUNDS}))
def test_plain(number):
    assert np.arange(4.0).size

@pytest.mark.parametrize("number", range({_ROUNDS}))
@pytest.mark.repro(seed=0)
def test_ours(repro_check, number):
    repro_check(np.arange(4.0))
"""


def test_ms(framework: str) -> dict[str, float]:
    """Median CPU time of a plain and of a marked test in one session, in milliseconds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = f"import {framework}\n{_TESTS}"
        (folder / "test_tiny.py").write_text(source, encoding="utf-8")
        (folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
        ini = f"[pytest]\nrepro_framework = {framework}\n"
        (folder / "pytest.ini").write_text(ini, encoding="utf-8")
        run_pytest(folder, (*REPRO, "--repro-update", "--repro-isolate=off"))
        run_pytest(folder, REPRO)
        spent = json.loads((folder / "spent.json").read_text(encoding="utf-8"))
    return {
        kind: statistics.median(spent[f"test_{kind}[{n}]"] for n in range(1, _ROUNDS)) * 1e3
        for kind in ("plain", "ours")
    }


def _cpu_ms(call: Callable[[], object]) -> float:
    spent = []
    for _ in range(_ROUNDS):
        began = time.process_time()
        call()
        spent.append(time.process_time() - began)
    return statistics.median(spent[1:]) * 1e3


def parts_ms() -> dict[str, float]:
    """Median CPU time of what surrounds a test, in milliseconds."""
    importlib.import_module("mindspore")
    framework, loaded = default_framework(), LoadedModules()

    def isolate() -> None:
        with Isolation(0, framework, TorchState()):
            pass

    def guard() -> None:
        with guard_randomness("error", globals_may_draw=True):
            pass
        with guard_randomness("error"):
            pass

    def look() -> None:
        for _ in range(_LOOKS):
            loaded.have_changed()

    looking = _cpu_ms(look)
    return {
        "isolation of numpy, random and MindSpore": _cpu_ms(isolate),
        "both guards: replacing draws, reading states": _cpu_ms(guard) - looking,
        f"both guards: {len(sys.modules):,} modules, are they the same ({_LOOKS} times)": looking,
        "digest of the array": _cpu_ms(lambda: make_record(np.arange(4.0))),
    }


def cheapest_model_ms() -> float:
    """Median CPU time of two steps of DDIM, the cheapest model test, in milliseconds."""
    pipeline = Pipelines("seeded").load("ddim", "float32")
    spent = []
    for _ in range(_MODEL_ROUNDS):
        generator = np.random.Generator(np.random.PCG64(0))
        began = time.process_time()
        pipeline(num_inference_steps=2, output_type="np", generator=generator)
        spent.append(time.process_time() - began)
    return statistics.median(spent[1:]) * 1e3


def main() -> None:
    tests, alone, parts = test_ms("mindspore"), test_ms("numpy"), parts_ms()
    more = tests["ours"] - tests["plain"]
    rest = "the rest: hooks, the fixture of the check, the trial, the report"
    rows = [
        ("a plain test", f"{tests['plain']:.2f}"),
        ("more in a marked one that is exact", f"{more:.2f}"),
        ("the same without MindSpore", f"{alone['ours'] - alone['plain']:.2f}"),
        *((f"- {name}", f"{spent:.2f}") for name, spent in parts.items()),
        (f"- {rest}", f"{more - sum(parts.values()):.2f}"),
    ]
    model_ms = cheapest_model_ms()
    share = (f"{more:.2f} ms of {model_ms:.0f} ms, %", *mark(more / model_ms * 100, _BUDGET))
    lines = [
        *table(("a tiny test with MindSpore loaded", "CPU ms"), rows),
        "",
        *table(("the same, by two steps of DDIM, the cheapest model test", *GOALS), [share]),
    ]
    write_section("tiny", "A tiny marked test with MindSpore loaded", lines)


if __name__ == "__main__":
    main()
