"""One machine computes, another accepts: a tiny DDIM on MindSpore under two SIMD levels.

The machines are two keys of one: oneDNN under SSE41 computes different bits than under AVX2.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.skipif(find_spec("mindone") is None, reason="needs MindSpore and mindone"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the SIMD levels are x86-64's"),
]
ROOT = Path(__file__).parents[2]
TEST = """
import pytest
from tests.faults.tiny import tiny_ddim


@pytest.mark.repro(seed=0)
def test_ddim(repro_watch, repro_generator, repro_check):
    ddim = repro_watch(tiny_ddim())
    image = ddim(num_inference_steps=2, output_type="np", generator=repro_generator)[0]
    repro_check(image, name="image")
"""
LEVELS = {"a": "SSE41", "b": "AVX2"}


def run(folder, *command):
    """A command on the machine whose checkout ``folder`` is."""
    level = LEVELS[folder.name]
    variables = {
        "ONEDNN_MAX_CPU_ISA": level,
        "DNNL_MAX_CPU_ISA": level,
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={**os.environ, **variables, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def check(folder, *arguments):
    without = ("-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:hypothesispytest")
    return run(folder, "pytest", *without, "--repro-reference=own", *arguments)


def entry(report):
    (found,) = json.loads((report / "report.json").read_text())["checks"]
    return found


def test_what_one_machine_computed_and_another_accepted_is_exact_on_the_first(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    for folder in (a, b):
        folder.mkdir()
        (folder / "test_tiny.py").write_text(TEST)
        (folder / "pytest.ini").write_text("[pytest]\n")
    code, text = check(a, "--repro-report", "report")
    assert code == 1, text
    assert "1 check: 1 missing" in text
    # The report travels to B, which accepts it under A's key.
    shutil.copytree(a / "report", b / "from-a")
    code, text = run(b, "pytest_repro.cli", "accept", "from-a", "--yes")
    assert code == 0, text
    assert "1 check accepted" in text
    assert [path.name for path in (b / "baselines").glob("cpu-*")] == [
        entry(a / "report")["key"].split("/")[0]
    ]
    # B itself has no baseline of its own by that, and computes different bits.
    code, text = check(b, "--repro-report", "report")
    assert code == 1, text
    assert "1 check: 1 missing" in text
    assert "sse41" in entry(a / "report")["key"]
    assert "avx2" in entry(b / "report")["key"]
    assert entry(a / "report")["ledger"] == entry(b / "report")["ledger"]
    assert entry(a / "report")["value"] != entry(b / "report")["value"]
    # The baselines travel back to A: exact.
    shutil.copytree(b / "baselines", a / "baselines")
    code, text = check(a)
    assert code == 0, text
    assert "1 check: 1 exact" in text
