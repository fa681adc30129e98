"""Report folders in the command: the checks of a run by verdict, and two runs side by side."""

from __future__ import annotations

import json
import shutil

import pytest

from pytest_repro.cli import main
from pytest_repro.report.document import seal
from tests.cli.test_accept import MACHINE_A, run_pytest

TESTS = """
import numpy as np
import pytest

@pytest.mark.repro
@pytest.mark.parametrize("n", [2, 3, 4])
def test_noise(n, repro_generator, repro_check):
    value = repro_generator.standard_normal((n, 4), dtype=np.float32)
    repro_check(value * np.float32({factor} if n == 3 else 1), name="value")
"""


def run(folder, report, factor, extra="", *arguments):
    (folder / "test_toy.py").write_text(TESTS.replace("{factor}", str(factor)) + extra)
    return run_pytest(folder, MACHINE_A, *arguments, "--repro-report", str(folder / report))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three runs: all exact, one drift of 1.5 and one of 1.25 with a new check."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "pytest.ini").write_text("[pytest]\nrepro_framework = numpy\n")
    assert run(folder, "recorded", 1, "", "--repro-update").returncode == 0
    assert run(folder, "exact", 1).returncode == 0
    assert run(folder, "drift", 1.5).returncode == 1
    new = "\n@pytest.mark.repro\ndef test_new(repro_check):\n    repro_check(np.ones(2))\n"
    assert run(folder, "other", 1.25, new).returncode == 1
    return folder


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    shutil.copytree(made, tmp_path / "b")
    monkeypatch.chdir(tmp_path / "b")
    return tmp_path / "b"


def checks(capsys):
    return json.loads(capsys.readouterr().out)["checks"]


def test_list_names_the_checks_of_a_run_by_verdict(here, capsys):
    assert main(["list", "--report", "drift", "--verdict", "drift"]) == 0
    out = capsys.readouterr().out
    assert "test_noise[3]::value" in out
    assert "test_noise[2]" not in out
    assert "own: cpu-" in out
    assert "1 check of the run in drift" in out
    assert main(["list", "--report", "other", "--json"]) == 0
    assert sorted(one["verdict"] for one in checks(capsys)) == [
        "drift", "exact", "exact", "missing",
    ]  # fmt: skip
    both = ["--verdict", "drift", "--verdict", "missing"]
    assert main(["list", "--report", "other", *both, "test_new", "--json"]) == 0
    assert [one["verdict"] for one in checks(capsys)] == ["missing"]
    assert main(["list", "--report", "exact", "--verdict", "drift"]) == 0
    assert capsys.readouterr().out == "0 checks of the run in exact\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["list", "--verdict", "drift"], "--report names none"),
        (["list", "--report", "absent"], "there is no report in absent"),
        (["list", "--report", "drift", "--verdict", "broken"], "is not one of"),
    ],
)
def test_a_list_that_cannot_be_is_refused(here, capsys, arguments, words):
    assert main(arguments) == 2
    assert words in capsys.readouterr().err


def test_two_runs_are_compared_although_nothing_was_kept_of_exact_checks(here, capsys):
    assert main(["diff", "exact", "exact"]) == 0
    assert "3 checks exact, 0 not" in capsys.readouterr().out
    assert main(["diff", "exact", "drift", "--json"]) == 1
    found = {one["check"].partition("::")[2]: one for one in checks(capsys)}
    assert [one["relation"] for one in found.values()] == ["exact", "different", "exact"]
    # The exact side's tensor is the baseline's: the distance is measured, not estimated.
    distance = found["test_noise[3]::value"]["distances"][0]
    assert distance["rel_l2"] == pytest.approx(0.5)
    assert not distance["is_estimate"] if "is_estimate" in distance else True
    assert main(["diff", "drift", "other", "--json"]) == 1
    found = {one["check"].partition("::")[2]: one for one in checks(capsys)}
    assert found["test_noise[3]::value"]["distances"][0]["rel_l2"] == pytest.approx(1 / 6)
    assert found["test_new::value"]["relation"] == "only second"


def test_a_run_is_compared_with_a_key(here, capsys):
    (key,) = (path for path in (here / "baselines").glob("cpu-*/numpy-*"))
    name = "/".join(key.parts[-2:])
    assert main(["diff", name, "exact"]) == 0
    assert main(["diff", name, "drift", "--check", "test_noise[3]"]) == 1
    assert "0 checks exact, 1 not" in capsys.readouterr().out


def test_runs_are_compared_without_the_baselines_as_far_as_that_goes(here, capsys):
    shutil.rmtree(here / "baselines")
    assert main(["diff", "exact", "exact"]) == 0
    assert main(["diff", "drift", "other", "--check", "test_noise[3]"]) == 1
    assert "0.167" in capsys.readouterr().out
    assert main(["diff", "exact", "drift"]) == 1
    assert "absent on the first side" in capsys.readouterr().out


def test_a_report_that_was_changed_or_is_too_old_is_refused(here, capsys):
    path = here / "drift" / "report.json"
    document = json.loads(path.read_text())
    path.write_text(path.read_text().replace('"drift"', '"exact"', 1))
    assert main(["diff", "exact", "drift"]) == 3
    assert "changed after the run" in capsys.readouterr().err
    document["schema"] = 1
    for one in document["checks"]:
        del one["value"], one["ledger"]
    document["digest"] = seal(document)
    path.write_text(json.dumps(document))
    assert main(["diff", "exact", "drift"]) == 2
    assert "holds no digests" in capsys.readouterr().err
    assert main(["list", "--report", "drift", "--verdict", "drift"]) == 0  # needs none
