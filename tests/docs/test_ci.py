"""The CI examples: whole, and their commands do what the comment above them promises."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.docs.pages import _PRELUDE, _WITHOUT, ROOT

GITHUB, GITLAB = (ROOT / "docs" / "ci" / name for name in ("github-actions.yml", "gitlab-ci.yml"))
TEST = """
import numpy as np
import pytest

@pytest.mark.repro
def test_noise(repro_generator, repro_check):
    repro_check(repro_generator.standard_normal(4).astype(np.float32), name="noise")
"""


def steps_of(path, name="repro"):
    """The shell commands of an example, in order, and what it keeps of a run."""
    document = yaml.safe_load(path.read_text())
    job = document["jobs"][name] if path == GITHUB else document["repro"]
    if path == GITLAB:
        return list(job["script"]), list(job["artifacts"]["paths"])
    upload = next(s for s in job["steps"] if "upload-artifact" in s.get("uses", ""))
    kept = upload["with"]["path"].split()
    return [step["run"] for step in job["steps"] if "run" in step], kept


def promised(path):
    """The command of the comment that accepts, without how the artefact is fetched."""
    comment = " ".join(
        line.lstrip("# ") for line in path.read_text().splitlines()[:3] if line.startswith("#")
    )
    return re.search(r"pytest-repro accept \S+ --yes", comment)[0]


class Shell:
    """Runs the commands of an example as CI does: stops at the first failure."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def run(self, command):
        variables = {
            "PAGE_PYTHON": sys.executable,
            "PYTEST_ADDOPTS": f"{_WITHOUT} --repro-framework numpy",
            "PYTHONDONTWRITEBYTECODE": "1",
            "FOLDER": ".",
            "GITHUB_STEP_SUMMARY": str(self._folder / "step-summary"),
        }
        done = subprocess.run(
            ["bash", "-c", _PRELUDE + "pip() { true; }\ntaskset() { true; }\n" + command],
            cwd=self._folder,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("path", "job"), [(GITHUB, "repro"), (GITHUB, "ascend"), (GITLAB, "repro")]
)
def test_a_failing_run_keeps_a_report_that_makes_the_next_one_pass(tmp_path, path, job):
    (tmp_path / "test_it.py").write_text(TEST)
    shell = Shell(tmp_path)
    commands, kept = steps_of(path, job)
    checks = [one for one in commands if "pytest " in one and "pip " not in one]
    assert len(checks) == 1
    code, text = shell.run(checks[0])
    assert code == 1, text
    assert "1 missing" in text
    for after in commands[commands.index(checks[0]) + 1 :]:  # `if: always()`
        assert shell.run(after)[0] == 0
    for name in kept:
        assert (tmp_path / name).exists(), name
    assert (tmp_path / "repro-junit.xml").exists()
    if path == GITHUB:
        assert "missing" in (tmp_path / "step-summary").read_text()
    report = promised(path).split()[2]
    if not (tmp_path / report).exists():
        (tmp_path / "repro-report").rename(tmp_path / report)  # `gh run download -D`
    code, text = shell.run(promised(path))
    assert code == 0, text
    assert "1 check accepted" in text
    code, text = shell.run(checks[0])
    assert code == 0, text


@pytest.mark.parametrize("path", [GITHUB, GITLAB], ids=lambda path: path.stem)
def test_what_is_installed_exists(path):
    extras = re.search(r"pytest-repro\[([\w,]+)\]", path.read_text())[1].split(",")
    # Python 3.10 has no tomllib; the names are at the beginnings of lines.
    known = re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert set(extras) <= set(known)


@pytest.mark.parametrize("path", [GITHUB, GITLAB], ids=lambda path: path.stem)
def test_the_key_is_fixed_and_the_suite_is_sharded(path):
    document = yaml.safe_load(path.read_text())
    job = document["jobs"]["repro"] if path == GITHUB else document["repro"]
    assert job.get("env", job.get("variables"))["ONEDNN_MAX_CPU_ISA"] == "AVX2"
    assert any("taskset -cp 0,1 $$" in one for one in steps_of(path)[0])
    matrix = job.get("strategy", job.get("parallel"))["matrix"]
    folders = (
        [one["folder"] for one in matrix["include"]] if path == GITHUB else matrix[0]["FOLDER"]
    )
    assert len(set(folders)) == 2


def test_the_github_example_has_the_shape_of_a_workflow():
    document = yaml.safe_load(GITHUB.read_text())
    document["on"] = document.pop(True)  # YAML 1.1 reads the key as a truth
    assert set(document) <= {"name", "on", "permissions", "jobs"}
    assert set(document["on"]) == {"push", "pull_request", "schedule"}
    for job in document["jobs"].values():
        assert set(job) <= {"runs-on", "steps", "strategy", "env", "if"}
        for step in job["steps"]:
            assert set(step) <= {"name", "uses", "run", "with", "if"}
            assert ("uses" in step) != ("run" in step)
            assert "uses" not in step or re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"])
            assert step.get("if", "always()") == "always()"


def test_the_gitlab_example_has_the_shape_of_a_job():
    (job,) = yaml.safe_load(GITLAB.read_text()).values()
    assert set(job) <= {"image", "parallel", "variables", "script", "artifacts"}
    assert all(isinstance(line, str) for line in job["script"])
    assert set(job["artifacts"]) <= {"when", "expire_in", "paths", "reports"}
    assert job["artifacts"]["when"] == "always"
    assert set(job["artifacts"]["reports"]) == {"junit", "codequality"}
