"""The oldest releases that are promised are the ones that `tox -e oldest` tests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What the other extras bring is tested by environments of their own.
SECTIONS = ("dependencies", "report")


def _promised():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lists = [re.search(rf"^{name} = \[(.*?)\]$", text, re.M | re.S)[1] for name in SECTIONS]
    found = re.findall(r'"([\w.-]+)>=([\d.]+)[^"]*"', "".join(lists))
    return {name.lower(): _numbers(version) for name, version in found}


def _tested():
    text = (ROOT / "tox.ini").read_text(encoding="utf-8")
    section = text.partition("[testenv:oldest]")[2].partition("\n[")[0]
    found = re.findall(r"^    ([\w.-]+)==([\d.]+)$", section, re.M)
    return {name.lower(): _numbers(version) for name, version in found}


def _numbers(version):
    parts = [int(part) for part in version.split(".")]
    return tuple(parts + [0] * (3 - len(parts)))


def test_the_lower_bounds_are_those_that_are_tested():
    assert _promised() == _tested()
    assert len(_promised()) >= 8


def _section(name):
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return re.search(rf"^{name} = \[(.*?)\]$", text, re.M | re.S)[1]


def test_the_base_dependencies_have_no_upper_bound():
    """An upper bound would downgrade what a user has installed for other packages."""
    assert re.findall(r'"[^"]*<[^"]*"', _section("dependencies")) == []
    assert re.findall(r'"[^"]*<[^"]*"', _section("mindone")) != []


@pytest.mark.parametrize("extra", ["mindspore", "mindone"])
def test_an_extra_that_takes_numpy_1_26_bounds_what_would_replace_it(extra):
    """mindone 0.2.0 needs numpy below 2; ml_dtypes 0.6 needs numpy 2."""
    assert '"ml_dtypes>=0.4,<0.6"' in _section(extra)
    assert '"numpy>=1.26"' in _section("dependencies")
    assert "ml_dtypes" not in _section("dependencies")
