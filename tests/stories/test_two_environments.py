"""Environments that differ in one fact record under two keys, and both stay exact."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from pytest_repro.checking import context
from pytest_repro.cli import machine, main
from pytest_repro.environment import ascend, host, observe
from pytest_repro.environment.kernels import Probe
from pytest_repro.frameworks.kernels import numpy_kernels
from pytest_repro.frameworks.mindspore import MindSporeAdapter
from tests.stories.environments import Where, each_has_a_key_of_its_own, manifests

SOURCE = """
    @pytest.mark.repro
    def test_image(repro_generator, repro_check):
        noise = repro_generator.standard_normal((64, 64)).astype("float32")
        repro_check(np.exp(noise) @ noise, name="image")
"""
CONFTEST = """
    import os

    def pytest_repro_environment(config):
        found = os.environ.get("CUSTOM_OPS")
        return {"bits.custom_ops": found} if found else None
"""


@pytest.mark.skipif(
    shutil.which("taskset") is None or len(os.sched_getaffinity(0)) < 2,
    reason="needs taskset and two cores",
)
def test_real_environments_that_differ_in_one_fact(project):
    project.write(SOURCE)
    project.conftest(CONFTEST)
    core = str(min(os.sched_getaffinity(0)))
    keys = each_has_a_key_of_its_own(
        project.folder,
        {
            "plain": Where(),
            "one core": Where(prefix=("taskset", "-c", core)),
            "without AVX2": Where({"NPY_DISABLE_CPU_FEATURES": "AVX2"}),
            "a project fact": Where({"CUSTOM_OPS": "v3"}),
        },
    )
    assert len(set(keys.values())) == 4
    assert "-1c-" in keys["one core"]
    for name in ("without AVX2", "a project fact"):
        assert keys[name].startswith(f"{keys['plain']}~")


def test_a_fact_that_changes_no_bits_keeps_the_key(project):
    project.write(SOURCE)
    project.conftest(CONFTEST.replace("bits.", ""))
    project.record()
    before = manifests(project.folder)
    said = Where({"CUSTOM_OPS": "v3"}).pytest(project.folder)
    assert "1 check: 1 exact" in said
    assert manifests(project.folder) == before


def both_are_exact(project, first, second):
    """Record after ``first()`` and after ``second()``; neither touches the other's manifest."""
    project.write(SOURCE)
    first()
    project.record()
    (mine,) = manifests(project.folder).items()
    second()
    assert project.run().verdicts == {"test_image::image": "exact"}  # by the nearest, a variant
    project.record()
    after = manifests(project.folder)
    assert len(after) == 2
    assert after[mine[0]] == mine[1]
    for environment in (first, second):
        environment()
        ran = project.run()
        assert ran.verdicts == {"test_image::image": "exact"}
        assert ran.closing == ["1 check: 1 exact"]
    assert manifests(project.folder) == after
    return set(after)


def test_a_second_l2_size(project, monkeypatch):
    cpu = host.read_cpu()

    def size(kib):
        changed = replace(cpu, l2_per_core_bytes=kib << 10)
        return lambda: monkeypatch.setattr(host, "read_cpu", lambda: changed)

    keys = both_are_exact(project, size(512), size(1024))
    assert {key.partition("-l2_")[2].partition("/")[0] for key in keys} == {"512k", "1024k"}


def with_mindone(monkeypatch, version):
    versions = (("mindone.version", version), ("numpy.version", np.__version__))
    return lambda: monkeypatch.setattr(observe, "_package_facts", lambda: versions)


def test_releases_of_mindone_have_their_own_baselines_where_the_project_says_so(
    project, monkeypatch, capsys
):
    project.ini("repro_key_facts = mindone.version")
    releases = [with_mindone(monkeypatch, version) for version in ("0.2.0", "0.5.0")]
    keys = both_are_exact(project, *releases)
    assert len({key.partition("~")[2] for key in keys} - {""}) == 2
    monkeypatch.setattr(machine, "project_facts", lambda root: {})
    assert main(["env", "--framework", "numpy", "--root", str(project.folder)]) == 0
    said = "suffix  project.bits.mindone.version is 0.5.0, by default not set"
    assert said in capsys.readouterr().out


def test_without_the_setting_releases_of_mindone_share_a_baseline(project, monkeypatch):
    project.write(SOURCE)
    with_mindone(monkeypatch, "0.2.0")()
    project.record()
    before = manifests(project.folder)
    with_mindone(monkeypatch, "0.5.0")()
    assert project.run().closing == ["1 check: 1 exact"]
    project.ini("repro_key_facts = mindone.version")
    # The baseline of the key without the fact is a variant, not lost.
    counts, reference = project.run().closing
    assert counts == "1 check: 1 exact"
    assert "(reference: variant; " in reference
    assert manifests(project.folder) == before


class Ascend(MindSporeAdapter):
    """MindSpore on an Ascend device, without MindSpore; the test computes with numpy."""

    def installed(self):
        return True

    def version(self):
        return "2.7.1"

    def device(self):
        return "Ascend", 0

    def device_name(self):
        return "Ascend910B1"

    def facts(self):
        return (("mindspore.mode", "PYNATIVE"), ("mindspore.deterministic", "ON"))

    def package_folder(self):
        return None

    def enable_determinism(self):
        pass


def test_an_update_of_cann(project, monkeypatch):
    (project.folder / "pytest.ini").write_text("[pytest]\nrepro_framework = mindspore\n")
    monkeypatch.setattr(context, "default_framework", Ascend)
    monkeypatch.setattr(ascend, "driver_version", lambda: "24.1.rc1")
    measured = Probe(numpy_kernels()[:2]).measure()
    monkeypatch.setattr(context, "kernels_here", lambda framework: measured)

    def update(version):
        return lambda: monkeypatch.setattr(ascend, "cann_version", lambda variables: version)

    keys = both_are_exact(project, update("8.2.RC1"), update("8.3.RC1"))
    assert {key.partition("~")[0] for key in keys} == {
        "ascend910b1/mindspore-2.7.1+cann_8.2.rc1",
        "ascend910b1/mindspore-2.7.1+cann_8.3.rc1",
    }
