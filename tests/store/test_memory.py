"""`verify` reads a file again unless nothing about it has changed since it was whole."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import numpy as np
import pytest

from pytest_repro.noise.draw_log import make_draw_log
from pytest_repro.store import verify as module
from pytest_repro.store.store import Store
from pytest_repro.store.verify import Memory, load_memory, verify
from tests.store.stored import KEY, MODULE, baseline_of


@pytest.fixture(autouse=True)
def _settled(monkeypatch):
    monkeypatch.setattr(module, "_SETTLED_S", -1e9)


@pytest.fixture
def store(tmp_path):
    """Fifty tensors and checks."""
    found = Store(tmp_path / "baselines", root=tmp_path)
    draw_log = make_draw_log((), ())
    made = [baseline_of(np.full(3, number, "f4"), test=f"test_{number}") for number in range(50)]
    baselines = [
        replace(one, index=one.index._replace(noise=draw_log.digest), draw_log=draw_log)
        for one, _ in made
    ]
    found.write(KEY, MODULE, baselines, [record for _, record in made])
    return found


def verified(store, cache):
    memory = load_memory(store.folder, cache)
    found = verify(store, memory=memory)
    memory.save(store.folder, cache)
    return found


def tensor_of(store, number):
    return store.tensor_path(store.manifest(KEY, MODULE)[number].tensors[0].digest)


def test_what_has_not_changed_is_not_read_again(store, tmp_path):
    first = verified(store, tmp_path / "cache")
    assert (first.manifest_count, first.check_count, first.tensor_count) == (1, 50, 50)
    assert (first.findings, first.remembered_count) == ((), 0)
    second = verified(store, tmp_path / "cache")
    assert replace(second, remembered_count=0) == first
    assert second.remembered_count == 51


@pytest.mark.parametrize("keeps_time", [False, True])
def test_a_changed_tensor_is_read_and_found_corrupt(store, tmp_path, keeps_time):
    verified(store, tmp_path / "cache")
    path = tensor_of(store, 7)
    status, data = path.stat(), bytearray(path.read_bytes())
    data[-1] ^= 1
    if keeps_time:
        # A copy with the old time is another file.
        other = path.with_suffix(".other")
        other.write_bytes(data)
        os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
        other.replace(path)
    else:
        path.write_bytes(data)
    found = verified(store, tmp_path / "cache")
    assert [(one.fault, path.name in one.where) for one in found.findings] == [("corrupt", True)]
    assert verified(store, tmp_path / "cache").findings == found.findings


def test_a_tensor_that_is_gone_is_missed_by_a_manifest_that_has_not_changed(store, tmp_path):
    verified(store, tmp_path / "cache")
    tensor_of(store, 7).unlink()
    for _ in range(2):
        (finding,) = verified(store, tmp_path / "cache").findings
        assert finding.fault == "absent tensor"


def test_several_processes_find_what_one_finds(store, monkeypatch):
    path = tensor_of(store, 7)
    path.write_bytes(path.read_bytes()[:-1])
    tensor_of(store, 8).unlink()
    alone = verify(store)
    assert [one.fault for one in alone.findings] == ["corrupt", "absent tensor"]
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr("pytest_repro.store.verify._BYTES_A_WORKER", 1)
    assert verify(store) == alone


def test_what_a_link_points_to_is_always_read(store, tmp_path):
    path, target = tensor_of(store, 7), tmp_path / "elsewhere"
    path.rename(target)
    path.symlink_to(target)
    before = verified(store, tmp_path / "cache")
    assert verified(store, tmp_path / "cache").remembered_count == 50
    assert verified(store, tmp_path / "cache").findings == before.findings


def test_without_memory_everything_is_read(store, tmp_path):
    verified(store, tmp_path / "cache")
    path = tensor_of(store, 7)
    status, data = path.stat(), bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    # What size, time and inode cannot tell, only reading does.
    assert verified(store, tmp_path / "cache").findings == ()
    (finding,) = verify(store).findings
    assert finding.fault == "corrupt"


def test_a_file_of_this_moment_is_not_remembered(store, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_SETTLED_S", 1e6)
    verified(store, tmp_path / "cache")
    assert verified(store, tmp_path / "cache").remembered_count == 0


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", "null", '{"format": [1, 0], "seen": {}}', '{"format": 1, "seen": {"a": [1]}}'],
)
def test_a_memory_that_cannot_be_read_is_none(store, tmp_path, text):
    verified(store, tmp_path / "cache")
    (path,) = (tmp_path / "cache").rglob("*.json")
    path.write_text(text)
    assert verified(store, tmp_path / "cache").remembered_count == 0


def test_rows_of_a_memory_must_be_whole_numbers(store, tmp_path):
    verified(store, tmp_path / "cache")
    (path,) = (tmp_path / "cache").rglob("*.json")
    document = json.loads(path.read_text())
    document["seen"] = {name: ["1", 2, 3, 4] for name in document["seen"]}
    path.write_text(json.dumps(document))
    assert verified(store, tmp_path / "cache").remembered_count == 0


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(store, tmp_path):
    (tmp_path / "cache").write_text("a file")
    assert verified(store, tmp_path / "cache").findings == ()


def test_an_empty_memory_knows_nothing():
    assert not Memory({}).lost(set())
