"""What is read about this machine, from recorded texts and from the machine itself."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_repro.environment import host
from pytest_repro.environment.simd import simd_level
from pytest_repro.frameworks import framework as installed

RECORDED = Path(__file__).parent / "recorded"


def git(folder, *arguments):
    identity = ("-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, "-C", str(folder), *arguments], check=True)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def cache(sys_folder, *, size="1024K", shared="0", level="2"):
    folder = sys_folder / "devices/system/cpu/cpu0/cache/index2"
    for name, text in (("size", size), ("shared_cpu_list", shared), ("level", level)):
        write(folder / name, text + "\n")


def test_a_recorded_x86_cpu_is_read(tmp_path):
    cpu = host.read_cpu(proc=RECORDED / "haswell", sys=tmp_path, machine="AMD64")
    assert cpu.features.arch == "x86_64"
    assert {"avx2", "sse4_1", "fma"} <= cpu.features.flags
    assert "avx512f" not in cpu.features.flags
    assert cpu.model == "Intel Core Processor (Haswell)"
    assert simd_level(cpu.features, {}) == "avx2"


def test_a_recorded_arm_cpu_is_read(tmp_path):
    cpu = host.read_cpu(proc=RECORDED / "arm", sys=tmp_path, machine="aarch64")
    assert "asimd" in cpu.features.flags
    assert cpu.model == "implementer 0x48 part 0xd01"
    assert simd_level(cpu.features, {}) == "asimd"


def test_the_length_of_sve_registers_is_read_where_there_is_sve(tmp_path):
    write(tmp_path / "cpuinfo", "Features\t: asimd sve\n")
    write(tmp_path / "sys/abi/sve_default_vector_length", "32\n")
    cpu = host.read_cpu(proc=tmp_path, sys=tmp_path, machine="arm64")
    assert (cpu.features.sve_bits, simd_level(cpu.features, {})) == (256, "sve256")
    write(tmp_path / "cpuinfo", "Features\t: asimd\n")
    assert host.read_cpu(proc=tmp_path, sys=tmp_path, machine="arm64").features.sve_bits == 0


def test_off_linux_nothing_is_guessed(tmp_path):
    cpu = host.read_cpu(proc=tmp_path, sys=tmp_path, machine="x86_64")
    assert (cpu.features.flags, cpu.model, cpu.l2_per_core_bytes) == (frozenset(), "", 0)
    assert simd_level(cpu.features, {}) == "unknown"
    assert host.cpu_quota_cores(cgroup=tmp_path) == ""


@pytest.mark.parametrize(
    ("fields", "size_bytes"),
    [
        ({}, 1 << 20),
        ({"size": "4096K", "shared": "0-3"}, 1 << 20),
        ({"size": "512K", "shared": "0,64"}, 1 << 18),
        ({"level": "3"}, 0),
        ({"size": "big"}, 0),
        ({"shared": ""}, 0),
    ],
)
def test_the_cache_of_a_core_is_its_share(tmp_path, fields, size_bytes):
    cache(tmp_path, **fields)
    assert host.read_cpu(proc=tmp_path, sys=tmp_path).l2_per_core_bytes == size_bytes


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "150000 100000\n"}, "1.5"),
        ({"cpu.max": "max 100000\n"}, ""),
        ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, "2"),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, ""),
        ({"cpu.max": "100000 0\n"}, ""),
    ],
)
def test_the_quota_is_read_in_cores(tmp_path, files, cores):
    for name, text in files.items():
        write(tmp_path / name, text)
    assert host.cpu_quota_cores(cgroup=tmp_path) == cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity mask here")
def test_cores_are_those_the_process_may_run_on():
    mine = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(mine)})
        assert host.allowed_core_count() == 1
    finally:
        os.sched_setaffinity(0, mine)
    assert host.allowed_core_count() == len(mine)


def test_variables_that_concern_results_are_recorded_and_others_not():
    facts = dict(
        host.recorded_variables(
            {"ONEDNN_MAX_CPU_ISA": "AVX2", "OMP_NUM_THREADS": "2", "HOME": "/x", "MS_DEV_A": "1"}
        )
    )
    assert facts["env.onednn_max_cpu_isa"] == "AVX2"
    assert facts["env.omp_num_threads"] == "2"
    assert facts["env.ms_dev_a"] == "1"
    assert facts["env.hccl_deterministic"] == ""
    assert "env.home" not in facts


@pytest.mark.parametrize(
    "name", ["MS_TOKEN", "ASCEND_API_KEY", "MINDSPORE_PASSWORD", "HCCL_SECRET", "MKL_LICENSE"]
)
def test_what_may_be_a_secret_is_never_recorded(name):
    facts = host.recorded_variables({name: "hunter2", "MS_DEV_A": "1"})
    assert "hunter2" not in str(facts)
    assert ("env.ms_dev_a", "1") in facts


def test_what_the_import_of_mindspore_sets_is_no_fact():
    assert host.recorded_variables({"HCCL_CONNECT_TIMEOUT": "600"}) == host.recorded_variables({})


def test_packages_have_versions_without_an_import():
    assert installed.package_version("pytest") == pytest.__version__
    assert installed.package_version("no-such-distribution-anywhere") == ""


def test_the_system_is_described():
    facts = dict(host.system_facts())
    assert facts["python.version"] == ".".join(map(str, sys.version_info[:3]))
    assert facts["host.arch"] == facts["host.arch"].lower() != ""
    assert facts["os.name"]


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_commit_is_read_and_a_change_is_seen(tmp_path):
    git(tmp_path, "init", "-q")
    assert dict(installed.git_facts(tmp_path)) == {"code.commit": "", "code.dirty": ""}
    write(tmp_path / "a.py", "1")
    write(tmp_path / "baseline.yaml", "1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "x")
    clean = dict(installed.git_facts(tmp_path))
    assert len(clean["code.commit"]) == 40
    assert clean["code.dirty"] == "no"
    write(tmp_path / "new.py", "untracked")
    write(tmp_path / "baseline.yaml", "2")
    assert dict(installed.git_facts(tmp_path)) == clean
    write(tmp_path / "a.py", "2")
    assert dict(installed.git_facts(tmp_path)) == clean | {"code.dirty": "yes"}


class Installed:
    """A distribution that says where it came from."""

    def __init__(self, origin):
        self.origin = origin

    def read_text(self, name):
        return self.origin if name == "direct_url.json" else None


@pytest.mark.parametrize(
    ("origin", "commit"),
    [
        ('{"url": "https://x/y.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}}', "abc"),
        ('{"url": "file:///x.whl", "archive_info": {}}', ""),
        (None, ""),
        ("not json", ""),
    ],
)
def test_the_commit_of_a_package_is_what_pip_wrote_down(monkeypatch, origin, commit):
    monkeypatch.setattr(installed, "distribution", lambda _: Installed(origin))
    assert installed.package_commit("mindone") == commit
    monkeypatch.undo()
    assert installed.package_commit("no-such-package") == ""


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_commit_of_a_checkout_installed_in_place_is_its_head(tmp_path, monkeypatch):
    folder = tmp_path / "a b"
    write(folder / "a.py", "1")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "x")
    origin = json.dumps({"url": folder.as_uri(), "dir_info": {"editable": True}})
    monkeypatch.setattr(installed, "distribution", lambda _: Installed(origin))
    commit = installed.package_commit("mindone")
    assert re.fullmatch("[0-9a-f]{40}", commit)
    write(folder / "a.py", "2")
    assert installed.package_commit("mindone") == commit + "+"


def test_without_git_or_checkout_the_commit_is_empty(tmp_path):
    nothing = {"code.commit": "", "code.dirty": ""}
    assert dict(installed.git_facts(tmp_path, command="no-such-git")) == nothing
    assert dict(installed.git_facts(tmp_path / "absent")) == nothing


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell script")
def test_a_git_that_hangs_is_given_up(tmp_path, monkeypatch):
    slow = tmp_path / "slow-git"
    write(slow, "#!/bin/sh\nexec sleep 30\n")
    slow.chmod(0o755)
    monkeypatch.setattr(installed, "_GIT_TIMEOUT_S", 0.2)
    assert dict(installed.git_facts(tmp_path, command=str(slow)))["code.commit"] == ""


def test_a_machine_is_told_apart_by_its_id_its_name_and_its_cpu(tmp_path):
    write(tmp_path / "id", "a1\n")
    write(tmp_path / "other", "b2\n")

    def identity(model="EPYC", name="id", node="host"):
        files = (tmp_path / "absent", tmp_path / name)
        return host.machine_identity(model, files=files, node=node)

    assert identity() == identity()
    others = {identity(model="Xeon"), identity(name="other"), identity(node="next")}
    assert len(others | {identity()}) == 4
    assert "host" not in identity(node="host")
