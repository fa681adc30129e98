"""The failure as a user reads it, line by line: one screen of at most 25 lines."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

GOLDEN = Path(__file__).with_name("golden")
MAX_LINES = 25
SOURCE = """
    @pytest.mark.repro{marker}
    def test_image(repro_generator, repro_check):
        noise = repro_generator.standard_normal((2, 3)).astype("float32")
        {before}
        repro_check({value}, name="image")
"""
CASES = {
    "missing": None,
    "seed": {"marker": "(seed=1)"},
    "element": {"before": "noise[1, 2] += np.float32(0.5)"},
    "nan": {"before": "noise[0, 1] = np.nan"},
    "dtype": {"value": "noise.astype('float64')"},
    "many": {
        "value": "{'a': noise + 1, 'b': [noise, noise * 2]}",
        "recorded": "{'a': noise, 'b': [noise, noise]}",
    },
    "tolerance": {
        "marker": "(tolerance={'atol': 1e-3, 'rel_l2': 1e-4})",
        "before": "noise[1, 2] += np.float32(0.5)",
    },
}


def source(value="noise", marker="", before="pass"):
    return SOURCE.format(value=value, marker=marker, before=before)


def plain(text):
    """The text without what differs from machine to machine and from day to day."""
    text = re.sub(r"(?m)^ +(mindone|mindspore|git)\.\w+  then .*\n", "", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "<time>", text)
    text = re.sub(r"\b[0-9a-f]{12,64}\b", "<digest>", text)
    text = re.sub(r"cpu-[\w.]+-\w+-\d+c-l2_\w+(~\w+)?", "<hardware>", text)
    text = re.sub(r"/\S+/baselines\b", "<folder>/baselines", text)
    return re.sub(r"numpy-[\w.]+", "numpy-<version>", text)


@pytest.mark.parametrize("case", CASES)
def test_the_text_is_as_written_and_fits_one_screen(project, case):
    change = dict(CASES[case] or {})
    if CASES[case] is not None:
        project.write(source(value=change.pop("recorded", "noise")))
        project.record()
    project.write(source(**change))
    text = project.run().failure.rstrip("\n") + "\n"
    assert len(text.splitlines()) <= MAX_LINES
    assert plain(text) == (GOLDEN / f"{case}.txt").read_text(encoding="utf-8")


DAMAGES = {
    "corrupt_manifest": ("manifest", lambda data: data[:150]),
    "corrupt_tensor": ("tensor", lambda data: data[:-1] + bytes([data[-1] ^ 1])),
    "corrupt_pointer": ("tensor", lambda data: b"version https://git-lfs.github.com/spec/v1\n"),
    "corrupt_newer": ("manifest", lambda data: data.replace(b"schema: 2", b"schema: 99")),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_a_broken_baseline_says_once_why_where_and_what_to_do(project, case):
    name, damage = DAMAGES[case]
    project.write(source())
    project.record()
    path = getattr(project, name)
    path.write_bytes(damage(path.read_bytes()))
    project.write(source(value="noise + 1"))
    text = project.run().failure.rstrip("\n") + "\n"
    assert plain(text) == (GOLDEN / f"{case}.txt").read_text(encoding="utf-8")
    labels = [line[:14].strip() for line in text.splitlines()[2:] if line[:14].strip()]
    assert labels == ["check", "because", "where", "next"]


def test_forty_drifted_checks_still_fit_one_screen(project):
    many = """
        @pytest.mark.repro
        def test_many(repro_generator, repro_check):
            for number in range(40):
                repro_check(repro_generator.random(3) + {add}, name=f"step {{number:02}}")
    """
    project.write(many.format(add=0))
    project.record()
    project.write(many.format(add=1))
    lines = project.run().failure.splitlines()
    assert len(lines) == MAX_LINES
    assert lines[0].startswith("test_story.py:")
    assert lines[1].startswith("'step 00': drift")
    named = [line for line in lines if line.startswith("'step ")]
    assert lines[-1] == f"and {40 - len(named)} more checks of this test failed"


def test_the_longest_of_all_texts_keeps_its_last_line():
    from pytest_repro.model.ids import CheckId
    from pytest_repro.model.outcome import Outcome
    from pytest_repro.model.words import Gate, Verdict
    from pytest_repro.report.failure import failure_text

    long = Outcome(
        CheckId("test_a.py", "test_a", "image"),
        Verdict.DRIFT,
        Gate.TOLERANCE,
        detail=tuple("abcdefghij"),
        evidence=tuple("klmnopqrst"),
        began=tuple("uvwxyzuvwxyz"),
    )
    for count in (1, 2, 40):
        lines = failure_text([long] * count).splitlines()
        assert len(lines) <= MAX_LINES
        assert any(line.startswith("  next ") for line in lines)
        assert (lines[-1].startswith("and ")) == (count == 40)


@pytest.mark.parametrize("part", ["plain", "a'b\"c", "\u65e5\u672c", "$(touch planted)"])
def test_the_next_command_does_in_a_shell_what_it_says_whatever_the_test_is_called(project, part):
    project.write(f"""
        @pytest.mark.repro
        @pytest.mark.parametrize("part", [{part!r}, "other"])
        def test_named(part, repro_check):
            repro_check(np.zeros(2), name="value")
    """)
    failures = project.run().failures
    (text,) = (text for name, text in failures.items() if "other" not in name)
    (line,) = re.findall(r"(?m)^  next +(pytest .*)", text)
    command = f'pytest() {{ "{sys.executable}" -m pytest -p no:xdist "$@"; }}\n{line}'
    done = subprocess.run(
        ["sh", "-c", command], cwd=project.folder, capture_output=True, text=True, check=False
    )
    assert "1 check: 1 recorded" in done.stdout, done.stdout + done.stderr
    assert not (project.folder / "planted").exists()
