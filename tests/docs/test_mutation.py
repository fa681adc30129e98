"""The mutation runner misses no survivor: each kind of mutant in a project of one small module."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "benchmarks"

MODULE = '''
"""A module."""

LIMIT = 3
UNUSED = 5


def held(value):
    return value < LIMIT


def run_only(value):
    return value + 1


def never_run(value):
    return value * 2


def ends(count):
    while count > 0:
        count -= 1


class Box:
    @property
    def size(self):
        return 7


def early():
    return 11


EARLY = early()


def makes():
    def made(value):
        return value - 1

    return made


MADE = makes()
'''

TESTS = """
import pytest
from pytest_repro.tensors import small


def test_held():
    assert small.held(2)
    assert not small.held(3)


def test_run_only():
    small.run_only(1)


def test_ends():
    assert small.ends(3) is None


def test_size():
    assert small.Box().size == 7


def test_made():
    assert small.MADE(3) == 2


def test_early():
    assert small.EARLY == 11


@pytest.mark.parametrize("number", range(small.UNUSED))
def test_cases(number):
    pass
"""

ALIVE = {
    "module: 5 -> 6",  # only the number of cases of a test follows from it
    "run_only: return value + 1 -> return None",
    "run_only: value + 1 -> value - 1",
    "run_only: 1 -> 2",
    "never_run: return value * 2 -> return None",
    "never_run: value * 2 -> value / 2",
    "never_run: 2 -> 3",
    "ends: count > 0 -> count >= 0",
    "ends: 0 -> 1",
    "ends: 1 -> 2",
}
ENDLESS = "ends: count -= 1 -> pass"


@pytest.fixture
def project(tmp_path):
    pytest.importorskip("coverage")
    for name in ("mutation.py", "mutants.py", "page.py"):
        (tmp_path / "benchmarks").mkdir(exist_ok=True)
        shutil.copy(SCRIPTS / name, tmp_path / "benchmarks")
    for folder in ("pytest_repro/tensors", "tests", "docs/evidence"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "pytest_repro" / "__init__.py").touch()
    (tmp_path / "pytest_repro" / "tensors" / "__init__.py").touch()
    (tmp_path / "pytest_repro" / "tensors" / "small.py").write_text(MODULE)
    (tmp_path / "tests" / "test_small.py").write_text(TESTS)
    explain(tmp_path, {})
    return tmp_path


def explain(project, reasons):
    file = project / "benchmarks" / "mutation_reasons.json"
    file.write_text(json.dumps({"tensors/small": reasons}))


def run(project):
    """Exit status, what was printed, and the page."""
    ended = subprocess.run(
        [sys.executable, "benchmarks/mutation.py", "--log", "log", "--tests", "tests"],
        cwd=project,
        env={"PYTHONPATH": str(project), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    page = project / "docs" / "evidence" / "mutation.md"
    return ended.returncode, ended.stdout + ended.stderr, page.read_text() if page.exists() else ""


def logged(project):
    rows = map(json.loads, (project / "log").read_text().splitlines())
    return {name: outcome for _, _, name, outcome, _ in rows}


def test_survivors_and_what_never_ends_are_told_from_the_killed(project):
    status, printed, page = run(project)
    outcomes = logged(project)
    assert {name for name, outcome in outcomes.items() if outcome == "SURVIVED"} == ALIVE, printed
    assert [name for name, outcome in outcomes.items() if outcome == "out of time"] == [ENDLESS]
    killed = len(outcomes) - len(ALIVE) - 1
    assert (
        f"| tensors/small | {len(outcomes)} | {len(outcomes)} | {killed} | 1 | 0 | {len(ALIVE)} |"
        in page
    )
    assert (status, page.count("**a gap**")) == (1, len(ALIVE))

    explain(project, dict.fromkeys(ALIVE, "it is small"))
    status, _, page = run(project)
    assert (status, page.count("it is small"), page.count("a gap")) == (0, len(ALIVE), 0)
    assert f"| {killed} | 1 | {len(ALIVE)} | 0 |" in page

    explain(
        project,
        {**dict.fromkeys(ALIVE, "it is small"), "held: value < LIMIT -> value <= LIMIT": "no"},
    )
    status, printed, _ = run(project)
    assert status == 1
    assert "held: value < LIMIT -> value <= LIMIT: killed, and has a reason why not" in printed

    explain(project, {"held: value > 1 -> value < 1": "gone"})
    status, printed, _ = run(project)
    assert status == 1
    assert "no such mutant: tensors/small: held: value > 1 -> value < 1" in printed


def test_tests_that_fail_without_a_fault_stop_the_run(project):
    with (project / "tests" / "test_small.py").open("a") as file:
        file.write("\n\ndef test_wrong():\n    assert small.run_only(1) == 3\n")
    status, printed, page = run(project)
    assert (status, page) == (1, "")
    assert "tests fail without any fault: tests/test_small.py::test_wrong" in printed
