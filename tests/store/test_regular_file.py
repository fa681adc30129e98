"""Plain files are read; a pipe, a socket, a device or a folder is refused at once, and named."""

from __future__ import annotations

import json
import os
import socket

import pytest

from pytest_repro.checking.accept import open_observed
from pytest_repro.errors import CorruptBaseline, PolicyError, StoreError, WeightsError
from pytest_repro.pipelines.source import check_weight_files
from pytest_repro.store import system
from pytest_repro.store.policy_file import load_policy
from pytest_repro.store.store import read_streams
from pytest_repro.store.system import NotAFile, read_regular
from tests.cli.stores import CLEAN, IMAGE, OLD, fill, store_in, tensor_file
from tests.waiting import OutOfTime, at_most_s


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as one:
        here = os.open(path.parent, os.O_RDONLY)
        try:
            one.bind(f"/proc/self/fd/{here}/{path.name}")  # an address has room for 107 bytes
        finally:
            os.close(here)


OTHERS = {
    "a named pipe": os.mkfifo,
    "a socket": make_socket,
    "a folder": lambda path: path.mkdir(),
    "a device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.fixture(autouse=True)
def in_time():
    with at_most_s(20):
        yield


@pytest.fixture(params=OTHERS)
def other(request):
    """A word, and what makes such a thing where a file lay or none."""

    def make(path):
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        OTHERS[request.param](path)

    return request.param, make


def test_a_file_is_read_and_what_is_none_is_named(tmp_path, other):
    word, make = other
    path = tmp_path / "thing"
    path.write_bytes(b"bytes")
    link = tmp_path / "link"
    link.symlink_to(path)
    assert read_regular(path) == read_regular(link) == b"bytes"
    make(path)
    for place in (path, link):
        with pytest.raises(NotAFile, match=f"{word} is in the place of a file"):
            read_regular(place)


def test_what_is_absent_is_no_other_thing(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "absent")


def test_a_file_exchanged_for_a_pipe_after_the_first_look_is_refused(tmp_path, monkeypatch):
    plain, pipe = tmp_path / "plain", tmp_path / "pipe"
    plain.touch()
    os.mkfifo(pipe)
    looked = plain.stat()
    monkeypatch.setattr(system._os, "stat", lambda path: looked)
    with pytest.raises(NotAFile, match="a named pipe"):
        read_regular(pipe)


def test_the_control_a_pipe_opened_as_a_file_is_waits_for_ever(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutOfTime), at_most_s(0.2):
        (tmp_path / "pipe").read_bytes()


def test_a_manifest_that_is_none_is_corrupt(tmp_path, other):
    word, make = other
    if word == "a device":
        pytest.skip("it takes a link, which a store refuses before it looks where it leads")
    path = fill(tmp_path).manifest_path(OLD, IMAGE.module)
    make(path)
    for read in (
        lambda store: store.index(OLD, IMAGE.module),
        lambda store: store.manifest(OLD, IMAGE.module),
        lambda store: store.baseline(OLD, IMAGE),
        lambda store: store.write(OLD, IMAGE.module, [], []),
        lambda store: store.remove(OLD, IMAGE.module, [IMAGE.entry]),
    ):
        with pytest.raises(CorruptBaseline) as caught:
            read(store_in(tmp_path))
        assert caught.value.facts == (f"{word} is in the place of a file",)
        assert caught.value.where == store_in(tmp_path).shown(path)
        assert caught.value.next_step.startswith("git checkout")
    with pytest.raises(NotAFile):
        read_regular(path)
    assert read_streams(path) == ()


def test_a_tensor_or_a_trace_that_is_none_is_corrupt(tmp_path, other):
    word, make = other
    if word == "a device":
        pytest.skip("it takes a link, which a store refuses before it looks where it leads")
    store = fill(tmp_path)
    digest = store.manifest(OLD, IMAGE.module)[0].tensors[0].digest
    make(store.tensor_path(digest))
    make(store.record_path(digest))
    for read in (store.tensor, store.rows):
        with pytest.raises(CorruptBaseline, match=word) as caught:
            read(digest)
        assert digest in caught.value.where


def test_a_policy_that_is_none_is_refused(tmp_path, other):
    word, make = other
    make(tmp_path / "policy.yaml")
    with pytest.raises(PolicyError, match=word):
        load_policy(tmp_path / "policy.yaml")


def test_a_manifest_of_a_report_that_is_none_is_refused(tmp_path, other):
    word, make = other
    manifest = tmp_path / "observed" / "cpu" / "numpy-1" / "test_it.yaml"
    make(manifest)
    with pytest.raises(StoreError, match=word):
        open_observed(tmp_path, {manifest.relative_to(tmp_path).as_posix(): "0" * 64})


def test_an_index_of_weights_that_is_no_regular_file_is_refused(tmp_path, other):
    word, make = other
    make(tmp_path / "model_index.json")
    with pytest.raises(WeightsError, match=word):
        check_weight_files(tmp_path, ("unet",))


def test_the_control_the_same_readers_read_plain_files(tmp_path):
    store = fill(tmp_path)
    assert store.index(OLD, IMAGE.module)
    assert tensor_file(tmp_path, CLEAN).is_file()
    digest = store.baseline(OLD, IMAGE).tensors[0].digest
    assert store.tensor(digest) is not None
    (tmp_path / "policy.yaml").write_text("schema: 1\n")
    assert load_policy(tmp_path / "policy.yaml").rules == ()
    (tmp_path / "model_index.json").write_text(json.dumps({}))
    check_weight_files(tmp_path, ())
