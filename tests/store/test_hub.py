"""The real huggingface_hub against a loopback server: what arrives, and every way it can fail."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .loopback import COMMIT, REPOSITORY, Hub, serve

_FETCH = f"""
from pytest_repro.store.hub import fetch_snapshot
from pytest_repro.errors import WeightsError
try:
    print("FOLDER", fetch_snapshot({REPOSITORY!r}, {COMMIT!r}))
except WeightsError as error:
    print("REFUSED", error)
"""
_WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
_FILES = {
    "model_index.json": b'{"_class_name": "DDIMPipeline"}',
    "unet/config.json": b"{}",
    _WEIGHTS: b"weights" * 1000,
    "README.md": b"never fetched",
}


def _run(code, endpoint, folder, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={
            **os.environ,
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(folder),
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DOWNLOAD_TIMEOUT": "5",
            "NO_PROXY": "127.0.0.1",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1] if "FOLDER" in done.stdout else done.stdout


def _folder(line):
    assert line.startswith("FOLDER "), line
    return Path(line.removeprefix("FOLDER "))


def test_pinned_commit_arrives_whole_and_nothing_else_does(tmp_path):
    with serve(Hub(dict(_FILES))) as hub:
        folder = _folder(_run(_FETCH, hub.endpoint, tmp_path))
    assert folder.name == COMMIT
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert names == set(_FILES) - {"README.md"}
    assert (folder / _WEIGHTS).read_bytes() == _FILES[_WEIGHTS]


def test_complete_download_serves_without_the_hub(tmp_path):
    with serve(Hub(dict(_FILES))) as hub:
        first = _folder(_run(_FETCH, hub.endpoint, tmp_path))
    assert _folder(_run(_FETCH, hub.endpoint, tmp_path)) == first
    assert _folder(_run(_FETCH, hub.endpoint, tmp_path, HF_HUB_OFFLINE="1")) == first


def test_unreachable_hub_without_download_is_one_clear_error(tmp_path):
    with serve(Hub(dict(_FILES))) as hub:
        endpoint = hub.endpoint
    printed = _run(_FETCH, endpoint, tmp_path)
    assert printed.startswith(f"REFUSED cannot get {REPOSITORY}@{COMMIT} from the Hub.")
    assert "--repro-weights=seeded" in printed


def test_pickled_weights_are_refused_before_any_file_is_asked(tmp_path):
    files = {"model_index.json": b"{}", "diffusion_pytorch_model.bin": b"\x80\x04."}
    with serve(Hub(files)) as hub:
        printed = _run(_FETCH, hub.endpoint, tmp_path)
    assert "only pickled weights" in printed
    assert "diffusion_pytorch_model.bin" in printed
    assert [path for path in hub.asked if "resolve" in path] == []


def test_pickle_beside_safetensors_is_left_there(tmp_path):
    with serve(Hub({**_FILES, "unet/diffusion_pytorch_model.bin": b"\x80\x04."})) as hub:
        folder = _folder(_run(_FETCH, hub.endpoint, tmp_path))
    assert list(folder.rglob("*.bin")) == []
    assert not any(path.endswith(".bin") for path in hub.asked)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"absent": {_WEIGHTS}}, "cannot get"),
        ({"cut_off": {_WEIGHTS}}, "cannot get"),
        ({"listed_sizes": {_WEIGHTS: 7001}}, "wrong size"),
    ],
    ids=["missing", "interrupted", "wrong size"],
)
def test_faulty_file_is_one_clear_error(tmp_path, fault, words):
    with serve(Hub(dict(_FILES), **fault)) as hub:
        printed = _run(_FETCH, hub.endpoint, tmp_path)
    assert printed.startswith("REFUSED "), printed
    assert words in printed
    assert COMMIT in printed


def test_interrupted_download_is_finished_by_the_next(tmp_path):
    with serve(Hub(dict(_FILES), cut_off={_WEIGHTS})) as hub:
        assert _run(_FETCH, hub.endpoint, tmp_path).startswith("REFUSED")
        hub.cut_off.clear()
        folder = _folder(_run(_FETCH, hub.endpoint, tmp_path))
    assert (folder / _WEIGHTS).read_bytes() == _FILES[_WEIGHTS]


def test_garbled_configuration_is_named(tmp_path):
    with serve(Hub({**_FILES, "unet/config.json": b"<html>"})) as hub:
        printed = _run(_FETCH, hub.endpoint, tmp_path)
    assert "config.json" in printed
    assert "not JSON" in printed


def test_unknown_commit_is_one_clear_error(tmp_path):
    code = _FETCH.replace(COMMIT, "f" * 40)
    with serve(Hub(dict(_FILES))) as hub:
        printed = _run(code, hub.endpoint, tmp_path)
    assert printed.startswith(f"REFUSED cannot get {REPOSITORY}@{'f' * 40}")


_LOAD = f"""
from pytest_repro.pipelines.registry import load_pipeline
from pytest_repro.pipelines.source import parse_source
from pytest_repro.frameworks.watch import watch
pipeline = load_pipeline("ddim", parse_source("hub@{COMMIT}"))
print("FOLDER", watch(pipeline).weights()[0].digest)
"""


def test_pipeline_from_the_hub_has_the_weights_that_were_served(tmp_path):
    pytest.importorskip("mindone")
    from pytest_repro.frameworks.watch import watch
    from pytest_repro.pipelines.ddim import DDIM
    from pytest_repro.pipelines.family import source_folder
    from pytest_repro.pipelines.registry import load_pipeline
    from pytest_repro.pipelines.source import parse_source

    served = source_folder(DDIM, parse_source("seeded"))
    files = {
        path.relative_to(served).as_posix(): path.read_bytes()
        for path in served.rglob("*")
        if path.is_file() and path.name != "sizes.txt"
    }
    with serve(Hub(files)) as hub:
        observed = _run(_LOAD, hub.endpoint, tmp_path)
    own = watch(load_pipeline("ddim", parse_source("seeded"))).weights()[0].digest
    assert observed == f"FOLDER {own}"
