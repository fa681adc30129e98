"""The store where modules and flags of Linux are missing, as on macOS and Windows."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time

import pytest

from pytest_repro.store import system
from pytest_repro.store.files import folder_lock
from pytest_repro.store.system import read_regular, write_bytes

WITHOUT = """
import os, sys
for name in ("fcntl", "resource", "pwd", "grp", "termios", "ml_dtypes"):
    sys.modules[name] = None
for name in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_DIRECTORY", "sched_getaffinity"):
    if hasattr(os, name):
        delattr(os, name)
open_really = os.open
def open_file(path, flags, *rest, **options):
    if os.path.isdir(path) and not options.get("dir_fd"):
        raise PermissionError(13, "Permission denied", str(path))
    return open_really(path, flags, *rest, **options)
os.open = open_file
import pytest
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:xdist",
                      "--repro-framework", "numpy", *sys.argv[1:]]))
"""
TEST = """
import pytest

@pytest.mark.repro
def test_noise(repro_generator, repro_check):
    repro_check(repro_generator.random(4) * {factor}, name="noise")
"""


def test_recording_and_comparing_work_without_what_linux_alone_has(tmp_path):
    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-c", WITHOUT, *arguments],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        ).stdout  # fmt: skip

    test = tmp_path / "test_it.py"
    test.write_text(TEST.format(factor=1))
    assert "1 check: 1 recorded" in run("--repro-update")
    assert list((tmp_path / "baselines").rglob("*.tmp")) == []
    assert "1 check: 1 exact" in run()
    test.write_text(TEST.format(factor=2))
    assert "1 check: 1 drift" in run()


def test_a_folder_that_cannot_be_synced_is_written_all_the_same(tmp_path, monkeypatch):
    really = os.fsync

    def fsync(handle):
        if os.path.isdir(f"/proc/self/fd/{handle}"):  # noqa: PTH112
            raise OSError(errno.EINVAL, "Invalid argument")
        really(handle)

    monkeypatch.setattr(system._os, "fsync", fsync)
    write_bytes(tmp_path / "file", b"content")
    assert read_regular(tmp_path / "file") == b"content"


def test_a_full_disk_while_syncing_is_still_an_error(tmp_path, monkeypatch):
    def fsync(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(system._os, "fsync", fsync)
    with pytest.raises(OSError, match="No space left"):
        write_bytes(tmp_path / "file", b"content")
    assert list(tmp_path.iterdir()) == []


def test_one_at_a_time_holds_a_folder_and_no_lock_file_is_left(tmp_path):
    inside, most = [], []

    def work():
        for _ in range(20):
            with folder_lock(tmp_path):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.0005)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(most) == 80
    assert max(most) == 1
    assert list(tmp_path.iterdir()) == []
