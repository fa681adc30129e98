from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pytest_repro.errors import WeightsError
from pytest_repro.pipelines.family import cache_folder, cached_folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTEST_REPRO_CACHE", str(tmp_path / "cache"))


def _write(folder: Path) -> None:
    (folder / "unet").mkdir()
    (folder / "unet" / "weights").write_bytes(b"12345")


def test_folder_is_written_once():
    calls = []

    def write(folder):
        calls.append(folder)
        _write(folder)

    first, second = cached_folder("a-1", write), cached_folder("a-1", write)
    assert first == second
    assert len(calls) == 1
    assert cached_folder("a-2", write) != first
    assert len(calls) == 2


def test_failed_write_leaves_nothing():
    def fails(folder):
        _write(folder)
        raise KeyError

    with pytest.raises(KeyError):
        cached_folder("a-1", fails)
    assert list((cache_folder() / "weights").iterdir()) == []


@pytest.mark.parametrize("damage", ["cut", "remove", "index"])
def test_damaged_folder_is_named(damage):
    folder = cached_folder("a-1", _write)
    if damage == "cut":
        (folder / "unet" / "weights").write_bytes(b"123")
    elif damage == "remove":
        (folder / "unet" / "weights").unlink()
    else:
        (folder / "sizes.txt").write_text("nonsense\n")
    with pytest.raises(WeightsError, match="damaged"):
        cached_folder("a-1", _write)


def test_cache_that_cannot_be_a_folder_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PYTEST_REPRO_CACHE", str(tmp_path / "file"))
    with pytest.raises(WeightsError, match="PYTEST_REPRO_CACHE"):
        cached_folder("a-1", _write)


def test_default_follows_xdg_and_ignores_relative_paths(tmp_path, monkeypatch):
    monkeypatch.delenv("PYTEST_REPRO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "pytest-repro"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == Path.home() / ".cache" / "pytest-repro"


_RACER = """
import sys, time
from pathlib import Path
from pytest_repro.pipelines.family import cached_folder
def write(folder):
    time.sleep(0.5)
    (folder / "one").write_text("whole")
    print("wrote", flush=True)
print("ready", flush=True)
sys.stdin.readline()
assert (cached_folder("race", write) / "one").read_text() == "whole"
"""


def test_processes_that_start_at_once_all_get_one_whole_folder():
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", _RACER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    wrote = [racer.communicate()[0] for racer in racers]
    assert [racer.returncode for racer in racers] == [0] * 4
    assert wrote.count("wrote\n") >= 2, "the race did not happen, so nothing was shown"
    assert [path.name for path in (cache_folder() / "weights").iterdir()] == ["race"]
