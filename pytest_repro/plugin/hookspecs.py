"""The hooks that pytest-repro offers to projects."""

from __future__ import annotations

from collections.abc import Mapping

import pytest


@pytest.hookspec
def pytest_repro_environment(config: pytest.Config) -> Mapping[str, str] | None:
    """Add facts about the environment, recorded with every baseline and shown if they differ.

    Every name is stored below ``project.``: ``cluster`` becomes ``project.cluster``. A name that
    begins with ``bits.`` (stored as ``project.bits.*``) is a fact that changes bits: it adds to the
    suffix of the key, so that machines with other values have baselines of their own.

    Example::

        def pytest_repro_environment(config):
            return {"cluster": "night", "bits.custom_ops": "v3"}
    """
