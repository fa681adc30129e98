"""The faults of DDIM in the trained network of tests/models/digits: each finds its place there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mindone")

from pytest_repro.pipelines.registry import load_pipeline
from pytest_repro.pipelines.source import SourceKind, WeightsSource
from tests.faults.catalogue import FAULTS, fault_named
from tests.faults.fault import DDIM
from tests.faults.tiny import run_tiny

_FOLDER = Path(__file__).resolve().parents[1] / "models" / "digits"
_COLOURLESS = {"output-channels", "weights-channels-reversed"}
"""Faults that exchange colours, of which a picture with one channel has none."""


@pytest.fixture(scope="module")
def digits():
    return load_pipeline("ddim", WeightsSource(SourceKind.FOLDER, folder=_FOLDER))


def _same(one, other):
    return all(np.array_equal(one[0][name], other[0][name]) for name in one[0]) and (
        one[1].digest == other[1].digest
    )


@pytest.mark.parametrize("name", ["model-norm-groups", "weights-exchanged", *sorted(_COLOURLESS)])
def test_a_fault_changes_it_unless_it_exchanges_colours(digits, name):
    clean = run_tiny(digits)
    with fault_named(name).inject(digits):
        assert _same(clean, run_tiny(digits)) is (name in _COLOURLESS)


def test_every_fault_finds_its_place_and_is_taken_back(digits):
    clean = run_tiny(digits)
    for fault in FAULTS:
        if DDIM in fault.pipelines:
            with fault.inject(digits):
                pass
    assert _same(clean, run_tiny(digits))
