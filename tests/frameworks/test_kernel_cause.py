"""A planted change of a kernel: the cause names it, and the first differing cell that uses it."""

from __future__ import annotations

import sys

import pytest

pytest.importorskip("mindspore")

from pytest_repro.environment import kernels
from pytest_repro.environment.kernels import Probe
from pytest_repro.frameworks.framework import default_framework
from pytest_repro.frameworks.kernels import Kernel, mindspore_kernels
from tests.stories.project import Project

_TEST = """
import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

FACTOR = 1.0


class Conv2d(nn.Conv2d):
    def construct(self, x):
        return super().construct(x) * FACTOR


class Pipeline:
    def __init__(self):
        weight = ms.Tensor(np.ones((4, 4, 1, 1), np.float32))
        self.unet = nn.SequentialCell(nn.ReLU(), Conv2d(4, 4, 1, weight_init=weight), nn.Tanh())
        self.scheduler = self

    def step(self, model_output, timestep, sample):
        return (sample - model_output * 0.5,)

    def __call__(self, x):
        return self.scheduler.step(self.unet(x), 1, x)[0]


@pytest.mark.repro(seed=0)
def test_it(repro_generator, repro_watch, repro_check):
    noise = repro_generator.standard_normal((1, 4, 8, 8)).astype(np.float32)
    repro_check(repro_watch(Pipeline())(ms.Tensor(noise)))
"""


@pytest.fixture
def plant(monkeypatch):
    """Let the probe compute the convolution and the tanh, with the convolution times a factor."""

    def exchange(factor):
        known = {one.name: one for one in mindspore_kernels()}
        conv = known["conv_1x1"]
        planted = Kernel(conv.name, conv.shapes, lambda x, w: conv.run(x, w) * factor)
        probe = Probe((planted, known["tanh"]), ("float32",), default_framework())
        monkeypatch.setattr(kernels, "probe_of", lambda *_: probe)
        kernels.kernels_here.cache_clear()

    yield exchange
    kernels.kernels_here.cache_clear()


def test_the_changed_kernel_and_the_cell_that_uses_it_are_named(pytester, monkeypatch, plant):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    project = Project(pytester)
    (project.folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    project.write(_TEST)
    plant(1.0)
    project.record("--repro-envelope=0")
    project.write(_TEST.replace("FACTOR = 1.0", "FACTOR = 1.01"))
    assert "cause code" in project.run().failure
    plant(1.01)
    failure = project.run().failure
    assert "cause environment" in failure
    assert "different bits in 1: conv_1x1.float32" in failure
    assert "(Conv2d), uses conv_1x1.float32" in failure
