"""The environment of this run: its key, its facts, and what changes them."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_repro.environment import cpu as onednn
from pytest_repro.environment import host
from pytest_repro.environment import observe as module
from pytest_repro.environment.key import compare_facts, distance, parse_hardware, parse_software
from pytest_repro.environment.observe import observe_environment
from pytest_repro.environment.simd import CpuFeatures, simd_level
from pytest_repro.errors import EnvironmentFault
from pytest_repro.frameworks.mindspore import MindSporeAdapter
from pytest_repro.model.words import Distance

ROOT = Path(__file__).parents[2]
INSTALLED = MindSporeAdapter().installed()

LIMITS = [
    *("", "SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI"),
    *("AVX512_CORE_BF16", "AVX512_CORE_FP16", "AVX512_CORE_AMX", "DEFAULT", "avx2", "nonsense"),
]


class FakeMindSpore(MindSporeAdapter):
    """A MindSpore that is not there."""

    def __init__(self, target="Ascend", name="Ascend910B1", version="2.10.0"):
        self.target, self.name, self.release = target, name, version

    def installed(self):
        return bool(self.release)

    def version(self):
        return self.release

    def device(self):
        return self.target, 0

    def device_name(self):
        return self.name

    def facts(self):
        return (("mindspore.mode", "PYNATIVE"), ("ascend.conv_hf32", "True"))

    def package_folder(self):
        return None


def observe(**arguments):
    return observe_environment(**{"root": ROOT, "extra": {}, "variables": {}, **arguments})


def run_python(code, **variables):
    clean = {name: value for name, value in os.environ.items() if not name.endswith("_MAX_CPU_ISA")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=clean | variables,
        cwd=ROOT,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip().splitlines()[-1]


def test_facts_are_sorted_and_each_is_there_once():
    names = [fact.name for fact in observe(framework="numpy").facts]
    assert names == sorted(set(names))
    assert {"cpu.simd_native", "numpy.version", "code.commit", "canary.normal"} <= set(names)


def test_two_observations_agree():
    first, second = observe(framework="numpy"), observe(framework="numpy")
    assert first == second


def test_numpy_alone_has_a_key_of_numpy_and_does_not_import_mindspore():
    said = run_python(
        "import sys; from pathlib import Path\n"
        "from pytest_repro.environment.observe import observe_environment as observe\n"
        "key = observe(framework='numpy', root=Path(), extra={}).key\n"
        "import numpy; print(key.framework == f'numpy-{numpy.__version__}', "
        "'mindspore' in sys.modules)"
    )
    assert said == "True False"


def test_without_mindspore_auto_is_numpy_and_mindspore_is_a_fault():
    absent = FakeMindSpore(version="")
    assert observe(framework="auto", mindspore=absent).key.framework.startswith("numpy-")
    with pytest.raises(EnvironmentFault, match="not installed"):
        observe(framework="mindspore", mindspore=absent)
    with pytest.raises(EnvironmentFault, match="'jax'"):
        observe(framework="jax")


def test_a_variable_that_changes_bits_makes_another_key():
    plain = observe(framework="numpy")
    with_one = observe(framework="numpy", variables={"OMP_NUM_THREADS": "1"})
    assert distance(plain.key, with_one.key) is Distance.VARIANT
    assert [one.name for one in compare_facts(plain, with_one) if one.changes_bits] == [
        "env.omp_num_threads"
    ]
    harmless = observe(framework="numpy", variables={"MS_DEV_SOMETHING": "1"})
    assert plain.key == harmless.key
    assert compare_facts(plain, harmless)


def test_a_limit_of_onednn_does_not_reach_numpy():
    assert (
        observe(framework="numpy").key
        == observe(framework="numpy", variables={"ONEDNN_MAX_CPU_ISA": "SSE41"}).key
    )


@pytest.mark.parametrize("extra", [{"bits.ops": "v3"}, {"bits.ops": "v4"}])
def test_a_project_fact_that_changes_bits_makes_another_key(extra):
    plain, seen = observe(framework="numpy"), observe(framework="numpy", extra=extra)
    assert distance(plain.key, seen.key) is Distance.VARIANT
    assert observe(framework="numpy", extra={"cluster": "night"}).key == plain.key


def test_another_l2_size_is_another_key(monkeypatch):
    keys = {}
    for size in (512 << 10, 1 << 20, 0):
        cpu = replace(host.read_cpu(), l2_per_core_bytes=size)
        monkeypatch.setattr(host, "read_cpu", lambda cpu=cpu: cpu)
        keys[size] = observe(framework="numpy").key
    assert len(set(keys.values())) == 3
    assert keys[1 << 20].hardware.endswith("-l2_1024k")
    assert keys[0].hardware.endswith("-l2_unknown")


@pytest.mark.parametrize("unread", ["l2_per_core_bytes", "features"])
def test_two_machines_with_a_fact_that_cannot_be_read_never_share_a_key(monkeypatch, unread):
    cpu = replace(host.read_cpu(), l2_per_core_bytes=512 << 10)
    blank = 0 if unread == "l2_per_core_bytes" else CpuFeatures("x86_64", frozenset())

    def seen(name, value):
        monkeypatch.setattr(host, "read_cpu", lambda: value)
        monkeypatch.setattr(host, "machine_identity", lambda model: name)
        return observe(framework="numpy")

    blind = replace(cpu, **{unread: blank})
    mine, again, other = seen("one", blind), seen("one", blind), seen("two", blind)
    assert mine.key == again.key
    assert distance(mine.key, other.key) is Distance.VARIANT
    assert (mine.value("host.identity"), other.value("host.identity")) == ("one", "two")
    known = seen("one", cpu)
    assert known.value("host.identity") == ""
    assert known.key == seen("two", cpu).key


def test_two_ascend_servers_without_versions_never_share_a_key(monkeypatch, tmp_path):
    def seen(name, cann, driver):
        monkeypatch.setattr(host, "machine_identity", lambda model: name)
        monkeypatch.setattr(module.ascend, "cann_version", lambda variables: cann)
        monkeypatch.setattr(module.ascend, "driver_version", lambda: driver)
        return observe(mindspore=FakeMindSpore()).key

    for cann, driver in (("", ""), ("8.2.RC1", ""), ("", "24.1.rc1")):
        assert distance(seen("one", cann, driver), seen("two", cann, driver)) is Distance.VARIANT
    assert seen("one", "8.2.RC1", "24.1.rc1") == seen("two", "8.2.RC1", "24.1.rc1")


def test_an_ascend_device_has_the_key_of_its_soc():
    seen = observe(mindspore=FakeMindSpore(name="Ascend910B4-1"))
    assert seen.key.hardware == "ascend910b4-1"
    assert parse_software(seen.key.framework).version == "2.10.0"
    assert parse_software(seen.key.framework).cann == "unknown"
    assert seen.value("ascend.family") == "ascend910b"
    bits = {fact.name for fact in seen.facts if fact.changes_bits}
    assert {"cann.version", "ascend.conv_hf32", "host.arch", "env.hccl_deterministic"} <= bits
    assert "cpu.l2_per_core_bytes" not in bits


@pytest.mark.parametrize("name", ["", "Ascend910"])
def test_an_ascend_device_without_an_exact_name_is_a_fault(name):
    with pytest.raises(EnvironmentFault):
        observe(mindspore=FakeMindSpore(name=name))


def test_a_gpu_has_the_key_of_its_name():
    seen = observe(mindspore=FakeMindSpore("GPU", "NVIDIA A100"))
    assert seen.key.hardware == "gpu-nvidia-a100"


def test_facts_of_a_project_are_added_and_twins_are_an_error(monkeypatch):
    seen = observe(framework="numpy", extra={"cluster": "night"})
    assert seen.value("project.cluster") == "night"
    monkeypatch.setattr(module, "_package_facts", lambda: (("cpu.cores", "2"),))
    with pytest.raises(EnvironmentFault, match=r"'cpu\.cores' was seen more than once"):
        observe(framework="numpy")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity mask here")
def test_fewer_cores_are_another_key():
    mine = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(mine)})
        alone = parse_hardware(observe(framework="numpy").key.hardware)
    finally:
        os.sched_setaffinity(0, mine)
    assert alone.core_count == 1
    assert parse_hardware(observe(framework="numpy").key.hardware).core_count == len(mine)


# --- against the library itself -----------------------------------------------------------------

ASK = """
from pathlib import Path
from pytest_repro.environment import host as host
from pytest_repro.environment import cpu as onednn
from pytest_repro.frameworks.mindspore import MindSporeAdapter
from pytest_repro.environment.simd import simd_level
import os
library = onednn.find_library(MindSporeAdapter().package_folder())
said = onednn.probe(library)
print(said.simd, simd_level(host.read_cpu().features, os.environ, onednn_version=said.version))
"""


@pytest.mark.skipif(not INSTALLED, reason="MindSpore is not installed")
@pytest.mark.parametrize("variable", ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"])
@pytest.mark.parametrize("limit", LIMITS)
def test_the_derived_level_is_the_one_that_onednn_uses(variable, limit):
    library, derived = run_python(ASK, **{variable: limit}).split(" ")
    assert library == derived != ""


@pytest.mark.skipif(not INSTALLED, reason="MindSpore is not installed")
def test_the_wrong_generation_of_rules_would_be_caught():
    said = onednn.probe(onednn.find_library(MindSporeAdapter().package_folder()))
    other = "2.2.0" if said.version.startswith("3") else "3.10.1"
    cpu = CpuFeatures("x86_64", frozenset({"sse4_1", "avx", "avx2"}))
    limit = {"ONEDNN_MAX_CPU_ISA": "AVX"}
    right = simd_level(cpu, limit, onednn_version=said.version)
    assert right != simd_level(cpu, limit, onednn_version=other)


@pytest.mark.skipif(not INSTALLED, reason="MindSpore is not installed")
def test_both_variables_together_choose_the_key_in_every_version():
    said = run_python(
        "from pathlib import Path\n"
        "from pytest_repro.environment.observe import observe_environment as observe\n"
        "print(observe(root=Path(), extra={}).key)",
        ONEDNN_MAX_CPU_ISA="AVX",
        DNNL_MAX_CPU_ISA="AVX",
    )
    assert said.startswith("cpu-x86_64-avx-")
    assert f"/mindspore-{MindSporeAdapter().version()}" in said


def test_a_file_that_is_no_onednn_is_no_library(tmp_path):
    (tmp_path / "lib").mkdir()
    assert onednn.find_library(tmp_path) is None
    fake = tmp_path / "lib/libdnnl.so.3"
    fake.write_text("not a library")
    assert onednn.find_library(tmp_path) == fake
    assert onednn.probe(fake) is None
