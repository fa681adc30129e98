"""The inventory: every file below the folder has one kind, by place and name."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from pytest_repro.errors import StoreError
from pytest_repro.store.inventory import FileKind, delete_files, kind_of, list_files
from tests.cli.stores import fill

DIGEST = "ab" * 32


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("policy.yaml", FileKind.TOLERATED),
        ("README.md", FileKind.TOLERATED),
        ("tensors/.gitattributes", FileKind.TOLERATED),
        ("cpu/numpy-1/tests/test_a.yaml", FileKind.MANIFEST),
        ("cpu/numpy-1/test_a.yaml", FileKind.MANIFEST),
        (f"tensors/ab/{DIGEST}.safetensors", FileKind.TENSOR),
        ("cpu/numpy-1/.test_a.yaml.x1.tmp", FileKind.TEMPORARY),
        ("cpu/test_a.yaml", FileKind.STRAY),
        ("cpu/numpy-1/test_a.yaml.orig", FileKind.STRAY),
        (f"tensors/cd/{DIGEST}.safetensors", FileKind.STRAY),
        ("tensors/ab/cd/x.yaml", FileKind.STRAY),
        (f"tensors/ab/{DIGEST}.npy", FileKind.STRAY),
        ("cpu/policy.yaml", FileKind.STRAY),
    ],
)
def test_a_file_is_what_its_place_and_name_say(path, kind):
    assert kind_of(PurePosixPath(path)) is kind


def test_a_linked_folder_is_listed_and_not_entered(tmp_path):
    store = fill(tmp_path)
    count = len(list_files(store.folder))
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.yaml").write_text("x")
    (store.folder / "cpu").symlink_to(outside)
    files = list_files(store.folder)
    assert len(files) == count + 1
    assert [str(file.relative) for file in files if file.kind is FileKind.STRAY] == ["cpu"]


def test_deleting_takes_the_folders_it_empties_and_no_other(tmp_path):
    store = fill(tmp_path)
    doomed = [file for file in list_files(store.folder) if "sse41" in str(file.relative)]
    assert doomed
    assert delete_files(doomed) == sum(file.size_bytes for file in doomed)
    assert not (store.folder / "cpu-x86_64-sse41-2c").exists()
    assert (store.folder / "cpu-x86_64-avx2-2c").exists()
    everything = list_files(store.folder)
    delete_files(everything)
    assert store.folder.is_dir()


def test_a_folder_that_is_a_file_is_one_clear_error(tmp_path):
    path = tmp_path / "baselines"
    path.write_text("x")
    with pytest.raises(StoreError, match="not a folder"):
        list_files(path)
    assert list_files(tmp_path / "absent") == ()
