"""Killed, filled, forbidden, doubled, turned back: every baseline stays the old or the new one.

CI runs a short form. `tox -e torture` sets PYTEST_REPRO_TORTURE=200: so many kills a suite, and
every single step of an update instead of a few spread over it, also with tensors of 64 MiB. What
was done is counted into the file that PYTEST_REPRO_TORTURE_LOG names, for `benchmarks/torture.py`.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess

import pytest

from pytest_repro.errors import ReproError
from tests.torture.project import Suite
from tests.torture.tally import Tally

TIMES = int(os.environ.get("PYTEST_REPRO_TORTURE", "4"))
FULL = TIMES >= 20
SEED = os.environ.get("PYTEST_REPRO_TORTURE_SEED", "0")
SUITES = {"256 B": (6, 64), "64 MiB": (2, 1 << 24)}


@pytest.fixture(scope="module", params=SUITES if FULL else ["256 B"])
def suite(request, tmp_path_factory):
    checks, elements = SUITES[request.param]
    made = Suite(tmp_path_factory.mktemp("torture") / "suite", checks=checks, elements=elements)
    made.name = f"{checks} tensors of {request.param}"
    yield made
    shutil.rmtree(made.folder.parent)


@pytest.fixture
def tally(request):
    """Counts what a test did, by the words of its row in docs/evidence/torture.md."""
    with Tally(os.environ.get("PYTEST_REPRO_TORTURE_LOG", os.devnull)) as counted:
        yield counted


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
def test_a_kill_at_any_moment_leaves_every_baseline_old_or_new(suite, workers, tally):
    moments = random.Random(f"{SEED} {workers}")
    name = "kill -9 at a random moment, " + ("two workers" if workers else "one process")
    killed, length_s = 0, suite.took_s
    for _ in range(4 * TIMES):
        suite.reset()
        if suite.kill_after(length_s * moments.uniform(0.2, 1.0), *workers):
            killed += 1
            length_s *= 1.1
        else:
            # How long a run takes depends on the machine's other work.
            length_s *= 0.7
            continue
        new = suite.half_done()
        goes_on = _every_so_often(killed)
        if goes_on:
            suite.goes_on()
        tally.note(suite, name, new=new, goes_on=goes_on)
        if killed == TIMES:
            break
    assert killed == TIMES, f"only {killed} runs were killed"


def test_a_kill_at_every_step_of_writing_leaves_every_baseline_old_or_new(suite, tally):
    done = set()
    for position, step in enumerate(_steps(suite)):
        suite.reset()
        assert suite.update(how="kill", at=step).code == -9
        new = suite.half_done()
        done.add(len(new))
        goes_on = _every_so_often(position)
        if goes_on:
            suite.goes_on()
        tally.note(suite, "kill -9 at a step of writing", new=new, goes_on=goes_on)
    assert 0 in done, "no kill came before the first manifest was in place"


@pytest.mark.parametrize("how", ["ENOSPC", "EROFS", "EACCES", "EIO"])
def test_an_error_at_any_step_is_one_clear_error_and_loses_nothing(suite, how, tally):
    for step in _steps(suite):
        suite.reset()
        new = _refused(suite, suite.update(how=how, at=step), "cannot write a")
        assert not [path.name for path in suite.baselines.rglob("*.tmp")]
        tally.note(suite, f"{how} from a step of writing on", new=new)
    suite.goes_on()


def _refused(suite, ended, *sentences):
    """One clear error, and every baseline old or new; gives the new ones."""
    assert ended.code == 1, ended.text[-3000:]
    for sentence in (*sentences, "permissions and free space"):
        assert sentence in ended.text
    assert "INTERNALERROR" not in ended.text
    assert "Traceback" not in ended.text
    return suite.half_done()


def test_a_permission_lost_at_any_step_is_one_clear_error_and_loses_nothing(suite, tally):
    """A real one: the folders lose the right to be written."""
    lost = 0
    for step in _steps(suite):
        suite.reset()
        ended = suite.update(how="permission", at=step)
        if ended.code == 0:
            # What is written last needs no more than an open file.
            assert suite.entries() == suite.new
            continue
        lost += 1
        new = _refused(suite, ended, "Permission denied")
        tally.note(suite, "permission lost at a step of writing", new=new)
    assert lost
    suite.reset()
    suite.goes_on()


@contextlib.contextmanager
def _in_memory(suite):
    """The baselines on a file system of their own; gives what changes its options."""
    room = sum(path.stat().st_size for path in suite.baselines.rglob("*") if path.is_file())
    kept = suite.baselines.rename(suite.folder / "kept")
    suite.baselines.mkdir()
    size = f"size={2 * room + (1 << 20)}"
    try:
        if not _mount("-t", "tmpfs", "-o", size, "none", suite.baselines):
            pytest.skip("no right to mount a file system")
        shutil.copytree(kept, suite.baselines, dirs_exist_ok=True)
        yield lambda option: _mount("-o", f"remount,{option},{size}", suite.baselines)
    finally:
        subprocess.run(["umount", suite.baselines], capture_output=True, check=False)
        suite.baselines.rmdir()
        kept.rename(suite.baselines)


def _mount(*arguments):
    return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("free_bytes", [0, 3000, 9000])
def test_a_full_disk_is_one_clear_error_and_loses_nothing(suite, free_bytes, tally):
    """A real one: a file system in memory, with room for nothing, or for a part of a file."""
    with _in_memory(suite):
        _fill(suite.baselines / "ballast", free_bytes)
        new = _refused(suite, suite.update(), "No space left on device")
        tally.note(suite, f"a full disk, {free_bytes} bytes free", new=new)
        (suite.baselines / "ballast").unlink()
        suite.goes_on()


def test_a_read_only_disk_is_one_clear_error_and_loses_nothing(suite, tally):
    with _in_memory(suite) as remount:
        assert remount("ro")
        new = _refused(suite, suite.update(), "Read-only file system")
        tally.note(suite, "a read-only disk", new=new)
        assert remount("rw")
        suite.goes_on()


def test_a_folder_that_nobody_may_write_is_one_clear_error_and_loses_nothing(suite, tally):
    for folder in (suite.baselines, *suite.baselines.rglob("*/")):
        folder.chmod(0o500)
    new = _refused(suite, suite.update(), "Permission denied")
    tally.note(suite, "a read-only folder", new=new)
    suite.reset()
    suite.goes_on()


def _fill(path, free_bytes):
    """Fill the file system that ``path`` lies on, but for so many bytes."""
    with path.open("wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 4096)
        file.truncate(max(0, file.tell() - free_bytes))


def test_two_updates_at_once_end_as_one(suite, tally):
    both = [suite.start("--repro-update", offset=100) for _ in range(2)]
    for process in both:
        text, _ = process.communicate(timeout=600)
        assert process.returncode == 0, text
    assert suite.entries() == suite.new
    suite.goes_on()
    tally.note(suite, "two updates at once", new=suite.new, goes_on=True)


def test_a_clock_that_goes_backwards_changes_no_verdict(suite, tally):
    backwards = {"TORTURE_CLOCK": "1"}
    assert suite.update(variables=backwards).code == 0
    assert suite.entries() == suite.new
    assert suite.run(offset=100, variables=backwards).code == 0
    assert suite.run(offset=0, variables=backwards).code == 1
    tally.note(suite, "a clock that goes backwards", new=suite.new, goes_on=True)


def test_a_folder_behind_a_symbolic_link_is_updated_behind_it(suite, tally):
    behind = suite.baselines.rename(suite.folder / "behind")
    suite.baselines.symlink_to(behind, target_is_directory=True)
    try:
        assert suite.update(how="kill", at=suite.steps // 2).code == -9
        suite.half_done()
        suite.goes_on()
        assert suite.baselines.is_symlink()
        tally.note(suite, "a folder behind a symbolic link", new=suite.new, goes_on=True)
    finally:
        suite.baselines.unlink()
        behind.rename(suite.baselines)


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
