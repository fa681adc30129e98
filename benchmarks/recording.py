"""What recording costs, in plain runs of the same test: with a stand-in, DDIM and UnCLIP.

``python benchmarks/recording.py [stand-in] [ddim] [unclip]``; models need MindSpore and mindone.
A session holds plain and recorded tests side by side, so both pay the same for a busy machine.
"""

from __future__ import annotations

import json
import re
import shutil
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from measure import REPRO, run_pytest
from page import GOALS, mark, table, write_section

_ROUNDS, _MODEL_ROUNDS = 5, 4
CONFTEST = """
import json, time
from pathlib import Path
import pytest

SPENT = {}

@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    began = time.process_time()
    try:
        return (yield)
    finally:
        SPENT[item.name] = time.process_time() - began

def pytest_unconfigure():
    Path("spent.json").write_text(json.dumps(SPENT))
"""
_STAND_IN = """
import numpy as np
import pytest

ROTATION = np.linalg.qr(np.random.Generator(np.random.PCG64(1)).standard_normal((96, 96)))[0]

def image(generator):
    value = generator.standard_normal((96, 96))
    for _ in range(5000):
        value = ROTATION @ value
    return value
"""
_MODEL = """
import numpy as np
import pytest
from pytest_repro.pipelines.registry import Pipelines

@pytest.fixture(scope="session")
def plain_pipeline():
    return Pipelines("seeded").load("{family}", "float32")

def image(pipeline, generator):
    return pipeline({arguments}output_type="np", generator=generator)[0]
"""
_TESTS = """
@pytest.mark.parametrize("number", range({rounds}))
def test_plain({plain}number):
    generator = np.random.Generator(np.random.PCG64(number))
    image({pass_plain}generator)

@pytest.mark.parametrize("number", range({rounds}))
@pytest.mark.repro(seed=0)
def test_ours({ours}repro_generator, repro_check, number):
    repro_generator.standard_normal(number)
    repro_check(image({pass_ours}repro_generator))
"""


@dataclass(frozen=True, slots=True)
class Subject:
    """One kind of test: its source, and how many of each it has."""

    name: str
    source: str
    rounds: int


def _model(name: str, family: str, arguments: str) -> Subject:
    tests = _TESTS.format(
        rounds=_MODEL_ROUNDS,
        plain="plain_pipeline, ",
        pass_plain="plain_pipeline, ",
        ours=f"repro_{family}, ",
        pass_ours=f"repro_{family}, ",
    )
    source = _MODEL.format(family=family, arguments=arguments) + tests
    return Subject(name, source, _MODEL_ROUNDS)


SUBJECTS = {
    "stand-in": Subject(
        "a test of numpy",
        _STAND_IN + _TESTS.format(rounds=_ROUNDS, plain="", pass_plain="", ours="", pass_ours=""),
        _ROUNDS,
    ),
    "ddim": _model("DDIM, 4 steps", "ddim", "num_inference_steps=4, "),
    "unclip": _model(
        "UnCLIP, 2 steps each",
        "unclip",
        "prompt='a', prior_num_inference_steps=2, decoder_num_inference_steps=2, "
        "super_res_num_inference_steps=2, ",
    ),
}


def in_plain_runs(folder: Path, rounds: int, *arguments: str) -> float:
    """CPU time of a test of ours by that of a plain one; medians, without the first of each."""
    run_pytest(folder, (*REPRO, *arguments))
    spent = json.loads((folder / "spent.json").read_text(encoding="utf-8"))
    costs = {
        kind: statistics.median(spent[f"test_{kind}[{number}]"] for number in range(1, rounds))
        for kind in ("plain", "ours")
    }
    return float(costs["ours"] / costs["plain"])


def to_other_release(folder: Path) -> None:
    """Make what is stored that of another release of the framework."""
    (manifest,) = (folder / "baselines").rglob("test_cost.yaml")
    key = manifest.parent.relative_to(folder / "baselines").as_posix()
    hardware, _, release = key.partition("/")
    other = re.sub(r"-(\d+)", lambda found: f"-{int(found[1]) + 1}", release, count=1)
    text = manifest.read_text(encoding="utf-8")
    new = text.replace(f"key: {key}\n", f"key: {hardware}/{other}\n", 1)
    manifest.write_text(new, encoding="utf-8")
    manifest.parent.rename(manifest.parent.with_name(other))


def measure(subject: Subject, framework: str) -> list[tuple[str, ...]]:
    """The rows of one kind of test."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "test_cost.py").write_text(subject.source, encoding="utf-8")
        (folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
        ini = f"[pytest]\nrepro_framework = {framework}\n"
        (folder / "pytest.ini").write_text(ini, encoding="utf-8")
        # The repeated run of a watched pipeline records every cell; without a trace there are none.
        is_model = framework == "mindspore"
        without = ("--repro-trace=off",) if is_model else ()
        stored, kept = folder / "baselines", folder / "kept"
        first = in_plain_runs(folder, subject.rounds, "--repro-update", *without)
        passing = in_plain_runs(folder, subject.rounds, *without)
        to_other_release(folder)
        shutil.copytree(stored, kept)
        further = in_plain_runs(folder, subject.rounds, "--repro-update", *without)
        rows: list[tuple[str, ...]] = [
            (f"{subject.name}: recorded for the first time", *mark(first, 6.5)),
            (f"{subject.name}: recorded for another release", *mark(further, 2.2)),
            (f"{subject.name}: a passing run", "", f"{passing:.3g}", ""),
        ]
        if is_model:
            shutil.rmtree(stored)
            kept.rename(stored)
            cells = in_plain_runs(folder, subject.rounds, "--repro-update")
            text = f"{subject.name}: recorded for another release, with every cell"
            rows.append((text, *mark(cells, 3.2)))
    return rows


def main() -> None:
    wanted = [name for name in SUBJECTS if name in sys.argv] or ["stand-in"]
    rows: list[tuple[str, ...]] = []
    for name in wanted:
        rows += measure(SUBJECTS[name], "numpy" if name == "stand-in" else "mindspore")
    title = "Recording, in plain runs of the same test"
    section = "recording" if wanted == ["stand-in"] else "recording-models"
    if section != "recording":
        title += " (MindSpore)"
    write_section(section, title, table(("CPU time of a test", *GOALS), rows))


if __name__ == "__main__":
    main()
