"""Many workers: every way to distribute, shards, and a worker that is killed while it records."""

from __future__ import annotations

import json
import re

import pytest

from pytest_repro.plugin.closing import loss_text, unwritten

pytest.importorskip("xdist")

SUITE = """
    @pytest.mark.repro
    @pytest.mark.parametrize("count", range(5))
    def test_noise(repro_generator, repro_check, count):
        repro_check(repro_generator.standard_normal(count + 1), name="noise")
"""
# The killed test comes last in its file, after values that its worker may not have written yet.
KILLED = """
    import os, signal

    @pytest.mark.repro
    @pytest.mark.parametrize("count", range(12))
    def test_fast(repro_check, count):
        repro_check(np.full(4, {offset} + count))

    @pytest.mark.repro
    def test_killed(repro_check):
        if not os.path.exists("survives"):
            open("survives", "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        repro_check(np.zeros(3))
"""
COUNTS = re.compile(r"(\d+) (exact|recorded|updated|missing|drift|unchanged)")


def counts(ran):
    line = next(one for one in ran.closing if re.match(r"\d+ checks?: ", one))
    return {word: int(number) for number, word in COUNTS.findall(line)}


@pytest.mark.parametrize("dist", ["loadfile", "loadscope", "worksteal", "each"])
def test_every_way_to_distribute_records_the_bytes_of_one_process(project, dist):
    for name in ("test_story.py", "sub/test_sub.py"):
        project.write(SUITE, name)
    project.record()
    serial = project.files_without_times()
    for path in sorted(project.baselines.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    ran = project.run_apart("--repro-update", "-n", "2", "--dist", dist)
    assert ran.exit_code == 0, ran.text
    assert project.files_without_times() == serial


def test_shards_together_record_what_one_run_does_and_delete_nothing(project):
    project.write(SUITE)
    project.record()
    whole = project.files_without_times()
    for path in sorted(project.baselines.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    for selected in ("0 or 1", "2 or 3", "4"):
        project.record("-k", selected)
    assert project.files_without_times() == whole


def test_a_worker_killed_while_it_records_loses_nothing_that_was_stored_and_it_is_said(project):
    project.write(KILLED.format(offset=0))
    (project.folder / "survives").touch()
    project.record("-k", "fast")
    before = project.files()
    (project.folder / "survives").unlink()
    project.write(KILLED.format(offset=100))
    ran = project.run_apart("--repro-update", "-n", "2", "--dist", "loadfile", "--repro-report=r")
    assert ran.exit_code == 1
    assert "worker gw" in ran.text
    assert re.search(r"worker gw\d crashed", "\n".join(ran.closing))
    notes = json.loads((project.folder / "r" / "report.json").read_text())["notes"]
    assert re.search(r"worker gw\d crashed", " ".join(notes))
    said = counts(ran)
    # What it called updated is stored, and what is not stored is called what it is.
    after = project.run("-k", "fast")
    held = sum(verdict == "exact" for verdict in after.verdicts.values())
    assert said.get("updated", 0) == held
    assert said.get("updated", 0) + said.get("drift", 0) == 12
    assert {name for name in before if name.endswith(".yaml")} <= set(project.files())
    # The next run needs no repair.
    project.record()
    assert set(project.run().verdicts.values()) == {"exact"}
    assert len(project.run().verdicts) == 13


def test_an_update_that_was_never_written_is_found_and_named(project):
    project.write(SUITE)
    rows = [dict(row) for row in project.record().rows]
    assert unwritten(rows, project.baselines, root=project.folder) == []
    rows[1]["value"] = "0" * 64
    rows[2]["check"] = rows[2]["check"].replace("noise", "other")
    lost = unwritten(rows, project.baselines, root=project.folder)
    assert lost == rows[1:3]
    text = loss_text(["gw1"], lost)
    assert "2 baselines were not written" in text
    assert rows[1]["check"] in text
    assert "is stored" in loss_text(["gw1"], [])
