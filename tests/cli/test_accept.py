"""accept: a value crosses from one machine to another, and nothing that was tampered with does."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from pytest_repro.checking.accept import candidates_of
from pytest_repro.cli import main
from pytest_repro.model.outcome import Claim
from pytest_repro.model.words import Verdict
from pytest_repro.report.changes import candidate_lines
from pytest_repro.report.document import seal
from pytest_repro.store.store import Store
from tests.cli.stores import CLEAN, IMAGE, NEW, put, store_in

TESTS = """
import numpy as np
import pytest

@pytest.mark.repro
@pytest.mark.parametrize("n", [2, 3])
def test_noise(n, repro_generator, repro_check):
    value = repro_generator.standard_normal((n, 4), dtype=np.float32)
    repro_check(value * np.float32({factor}), name="value")
"""
MACHINE_A = {"OMP_NUM_THREADS": "1"}
MACHINE_B = {"OMP_NUM_THREADS": "2"}


def write_tests(folder: Path, factor: float) -> None:
    (folder / "pytest.ini").write_text("[pytest]\nrepro_framework = numpy\n")
    (folder / "test_toy.py").write_text(TESTS.replace("{factor}", str(factor)))


def run_pytest(folder: Path, machine: dict[str, str], *arguments: str):
    """Run pytest in a process of its own, as on another machine."""
    environment = {**os.environ, **machine, "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("DNNL_MAX_CPU_ISA", None)
    command = [sys.executable, "-m", "pytest", "-p", "no:xdist", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A report of machine A: the checks drifted against the baselines that it had recorded."""
    folder = tmp_path_factory.mktemp("machine-a")
    write_tests(folder, 1.0)
    recorded = run_pytest(folder, MACHINE_A, "--repro-update")
    assert recorded.returncode == 0, recorded.stdout
    write_tests(folder, 1.5)
    drifted = run_pytest(folder, MACHINE_A, "--repro-report", "report")
    assert drifted.returncode == 1, drifted.stdout
    return folder


@pytest.fixture
def here(made, tmp_path):
    """A copy of machine A's checkout and report, on this machine."""
    import shutil

    shutil.copytree(made, tmp_path / "b")
    return tmp_path / "b"


def accept(folder: Path, *arguments: str) -> int:
    return main(["accept", str(folder / "report"), "--root", str(folder), *arguments])


def baselines(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted((folder / "baselines").rglob("*"))
        if path.is_file()
    }


def entry_of(document, part):
    return next(one for one in document["checks"] if part in one["check"])


def change_document(folder: Path, change, *, reseal: bool) -> None:
    path = folder / "report" / "report.json"
    document = json.loads(path.read_text())
    change(document)
    if reseal:
        document["digest"] = seal(document)
    path.write_text(json.dumps(document))


def test_accepted_values_are_exact_on_the_machine_that_computed_them(here, capsys):
    before = baselines(here)
    assert accept(here) == 0
    shown = capsys.readouterr().out
    assert baselines(here) == before
    for word in ("bitwise equal in 2 runs", "8 of 8 elements differ", "max ulp", "psnr", "mean "):
        assert word in shown
    assert "2 checks would be accepted; --yes writes" in shown
    assert accept(here, "--yes") == 0
    assert "2 checks accepted" in capsys.readouterr().out
    again = run_pytest(here, MACHINE_A)
    assert again.returncode == 0, again.stdout
    assert "2 checks: 2 exact" in again.stdout
    # The control: this machine's own key was never written.
    assert {name.split("/")[1] for name in baselines(here)} == {
        name.split("/")[1] for name in before
    }


def test_a_missing_check_of_new_hardware_is_repeated_and_accepted_under_its_key(here, capsys):
    ran = run_pytest(here, MACHINE_B, "--repro-report", "report", "--repro-reference", "own")
    assert "missing" in ran.stdout
    assert accept(here, "--yes") == 0
    assert "no baseline yet" in capsys.readouterr().out
    assert "2 exact" in run_pytest(here, MACHINE_B).stdout
    assert "2 drift" in run_pytest(here, MACHINE_A).stdout  # A keeps what it had


def test_check_picks_and_a_second_accept_changes_nothing(here, capsys):
    assert accept(here, "--check", "test_noise[2]", "--yes") == 0
    assert "1 check accepted" in capsys.readouterr().out
    once = baselines(here)
    assert accept(here, "--check", "test_noise[2]", "--yes") == 0
    assert "0 checks accepted, 1 unchanged" in capsys.readouterr().out
    assert baselines(here) == once
    assert accept(here, "--check", "no such check") == 2
    assert "1 drift" in run_pytest(here, MACHINE_A).stdout


def test_a_whole_id_accepts_that_check_and_none_whose_id_goes_on(here, capsys):
    text = (here / "test_toy.py").read_text()
    more = '    repro_check(value * np.float32(2), name="value*more")\n'
    (here / "test_toy.py").write_text(text + more)
    run_pytest(here, MACHINE_A, "--repro-report", "report")
    whole = "test_toy.py::test_noise[2]::value"
    assert accept(here, "--check", whole) == 0
    assert "1 check would be accepted" in capsys.readouterr().out
    assert accept(here, "--check", f"{whole}*more") == 0
    assert "1 check would be accepted" in capsys.readouterr().out
    # The control: a part of an id still stands for every check that contains it.
    assert accept(here, "--check", whole.removesuffix("e")) == 0
    assert "2 checks would be accepted" in capsys.readouterr().out


def test_interactive_takes_what_was_answered_and_stops_without_an_answer(here, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("what\nn\ny\n"))
    assert accept(here, "--interactive") == 0
    assert "1 check accepted" in capsys.readouterr().out
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert accept(here, "--interactive") == 0
    assert "0 checks accepted" in capsys.readouterr().out


def test_a_tampered_tensor_is_refused(here, capsys):
    before = baselines(here)
    path = next((here / "report").rglob("*.safetensors"))
    arrays = safetensors.numpy.load_file(path)
    safetensors.numpy.save_file({name: one + 1 for name, one in arrays.items()}, path)
    assert accept(here, "--yes") == 3
    assert path.name[:20] in capsys.readouterr().err
    assert baselines(here) == before


def test_a_tensor_that_is_absent_or_too_much_is_refused(here, capsys):
    path = next((here / "report").rglob("*.safetensors"))
    data = path.read_bytes()
    path.unlink()
    assert accept(here, "--yes") == 3
    assert "absent tensor" in capsys.readouterr().err
    path.write_bytes(data)
    assert accept(here) == 0


@pytest.mark.parametrize("edit", ["change", "add", "remove"])
def test_a_tampered_manifest_is_refused(here, capsys, edit):
    before = baselines(here)
    path = next((here / "report").rglob("*.yaml"))
    if edit == "change":
        path.write_text(path.read_text().replace("runs: 2", "runs: 3"))
    elif edit == "add":
        path.with_name("other.yaml").write_bytes(path.read_bytes())
    else:
        path.unlink()
    assert accept(here, "--yes") == 3
    assert "manifest" in capsys.readouterr().err
    assert baselines(here) == before


def seal_anew(folder: Path, change=lambda document: None) -> None:
    """What a forger does who knows how the digests of a report are made."""

    def sealed(document):
        change(document)
        found = sorted((folder / "report").rglob("*.yaml"))
        document["files"] |= {
            path.relative_to(folder / "report").as_posix(): hashlib.sha256(
                path.read_bytes()
            ).hexdigest()
            for path in found
        }

    change_document(folder, sealed, reseal=True)


def manifest_of(folder: Path) -> Path:
    return next((folder / "report" / "observed").rglob("*.yaml"))


def tensor_of(folder: Path) -> Path:
    return next((folder / "report" / "observed").rglob("*.safetensors"))


def _edit(pattern, new):
    def forge(folder: Path) -> None:
        path = manifest_of(folder)
        text, count = re.subn(pattern, new, path.read_text(), count=1)
        assert count
        path.write_text(text)

    return forge


def _other_bytes(folder: Path) -> None:
    """One tensor's bytes under another's name."""
    one, two = sorted((folder / "report" / "observed").rglob("*.safetensors"))
    one.write_bytes(two.read_bytes())


def _linked(find):
    def forge(folder: Path) -> None:
        path = find(folder)
        outside = folder.parent / f"outside{path.suffix}"
        path.rename(outside)
        path.symlink_to(outside)

    return forge


def _moved(folder: Path) -> None:
    path = manifest_of(folder)
    path.rename(path.with_name("test_other.yaml"))

    def rename(document):
        document["files"].clear()

    seal_anew(folder, rename)


def _stray(folder: Path) -> None:
    (tensor_of(folder).parent / "run.sh").write_text("true")


def _claims(**more):
    def change(document):
        document["checks"][0].update(more)

    return change


FORGED = {
    "a digest": _edit(r"[0-9a-f]{64}", "ab" * 32),
    "a statistic": _edit(r"max: [-0-9.e+]+", "max: 9.0"),
    "a dtype": _edit(r"float32", "float64"),
    "a key": _edit(r"key: \S+", "key: ../../../evil"),
    "a module": _edit(r"test_toy\.py", "../../evil.py"),
    "bytes": _other_bytes,
    "a manifest that is a link": _linked(manifest_of),
    "a tensor that is a link": _linked(tensor_of),
    "a manifest of another place": _moved,
    "a file that nothing names": _stray,
}
CLAIMED = {
    "a key that leads out": _claims(key="../../evil"),
    "a check that leads out": _claims(check="../../evil.py::test::value"),
    "a manifest that leads out": lambda document: document["files"].update(
        {"../../x.yaml": "0" * 64}
    ),
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_a_report_that_was_sealed_anew_is_refused_for_what_it_holds(here, capsys, forge):
    outside = sorted(here.parent.rglob("*"))
    before = baselines(here)
    forge(here)
    seal_anew(here)
    assert accept(here, "--yes") == 3
    assert "Traceback" not in capsys.readouterr().err
    assert baselines(here) == before
    assert not [path for path in here.parent.rglob("*evil*") if path not in outside]


@pytest.mark.parametrize("claim", CLAIMED.values(), ids=CLAIMED)
def test_a_claim_that_leads_out_of_the_report_is_refused(here, capsys, claim):
    before = baselines(here)
    seal_anew(here, claim)
    assert accept(here, "--yes") == 3
    assert baselines(here) == before


def test_the_control_a_report_that_is_sealed_anew_unchanged_is_accepted(here, capsys):
    seal_anew(here)
    assert accept(here, "--yes") == 0
    assert "2 checks accepted" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", '{"kind": "pytest-repro report"}'])
def test_a_document_that_is_none_is_refused(here, text):
    (here / "report" / "report.json").write_text(text)
    assert accept(here, "--yes") == 3


def test_an_edited_document_and_a_newer_schema_are_refused(here, capsys):
    def more_runs(document):
        document["checks"][0]["runs"] = 7

    change_document(here, more_runs, reseal=False)
    assert accept(here, "--yes") == 3
    assert "changed after the run" in capsys.readouterr().err

    def newer(document):
        document["schema"] = 99

    change_document(here, newer, reseal=True)
    assert accept(here, "--yes") == 3
    assert "reads up to" in capsys.readouterr().err


def test_what_never_passed_its_repeatable_gate_is_refused_and_the_rest_is_not(here, capsys):
    def change(document):
        entry_of(document, "[2]")["verdict"] = "nondeterministic"

    change_document(here, change, reseal=True)
    assert accept(here, "--yes") == 1
    shown = capsys.readouterr().out
    assert "refused     its verdict is nondeterministic" in shown
    assert "1 check accepted, 1 refused" in shown

    def contradict(document):
        entry_of(document, "[2]").update(verdict="drift", runs=5)

    change_document(here, contradict, reseal=True)
    assert accept(here, "--yes") == 1
    assert "counts 5 runs, its manifest 2" in capsys.readouterr().out


def test_a_value_that_differs_from_run_to_run_is_kept_and_refused(here, capsys):
    (here / "test_toy.py").write_text(
        "import numpy as np, pytest, itertools\n"
        "count = itertools.count()\n"
        "@pytest.mark.repro\n"
        "def test_new(repro_check):\n"
        "    repro_check(np.full(3, next(count), np.float32), name='value')\n"
    )
    ran = run_pytest(here, MACHINE_A, "--repro-report", "report")
    assert "nondeterministic" in ran.stdout
    assert accept(here, "--yes") == 1
    assert "0 checks accepted, 1 refused" in capsys.readouterr().out


def test_a_claim_without_a_value_names_the_worker_that_shared_no_disk(here, capsys):
    def claim_more(document):
        document["checks"].append({**document["checks"][0], "check": "test_x.py::test::value"})

    change_document(here, claim_more, reseal=True)
    assert accept(here, "--yes") == 3
    assert "test_x.py::test::value: the report has no observed value" in capsys.readouterr().err


def test_json_gives_the_same_and_measures(here, capsys):
    assert accept(here, "--json") == 0
    rows = json.loads(capsys.readouterr().out)["checks"]
    assert [one["runs"] for one in rows] == [2, 2]
    amounts = [one["changes"][0]["difference"] for one in rows]
    clean = np.random.Generator(np.random.PCG64(0)).standard_normal((2, 4), dtype=np.float32)
    moved = clean * np.float32(1.5) - clean
    assert amounts[0]["worst_abs"]["amount"] == pytest.approx(np.abs(moved).max(), rel=1e-6)


def test_a_folder_without_a_report_is_a_usage_error(tmp_path, capsys):
    assert accept(tmp_path) == 2
    assert "there is no report" in capsys.readouterr().err


def _candidate(root, moved, *, stored=None):
    """What `accept` makes of a value whose envelope a report states."""
    observed = Store(root / "observed", root=root)
    baseline = put(observed, IMAGE, NEW, CLEAN, moved=CLEAN * np.float32(1 + moved))
    target = store_in(root)
    if stored is not None:
        put(target, IMAGE, NEW, CLEAN + 1, moved=(CLEAN + 1) * np.float32(1 + stored))
    claim = Claim(str(IMAGE), Verdict.DRIFT, str(NEW), baseline.provenance.runs)
    (found,) = candidates_of(observed, target, [claim])
    return found


def test_accept_shows_the_envelope_that_it_stores(tmp_path):
    shown = "\n".join(candidate_lines(_candidate(tmp_path, 1e-5)))
    assert "envelope    rel_l2 1" in shown
    assert "a fallback passes within 4" in shown
    assert "warning" not in shown


@pytest.mark.parametrize(
    ("moved", "stored", "why"),
    [
        (1e-2, None, "times the perturbation of the noise"),
        (5e-5, 1e-6, "times as wide as the stored one"),
    ],
)
def test_an_envelope_that_is_hard_to_believe_has_a_warning(tmp_path, moved, stored, why):
    found = _candidate(tmp_path, moved, stored=stored)
    assert why in "\n".join(candidate_lines(found))
    # The control: the same envelope as before is no surprise.
    assert not _candidate(tmp_path / "again", 1e-6, stored=1e-6).warnings


def test_yes_leaves_out_a_wide_envelope_until_its_check_is_named(here, capsys, monkeypatch):
    monkeypatch.setattr("pytest_repro.checking.accept._doubts", lambda *_: ("it is wide",))
    before = baselines(here)
    assert accept(here, "--yes") == 1
    shown = capsys.readouterr().out
    assert "warning     it is wide" in shown
    assert "2 checks with a warning left out" in shown
    assert baselines(here) == before
    named = re.search(r"--check (\S+) --yes", shown)[1].strip("'")
    assert accept(here, "--check", named, "--yes") == 0
    assert baselines(here) != before


def test_a_folder_that_names_no_key_is_refused(here, capsys):
    manifest = manifest_of(here)
    copy = here / "report" / "observed" / "no-key" / "numpy-1" / manifest.name
    copy.parent.mkdir(parents=True)
    copy.write_bytes(manifest.read_bytes())
    seal_anew(here)
    assert accept(here, "--yes") == 3
    assert "not a hardware key" in capsys.readouterr().err
