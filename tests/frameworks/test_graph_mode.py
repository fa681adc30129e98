"""Tests in GRAPH mode and with compiled functions: recorded, exact, and a small fault is caught."""

from __future__ import annotations

import sys

import pytest

pytest.importorskip("mindspore")

from tests.stories.project import Project

_HEAD = """
import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

FACTOR = 1.0


class Block(nn.Cell):
    def __init__(self):
        super().__init__()
        self.dense = nn.Dense(4, 4, weight_init=ms.Tensor(np.eye(4, dtype=np.float32)))
        self.factor = FACTOR

    def construct(self, x):
        return self.dense(x) * self.factor


class Jitted(Block):
    @ms.jit
    def construct(self, x):
        return self.dense(x) * self.factor


class Scheduler:
    def step(self, model_output, timestep, sample):
        return (sample - model_output * 0.5,)


class Pipeline:
    def __init__(self, kind):
        self.net, self.scheduler = nn.SequentialCell(kind(), nn.ReLU()), Scheduler()

    def __call__(self, x):
        for time in (2, 1):
            x = self.scheduler.step(self.net(x), time, x)[0]
        return x


def noise(generator):
    return ms.Tensor(generator.standard_normal((2, 4)).astype(np.float32))
"""
_TESTS = {
    "graph mode before watching": """
@pytest.mark.repro(seed=0, trace={trace!r})
def test_it(repro_generator, repro_watch, repro_check):
    ms.set_context(mode=ms.GRAPH_MODE)
    repro_check(repro_watch(Pipeline(Block))(noise(repro_generator)))
""",
    "graph mode after watching": """
@pytest.mark.repro(seed=0, trace={trace!r})
def test_it(repro_generator, repro_watch, repro_check):
    pipeline = repro_watch(Pipeline(Block))
    ms.set_context(mode=ms.GRAPH_MODE, jit_level="O0")
    repro_check(pipeline(noise(repro_generator)))
""",
    "a jitted block": """
@pytest.mark.repro(seed=0, trace={trace!r})
def test_it(repro_generator, repro_watch, repro_check):
    repro_check(repro_watch(Pipeline(Jitted))(noise(repro_generator)))
""",
    "a construct that is jitted later": """
@pytest.mark.repro(seed=0, trace={trace!r})
def test_it(repro_generator, repro_watch, repro_check):
    pipeline = repro_watch(Pipeline(Block))
    pipeline.net[0].construct = ms.jit(pipeline.net[0].construct)
    repro_check(pipeline(noise(repro_generator)))
""",
    "a lone jitted cell": """
@pytest.mark.repro(seed=0, trace={trace!r})
def test_it(repro_generator, repro_watch, repro_check):
    repro_check(repro_watch(Jitted())(noise(repro_generator)))
""",
    "a watched cell in a jitted function": """
@pytest.mark.repro(seed=0, trace={trace!r})
def test_it(repro_generator, repro_watch, repro_check):
    net = repro_watch(Block())

    @ms.jit
    def compiled(x):
        return net(x) + 1

    repro_check(compiled(noise(repro_generator)))
""",
    "draws inside a graph": """
class Noisy(Block):
    @ms.jit
    def construct(self, x):
        return (self.dense(x) + ms.ops.standard_normal((2, 4))) * self.factor


@pytest.mark.repro(seed=0, trace={trace!r})
def test_it(repro_generator, repro_watch, repro_check):
    repro_check(repro_watch(Pipeline(Noisy))(noise(repro_generator)))
""",
}


@pytest.fixture
def project(pytester, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    made = Project(pytester)
    (made.folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    return made


@pytest.mark.parametrize("trace", ["steps", "cells"])
@pytest.mark.parametrize("kind", _TESTS)
def test_a_compiled_test_is_recorded_and_exact_and_a_fault_is_a_drift(project, kind, trace):
    source = _HEAD + _TESTS[kind].format(trace=trace)
    project.write(source)
    recorded = project.record("--repro-envelope=1")
    assert "1 recorded" in recorded.text, recorded.text
    again = project.run()
    assert "1 exact" in again.text, again.text
    project.write(source.replace("FACTOR = 1.0", "FACTOR = 1.01"))
    drifted = project.run()
    assert "drift" in drifted.failure
    assert "nondeterministic" not in drifted.text


def test_another_seed_of_draws_inside_a_graph_is_named(project):
    tests = _TESTS["draws inside a graph"].format(trace="steps")
    call = "    repro_check(repro_watch(Pipeline(Noisy))("
    assert call in tests
    build = "    pipeline = Pipeline(Noisy)\n    ms.set_seed(7)\n"
    seeded = build + call.replace("Pipeline(Noisy)", "pipeline")
    source = _HEAD + tests.replace(call, seeded)
    project.write(source)
    project.record("--repro-envelope=0")
    assert "1 exact" in project.run().text
    project.write(source.replace("set_seed(7)", "set_seed(8)"))
    drifted = project.run()
    assert "cause settings" in drifted.failure
    assert "mindspore.seed 7 became 8" in drifted.failure


def test_the_mode_and_level_of_one_test_do_not_reach_the_next(project):
    project.write(
        _HEAD
        + """
@pytest.mark.repro(seed=0)
def test_a(repro_check):
    ms.set_context(mode=ms.GRAPH_MODE, jit_level="O0")
    repro_check(1.0)

@pytest.mark.repro(seed=0)
def test_b(repro_check):
    assert (ms.get_context("mode"), ms.get_context("jit_level")) == (ms.PYNATIVE_MODE, "")
    repro_check(1.0)
"""
    )
    assert "2 recorded" in project.record().text


@pytest.mark.parametrize(("value", "passes"), [("True", True), ("False", False)])
def test_determinism_may_be_switched_on_again_but_not_off(project, value, passes):
    project.write(
        _HEAD
        + f"""
@pytest.mark.repro(seed=0)
def test_it(repro_check):
    ms.set_deterministic({value})
    repro_check(1.0)
"""
    )
    text = project.run("--repro-update").text
    assert ("1 recorded" in text) is passes
    assert ("deterministic computation off" in text) is not passes


def test_an_error_of_our_own_in_a_further_run_is_no_verdict(project):
    project.write(
        _HEAD
        + """
from pytest_repro.frameworks.mindspore import MindSporeAdapter

RUNS = []


@pytest.mark.repro(seed=0)
def test_it(repro_generator, repro_watch, repro_check, monkeypatch):
    RUNS.append(1)
    if len(RUNS) == 2:
        monkeypatch.setattr(MindSporeAdapter, "peek", lambda *_: 1 / 0)
    repro_check(repro_watch(Pipeline(Block))(noise(repro_generator)).asnumpy())
"""
    )
    ran = project.run("--repro-update")
    assert ran.exit_code == 1
    assert "nondeterministic" not in ran.text
    assert "pytest-repro failed to record" in ran.failure
    assert "run with --repro-trace=off" in ran.failure
    assert project.files() == {}
