"""The store writes whole files or none, merges, and never leaves its folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pytest_repro.errors import CorruptBaseline, StoreError
from pytest_repro.model.ids import EnvironmentKey
from pytest_repro.store import system
from pytest_repro.store.store import Store
from tests.store.stored import KEY, MODULE, baseline_of


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "baselines", root=tmp_path)


def put(store, array, **names):
    baseline, record = baseline_of(np.asarray(array), **names)
    store.write(KEY, MODULE, [baseline], [record])
    return baseline, record


def test_what_was_written_is_found_again(store, tmp_path):
    baseline, record = put(store, [1.0, 2.0])
    fresh = Store(tmp_path / "baselines", root=tmp_path)
    assert fresh.keys() == (KEY,)
    assert fresh.modules(KEY) == (MODULE,)
    assert fresh.index(KEY, MODULE)[baseline.check.entry] == baseline.index
    assert fresh.baseline(KEY, baseline.check) == baseline
    assert fresh.tensor(record.digest).array.tolist() == [1.0, 2.0]


def test_writing_the_same_again_changes_no_byte(store):
    put(store, [1.0])
    path = store.manifest_path(KEY, MODULE)
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    assert store.write(KEY, MODULE, [baseline_of(np.array([1.0]))[0]], []) is False
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_other_entries_of_the_module_are_kept(store, tmp_path):
    put(store, [1.0], name="a")
    other = Store(tmp_path / "baselines", root=tmp_path)
    put(other, [2.0], name="b")
    put(store, [3.0], name="c")
    assert sorted(Store(tmp_path / "baselines", root=tmp_path).index(KEY, MODULE)) == [
        "test_ddim::a",
        "test_ddim::b",
        "test_ddim::c",
    ]


def test_two_processes_recording_at_once_lose_nothing(store, tmp_path):
    script = (
        "import sys, numpy as np, pathlib\n"
        "from pytest_repro.store.store import Store\n"
        "from tests.store.stored import KEY, MODULE, baseline_of\n"
        "root = pathlib.Path(sys.argv[1])\n"
        "for i in range(25):\n"
        "    b, r = baseline_of(np.array([float(i)]), name=f'{sys.argv[2]}{i}')\n"
        "    Store(root / 'baselines', root=root).write(KEY, MODULE, [b], [r])\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    workers = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path), name], env=environment)
        for name in "xy"
    ]
    assert [worker.wait(60) for worker in workers] == [0, 0]
    assert len(store.index(KEY, MODULE)) == 50


def test_an_absent_tensor_is_none_and_a_broken_one_is_corrupt(store):
    _, record = put(store, [1.0, 2.0])
    path = store.tensor_path(record.digest)
    data = path.read_bytes()
    path.write_bytes(data[:-3])
    with pytest.raises(CorruptBaseline):
        store.tensor(record.digest)
    path.unlink()
    assert store.tensor(record.digest) is None


def test_recording_repairs_a_broken_tensor(store):
    baseline, record = put(store, [1.0, 2.0])
    store.tensor_path(record.digest).write_bytes(b"garbage")
    store.write(KEY, MODULE, [baseline], [record])
    assert store.tensor(record.digest).array.tolist() == [1.0, 2.0]


def test_a_folder_that_is_a_file_is_one_clear_error(tmp_path):
    (tmp_path / "baselines").write_text("not a folder")
    broken = Store(tmp_path / "baselines", root=tmp_path)
    with pytest.raises(StoreError, match="baselines"):
        broken.keys()
    with pytest.raises(StoreError, match="baselines"):
        put(broken, [1.0])


def test_a_failed_write_leaves_the_old_manifest_and_no_rubbish(store, monkeypatch):
    put(store, [1.0], name="a")
    path = store.manifest_path(KEY, MODULE)
    before = path.read_bytes()

    def full(source, target):
        raise OSError(28, "No space left on device", source)

    monkeypatch.setattr(system._os, "replace", full)
    with pytest.raises(StoreError, match="No space left"):
        put(store, [1.0], name="b")
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert not list(store.folder.rglob("*.tmp"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_one_clear_error(store):
    put(store, [1.0])
    folder = store.manifest_path(KEY, MODULE).parent
    folder.chmod(0o500)
    try:
        with pytest.raises(StoreError, match="cannot write a baseline"):
            put(store, [2.0])
    finally:
        folder.chmod(0o700)


def test_a_link_that_leads_out_of_the_folder_is_refused(store, tmp_path):
    put(store, [1.0])
    path = store.manifest_path(KEY, MODULE)
    outside = tmp_path / "outside.yaml"
    path.rename(outside)
    path.symlink_to(outside)
    with pytest.raises(StoreError, match="out of the baselines folder"):
        Store(store.folder, root=tmp_path).index(KEY, MODULE)


def test_a_module_outside_the_root_stays_inside_the_folder(store):
    path = store.manifest_path(KEY, "../../etc/test_x.py")
    assert store.folder in path.parents
    assert ".." not in path.parts


def test_removing_the_last_entry_removes_the_manifest_only(store):
    baseline, record = put(store, [1.0])
    put(store, [2.0], name="b")
    assert store.remove(KEY, MODULE, ["test_ddim::b", "not there"]) == 1
    assert store.remove(KEY, MODULE, [baseline.check.entry]) == 1
    assert not store.manifest_path(KEY, MODULE).exists()
    assert store.tensor_path(record.digest).exists()


def test_keys_are_sorted_and_the_tensors_folder_is_none(store):
    put(store, [1.0])
    other = EnvironmentKey("ascend910b1", "mindspore-2.9.0")
    baseline, record = baseline_of(np.array([1.0]), key=other)
    store.write(other, MODULE, [baseline], [record])
    assert store.keys() == (other, KEY)
