"""--repro-devices through pytest: what each worker sees, what is refused, which key ran.

No Ascend was at hand: `planted` says that there is one, and what is shown is the variable that each
worker sees before anything of a test is imported. The division of cores is real.
"""

from __future__ import annotations

import os
import re
import textwrap

import pytest

pytest.importorskip("xdist")
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1

SUITE = """
    import os

    @pytest.mark.repro
    @pytest.mark.parametrize("count", range(6))
    def test_noise(repro_generator, repro_check, count):
        with open(f"seen-{os.getpid()}", "w") as file:
            worker = os.environ.get("PYTEST_XDIST_WORKER", "alone")
            cores = len(os.sched_getaffinity(0))
            file.write(f"{worker} {os.environ.get('ASCEND_RT_VISIBLE_DEVICES')} {cores}")
        repro_check(repro_generator.standard_normal(count + 1), name="noise")
"""
CONFTEST = """
    import os
    AT_IMPORT = os.environ.get("ASCEND_RT_VISIBLE_DEVICES")

    def pytest_runtest_setup():
        assert os.environ.get("ASCEND_RT_VISIBLE_DEVICES") == AT_IMPORT
"""


def seen(project):
    return sorted(path.read_text() for path in project.folder.glob("seen-*"))


@pytest.fixture
def ascend(project, monkeypatch):
    planted = "import pytest_repro.environment.devices as d\nd.has_ascend = lambda: True\n"
    (project.folder / "planted.py").write_text(planted)
    path = os.pathsep.join([str(project.folder), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setenv("PYTEST_PLUGINS", "planted")


def test_each_worker_sees_an_ascend_of_its_own_before_the_conftest_is_read(project, ascend):
    project.write(SUITE)
    project.conftest(CONFTEST)
    ran = project.run_apart("--repro-update", "-n", "2", "--repro-devices", "6-7")
    assert ran.exit_code == 0, ran.text
    assert seen(project) == [f"gw0 6 {CORES}", f"gw1 7 {CORES}"]
    assert any(
        line.startswith("devices: gw0: Ascend device 6, gw1: Ascend device 7; key cpu-")
        for line in ran.closing
    )
    # Which of equal devices computed a value is no fact of it.
    assert "visible" not in project.manifest.read_text()


def test_one_process_takes_the_first(project, ascend, monkeypatch):
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # this test may run in a worker itself
    project.write(SUITE)
    project.conftest(CONFTEST)
    assert project.run_apart("--repro-update", "--repro-devices=6-7").exit_code == 0
    assert seen(project) == [f"alone 6 {CORES}"]


def test_a_lost_worker_s_place_is_taken_with_its_device(project, ascend):
    project.write(
        SUITE
        + """
    @pytest.mark.repro
    def test_lost(repro_check):
        if not os.path.exists("once"):
            open("once", "w").close()
            os.kill(os.getpid(), 9)
        repro_check(np.zeros(2))
    """
    )
    ran = project.run_apart("--repro-update", "-n", "2", "--repro-devices", "6-7")
    assert ran.exit_code == 1
    found = {tuple(one.split()[:2]) for one in seen(project)}
    assert found <= {("gw0", "6"), ("gw1", "7"), ("gw2", "6"), ("gw2", "7")}
    assert re.search(r"gw2: Ascend device [67]", ran.text)


@pytest.mark.skipif(CORES < 2, reason="one core cannot be divided")
def test_without_an_ascend_the_cores_are_divided_and_the_key_says_so(project):
    project.write(SUITE)
    ran = project.run_apart("--repro-update", "-n", "2", "--repro-devices", "0-1")
    assert ran.exit_code == 0, ran.text
    each = CORES // 2
    assert seen(project) == [f"gw0 None {each}", f"gw1 None {each}"]
    (line,) = (one for one in ran.closing if one.startswith("devices: "))
    assert re.search(
        rf"gw0: cores? .*, gw1: cores? .*; key cpu-\w+-\w+-{each}c-l2_\w+/numpy-", line
    )
    recorded = project.files_without_times()
    # The same division in one process is the same key, and the same bytes.
    for path in sorted(project.baselines.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert project.run_apart("--repro-update", "--repro-devices", "0-1").exit_code == 0
    assert project.files_without_times() == recorded


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--repro-devices", "0-1", "-n", "3"), "3 workers and 2 devices"),
        (("--repro-devices", "0,0", "-n", "2"), "named twice"),
        (("--repro-devices", "3-1"), "goes down"),
        (("--repro-devices", "0-999"), "cannot be divided among 1000"),
        (("--repro-devices", "0-999", "-n", "2"), "cannot be divided among 1000"),
    ],
)
def test_what_cannot_be_is_refused_before_any_test(project, arguments, words):
    project.write(SUITE)
    ran = project.run_apart(*arguments)
    assert ran.exit_code == 4, ran.text
    assert words in ran.text
    assert "Traceback" not in ran.text
    assert seen(project) == []


def test_numpy_imported_by_a_plugin_is_too_late(project, monkeypatch):
    (project.folder / "early.py").write_text(textwrap.dedent("import numpy"))
    path = os.pathsep.join([str(project.folder), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setenv("PYTEST_PLUGINS", "early")
    project.write(SUITE)
    ran = project.run_apart("--repro-devices", "0")
    assert ran.exit_code == 4
    assert "numpy was imported before the device could be chosen" in ran.text
