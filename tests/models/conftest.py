"""Skips the model tests where MindSpore or mindone is not installed; the trained pipeline."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

_HERE = Path(__file__).parent
_ABSENT = tuple(name for name in ("mindspore", "mindone") if find_spec(name) is None)


def pytest_collection_modifyitems(items):
    if not _ABSENT:
        return
    reason = f"needs {' and '.join(_ABSENT)}: pip install 'pytest-repro[mindone]'"
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def loaded_digits():
    from pytest_repro.pipelines.registry import load_pipeline
    from pytest_repro.pipelines.source import SourceKind, WeightsSource

    return load_pipeline("ddim", WeightsSource(SourceKind.FOLDER, folder=_HERE / "digits"))


@pytest.fixture
def digits(loaded_digits, repro_watch):
    """DDIM with the small trained network of the folder ``digits``, watched."""
    return repro_watch(loaded_digits)


if not _ABSENT:

    @pytest.fixture(scope="session", autouse=True)
    def _launching(one_kernel_at_a_time):
        """For every model test."""
