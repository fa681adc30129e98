"""The oldest releases that are promised are the ones that `tox -e oldest` tests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What the other extras bring is tested by environments of their own.
SECTIONS = ("dependencies", "cli", "report")


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
    assert len(_promised()) >= 9


@pytest.mark.parametrize("name", ["numpy", "ml_dtypes"])
def test_a_dependency_that_numpy_decides_keeps_numpy_1_26(name):
    """mindone 0.2.0 needs numpy below 2; ml_dtypes 0.6 needs one from 2 on."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    bound = {"numpy": '"numpy>=1.26"', "ml_dtypes": '"ml_dtypes>=0.4,<0.6"'}[name]
    assert bound in text
