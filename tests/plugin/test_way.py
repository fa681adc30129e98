"""ARCHITECTURE.md's way of one test, held to a real run."""

from __future__ import annotations

import re
import sys
from itertools import pairwise
from pathlib import Path

import pytest

import pytest_repro

PACKAGE = Path(pytest_repro.__file__).parent
PAGE = (Path(__file__).parents[2] / "ARCHITECTURE.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("## The way of one test")[2].partition("## ")[0]
WAY = [
    (file, function)
    for function, file in re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|", SECTION, re.MULTILINE)
]
LAST_OF_EXACT = ("plugin/active.py", "ActiveTest.settle")
VERDICT_OF_DRIFT = ("plugin/rerunning.py", "ItemRunner.again")
MODEL = """
    @pytest.mark.repro
    def test_model(repro_generator, repro_check):
        repro_check({scale} * repro_generator.standard_normal(4), name="image")
"""


def names_of(code):
    """The qualified name; Python 3.10 knows the bare one only."""
    qualified = getattr(code, "co_qualname", "")
    return {qualified} if qualified else {code.co_name}


def followed(run):
    """Every function of the package that ``run`` calls, in order, as file and names."""
    calls = []

    def note(frame, event, argument):
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(str(PACKAGE)):
            calls.append((Path(file).relative_to(PACKAGE).as_posix(), names_of(frame.f_code)))

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(before)
    return calls


def first_missing(way, calls):
    """The first function of ``way`` that was not called after the one before it."""
    rest = iter(calls)
    for file, function in way:
        known = {function, function.rpartition(".")[2]}
        if not any(at == file and known & names for at, names in rest):
            return file, function
    return None


@pytest.fixture
def calls_of(project):
    project.write(MODEL.format(scale=1))
    project.record()

    def follow(scale):
        project.write(MODEL.format(scale=scale))
        return followed(project.run)

    return follow


def test_an_exact_check_goes_the_written_way(calls_of):
    way = WAY[: WAY.index(LAST_OF_EXACT) + 1]
    calls = calls_of(1)
    assert first_missing(way, calls) is None
    assert "evaluate" not in {name for _, names in calls for name in names}


def test_a_drift_goes_the_whole_written_way(calls_of):
    calls = calls_of(2)
    assert first_missing(WAY, calls) is None

    swapped = [*WAY[:2], WAY[4], WAY[3], *WAY[5:]]
    assert first_missing(swapped, calls) is not None


def test_the_written_way_to_a_verdict_is_short():
    files = [file for file, _ in WAY[: WAY.index(VERDICT_OF_DRIFT) + 1]]
    left = [a for a, b in pairwise(files) if a != b]
    returns = sum(b in left[: i + 1] for i, b in enumerate([*left[1:], files[-1]]))
    assert f"{len(files)} functions in {len(set(files))} files, three of which return" in SECTION
    assert len(files) <= 25
    assert len(set(files)) <= 12
    assert returns == 3

    exact = {file for file, _ in WAY[: WAY.index(LAST_OF_EXACT) + 1]}
    assert f"in {len(exact)} files." in SECTION
