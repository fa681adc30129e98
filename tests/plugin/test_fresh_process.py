"""A fresh process: how it starts, how its end is told, and that it never outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pytest_repro.plugin.fresh_process import Origin, run_in_fresh_process

TARGETS = """
import json, os, pathlib, signal, sys, time
from pytest_repro.plugin.fresh_process import end_with_parent

def tell(job):
    told = {"argv": sys.argv, "cwd": os.getcwd(), "variable": os.environ.get("TOLD")}
    pathlib.Path(job["answer"]).write_text(json.dumps(told))
    return 3

def hang(job):
    end_with_parent()
    print("hanging", flush=True)
    pathlib.Path(job["answer"]).write_text(str(os.getpid()))
    time.sleep(600)

def crash(job):
    os.kill(os.getpid(), signal.SIGSEGV)
"""


@pytest.fixture
def call(tmp_path, monkeypatch):
    (tmp_path / "fresh_targets.py").write_text(TARGETS, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))

    def run(function, limit_s=60.0, **variables):
        origin = Origin(tmp_path, {**os.environ, **variables})
        job = {"answer": str(tmp_path / "answer")}
        return run_in_fresh_process(
            ("fresh_targets", function), job, tmp_path, origin=origin, limit_s=limit_s
        )

    return run


def test_it_starts_where_and_as_it_is_told(call, tmp_path):
    import json

    assert call("tell", TOLD="yes").how == "ended with exit code 3"
    told = json.loads((tmp_path / "answer").read_text(encoding="utf-8"))
    assert told == {"argv": sys.argv, "cwd": str(tmp_path.resolve()), "variable": "yes"}


def test_a_crash_is_named(call):
    assert call("crash").how == "was ended by SIGSEGV"


def test_it_is_stopped_at_the_limit(call):
    ended = call("hang", limit_s=20.0)
    assert ended.how == "had not ended after 20 s and was stopped"
    assert ended.said == ("hanging",)


def test_it_does_not_outlive_its_parent(call, tmp_path):
    script = (
        f"import sys; sys.path[:] = {sys.path!r}; from pathlib import Path; "
        f"from pytest_repro.plugin.fresh_process import *; here = Path({str(tmp_path)!r}); "
        "run_in_fresh_process(('fresh_targets', 'hang'), {'answer': str(here / 'answer')}, here, "
        "origin=Origin.now(here), limit_s=600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script])
    pid = int(_waited(lambda: (tmp_path / "answer").read_text(encoding="utf-8")))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    _waited(lambda: _is_gone(pid))


def _waited(look, limit_s=60.0):
    begun = time.monotonic()
    while time.monotonic() - begun < limit_s:
        try:
            if found := look():
                return found
        except OSError:
            pass
        time.sleep(0.05)
    raise AssertionError("it took too long")


def _is_gone(pid):
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
        return stat.rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
