"""merge: several reports become one, which says what one run would have said."""

from __future__ import annotations

import json
import shutil

import pytest

from pytest_repro.cli import main
from pytest_repro.report.document import read_report, seal
from tests.cli.test_accept import MACHINE_A, MACHINE_B, run_pytest, write_tests

TWO, THREE = "2", "3"


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """A folder with baselines of machine A; two tests drift: a report of each, and of both."""
    folder = tmp_path_factory.mktemp("machine")
    write_tests(folder, 1.0)
    done = run_pytest(folder, MACHINE_A, "--repro-update")
    assert done.returncode == 0, done.stdout
    write_tests(folder, 1.001)
    for name, options in {
        "whole": (),
        TWO: ("-k", "noise and 2"),
        THREE: ("-k", "noise and 3"),
    }.items():
        done = run_pytest(folder, MACHINE_A, "--repro-report", name, *options)
        assert done.returncode == 1, done.stdout
    return folder


@pytest.fixture
def folder(machine, tmp_path, monkeypatch):
    copy = tmp_path / "machine"
    shutil.copytree(machine, copy)
    monkeypatch.chdir(copy)
    return copy


def _entries(folder):
    report = read_report((folder / "report.json").read_text(), where=str(folder))
    return [{**one, "recorded_at": ""} for one in report.document["checks"]]


def test_two_shards_give_the_report_of_one_run(folder, capsys):
    assert main(["merge", TWO, THREE, "-o", "joined"]) == 0
    assert "2 reports merged; 2 checks: 2 drift; keys: cpu-" in capsys.readouterr().out
    assert _entries(folder / "joined") == _entries(folder / "whole")
    assert (folder / "joined" / "index.html").exists()
    assert main(["accept", "joined", "--yes"]) == 0
    assert "2 checks accepted" in capsys.readouterr().out
    done = run_pytest(folder, MACHINE_A)
    assert "2 checks: 2 exact" in done.stdout, done.stdout


def test_two_machines_are_side_by_side_and_each_is_accepted_for_itself(folder, capsys):
    run_pytest(folder, MACHINE_B, "--repro-report", "other")
    assert main(["merge", "whole", "other", "-o", "joined"]) == 0
    checks = _entries(folder / "joined")
    assert len(checks) == 4
    assert len({one["key"] for one in checks}) == 2
    capsys.readouterr()
    assert main(["accept", "joined", "--yes"]) == 0
    assert "4 checks accepted" in capsys.readouterr().out


def test_a_shard_that_ran_twice_is_counted_once(folder):
    shutil.copytree(folder / TWO, folder / "again")
    assert main(["merge", TWO, "again", "-o", "joined"]) == 0
    assert len(_entries(folder / "joined")) == 1


def test_reports_that_contradict_each_other_are_refused(folder, capsys):
    write_tests(folder, 1.002)
    run_pytest(folder, MACHINE_A, "--repro-report", "later", "-k", "noise and 2")
    assert main(["merge", TWO, "later", "-o", "joined"]) == 2
    error = capsys.readouterr().err
    assert "two reports contradict each other about one check" in error
    assert "test_noise[2]::value" in error
    assert not (folder / "joined").exists()


def test_a_report_that_was_changed_is_refused(folder, capsys):
    path = folder / TWO / "report.json"
    document = json.loads(path.read_text())
    document["checks"][0]["verdict"] = "exact"
    path.write_text(json.dumps(document))
    assert main(["merge", TWO, THREE, "-o", "joined"]) == 3
    assert "was changed after the run" in capsys.readouterr().err
    document["digest"] = seal(document)
    document["files"] = {}
    document["digest"] = seal(document)
    path.write_text(json.dumps(document))
    assert main(["merge", TWO, THREE, "-o", "joined"]) == 3
    assert "was added or removed" in capsys.readouterr().err


def test_the_output_is_no_report_to_merge_and_no_folder_with_other_things(folder, capsys):
    assert main(["merge", TWO, THREE, "-o", TWO]) == 2
    assert "is one of the reports to merge" in capsys.readouterr().err
    assert (folder / TWO / "report.json").exists()
    (folder / "mine").mkdir()
    (folder / "mine" / "notes.txt").write_text("mine")
    assert main(["merge", TWO, THREE, "-o", "mine"]) == 2
    assert "holds other things than a report" in capsys.readouterr().err
