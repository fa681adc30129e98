"""Migrating moves every baseline of schema 1 to its complete key, and nothing else."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from pytest_repro.errors import CorruptBaseline, OlderSchema
from pytest_repro.model.baseline import Environment, Fact
from pytest_repro.model.ids import EnvironmentKey
from pytest_repro.store.migrate import migrate, plan_migration
from tests.cli.stores import CLEAN, IMAGE, LATENTS, MODULE, baseline_of, run, store_in

OLD_KEY = EnvironmentKey("cpu-x86_64-avx2-2c", "mindspore-2.10.0")


def write_old(root, *checks, key=OLD_KEY, facts=()):
    """A manifest of schema 1; a fact a check is its environment."""
    store = store_in(root)
    baselines = []
    for number, check in enumerate(checks):
        baseline, tensors = baseline_of(check, key, CLEAN + np.float32(number))
        own = tuple(Fact(*fact) for fact in facts[number])
        provenance = replace(baseline.provenance, environment=Environment(key, own))
        baselines.append(replace(baseline, provenance=provenance))
        store.write(key, MODULE, baselines, tensors)
    path = store.manifest_path(key, MODULE)
    text = path.read_text().replace("schema: 2", "schema: 1").removesuffix("...\n")
    path.write_text(re.sub(r", inputs: [^}]*}", "}", text))
    return path


def l2(size):
    return (("cpu.l2_per_core_bytes", str(size)),)


def test_a_manifest_moves_to_the_key_that_its_facts_give(tmp_path):
    old = write_old(tmp_path, IMAGE, facts=[l2(1 << 20)])
    tensors = {path: path.read_bytes() for path in tmp_path.rglob("*.safetensors")}
    with pytest.raises(OlderSchema, match="schema 1"):
        store_in(tmp_path).index(OLD_KEY, MODULE)
    store = store_in(tmp_path)
    migrate(store, plan_migration(store))
    again = store_in(tmp_path)
    (key,) = again.keys()
    assert str(key) == "cpu-x86_64-avx2-2c-l2_1024k/mindspore-2.10.0"
    (moved,) = again.manifest(key, MODULE)
    assert moved.check == IMAGE
    assert moved.tensors == baseline_of(IMAGE, OLD_KEY, CLEAN)[0].tensors
    assert not old.exists()
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.safetensors")} == tensors
    assert plan_migration(again) == ()


def test_checks_of_different_machines_come_apart(tmp_path):
    threads = ("mindspore.dispatch_threads", "configured")
    write_old(tmp_path, IMAGE, LATENTS, facts=[l2(1 << 20), (*l2(512 << 10), threads)])
    store = store_in(tmp_path)
    (one,) = plan_migration(store)
    keys = {check.check: str(key) for key, (check,) in one.parts.items()}
    assert keys[IMAGE] == "cpu-x86_64-avx2-2c-l2_1024k/mindspore-2.10.0"
    assert re.fullmatch(r"cpu-x86_64-avx2-2c-l2_512k/mindspore-2\.10\.0~[0-9a-f]{6}", keys[LATENTS])


def test_an_unknown_l2_size_or_cann_is_said(tmp_path):
    write_old(tmp_path, IMAGE, facts=[()])
    npu = EnvironmentKey("ascend910b1", "mindspore-2.7.1")
    write_old(tmp_path, IMAGE, key=npu, facts=[(("cann.version", "8.2.RC1"),)])
    found = {str(key) for one in plan_migration(store_in(tmp_path)) for key in one.parts}
    assert found == {
        "cpu-x86_64-avx2-2c-l2_unknown/mindspore-2.10.0",
        "ascend910b1/mindspore-2.7.1+cann_8.2.rc1",
    }


def test_what_was_recorded_since_is_kept(tmp_path):
    store = store_in(tmp_path)
    new = EnvironmentKey("cpu-x86_64-avx2-2c-l2_1024k", "mindspore-2.10.0")
    recorded, tensors = baseline_of(IMAGE, new, CLEAN * np.float32(2))
    store.write(new, MODULE, [recorded], tensors)
    write_old(tmp_path, IMAGE, facts=[l2(1 << 20)])
    store = store_in(tmp_path)
    migrate(store, plan_migration(store))
    assert store_in(tmp_path).index(new, MODULE)[IMAGE.entry] == recorded.index


def test_a_broken_or_misplaced_manifest_is_not_migrated(tmp_path):
    path = write_old(tmp_path, IMAGE, facts=[l2(1 << 20)])
    whole = path.read_text()
    for damage in (
        lambda text: text.replace("value: ", "value: " + "0" * 64 + " # "),
        lambda text: text.replace("avx2-2c", "avx2-4c", 1),
    ):
        path.write_text(damage(whole))
        with pytest.raises(CorruptBaseline):
            plan_migration(store_in(tmp_path))
        assert path.exists()


def test_the_command_shows_first_and_then_does_it(tmp_path, capsys):
    path = write_old(tmp_path, IMAGE, facts=[l2(1 << 20)])
    assert run(tmp_path, "migrate") == 0
    said = capsys.readouterr().out
    assert "cpu-x86_64-avx2-2c-l2_1024k/mindspore-2.10.0" in said
    assert "1 manifest would be migrated; --yes migrates" in said
    assert path.exists()
    assert run(tmp_path, "migrate", "--yes") == 0
    assert "1 manifest migrated" in capsys.readouterr().out
    assert not path.exists()
    assert run(tmp_path, "verify") == 0
