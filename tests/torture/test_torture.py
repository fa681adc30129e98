"""Killed, filled, forbidden, doubled, turned back: every baseline stays the old or the new one.

CI runs a short form. `tox -e torture` sets PYTEST_REPRO_TORTURE=200: so many kills a suite, and
every single step of an update instead of a few spread over it, also with tensors of 4 MiB.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess

import pytest

from pytest_repro.core.errors import ReproError
from tests.torture.project import Suite

TIMES = int(os.environ.get("PYTEST_REPRO_TORTURE", "4"))
FULL = TIMES >= 100
SUITES = {"small": (6, 64), "large": (4, 1 << 20)}


@pytest.fixture(scope="module", params=SUITES if FULL else ["small"])
def suite(request, tmp_path_factory):
    checks, elements = SUITES[request.param]
    return Suite(tmp_path_factory.mktemp("torture") / "suite", checks=checks, elements=elements)


@pytest.fixture(autouse=True)
def old_baselines(request):
    if "suite" in request.fixturenames:
        request.getfixturevalue("suite").reset()


def _steps(suite):
    """Every step of an update, or a few spread over it with the first and the last."""
    wanted = suite.steps if FULL else TIMES
    return sorted({1 + round(i * (suite.steps - 1) / (wanted - 1)) for i in range(wanted)})


def _every_so_often(position):
    return not FULL or position % 10 == 0


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "two workers"])
def test_a_kill_at_any_moment_leaves_every_baseline_old_or_new(suite, workers):
    moments = random.Random(0)
    killed, length_s = 0, suite.took_s
    for _ in range(4 * TIMES):
        suite.reset()
        if suite.kill_after(length_s * moments.uniform(0.2, 1.0), *workers):
            killed += 1
            length_s *= 1.1
        else:
            # How long a run takes depends on the machine's other work.
            length_s *= 0.7
        suite.half_done()
        if _every_so_often(killed):
            suite.goes_on()
        if killed == TIMES:
            break
    assert killed == TIMES, f"only {killed} runs were killed"


def test_a_kill_at_every_step_of_writing_leaves_every_baseline_old_or_new(suite):
    done = set()
    for position, step in enumerate(_steps(suite)):
        suite.reset()
        assert suite.update(how="kill", at=step).code == -9
        done.add(len(suite.half_done()))
        if _every_so_often(position):
            suite.goes_on()
    assert 0 in done, "no kill came before the first manifest was in place"


@pytest.mark.parametrize("how", ["ENOSPC", "EROFS", "EACCES", "EIO"])
def test_an_error_at_any_step_is_one_clear_error_and_loses_nothing(suite, how):
    for step in _steps(suite):
        suite.reset()
        ended = suite.update(how=how, at=step)
        assert ended.code == 1, ended.text[-3000:]
        assert "cannot write a" in ended.text
        assert "free space" in ended.text
        assert "INTERNALERROR" not in ended.text
        assert "Traceback" not in ended.text
        suite.half_done()
        left = [path.name for path in suite.baselines.rglob("*.tmp")]
        assert not left
    suite.goes_on()


@pytest.mark.parametrize("free_bytes", [0, 3000, 9000])
def test_a_full_disk_is_one_clear_error_and_loses_nothing(suite, free_bytes):
    """A real one: a file system in memory, with room for nothing, or for a part of a file."""
    room = sum(path.stat().st_size for path in suite.baselines.rglob("*") if path.is_file())
    kept = suite.baselines.rename(suite.folder / "kept")
    suite.baselines.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={2 * room + (1 << 20)}", "none", suite.baselines]
    try:
        if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
            pytest.skip("no right to mount a file system")
        shutil.copytree(kept, suite.baselines, dirs_exist_ok=True)
        _fill(suite.baselines / "ballast", free_bytes)
        ended = suite.update()
        assert ended.code == 1
        assert "No space left on device" in ended.text
        assert "INTERNALERROR" not in ended.text
        assert "Traceback" not in ended.text
        suite.half_done()
    finally:
        subprocess.run(["umount", suite.baselines], capture_output=True, check=False)
        shutil.rmtree(kept)


def _fill(path, free_bytes):
    """Fill the file system that ``path`` lies on, but for so many bytes."""
    with path.open("wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 4096)
        file.truncate(max(0, file.tell() - free_bytes))


def test_two_updates_at_once_end_as_one(suite):
    both = [suite.start("--repro-update", offset=100) for _ in range(2)]
    for process in both:
        text, _ = process.communicate(timeout=600)
        assert process.returncode == 0, text
    assert suite.entries() == suite.new
    suite.goes_on()


def test_a_clock_that_goes_backwards_changes_no_verdict(suite):
    backwards = {"TORTURE_CLOCK": "1"}
    assert suite.update(variables=backwards).code == 0
    assert suite.entries() == suite.new
    assert suite.run(offset=100, variables=backwards).code == 0
    assert suite.run(offset=0, variables=backwards).code == 1


def test_the_look_at_what_is_left_sees_a_broken_manifest_and_a_lost_tensor(suite):
    (manifest,) = suite.baselines.rglob("test_suite.yaml")
    whole = manifest.read_bytes()
    manifest.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ReproError):
        suite.half_done()
    manifest.write_bytes(whole)
    next(suite.baselines.rglob("*.safetensors")).unlink()
    with pytest.raises(AssertionError, match="not there"):
        suite.half_done()
