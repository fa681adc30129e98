"""The completion scripts in the shells themselves, as far as they are installed."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import time

import pytest

from pytest_repro.cli.app import COMMANDS
from pytest_repro.cli.completion import SHELLS, completion_script
from pytest_repro.cli.parser import build_parser

INTERACTIVE = {"bash": ["bash", "--norc", "-i"], "zsh": ["zsh", "-f", "-i"]}
# The command itself is replaced by one that says what it was called with.
SAYS = 'pytest-repro() { echo "GOT[$*]"; }'


@pytest.fixture
def script(tmp_path):
    def write(shell):
        if shutil.which(shell) is None:
            pytest.skip(f"no {shell} here")
        path = tmp_path / f"completion.{shell}"
        path.write_text(completion_script(build_parser(COMMANDS), shell) + "\n")
        return path

    return write


def typed(shell, script, line):
    """What the command is called with after ``line`` was typed, its tabs included."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        INTERACTIVE[shell],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=script.parent,
        env={"PATH": os.environ["PATH"], "TERM": "xterm", "HOME": str(script.parent)},
        start_new_session=True,
    )
    os.close(theirs)
    try:
        _say(ours, f"{SAYS}\n. {script}\necho rea''dy\n", until="ready")
        for part in re.findall(r"[^\t]+\t?", line):
            _say(ours, part)
        return re.findall(r"GOT\[(.*?)\]", _say(ours, "\n", until="GOT["))[-1]
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _say(terminal, text, *, until="", least_s=0.4):
    """Type, and read until a word was shown, or else until nothing more comes."""
    os.write(terminal, text.encode())
    shown, ends_s = "", time.monotonic() + 30
    while time.monotonic() < ends_s:
        if select.select([terminal], [], [], least_s)[0]:
            shown += os.read(terminal, 65536).decode(errors="replace")
        elif not until or until in shown:
            return shown
    return pytest.fail(f"{until!r} was not shown: {shown}")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("pytest-repro sens\t", "sensitivity"),
        ("pytest-repro pol\tex\t", "policy explain"),
        ("pytest-repro list --verd\tdri\t", "list --verdict drift"),
        ("pytest-repro completion fi\t", "completion fish"),
        ("pytest-repro accept rep\t", "accept report-of-a-run/"),
        ("pytest-repro nothing-of-ours\t", "nothing-of-ours"),
    ],
)
@pytest.mark.parametrize("shell", INTERACTIVE)
def test_a_tab_completes(shell, script, line, words):
    path = script(shell)
    (path.parent / "report-of-a-run").mkdir()
    assert typed(shell, path, line).strip().rstrip("/") == words.rstrip("/")


@pytest.mark.parametrize(
    ("line", "has", "lacks"),
    [
        ("pytest-repro ", {"env", "policy", "accept"}, {"explain", "--far"}),
        ("pytest-repro policy ", {"explain", "check"}, {"matrix"}),
        ("pytest-repro matrix --", {"--far", "--html"}, {"--yes"}),
        ("pytest-repro completion ", {"bash", "zsh", "fish"}, {"env"}),
    ],
)
def test_fish_offers_what_fits(script, line, has, lacks):
    path = script("fish")
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"source {path}; complete -C '{line}'"],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"], "HOME": str(path.parent)},
    )
    assert done.stderr == ""
    offered = {one.split("\t")[0] for one in done.stdout.splitlines()}
    assert offered >= has
    assert offered & lacks == set()


@pytest.mark.parametrize("shell", SHELLS)
def test_the_scripts_are_accepted_by_their_shells(script, shell):
    done = subprocess.run(
        [shell, "-n", str(script(shell))], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
