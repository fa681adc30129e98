"""A baseline that PyTorch recorded judges mindone, but only if a test asks for it."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")

ROOT = Path(__file__).parents[2]
SUITE = """
import diffusers
import pytest
from contextlib import nullcontext
from tests.parity.ports import ddim, transposed

def image(environment, generator, fault=nullcontext):
    pair = ddim()
    if environment.key.framework.startswith("torch"):
        return pair.call(pair.theirs, 2, generator)
    with fault(pair) if fault is transposed else fault():
        return pair.call(pair.ours, 2, generator)

@pytest.mark.repro(seed=0, reference="port")
def test_asked(repro_generator, repro_shared_noise, repro_environment, repro_check):
    repro_check(image(repro_environment, repro_generator), name="image")

@pytest.mark.repro(seed=0, reference="port")
def test_faulty(repro_generator, repro_shared_noise, repro_environment, repro_check):
    repro_check(image(repro_environment, repro_generator, transposed), name="image")
"""


OPTIONS = ("-p", "no:cacheprovider", "--repro-isolate=off")


def test_a_baseline_of_pytorch_is_a_reference_only_if_asked_for(pytester, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makepyfile(test_port=SUITE)
    recorded = pytester.runpytest_subprocess(*OPTIONS, "--repro-update", "--repro-framework=torch")
    recorded.assert_outcomes(passed=2)
    (manifest,) = pytester.path.glob("baselines/*/*/test_port.yaml")
    assert manifest.parent.name == "torch-2.13.0"
    ran = pytester.runpytest_subprocess(*OPTIONS)
    ran.assert_outcomes(passed=1, failed=1)
    ran.stdout.fnmatch_lines_random(
        [
            "*'image': drift (gate tolerance*",
            "*the default for a port: measured envelope x*",
            "*port: *torch-2.13.0*",
        ]
    )
    own = pytester.runpytest_subprocess(*OPTIONS, "--repro-reference=release", "-k", "asked")
    own.assert_outcomes(failed=1)
    own.stdout.fnmatch_lines(["*none of them is within `release` of*"])
