"""What a passing run leaves alone: modules that it does not need, folders that hold no tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = """
import numpy as np
def test_value(repro_check):
    repro_check(np.arange(5, dtype=np.float32){change})
"""
CONFTEST = """
import sys
def pytest_unconfigure():
    print("loaded:", *sorted(sys.modules))
"""
UNNEEDED = {
    "ml_dtypes",
    "yaml",
    "safetensors",
    "pytest_repro.store.manifest",
    "pytest_repro.environment.observe",
    "pytest_repro.noise.generator",
    "pytest_repro.model.baseline",
    "pytest_repro.tolerance.policy",
    "pytest_repro.checking.examination",
    "pytest_repro.checking.trial",
    "pytest_repro.report.failure",
}


def run(folder, *arguments):
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider"]
    command += ["-p", "pytest_repro.plugin", *arguments]
    # Other plugins import what they like.
    variables = {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env=variables
    )
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("loaded:")]
    return done.returncode, set(line.split()[1:]), done.stdout


def test_an_exact_check_loads_nothing_that_judges_parses_or_records(tmp_path):
    (tmp_path / "pytest.ini").write_text("[pytest]\nrepro_framework = numpy\n")
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_load.py").write_text(SOURCE.format(change=""))
    assert run(tmp_path, "--repro-update")[0] == 0
    code, loaded, text = run(tmp_path)
    assert (code, loaded & UNNEEDED) == (0, set())
    assert "1 check: 1 exact" in text
    # The control: whoever drifts needs them all but the policy and what watches pipelines.
    (tmp_path / "test_load.py").write_text(SOURCE.format(change=" + 1"))
    code, loaded, text = run(tmp_path)
    assert code == 1
    assert "pytest_repro.checking.examination" in loaded
    assert "yaml" in loaded
    assert "1 check: 1 drift" in text


def test_folders_of_tensors_are_not_collected_but_a_users_tests_are(pytester):
    tensors = pytester.path / "baselines" / "tensors"
    (tensors / "ab").mkdir(parents=True)
    (tensors / "ab" / "test_hidden.py").write_text("def test_hidden(): pass\n")
    pytester.runpytest_inprocess("-q").assert_outcomes()
    # Two letters for every folder is our layout; anything else makes it the user's.
    (tensors / "mine").mkdir()
    (tensors / "mine" / "test_mine.py").write_text("def test_mine(): pass\n")
    pytester.runpytest_inprocess("-q").assert_outcomes(passed=2)
