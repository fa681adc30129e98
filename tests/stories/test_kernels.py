"""A kernel that changed since the recording: the cause of a drift names it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pytest_repro.environment import kernels
from pytest_repro.frameworks.kernels import numpy_kernels

SOURCE = """
    @pytest.mark.repro
    def test_image(repro_generator, repro_check):
        noise = repro_generator.standard_normal((8, 8)).astype("float32")
        repro_check(np.exp(noise) * np.float32({factor}), name="image")
"""


@pytest.fixture
def plant(monkeypatch):
    """Exchange kernels of the probe, by name."""

    def exchange(**runs):
        planted = tuple(replace(one, run=runs.get(one.name, one.run)) for one in numpy_kernels())
        monkeypatch.setattr(kernels, "probe_of", lambda *_: kernels.Probe(planted))
        kernels.kernels_here.cache_clear()

    yield exchange
    kernels.kernels_here.cache_clear()


def test_a_changed_kernel_is_named_and_equal_kernels_leave_the_code(project, plant):
    plant()
    project.write(SOURCE.format(factor=1))
    project.record()
    project.write(SOURCE.format(factor=1.001))
    unchanged = project.run()
    assert "cause code" in unchanged.failure
    plant(exp=lambda x: np.exp(x) * x.dtype.type(1.001))
    changed = project.run()
    assert "cause environment" in changed.failure
    assert "exp.float16, exp.float32 compute different bits" in changed.failure
    assert "matmul" not in changed.failure


def test_a_changed_kernel_is_no_excuse_for_another_dtype(project, plant):
    plant()
    project.write(SOURCE.format(factor=1))
    project.record()
    plant(exp=lambda x: np.exp(x) * x.dtype.type(1.001))
    project.write(SOURCE.replace("np.float32({factor})", "np.float64(1)"))
    ran = project.run()
    assert "cause code" in ran.failure
    assert "no environment changes dtype" in ran.failure
