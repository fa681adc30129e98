"""Launches MindSpore's kernels one by one, where there is a MindSpore."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

if find_spec("mindspore") is not None:

    @pytest.fixture(scope="session", autouse=True)
    def _launching(one_kernel_at_a_time):
        """For every fault."""
