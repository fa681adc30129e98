"""Every file of Python that is no test is looked at by one of the two commands of `tox -e type`."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("pytest_repro", "docs", "benchmarks")


def looked_at():
    """Patterns of files, from pyproject.toml and from the command for scripts."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("[tool.mypy]")[2]
    (files,) = re.findall(r"^files = \[(.*)\]$", project.partition("\n[")[0], re.M)
    tox = (ROOT / "tox.ini").read_text(encoding="utf-8").partition("[testenv:type")[2]
    (scripts,) = re.findall(r"MYPYPATH=benchmarks mypy (.*)$", tox.partition("\n[")[0], re.M)
    return [*re.findall(r'"([^"]+)"', files), *scripts.split()]


def left_out(paths, patterns):
    seen = {path for pattern in patterns for path in ROOT.glob(pattern)}
    return [path for path in paths if seen.isdisjoint((path, *path.parents))]


def test_every_file_is_looked_at():
    paths = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    assert len(paths) > 100
    assert left_out(paths, looked_at()) == []


def test_the_control_a_file_that_no_pattern_names_is_found():
    paths = [ROOT / "benchmarks" / "page.py", ROOT / "benchmarks" / "new.py"]
    assert left_out(paths, looked_at()) == paths[1:]
    patterns = [one for one in looked_at() if "page" not in one]
    assert left_out(paths, patterns) == paths
