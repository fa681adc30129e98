"""kernels and doctor: what they name, and the exit code of each class of finding."""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pytest_repro.analysis import doctor
from pytest_repro.analysis.doctor import Complaint
from pytest_repro.cli import machine, main
from pytest_repro.environment.kernels import Probe, digest_kernels, kernel_rows, with_kernels
from pytest_repro.frameworks.kernels import numpy_kernels
from pytest_repro.store.store import Store
from tests.cli.stores import CLEAN, IMAGE, NEW, OLD, baseline_of, run, store_in

KERNELS = numpy_kernels()[:4]
BITS = Probe(KERNELS).measure()


def record(root: Path, key, kernels, *, facts=()) -> Store:
    """A store with one baseline under ``key``, recorded with ``kernels``."""
    baseline, tensors = baseline_of(IMAGE, key, CLEAN)
    made = baseline.provenance
    environment = with_kernels(replace(made.environment, facts=tuple(facts)), kernels)
    baseline = replace(baseline, provenance=replace(made, environment=environment))
    store = store_in(root)
    store.write(key, IMAGE.module, [baseline], tensors)
    store.write_rows({digest_kernels(kernels): kernel_rows(kernels)})
    return store_in(root)


def changed(**kernels):
    """The kernels with different bits in the named ones (``add_float32``)."""
    other = BITS["matmul.float32"]
    return {**BITS, **{name.replace("__", "."): other for name in kernels}}


def test_kernels_names_those_that_differ_between_two_keys(tmp_path, capsys):
    record(tmp_path, OLD, BITS)
    record(tmp_path, NEW, changed(add__float32=1))
    assert run(tmp_path, "kernels", str(OLD), str(NEW)) == 0
    shown = capsys.readouterr().out
    assert "add.float32  A  B" in shown
    assert "multiply" not in shown
    assert "8 kernels, 1 differ" in shown
    assert run(tmp_path, "kernels") == 0
    assert "multiply.float32      A  A" in capsys.readouterr().out


def test_kernels_of_all_keys_say_where_none_were_recorded(tmp_path, capsys):
    record(tmp_path, OLD, BITS)
    record(tmp_path, NEW, {})
    assert run(tmp_path, "kernels", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert list(document["kernels"]) == [str(OLD)]
    assert run(tmp_path, "kernels") == 0
    assert "1 key without kernels" in capsys.readouterr().out
    assert run(tmp_path, "kernels", "a", "b", "c") == 2


@pytest.fixture
def healthy(tmp_path, monkeypatch):
    """A machine with which nothing is wrong, and its own key recorded."""
    monkeypatch.setattr(machine, "probe_of", lambda name, adapter: Probe(KERNELS))
    monkeypatch.setattr(machine, "fresh_kernels", lambda place, framework: BITS)
    monkeypatch.setattr(machine, "can_connect", lambda host, port: True)
    monkeypatch.setattr(machine, "project_facts", lambda root: {})
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    here = machine._machine(machine.Place(str(tmp_path)), "numpy").environment
    record(tmp_path, here.key, BITS, facts=here.facts)
    return tmp_path


def examine(root, capsys):
    code = run(root, "doctor", "--framework", "numpy")
    return code, capsys.readouterr().out


def test_a_healthy_machine_has_no_finding_and_every_fact_a_source(healthy, capsys):
    code, shown = examine(healthy, capsys)
    assert code == 0, shown
    assert "all 8 kernels gave equal bits twice here and once in a fresh process" in shown
    assert "all 8 kernels compute the recorded bits" in shown
    assert "wrong" not in shown
    assert shown.endswith("next         pytest\n")
    assert run(healthy, "doctor", "--framework", "numpy", "--json") == 0
    diagnosis = json.loads(capsys.readouterr().out)["diagnosis"]
    assert all(one["source"] for one in diagnosis["facts"])
    assert diagnosis["findings"] == []


def test_a_kernel_that_does_not_repeat_itself_is_named(healthy, capsys, monkeypatch):
    calls = itertools.count()
    drifting = replace(KERNELS[0], run=lambda x, y: x + y + x.dtype.type(next(calls)))
    probe = Probe((drifting, *KERNELS[1:]))
    monkeypatch.setattr(machine, "probe_of", lambda name, adapter: probe)
    code, shown = examine(healthy, capsys)
    assert code == Complaint.UNREPEATABLE
    assert "are not deterministic: add.float16, add.float32\n" in shown


def test_a_kernel_that_is_other_in_a_fresh_process_is_named(healthy, capsys, monkeypatch):
    fresh = changed(multiply__float32=1)
    monkeypatch.setattr(machine, "fresh_kernels", lambda place, framework: fresh)
    code, shown = examine(healthy, capsys)
    assert code == Complaint.UNREPEATABLE
    assert "are not deterministic: multiply.float32\n" in shown


def test_a_kernel_that_changed_since_the_recording_is_named(healthy, capsys, monkeypatch):
    other = replace(KERNELS[1], run=lambda x, y: x * y * x.dtype.type(1.5))
    probe = Probe((KERNELS[0], other, *KERNELS[2:]))
    monkeypatch.setattr(machine, "probe_of", lambda name, adapter: probe)
    monkeypatch.setattr(machine, "fresh_kernels", lambda place, framework: probe.measure())
    code, shown = examine(healthy, capsys)
    assert code == Complaint.KERNELS
    assert "2 of 8 kernels compute different bits: multiply.float16, multiply.float32" in shown


@pytest.mark.parametrize("endpoint", ["", "http://hub.example:8080"])
def test_a_hub_that_does_not_answer_has_a_code_and_a_way_out(
    healthy, capsys, monkeypatch, endpoint
):
    asked = []
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    monkeypatch.setenv("HF_TOKEN", "hf_secretsecret")
    monkeypatch.setattr(machine, "can_connect", lambda host, port: asked.append((host, port)))
    code, shown = examine(healthy, capsys)
    assert code == Complaint.HUB
    assert "does not answer" in shown
    assert "--repro-weights=seeded" in shown
    assert "hf_secret" not in shown
    assert asked == [("hub.example", 8080) if endpoint else ("huggingface.co", 443)]


def test_a_machine_without_baselines_is_told_to_record(healthy, capsys):
    import shutil

    shutil.rmtree(healthy / "baselines")
    code, shown = examine(healthy, capsys)
    assert code == Complaint.UNRECORDED
    assert "record them: pytest --repro-update" in shown


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_a_finding(healthy, capsys):
    (healthy / "baselines").chmod(0o500)
    assert examine(healthy, capsys)[0] == Complaint.STORE


def test_a_nearly_full_disk_is_a_finding(healthy, capsys, monkeypatch):
    monkeypatch.setattr(doctor, "_LEAST_FREE_BYTES", 2**70)
    code, shown = examine(healthy, capsys)
    assert code == Complaint.STORE
    assert "MiB are free" in shown


def test_another_noise_stream_is_a_finding(healthy, capsys, monkeypatch):
    here = machine._machine(machine.Place(str(healthy)), "numpy").environment
    facts = [
        replace(one, value="other") if one.name == "canary.normal" else one for one in here.facts
    ]
    record(healthy, here.key, BITS, facts=facts)
    code, shown = examine(healthy, capsys)
    assert code == Complaint.NOISE
    assert "canary.normal\n" in shown


def test_a_fact_that_cannot_be_read_is_a_finding(healthy, capsys, monkeypatch):
    whole = machine._machine

    def blind(place, framework):
        seen = whole(place, framework)
        facts = tuple(
            replace(one, value="") if one.name == "cpu.l2_per_core_bytes" else one
            for one in seen.environment.facts
        )
        return replace(seen, environment=replace(seen.environment, facts=facts))

    monkeypatch.setattr(machine, "_machine", blind)
    code, shown = examine(healthy, capsys)
    assert code == Complaint.FACTS
    assert "cpu.l2_per_core_bytes cannot be read from /sys/devices/system/cpu" in shown


def test_determinism_that_is_not_in_effect_is_a_finding(healthy, capsys, monkeypatch):
    whole = machine._machine
    off = "MindSpore answers 'OFF'"
    monkeypatch.setattr(
        machine, "_machine", lambda *args: replace(whole(*args), not_deterministic=off)
    )
    code, shown = examine(healthy, capsys)
    assert code == Complaint.DETERMINISM
    assert "requested ON, effective OFF" in shown


def test_env_knows_the_facts_of_the_project(tmp_path, capsys):
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    assert run(tmp_path, "env", "--framework", "numpy", "--json") == 0
    plain = json.loads(capsys.readouterr().out)
    (tmp_path / "conftest.py").write_text(
        "def pytest_repro_environment(config):\n"
        "    return {'bits.custom_ops': 'v3', 'cluster': 'night'}\n"
    )
    assert run(tmp_path, "env", "--framework", "numpy") == 0
    shown = capsys.readouterr().out
    assert "suffix  project.bits.custom_ops is v3, by default not set" in shown
    assert "project.cluster" in shown
    assert f"key  {plain['key']}~" in shown


def test_a_project_whose_conftest_fails_is_an_error_that_names_it(tmp_path, capsys):
    (tmp_path / "conftest.py").write_text("raise ImportError('no module of ours')\n")
    assert run(tmp_path, "env", "--framework", "numpy") != 0
    said = capsys.readouterr().err
    assert "the project's facts cannot be read" in said
    assert "no module of ours" in said


def test_a_fresh_process_measures_the_same_kernels(tmp_path):
    found = machine.fresh_kernels(machine.Place(str(tmp_path)), "numpy")
    assert set(BITS) <= set(found)
    assert np.all([found[name] == BITS[name] for name in BITS])
    assert main(["kernels", "--here", "--framework", "numpy", "--root", str(tmp_path)]) == 0
