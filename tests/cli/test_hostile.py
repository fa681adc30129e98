"""Whatever is typed and whatever lies there: an exit code that is documented, never a traceback.

`main` lets every fault through that is none of ours, so that one would fail the test here.
"""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import sys

import pytest

from pytest_repro.cli import main
from pytest_repro.errors import ExitCode
from tests.cli.stores import fill
from tests.waiting import at_most_s

CODES = {int(code) for code in ExitCode}
SUITE = """
import numpy as np
import pytest

@pytest.mark.repro
def test_drift(repro_generator, repro_check):
    repro_check(repro_generator.standard_normal((2, 3)) * {factor}, name="value")
"""
LINES = (
    "list",
    "list --report report",
    "show test_drift",
    "history test_drift",
    "matrix",
    "matrix --far --json -",
    "diff numpy numpy",
    "diff report report",
    "sensitivity",
    "verify",
    "gc",
    "policy check",
    "policy explain test_drift",
    "accept report",
    "accept report --yes",
)
WORDS = (
    "list",
    "show",
    "diff",
    "matrix",
    "history",
    "verify",
    "gc",
    "sensitivity",
    "policy",
    "check",
    "explain",
    "accept",
    "completion",
    "bash",
    "--json",
    "--key",
    "--check",
    "--root",
    "--baselines",
    "--report",
    "--verdict",
    "drift",
    "report",
    "nope",
    "*",
    "[",
    "\\",
    "",
    "-",
    "--",
    "../../..",
    "/dev/null",
    "\x01",
    "日本",
    "baselines",
    "--older-than-s",
    "1e400",
    "nan",
    "--far",
    "a" * 5000,
    "=",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project with baselines and the report of a run that drifted."""
    root = tmp_path_factory.mktemp("made")
    (root / "pytest.ini").write_text("[pytest]\nrepro_framework = numpy\n")
    for factor, arguments in ((1, "--repro-update"), (2, "--repro-report=report")):
        (root / "test_it.py").write_text(SUITE.format(factor=factor))
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", arguments]
        subprocess.run(command, cwd=root, capture_output=True, check=False)
    assert (root / "report" / "observed").is_dir()
    return root


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    root = tmp_path / "here"
    shutil.copytree(made, root)
    monkeypatch.chdir(root)
    return root


def _manifest(root):
    return next((root / "baselines").rglob("*.yaml"))


def _instead(find, make):
    def damage(root):
        path = find(root)
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        make(path)

    return damage


def _report(root):
    return root / "report" / "report.json"


def _policy(root):
    path = root / "baselines" / "policy.yaml"
    path.touch()
    return path


def _tensor(root):
    return next((root / "baselines").rglob("*.safetensors"))


def _baselines(root):
    return root / "baselines"


def _observed(root):
    return root / "report" / "observed"


def _loop(path):
    path.symlink_to(path)


def _socket(path):
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(os.path.relpath(path))  # an address has room for 107 bytes only


def _garbage(path):
    path.write_bytes(b"\xff\xfe\x00{[&a *a")


def _absent(path):
    pass


DAMAGES = {
    f"{what}, {how}": _instead(find, make)
    for what, find in {
        "baselines": _baselines,
        "manifest": _manifest,
        "tensor": _tensor,
        "policy": _policy,
        "report": _report,
        "observed": _observed,
    }.items()
    for how, make in {
        "a folder": lambda path: path.mkdir(),
        "a link to itself": _loop,
        "garbage": _garbage,
        "empty": lambda path: path.touch(),
        "absent": _absent,
        "a named pipe": os.mkfifo,
        "a socket": _socket,
        "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    }.items()
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_every_command_ends_with_a_code_whatever_was_damaged(here, capsys, damage):
    damage(here)
    for line in LINES:
        with at_most_s(60):
            code = main(line.split())
        captured = capsys.readouterr()
        assert code in CODES, line
        if code in (ExitCode.USAGE, ExitCode.BASELINE):
            assert captured.err or "verify" in line, line  # it says why


@pytest.mark.parametrize("seed", range(8))
def test_no_line_of_words_ends_in_a_traceback(here, capsys, seed):
    chance = random.Random(seed)
    codes = set()
    for _ in range(100):
        words = [chance.choice(WORDS) for _ in range(chance.randint(0, 5))]
        codes.add(main(words))
    assert codes <= CODES
    assert ExitCode.USAGE in codes


def test_the_control_undamaged_every_command_does_its_work(here):
    assert [main(line.split()) for line in LINES] == [0] * len(LINES)


def test_the_control_a_damage_is_noticed(tmp_path, capsys):
    fill(tmp_path)
    _garbage(_manifest(tmp_path))
    assert main(["verify", "--root", str(tmp_path)]) == 3
