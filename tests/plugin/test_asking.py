"""--repro-update=ask: on a terminal it shows and asks, and elsewhere it says why it cannot."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from pytest_repro.report.changes import Questions

pty = pytest.importorskip("pty", reason="a terminal is a Linux one")

SUITE = """
    @pytest.mark.repro
    @pytest.mark.parametrize("n", [2, 3, 4])
    def test_noise(repro_generator, repro_check, capfd, n):
        print("caught")
        repro_check(repro_generator.standard_normal((n, 4)) * {factor}, name="noise")
        assert capfd.readouterr().out == "caught\\n"
"""
ASK = re.compile(r"accept (\S+) under \S+ \[y\]es, \[n\]o, \[a\]ll, \[q\]uit: $")


def talk(project, answers):
    """Run with a terminal of its own and type an answer at each question.

    Returns:
        Exit code, everything shown, and the tests that were asked about.
    """
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist"]
    process = subprocess.Popen(
        [*command, "--repro-update=ask", "--repro-envelope=2"],
        cwd=project.folder,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown, asked, waiting, ends_s = "", [], iter(answers), time.monotonic() + 120
    while time.monotonic() < ends_s:
        if not select.select([ours], [], [], 1)[0]:
            continue
        try:
            data = os.read(ours, 65536)
        except OSError:  # the other side is gone
            break
        shown += data.decode()
        found = ASK.search(shown)
        if found:
            asked.append(found[1].partition("::")[2])
            answer = next(waiting)
            shown += f"<{answer!r}>"
            os.write(ours, answer.encode())
    os.close(ours)
    return process.wait(timeout=60), shown.replace("\r\n", "\n"), asked


@pytest.fixture
def drifted(project):
    project.write(SUITE.format(factor=1))
    project.record()
    project.write(SUITE.format(factor=1.5))
    return project


def verdicts(project):
    return [project.run().verdicts[f"test_noise[{n}]::noise"] for n in (2, 3, 4)]


def test_each_answer_does_what_it_says(drifted):
    code, shown, asked = talk(drifted, ["n\n", "what\n", "y\n", "q\n"])
    assert code == 1
    assert len(asked) == 4  # a wrong answer is asked again
    for words in ("replaces    the baseline of", "8 of 8 elements differ, max ulp", "psnr", "->"):
        assert words in shown
    assert "'noise': drift (gate tolerance" in shown  # what was declined is judged
    assert "3 checks: 2 drift, 1 updated" in shown
    assert verdicts(drifted) == ["drift", "exact", "drift"]
    # What was accepted has its envelope.
    assert drifted.manifest.read_text().count("envelope:") == 3


def test_all_asks_no_more_and_quit_takes_no_more(drifted):
    before = drifted.files()
    code, shown, asked = talk(drifted, ["q\n"])
    assert (code, len(asked)) == (1, 1)
    assert "3 checks: 3 drift" in shown
    assert drifted.files() == before
    code, shown, asked = talk(drifted, ["a\n"])
    assert (code, len(asked)) == (0, 1)
    assert "3 checks: 3 updated" in shown
    assert verdicts(drifted) == ["exact"] * 3


def test_a_new_check_is_asked_about_and_end_of_input_declines(project):
    project.write(SUITE.format(factor=1))
    code, shown, asked = talk(project, ["y\n", "\x04"])
    assert (code, len(asked)) == (1, 2)
    assert "1 tensor, no baseline yet" in shown
    assert "3 checks: 2 missing, 1 recorded" in shown
    assert verdicts(project) == ["exact", "missing", "missing"]


def test_what_is_exact_asks_nothing(project):
    project.write(SUITE.format(factor=1))
    project.record()
    code, shown, asked = talk(project, [])
    assert (code, asked) == (0, [])
    assert "3 unchanged" in shown


@pytest.mark.parametrize(
    ("arguments", "words"), [((), "and there is none"), (("-n", "2"), "and workers have none")]
)
def test_without_a_terminal_it_says_so(project, arguments, words):
    if arguments:
        pytest.importorskip("xdist")
    project.write(SUITE.format(factor=1))
    ran = project.run_apart("--repro-update=ask", *arguments)
    assert ran.exit_code == 4
    assert words in ran.text
    assert "pytest-repro accept DIR --interactive" in ran.text
    assert project.files() == {}


def test_an_answer_for_all_of_the_rest_is_not_asked_for_again():
    typed = iter(["Y\n", "\n", "All\n"])
    shown = []
    questions = Questions(lambda: next(typed), shown.append)
    one = SimpleNamespace(observed=SimpleNamespace(check="a::b::c"), key="cpu/numpy-1")
    assert [questions.wants(one) for _ in range(4)] == [True] * 4
    assert len(shown) == 3
    assert questions.is_settled
    assert not Questions(lambda: "", shown.append).wants(one)
