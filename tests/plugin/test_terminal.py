"""What the terminal shows of failed checks: one block for equal ones, colour, CI annotations."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from pytest_repro.model.ids import CheckId
from pytest_repro.report.failure import Invocation, kept_options

MANY = """
    @pytest.mark.repro(seed={seed})
    @pytest.mark.parametrize("number", range({count}))
    def test_many(number, repro_generator, repro_check):
        repro_check(repro_generator.random(3) * {factor}, name="value")
"""


def drifted(project, count, *options):
    """A run in which so many tests drift for the same reason."""
    project.write(MANY.format(seed=0, count=count, factor=1))
    project.record()
    project.write(MANY.format(seed=0, count=count, factor=2))
    return project.run(*options)


def test_equal_drifts_are_one_block_and_all_are_listed_and_counted(project):
    ran = drifted(project, 30)
    assert ran.text.count("'value': drift") == 1
    assert "29 more tests failed in the same way" in ran.text
    assert ran.text.count("drift, code, rel_l2 1\n") == 1 + 29 + 30  # block, list, short summary
    assert "30 failed" in ran.text
    failures = ran.text.partition("FAILURES")[2].partition("repro ---")[0]
    assert len(failures.splitlines()) < 60


@pytest.mark.parametrize("count", [1, 3])
def test_a_few_failures_are_shown_in_full(project, count):
    ran = drifted(project, count)
    assert ran.text.count("'value': drift") == count
    assert "in the same way" not in ran.text


def test_failures_of_another_cause_are_not_folded(project):
    project.write(MANY.format(seed=0, count=4, factor=1))
    project.record()
    # The last of the four has other noise, the others other code.
    project.write(
        MANY.format(seed=0, count=4, factor="(1 + (number < 3))").replace(
            "repro_check(", "number == 3 and repro_generator.random()\n        repro_check("
        )
    )
    ran = project.run()
    assert ran.text.count("'value': drift") == 4


def test_the_short_summary_keeps_cause_and_distance_at_80_columns(project):
    ran = drifted(project, 1)
    assert "FAILED test_story.py::test_many[0] - drift, code, rel_l2 1" in ran.text


def test_failures_are_coloured_where_pytest_has_colour_and_junit_stays_plain(project):
    ran = drifted(project, 1, "--color=yes", "--junitxml=junit.xml")
    assert "\x1b[32m  next\x1b[0m" in ran.text
    assert "\x1b" not in (project.folder / "junit.xml").read_text(encoding="utf-8")
    assert "#x1B" not in (project.folder / "junit.xml").read_text(encoding="utf-8")
    assert "\x1b" not in project.run("--color=no").text


def test_a_control_character_in_a_name_does_not_reach_the_terminal(project):
    evil = """
        @pytest.mark.repro
        def test_evil(repro_check):
            repro_check({{"a\\x1b[2Jb": np.zeros(2) + {add}}}, name="value")
    """
    project.write(evil.format(add=0))
    project.record()
    project.write(evil.format(add=1))
    ran = project.run()
    assert "[2Jb" in ran.failure
    assert "\x1b" not in ran.text


@pytest.mark.parametrize("actions", ["true", ""])
def test_github_gets_an_annotation_with_file_and_line_of_the_check(project, monkeypatch, actions):
    monkeypatch.setenv("GITHUB_ACTIONS", actions)
    monkeypatch.setenv("GITHUB_WORKSPACE", str(project.folder))
    ran = drifted(project, 5)
    found = [line for line in ran.text.splitlines() if line.startswith("::error ")]
    if not actions:
        assert found == []
        return
    (line,) = found
    assert line.startswith("::error file=test_story.py,line=")
    source = (project.folder / "test_story.py").read_text().splitlines()
    number = int(line.partition("line=")[2].partition(",")[0])
    assert "repro_check(" in source[number - 1]
    assert line.endswith("and 4 more: drift, code, rel_l2 1")


def test_gitlab_gets_a_problem_with_file_and_line_of_each_failed_check(project, monkeypatch):
    monkeypatch.setenv("CI_PROJECT_DIR", str(project.folder.parent))
    drifted(project, 2, "--repro-code-quality=q.json")
    first, second = json.loads((project.folder / "q.json").read_text())
    assert first["fingerprint"] != second["fingerprint"]
    assert first["severity"] == "major"
    assert first["check_name"] == "pytest-repro drift"
    assert first["description"].endswith(": drift, code, rel_l2 1")
    assert first["location"]["path"] == f"{project.folder.name}/test_story.py"
    source = (project.folder / "test_story.py").read_text().splitlines()
    assert "repro_check(" in source[first["location"]["lines"]["begin"] - 1]
    project.run("--repro-update", "--repro-code-quality=q.json")
    assert json.loads((project.folder / "q.json").read_text()) == []


def test_the_next_command_works_in_the_folder_where_pytest_was_run(project):
    project.write(MANY.format(seed=0, count=1, factor=1))
    below = project.folder / "below"
    below.mkdir()
    python = f'pytest() {{ "{sys.executable}" -m pytest "$@"; }}\n'

    def shell(command):
        return subprocess.run(
            ["bash", "-c", python + command], cwd=below, env={**os.environ, "NO_COLOR": "1"},
            capture_output=True, text=True, check=False,
        ).stdout  # fmt: skip

    text = shell("pytest ../test_story.py --repro-framework numpy --repro-baselines 'my base'")
    (command,) = (line.split(maxsplit=1)[1] for line in text.splitlines() if "  next " in line)
    assert "../test_story.py:" in text
    assert "1 check: 1 recorded" in shell(command), command
    assert (project.folder / "my base").is_dir()
    assert "1 check: 1 exact" in shell(command.replace("--repro-update", ""))


def test_options_that_choose_the_key_are_repeated_and_those_of_one_run_are_not():
    given = ["-q", "tests", "--repro-framework", "numpy", "--repro-update=all", "-c", "my ini",
             "--repro-report", "out", "--repro-reference=own", "-k", "x"]  # fmt: skip
    kept = kept_options(given)
    assert kept == ("--repro-framework", "numpy", "-c", "my ini", "--repro-reference=own")
    command = Invocation(options=kept).pytest(CheckId("a.py", "test", "x"), "--repro-update")
    repeated = "--repro-framework numpy -c 'my ini' --repro-reference=own"
    assert command == f"pytest 'a.py::test' --repro-update {repeated}"
