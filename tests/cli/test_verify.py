"""`verify` names every planted fault, with its file, and is silent about a whole store."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file

from pytest_repro.model.ids import CheckId, Digest
from pytest_repro.store.store import Store
from pytest_repro.tensors.record import make_record
from tests.cli.stores import (
    CLEAN,
    IMAGE,
    MODULE,
    NEW,
    OLD,
    baseline_of,
    fill,
    run,
    store_in,
    tensor_file,
)

MANIFEST = "baselines/cpu-x86_64-avx2-2c/mindspore-2.10.0/tests/models/test_ddim.yaml"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n"


def _edit(root, pattern, replacement, count=1):
    path = root / MANIFEST
    text, found = re.subn(pattern, replacement, path.read_text(), count=count)
    assert found
    path.write_text(text)
    return MANIFEST


def _tensor(root):
    return tensor_file(root, CLEAN)


def _cut_manifest(root):
    path = root / MANIFEST
    path.write_text(path.read_text()[: path.stat().st_size // 2])
    return MANIFEST


RECORD = Digest("ab" * 32)


def _cut_tensor(root):
    path = _tensor(root)
    path.write_bytes(path.read_bytes()[:-4])
    return path.name


def _garble_tensor(root):
    path = _tensor(root)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    return path.name


def _garble_manifest(root):
    (root / MANIFEST).write_bytes(b"\xff\xfe{{{")
    return MANIFEST


def _swap_tensor(root):
    """The bytes of another, whole tensor."""
    shutil.copy(tensor_file(root, CLEAN + 1), _tensor(root))
    return _tensor(root).name


def _index_digest(root):
    digest = make_record(CLEAN).digest
    return _edit(root, f"value: {digest}", f"value: {'a' * 64}")


def _index_noise(root):
    noise = baseline_of(IMAGE, NEW, CLEAN)[0].index.noise
    return _edit(root, f"noise: {noise}", f"noise: {'b' * 64}")


def _draw(root):
    return _edit(root, "method: standard_normal", "method: random")


def _claim(root, **changes):
    """Store a summary that its tensor does not bear out, in a manifest that is whole."""
    store = store_in(root)
    stored = store.baseline(NEW, IMAGE)
    (summary,) = stored.tensors
    store.write(NEW, MODULE, [replace(stored, tensors=(replace(summary, **changes),))], ())
    return MANIFEST


def _statistics_of(root):
    return store_in(root).baseline(NEW, IMAGE).tensors[0].statistics


def _dtype(root):
    return _claim(root, dtype="float64")


def _shape(root):
    return _claim(root, shape=(8, 4))


def _statistics(root):
    before = _statistics_of(root)
    return _claim(root, statistics=replace(before, l2=before.l2 + 1))


def _statistics_nan(root):
    return _claim(root, statistics=replace(_statistics_of(root), mean=float("nan")))


def _newer(root):
    return _edit(root, "schema: 2", "schema: 99")


def _misplaced(root):
    target = root / "baselines" / NEW.hardware / NEW.framework / "tests/models/test_other.yaml"
    shutil.copy(root / MANIFEST, target)
    return target.name


def _pointer(root):
    _tensor(root).write_text(POINTER)
    return _tensor(root).name


def _pointer_manifest(root):
    (root / MANIFEST).write_text(POINTER)
    return MANIFEST


def _absent(root):
    _tensor(root).unlink()
    return MANIFEST


def _stray(root):
    (root / "baselines" / "notes.txt").write_text("x")
    return "baselines/notes.txt"


def _stray_tensor(root):
    save_file({"value": CLEAN}, root / "baselines" / "tensors" / "mine.safetensors")
    return "mine.safetensors"


def _folder_manifest(root):
    place = root / "baselines" / NEW.hardware / NEW.framework / "tests" / "x.yaml"
    place.mkdir()
    return "tests/x.yaml"


def _folder_tensor(root):
    _tensor(root).unlink()
    _tensor(root).mkdir()
    return _tensor(root).name


def _pipe_manifest(root):
    (root / MANIFEST).unlink()
    os.mkfifo(root / MANIFEST)
    return MANIFEST


def _pipe_tensor(root):
    _tensor(root).unlink()
    os.mkfifo(_tensor(root))
    return _tensor(root).name


def _record(root):
    """A whole trace, which is no fault."""
    store = Store(root / "baselines", root=root)
    store.write_rows({RECORD: [("step", 0, None), ("step", 1, 0.5)]})
    return store.record_path(RECORD)


def _cut_record(root):
    path = _record(root)
    path.write_bytes(path.read_bytes()[:-9])
    return path.name


def _pointer_record(root):
    path = _record(root)
    path.write_text(POINTER)
    return path.name


FAULTS = [
    (_cut_record, "corrupt", 3),
    (_pointer_record, "lfs pointer", 1),
    (_folder_manifest, "corrupt", 3),
    (_folder_tensor, "corrupt", 3),
    (_pipe_manifest, "corrupt", 3),
    (_pipe_tensor, "corrupt", 3),
    (_cut_manifest, "corrupt", 3),
    (_garble_manifest, "corrupt", 3),
    (_cut_tensor, "corrupt", 3),
    (_garble_tensor, "corrupt", 3),
    (_swap_tensor, "corrupt", 3),
    (_index_digest, "corrupt", 3),
    (_index_noise, "corrupt", 3),
    (_draw, "corrupt", 3),
    (_dtype, "dtype", 3),
    (_shape, "shape", 3),
    (_statistics, "statistics", 3),
    (_statistics_nan, "statistics", 3),
    (_newer, "newer schema", 3),
    (_misplaced, "misplaced", 3),
    (_pointer, "lfs pointer", 1),
    (_pointer_manifest, "lfs pointer", 1),
    (_absent, "absent tensor", 1),
    (_stray, "stray file", 1),
    (_stray_tensor, "stray file", 1),
]


def test_a_whole_store_has_no_fault(tmp_path, capsys):
    fill(tmp_path)
    (tmp_path / "baselines" / "policy.yaml").write_text("schema: 1\nrules: []\n")
    _record(tmp_path)
    assert run(tmp_path, "verify") == 0
    assert capsys.readouterr().out == "3 manifests, 6 checks, 5 tensors: 0 faults\n"


@pytest.mark.parametrize(
    ("plant", "fault", "code"), FAULTS, ids=lambda one: getattr(one, "__name__", "")
)
def test_a_planted_fault_is_named_with_its_file(tmp_path, capsys, plant, fault, code):
    fill(tmp_path)
    assert run(tmp_path, "verify") == 0
    where = plant(tmp_path)
    capsys.readouterr()
    assert run(tmp_path, "verify", "--json") == code
    findings = json.loads(capsys.readouterr().out)["verification"]["findings"]
    assert any(one["fault"] == fault and one["where"].endswith(where) for one in findings)
    assert run(tmp_path, "verify") == code
    assert f"{fault}: " in capsys.readouterr().out


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(0, np.float32),
        np.array(np.nan),
        np.array([True]),
        np.full(3, 1e308),
        np.array([np.inf, 1.0], np.float16),
    ],
)
def test_odd_but_true_tensors_are_no_fault(tmp_path, capsys, array):
    store = fill(tmp_path)
    baseline, tensors = baseline_of(IMAGE, OLD, array)
    store.write(OLD, MODULE, [baseline], tensors)
    assert run(tmp_path, "verify") == 0, capsys.readouterr().out


def test_a_statistic_that_is_no_number_is_a_fault_whoever_sees_it_first(tmp_path, capsys):
    fill(tmp_path)
    _edit(tmp_path, r"std: [-+.\de]+", "std: wide")
    assert run(tmp_path, "verify", "--json") == 3
    (finding,) = json.loads(capsys.readouterr().out)["verification"]["findings"]
    assert finding["fault"] in ("corrupt", "statistics")
    assert finding["where"] == MANIFEST


@pytest.mark.parametrize("command", ["list", "matrix", "gc", "gc --older-than-s 0 --yes", "verify"])
def test_a_folder_in_the_place_of_a_manifest_is_named_by_every_command(tmp_path, capsys, command):
    fill(tmp_path)
    where = _folder_manifest(tmp_path)
    assert run(tmp_path, *command.split()) == 3
    captured = capsys.readouterr()
    said = captured.out + captured.err
    assert "a folder is in the place of a file" in said
    assert said.count(where) == (1 if command == "verify" else 2)  # where it is, and what to do


def test_a_folder_of_tests_that_is_called_like_a_manifest_is_none(tmp_path, capsys):
    store = fill(tmp_path)
    check = CheckId("tests/x.yaml/test_in_it.py", "test_ddim", "image")
    baseline, tensors = baseline_of(check, OLD, CLEAN)
    store.write(OLD, check.module, [baseline], tensors)
    assert run(tmp_path, "verify") == 0, capsys.readouterr().out
    assert run(tmp_path, "list") == 0
    assert str(check) in capsys.readouterr().out
    assert run(tmp_path, "gc") == 0


def test_gc_leaves_a_folder_in_the_place_of_a_tensor_to_verify(tmp_path, capsys):
    store = fill(tmp_path)
    place = store.tensor_path(make_record(CLEAN + 7).digest)
    place.mkdir(parents=True)
    assert run(tmp_path, "gc", "--older-than-s", "0", "--yes") == 0
    assert place.is_dir()
    assert run(tmp_path, "verify") == 3
    assert place.name in capsys.readouterr().out


def test_a_folder_that_is_a_file_is_an_error_and_not_a_traceback(tmp_path, capsys):
    (tmp_path / "baselines").write_text("x")
    assert run(tmp_path, "verify") == 3
    assert "not a folder" in capsys.readouterr().err


def test_verify_skips_unchanged_files_unless_it_is_to_read_all(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("pytest_repro.store.verify._SETTLED_S", -1e9)
    fill(tmp_path)
    assert run(tmp_path, "verify") == 0
    assert "skipped" not in capsys.readouterr().out
    path, status = _tensor(tmp_path), _tensor(tmp_path).stat()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert run(tmp_path, "verify") == 0
    assert "8 files skipped: unchanged since they were found whole" in capsys.readouterr().out
    assert run(tmp_path, "verify", "--all") == 3
    assert path.name in capsys.readouterr().out
