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
import os, signal, subprocess, sys
for name in ("fcntl", "resource", "pwd", "grp", "termios", "ml_dtypes"):
    sys.modules[name] = None
for name in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "mkfifo",
             "sched_getaffinity", "sched_setaffinity", "killpg", "getpgid", "setsid", "geteuid",
             "sysconf", "confstr", "getloadavg", "statvfs"):
    if hasattr(os, name):
        delattr(os, name)
# SIGKILL stays: subprocess itself kills by it where it is no Windows.
for name in ("SIGHUP", "SIGALRM", "SIGUSR1", "setitimer", "alarm"):
    delattr(signal, name)
def refuse(event, details):
    is_there = not (details and str(details[0]).startswith(("/proc", "/sys")))
    if event == "open" and not is_there:
        raise FileNotFoundError(2, "No such file or directory", str(details[0]))
    if event in ("os.listdir", "os.scandir") and not is_there:
        raise PermissionError(13, "Permission denied", str(details[0]))
sys.addaudithook(refuse)
open_really = os.open
def open_file(path, flags, *rest, **options):
    if os.path.isdir(path) and not options.get("dir_fd"):
        raise PermissionError(13, "Permission denied", str(path))
    return open_really(path, flags, *rest, **options)
os.open = open_file
"""
TEST = """
import os
import signal
import pytest

assert not hasattr(os, "sched_getaffinity")
assert not hasattr(signal, "SIGALRM")
with pytest.raises(FileNotFoundError):
    open("/proc/cpuinfo")

@pytest.mark.repro
def test_noise(repro_generator, repro_check):
    repro_check(repro_generator.random(4) * {factor}, name="noise")
"""


@pytest.fixture
def run(tmp_path):
    """Runs a module there."""
    (tmp_path / "pytest.ini").write_text("[pytest]\nrepro_framework = numpy\n")
    first = tmp_path / "first"
    first.mkdir()
    (first / "sitecustomize.py").write_text(WITHOUT)  # of workers and fresh processes, too
    path = os.pathsep.join(filter(None, (str(first), os.environ.get("PYTHONPATH"))))

    def run(*words):
        done = subprocess.run(
            [sys.executable, "-m", *words],
            cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, timeout=300,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        printed = done.stdout + done.stderr
        assert "Traceback" not in printed, printed
        return printed

    return run


def test_recording_and_comparing_work_without_what_linux_alone_has(tmp_path, run):
    test = tmp_path / "test_it.py"
    test.write_text(TEST.format(factor=1))
    assert "1 check: 1 recorded" in run("pytest", "-p", "no:xdist", "--repro-update")
    assert list((tmp_path / "baselines").rglob("*.tmp")) == []
    assert "1 check: 1 exact" in run("pytest", "-p", "no:xdist")
    assert "0 faults" in run("pytest_repro.cli", "verify")
    test.write_text(TEST.format(factor=2))
    assert "1 check: 1 drift" in run("pytest", "-p", "no:xdist", "--repro-report", "report")
    assert "1 check accepted" in run("pytest_repro.cli", "accept", "report", "--yes")
    assert "1 check: 1 exact" in run("pytest", "-p", "no:xdist")
    assert "1 check under 1 key" in run("pytest_repro.cli", "list")


def test_workers_and_fresh_processes_work_without_what_linux_alone_has(tmp_path, run):
    pytest.importorskip("xdist")
    (tmp_path / "test_it.py").write_text(TEST.format(factor=1))
    assert "1 check: 1 recorded" in run("pytest", "-n", "1", "--repro-update", "--repro-isolate")
    assert "1 check: 1 exact" in run("pytest", "-n", "1")


def test_cores_of_workers_need_a_system_that_can_set_them(tmp_path, run):
    (tmp_path / "test_it.py").write_text(TEST.format(factor=1))
    printed = run("pytest", "-n", "2", "--repro-devices", "0-1", "--repro-update")
    assert "--repro-devices" in printed
    assert not (tmp_path / "baselines").exists()


def test_facts_of_the_machine_are_named_as_unknown(run):
    printed = run("pytest_repro.cli", "env", "--framework", "numpy")
    assert "cpu.cores" in printed
    assert "os.name" in printed


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
