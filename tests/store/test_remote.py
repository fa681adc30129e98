"""`push` and `pull` by the real huggingface_hub against a dataset repository on the loopback."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pytest_repro.errors import CorruptBaseline
from pytest_repro.model.ids import Digest
from pytest_repro.store.remote import Pin, read_pin, write_pin
from pytest_repro.store.store import Store

from .dataset_hub import FIRST, REPOSITORY, TOKEN, DatasetHub
from .loopback import serve
from .stored import KEY, MODULE, baseline_of

_TEST = """
import pytest

@pytest.mark.repro
def test_big(repro_generator, repro_check):
    repro_check(repro_generator.random((64, 64)), name="big")
"""


class Machine:
    """A machine: its checkout, its cache of the Hub, and the Hub that it sees."""

    def __init__(self, folder, endpoint):
        self.checkout, self._folder, self.endpoint = folder / "checkout", folder, endpoint
        self.baselines = self.checkout / "baselines"
        self.checkout.mkdir(parents=True)
        (self.checkout / "pytest.ini").write_text("[pytest]\nrepro_framework = numpy\n")

    def run(self, *words, exit_code=0, **environment):
        done = subprocess.run(
            [sys.executable, "-m", *words],
            cwd=self.checkout,
            env={
                **os.environ,
                "HF_ENDPOINT": self.endpoint,
                "HF_HOME": str(self._folder / "hub"),
                "HF_HUB_DISABLE_XET": "1",
                "HF_HUB_DOWNLOAD_TIMEOUT": "5",
                "NO_PROXY": "127.0.0.1",
                "HF_TOKEN": TOKEN,
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        printed = done.stdout + done.stderr
        assert done.returncode == exit_code, printed
        assert TOKEN not in printed
        return printed

    def command(self, *words, **options):
        return self.run("pytest_repro.cli", *words, **options)

    def pytest(self, *words, **options):
        return self.run("pytest", "-q", "-p", "no:cacheprovider", *words, **options)

    def store(self, count, first=0):
        """Store as many baselines of one tensor each."""
        store = Store(self.baselines, root=self.checkout)
        both = [
            baseline_of(np.arange(100.0) + one, test=f"test_{one}")
            for one in range(first, first + count)
        ]
        store.write(KEY, MODULE, [one for one, _ in both], [record for _, record in both])

    @property
    def tensors(self):
        return {
            path.relative_to(self.baselines).as_posix(): path.read_bytes()
            for path in self.baselines.glob("tensors/*/*.safetensors")
        }

    @property
    def pin(self):
        return read_pin(Store(self.baselines, root=self.checkout))


@pytest.fixture
def hub():
    with serve(DatasetHub()) as hub:
        yield hub


@pytest.fixture
def machine(tmp_path, hub):
    return Machine(tmp_path / "a", hub.endpoint)


def _clone(machine, folder, hub):
    """What a clone has on another machine: the manifests and hub.yaml, no tensors."""
    other = Machine(folder, hub.endpoint)
    shutil.copytree(machine.checkout, other.checkout, dirs_exist_ok=True)
    for name in ("tensors", "records"):
        shutil.rmtree(other.baselines / name, ignore_errors=True)
    return other


def _pushed(machine):
    machine.store(3)
    machine.command("push", "--repository", REPOSITORY)


def test_the_first_push_pins_one_commit_with_every_tensor(machine, hub):
    machine.store(3)
    printed = machine.command("push", "--repository", REPOSITORY)
    assert "3 files pushed" in printed
    assert machine.pin == Pin(REPOSITORY, hub.main)
    assert hub.commits[hub.main] == machine.tensors
    assert len(machine.tensors) == 3
    assert len(hub.commits) == 2


def test_a_second_push_uploads_only_what_is_new(machine, hub):
    _pushed(machine)
    before = hub.main
    assert "nothing to push" in machine.command("push")
    assert hub.main == before
    machine.store(2, first=3)
    hub.asked.clear()
    assert "2 files pushed" in machine.command("push")
    assert sum(one.startswith("PUT") for one in hub.asked) == 2
    assert machine.pin.commit == hub.main != before
    assert len(hub.commits[hub.main]) == 5


def test_pull_brings_every_named_tensor_and_then_fetches_nothing(machine, hub, tmp_path):
    _pushed(machine)
    other = _clone(machine, tmp_path / "b", hub)
    assert "3 files fetched" in other.command("pull")
    assert other.tensors == machine.tensors
    hub.asked.clear()
    assert "0 files fetched" in other.command("pull")
    assert [one for one in hub.asked if "resolve" in one] == []
    assert "0 faults" in other.command("verify")


def test_pull_of_one_check_brings_its_tensor_alone(machine, hub, tmp_path):
    _pushed(machine)
    other = _clone(machine, tmp_path / "b", hub)
    assert "1 file fetched" in other.command("pull", "--check", "test_1::")
    (name,) = other.tensors
    assert other.tensors[name] == machine.tensors[name]
    assert "is or contains 'ascend'" in other.command("pull", "--key", "ascend", exit_code=2)


def test_broken_tensor_names_the_command_that_fetches_it_again(machine):
    _pushed(machine)
    name, data = min(machine.tensors.items())
    (machine.baselines / name).write_bytes(data[:-3])
    store, digest = Store(machine.baselines, root=machine.checkout), Digest(Path(name).stem)
    with pytest.raises(CorruptBaseline) as broken:
        store.tensor(digest)
    assert broken.value.next_step == f"rm baselines/{name} && pytest-repro pull"
    subprocess.run(["rm", f"baselines/{name}"], cwd=machine.checkout, check=True)
    assert "1 file fetched" in machine.command("pull")
    assert machine.tensors[name] == data

    store.pin_path.unlink()
    (machine.baselines / name).write_bytes(data[:-3])
    with pytest.raises(CorruptBaseline) as broken:
        store.tensor(digest)
    assert broken.value.next_step.startswith("git checkout -- ")


def test_moved_repository_is_named_and_nothing_is_uploaded(machine, hub):
    _pushed(machine)
    pinned = hub.main
    hub.main = hub.commit(hub.main, {"other": b"x"})
    machine.store(1, first=7)
    hub.asked.clear()
    printed = machine.command("push", exit_code=3)
    assert f"pinned {pinned}" in printed
    assert hub.main in printed
    assert "--onto-newest" in printed
    assert [one for one in hub.asked if not one.startswith("GET")] == []
    assert machine.pin.commit == pinned
    machine.command("push", "--onto-newest")
    assert machine.pin.commit == hub.main
    assert hub.commits[hub.main].items() >= {**machine.tensors, "other": b"x"}.items()


def test_push_at_the_same_time_is_a_conflict_and_pins_nothing(machine, hub):
    machine.store(3)
    hub.moves = True
    printed = machine.command("push", "--repository", REPOSITORY, exit_code=3)
    assert "another push came at the same time" in printed
    assert machine.pin is None
    machine.command("push", "--repository", REPOSITORY)
    assert hub.commits[hub.main].items() >= machine.tensors.items()


def test_without_write_access_it_makes_a_pull_request(machine, hub, tmp_path):
    hub.reads_only = True
    machine.store(3)
    printed = machine.command("push", "--repository", REPOSITORY)
    assert "discussions/1" in printed
    assert hub.main == FIRST
    assert hub.commits[machine.pin.commit] == machine.tensors
    other = _clone(machine, tmp_path / "b", hub)
    assert "3 files fetched" in other.command("pull")


def test_half_an_upload_pins_nothing_and_the_next_push_goes_on(machine, hub):
    machine.store(8)
    hub.uploads_left = 3
    machine.command("push", "--repository", REPOSITORY, exit_code=3)
    assert machine.pin is None
    assert hub.main == FIRST
    uploaded = set(hub.blobs)
    hub.uploads_left, hub.asked = None, []
    machine.command("push", "--repository", REPOSITORY)
    again = {one.removeprefix("PUT /lfs/") for one in hub.asked if one.startswith("PUT")}
    assert len(uploaded) == 3
    assert again & uploaded == set()
    assert hub.commits[hub.main] == machine.tensors


def test_commit_that_lacks_a_file_is_not_pinned(machine, hub):
    machine.store(3)
    lost = sorted(machine.tensors)[0]
    hub.ignored = {lost}
    printed = machine.command("push", "--repository", REPOSITORY, exit_code=3)
    assert lost in printed
    assert ".gitignore" in printed
    assert machine.pin is None


def test_broken_tensor_is_not_uploaded(machine, hub):
    machine.store(3)
    broken = machine.baselines / sorted(machine.tensors)[0]
    broken.write_bytes(broken.read_bytes()[:-1] + b"?")
    printed = machine.command("push", "--repository", REPOSITORY, exit_code=3)
    assert broken.name in printed
    assert hub.blobs == {}


def test_tensor_that_is_nowhere_is_named(machine, hub):
    machine.store(3)
    lost = sorted(machine.tensors)[0]
    (machine.baselines / lost).unlink()
    printed = machine.command("push", "--repository", REPOSITORY, exit_code=3)
    assert lost in printed
    assert machine.pin is None


def test_wrong_bytes_are_named_the_others_arrive_and_the_next_pull_repairs(machine, hub, tmp_path):
    _pushed(machine)
    other = _clone(machine, tmp_path / "b", hub)
    wrong = sorted(machine.tensors)[0]
    hub.wrong = {wrong}
    printed = other.command("pull", exit_code=3)
    assert wrong in printed
    assert other.tensors.keys() == machine.tensors.keys() - {wrong}
    hub.wrong = set()
    assert "1 file fetched" in other.command("pull")
    assert other.tensors == machine.tensors


def test_interrupted_pull_keeps_what_arrived_and_the_next_brings_the_rest(machine, hub, tmp_path):
    machine.store(12)
    machine.command("push", "--repository", REPOSITORY)
    other = _clone(machine, tmp_path / "b", hub)
    hub.breaks_after = 5
    other.command("pull", exit_code=3)
    assert 0 < len(other.tensors) < 12
    assert other.tensors.items() <= machine.tensors.items()
    hub.breaks_after, hub.asked = None, []
    other.command("pull")
    assert other.tensors == machine.tensors


def test_tensor_that_the_commit_lacks_is_named(machine, hub, tmp_path):
    _pushed(machine)
    machine.store(1, first=5)
    other = _clone(machine, tmp_path / "b", hub)
    printed = other.command("pull", exit_code=1)
    assert "3 files fetched" in printed
    (lost,) = machine.tensors.keys() - other.tensors.keys()
    assert lost in printed


def test_without_the_hub_is_one_clear_error(machine, hub, tmp_path):
    _pushed(machine)
    other = _clone(machine, tmp_path / "b", hub)
    other.endpoint = "http://127.0.0.1:9"
    printed = other.command("pull", exit_code=3, HF_HUB_OFFLINE="1")
    assert f"{REPOSITORY}@{hub.main}" in printed
    assert "HF_HUB_OFFLINE" in printed
    assert "Traceback" not in printed
    assert other.tensors == {}


def test_private_repository_takes_the_token_of_the_environment_alone(machine, hub, tmp_path):
    hub.is_private = True
    _pushed(machine)
    other = _clone(machine, tmp_path / "b", hub)
    login = tmp_path / "b" / "hub"
    login.mkdir()
    (login / "token").write_text(TOKEN)  # what `hf auth login` leaves
    printed = other.command("pull", exit_code=3, HF_TOKEN="")
    assert "HF_TOKEN" in printed
    assert other.tensors == {}
    assert "3 files fetched" in other.command("pull")


def test_thousand_tensors_are_one_commit(machine, hub, tmp_path):
    machine.store(1000)
    assert "1,000 files pushed" in machine.command("push", "--repository", REPOSITORY)
    assert len(hub.commits) == 2
    other = _clone(machine, tmp_path / "b", hub)
    assert "1,000 files fetched" in other.command("pull")
    assert other.tensors == machine.tensors


def test_gc_deletes_nothing_on_the_hub(machine, hub):
    _pushed(machine)
    shutil.rmtree(machine.baselines / KEY.hardware)
    hub.asked.clear()
    machine.command("gc", "--yes", "--older-than-s", "0")
    assert machine.tensors == {}
    assert hub.asked == []
    assert len(hub.commits[hub.main]) == 3


def test_story_of_two_machines(machine, hub, tmp_path):
    (machine.checkout / "test_it.py").write_text(_TEST)
    machine.pytest("--repro-update")
    machine.command("push", "--repository", REPOSITORY)
    other = _clone(machine, tmp_path / "b", hub)
    hub.asked.clear()
    assert "1 exact" in other.pytest()
    (other.checkout / "test_it.py").write_text(_TEST.replace("(64, 64))", "(64, 64)) * 1.5"))
    printed = other.pytest(exit_code=1)
    assert "the baseline's tensor is absent: statistics only" in printed
    passing = _TEST.replace("64)),", '64)) * (1 + 1e-6), tolerance={"rel_l2": 1e-2},')
    (other.checkout / "test_it.py").write_text(passing)
    assert "only statistics were compared; pytest-repro pull fetches it" in other.pytest()
    assert hub.asked == []  # no run uses the network by itself
    (other.checkout / "test_it.py").write_text(_TEST.replace("(64, 64))", "(64, 64)) * 1.5"))
    (line,) = re.findall(r"full values +pytest-repro (.*)", printed)
    other.command(*re.sub("'", "", line).split())
    printed = other.pytest(exit_code=1)
    assert re.search(r"worst abs +0\.4\d+ at", printed)
    assert "full values" not in printed


def test_run_that_pulls_fetches_before_the_first_test(machine, hub, tmp_path):
    (machine.checkout / "test_it.py").write_text(_TEST)
    machine.pytest("--repro-update")
    machine.command("push", "--repository", REPOSITORY)
    other = _clone(machine, tmp_path / "b", hub)
    (other.checkout / "test_it.py").write_text(_TEST.replace("(64, 64))", "(64, 64)) * 1.5"))
    printed = other.pytest("--repro-pull", exit_code=1)
    assert "worst abs" in printed
    assert "fetched from me/baselines" in printed
    other.endpoint = "http://127.0.0.1:9"
    shutil.rmtree(other.baselines / "tensors")
    shutil.rmtree(tmp_path / "b" / "hub")
    printed = other.pytest("--repro-pull", exit_code=4, HF_HUB_OFFLINE="1")
    assert "cannot list me/baselines" in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("repository: me\ncommit: " + "a" * 40, "owner/name"),
        ("repository: me/it\n", "40 hexadecimal"),
        ("repository: me/it\ncommit: main\n", "40 hexadecimal"),
        ("<<<<<<< ours\nrepository: me/it\n", "<<<<<<<"),
        (f"repository: me/it\ncommit: {'a' * 40}\ncommit: {'b' * 40}\n", "bbbb"),
        ("repository: [a, b]\n", "the line"),
        ("\udcff", "utf-8"),
    ],
)
def test_unusable_pin_is_refused_with_its_line(tmp_path, text, words):
    store = Store(tmp_path, root=tmp_path)
    store.pin_path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(Exception, match="repository of the tensors") as refused:
        read_pin(store)
    assert words in str(refused.value)
    assert "hub.yaml" in str(refused.value)


def test_pin_of_digits_alone_is_read_as_it_was_written(tmp_path):
    store, pin = Store(tmp_path, root=tmp_path), Pin("me/it", "1" * 40)
    write_pin(store, pin)
    assert read_pin(store) == pin


def test_manifest_that_names_another_path_fetches_nothing_of_it(machine, hub, tmp_path):
    _pushed(machine)
    other = _clone(machine, tmp_path / "b", hub)
    (manifest,) = other.baselines.rglob("test_ddim.yaml")
    text = manifest.read_text()
    digest = Path(sorted(machine.tensors)[0]).stem
    manifest.write_text(text.replace(digest, "../" * 4 + "x" * 52))
    other.run("pytest_repro.cli", "pull", exit_code=3)
    assert not any("x" * 52 in one for one in hub.asked)
