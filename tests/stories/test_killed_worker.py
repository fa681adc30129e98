"""A worker is killed in the middle of a test: what the run says, and what is stored of it."""

from __future__ import annotations

import json
import re

import pytest

pytest.importorskip("xdist")

SUITE = """
    import os, signal

    @pytest.mark.repro
    @pytest.mark.parametrize("count", range(4))
    def test_early(repro_check, count):
        repro_check(np.full(4, {offset} + count))

    @pytest.mark.repro
    def test_killed(repro_check):
        repro_check(np.zeros(3), name="before")
        if not os.path.exists("survives"):
            open("survives", "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        repro_check(np.zeros(3), name="after")

    @pytest.mark.repro
    @pytest.mark.parametrize("count", range(4))
    def test_late(repro_check, count):
        repro_check(np.full(4, {offset} + count))
"""
KILLED = "test_story.py::test_killed"
NOT_JUDGED = re.compile(rf"worker gw\d crashed; the checks of {KILLED} were not judged there")


@pytest.fixture
def spared(project):
    """Lets the next run's `test_killed` live, or not."""
    survives = project.folder / "survives"

    def spare(is_spared):
        survives.touch() if is_spared else survives.unlink(missing_ok=True)

    project.write(SUITE.format(offset=0))
    spare(True)
    return spare


def closing(ran):
    return "\n".join(ran.closing)


def entries(project):
    """Names of the tests that a manifest's index or a block has."""
    found = re.findall(r"(?m)^  (test_\w+)(?:\[\d\])?::(\w+):", project.manifest.read_text())
    return {f"{test}::{name}" for test, name in found}


def test_a_comparing_run_says_what_was_not_judged(project, spared):
    project.record()
    before = project.files()
    control = project.run_apart("-n", "2")
    assert "10 checks: 10 exact" in closing(control)
    assert "lost" not in closing(control)
    spared(False)
    ran = project.run_apart("-n", "2", "--repro-report=r")
    assert ran.exit_code == 1
    assert ran.counts["failed"] == 1
    assert f"crashed while running '{KILLED}'" in ran.text
    assert "8 checks: 8 exact" in closing(ran)
    assert NOT_JUDGED.search(closing(ran))
    report = json.loads((project.folder / "r" / "report.json").read_text())
    assert NOT_JUDGED.search(" ".join(report["notes"]))
    assert not any(KILLED in one["check"] for one in report["checks"])
    assert project.files() == before


def test_a_recording_run_records_nothing_of_the_killed_test_and_is_red(project, spared):
    spared(False)
    ran = project.run_apart("-n", "2", "--repro-update")
    assert ran.exit_code == 1
    assert ran.counts["failed"] == 1
    assert re.search(r"worker gw\d crashed", closing(ran))
    stored = entries(project)
    assert not any(name.startswith("test_killed") for name in stored)
    # What it calls recorded is stored, what it calls missing is not; the next run needs no repair.
    said = {word: int(count) for count, word in re.findall(r"(\d+) (recorded|missing)", ran.text)}
    after = project.run()
    verdicts = [verdict for name, verdict in after.verdicts.items() if "killed" not in name]
    assert verdicts.count("exact") == said["recorded"]
    assert verdicts.count("missing") == said.get("missing", 0)
    assert {after.verdicts["test_killed::before"], after.verdicts["test_killed::after"]} == {
        "missing"
    }
    project.record()
    assert set(project.run().verdicts.values()) == {"exact"}
    assert "test_killed::after" in entries(project)


def test_an_update_that_is_killed_leaves_the_old_baselines_of_the_killed_test(project, spared):
    project.record()
    before = project.manifest.read_text()
    spared(False)
    project.write(SUITE.format(offset=100).replace("np.zeros(3)", "np.ones(3)"))
    ran = project.run_apart("-n", "2", "--repro-update")
    assert ran.exit_code == 1
    lines = [line for line in before.splitlines() if line.startswith("  test_killed")]
    assert [line for line in project.manifest.read_text().splitlines() if line in lines] == lines
    after = project.run()
    assert after.verdicts["test_killed::before"] == after.verdicts["test_killed::after"] == "drift"


def test_a_test_that_is_run_again_after_the_crash_is_judged_and_the_crash_is_said(project, spared):
    pytest.importorskip("pytest_rerunfailures")
    project.record()
    before = project.files()
    spared(False)
    ran = project.run_apart("-n", "2", "--reruns", "1")
    assert ran.counts == {"passed": 9, "rerun": 1}
    assert "10 checks: 10 exact" in closing(ran)
    assert NOT_JUDGED.search(closing(ran))
    # The control: the second attempt is judged by what it computes.
    spared(False)
    project.write(SUITE.format(offset=0).replace("np.zeros(3)", "np.ones(3)"))
    ran = project.run_apart("-n", "2", "--reruns", "1")
    assert ran.exit_code == 1
    assert ran.counts["failed"] == 1
    assert "8 exact" in closing(ran)
    assert "2 drift" in closing(ran)
    assert project.files() == before


def test_a_test_that_is_run_again_after_the_crash_is_not_recorded(project, spared):
    pytest.importorskip("pytest_rerunfailures")
    spared(False)
    ran = project.run_apart("-n", "2", "--reruns", "1", "--repro-update")
    assert ran.exit_code == 1
    assert "not recorded: this is a rerun of the test" in ran.text
    assert not any(name.startswith("test_killed") for name in entries(project))
    # The control: no worker is killed, and the same run records it.
    ran = project.run_apart("-n", "2", "--reruns", "1", "--repro-update")
    assert ran.exit_code == 0
    assert {"test_killed::before", "test_killed::after"} <= entries(project)


def test_the_last_worker_is_killed_and_not_replaced(project, spared):
    project.record()
    spared(False)
    ran = project.run_apart("-n", "1", "--max-worker-restart=0", "--repro-report=r")
    assert ran.exit_code not in (0, 5)
    assert NOT_JUDGED.search(closing(ran))
    notes = json.loads((project.folder / "r" / "report.json").read_text())["notes"]
    assert NOT_JUDGED.search(" ".join(notes))
    judged = int(re.search(r"(\d+) checks?: ", closing(ran))[1])
    assert judged < 10


def test_a_run_without_a_test_of_ours_says_nothing_of_a_lost_worker(project):
    project.write(
        """
        import os, signal

        def test_plain():
            os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    ran = project.run_apart("-n", "1", "--max-worker-restart=0")
    assert ran.exit_code == 1
    assert "crashed while running" in ran.text
    assert "- repro -" not in ran.text
