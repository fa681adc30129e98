"""MindSpore in environments that differ in one fact: a key for each, and all stay exact."""

from __future__ import annotations

import os
import shutil

import pytest

pytest.importorskip("mindspore")

from tests.stories.environments import Where, each_has_a_key_of_its_own

_CONFTEST = """
import os

import mindspore

if "THREADS" in os.environ:
    mindspore.runtime.dispatch_threads_num(int(os.environ["THREADS"]))


def pytest_repro_environment(config):
    found = os.environ.get("CUSTOM_OPS")
    return {"bits.custom_ops": found} if found else None
"""
_TEST = """
import mindspore as ms
import numpy as np
import pytest


@pytest.mark.repro(seed=0)
def test_image(repro_generator, repro_check):
    image, kernel = (
        ms.Tensor(repro_generator.standard_normal(shape).astype(np.float32))
        for shape in ((1, 64, 32, 32), (64, 64, 3, 3))
    )
    repro_check(ms.ops.conv2d(image, kernel, pad_mode="pad", padding=1), name="image")
"""


@pytest.mark.skipif(
    shutil.which("taskset") is None or len(os.sched_getaffinity(0)) < 2,
    reason="needs taskset and two cores",
)
def test_threads_cores_simd_level_and_a_project_fact(tmp_path):
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (tmp_path / "conftest.py").write_text(_CONFTEST, encoding="utf-8")
    (tmp_path / "test_conv.py").write_text(_TEST, encoding="utf-8")
    core = str(min(os.sched_getaffinity(0)))
    level = {"ONEDNN_MAX_CPU_ISA": "AVX2", "DNNL_MAX_CPU_ISA": "AVX2"}
    keys = each_has_a_key_of_its_own(
        tmp_path,
        {
            "plain": Where(level),
            "dispatch threads": Where({**level, "THREADS": "1"}),
            "one core": Where(level, ("taskset", "-c", core)),
            "SIMD level": Where({"ONEDNN_MAX_CPU_ISA": "SSE41", "DNNL_MAX_CPU_ISA": "SSE41"}),
            "a project fact": Where({**level, "CUSTOM_OPS": "v3"}),
        },
    )
    assert len(set(keys.values())) == 5
    assert "-avx2-" in keys["plain"]
    assert "-1c-" in keys["one core"]
    assert "-sse41-" in keys["SIMD level"]
    for name in ("dispatch threads", "a project fact"):
        assert keys[name].startswith(f"{keys['plain']}~")
