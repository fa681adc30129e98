"""Skips the model tests where MindSpore or mindone is not installed, and says so."""

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
