"""A fault of each group in every pipeline of latents: a drift that names cause, step and cell."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mindone")

from tests.faults.planted import PLANTS, drifts, unnamed

ROOT = Path(__file__).resolve().parents[2]


def _pytest(folder, *options):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += ["-p", "tests.faults.planted", "tests/models/test_latent_pipelines.py"]
    command += [f"--repro-baselines={folder / 'baselines'}", "--repro-trace=cells", *options]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ
    )
    return done.stdout


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted")
    _pytest(folder, "--repro-update", "--repro-envelope=0")
    return folder


def test_without_a_fault_every_check_is_exact(recorded):
    assert "10 checks: 10 exact\n" in _pytest(recorded)


@pytest.mark.parametrize("plant", PLANTS)
def test_a_fault_is_a_drift_that_names_it(recorded, plant, tmp_path):
    text = _pytest(recorded, f"--plant={plant}", f"--repro-report={tmp_path}")
    found = drifts(tmp_path)
    assert len(found) == 10, text
    assert {one["check"]: said for one in found if (said := unnamed(plant, one))} == {}
    assert all(unnamed(other, one) for one in found for other in PLANTS if other != plant)
