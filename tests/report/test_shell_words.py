"""Text from tests inside a command: a shell reads back what stood there, and nothing more."""

from __future__ import annotations

import shlex
import shutil
import subprocess

import pytest

from pytest_repro.report.tables import shell_word

HOSTILE = (
    "test_x.py::test_a[a'b\"c]",
    "test_x.py::test_a[\\u65e5$(touch planted)`id`]",
    "'; touch planted; '",
    "a\nb\t\\",
    "",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_shell_reads_the_text_back(text, tmp_path):
    assert shlex.split(shell_word(text)) == [text]
    if shutil.which("sh"):
        line = f"printf '%s' {shell_word(text)}"
        done = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, check=True)
        assert done.stdout.decode() == text
        assert list(tmp_path.iterdir()) == []


def test_the_control_a_text_as_python_writes_it_is_read_as_another():
    assert shlex.split(repr("\\u65e5")) != ["\\u65e5"]
