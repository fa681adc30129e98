"""A suite that is updated while something goes wrong, and a look at what is left of it."""

from __future__ import annotations

import filecmp
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_repro.model.ids import Digest, IndexEntry
from pytest_repro.store.store import Store

SUITE = """
import os
import numpy as np
import pytest

OFFSET = float(os.environ.get("TORTURE_OFFSET", "0"))

@pytest.mark.parametrize("number", range({checks}))
def test_value(repro_check, number):
    repro_check(np.full({elements}, OFFSET + number, dtype=np.float32))
"""
# Python tells an audit hook of every file that is opened for writing, made, renamed or removed, and
# what the hook raises takes the place of the operation.
# Root may write anywhere by one capability, which a user's run does not have.
_AS_A_USER = ("setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner")
FAULT = """
import errno, os, signal, sys

AT = int(os.environ.get("TORTURE_AT", "0"))
HOW = os.environ.get("TORTURE_HOW", "")
WRITING = os.O_WRONLY | os.O_RDWR
seen = 0
inside = False

def concerns(event, arguments):
    if not arguments or "baselines" not in os.fsdecode(arguments[0] or "") :
        return False
    if event == "open":
        return bool(arguments[2] & WRITING)
    return event in ("os.rename", "os.mkdir", "os.chmod")

def lose_permission(folder):
    global inside
    inside = True
    for path, _, _ in os.walk(folder):
        os.chmod(path, 0o500)
    inside = False

def fault(event, arguments):
    global seen
    if inside or not (event == "open" or event.startswith("os.")):
        return
    if not isinstance((arguments or (None,))[0], (str, bytes)) or not concerns(event, arguments):
        return
    seen += 1
    if HOW == "count":
        with open(os.environ["TORTURE_COUNT"], "w") as file:
            file.write(str(seen))
    if HOW == "kill" and seen == AT:
        os.kill(os.getpid(), signal.SIGKILL)
    if HOW == "permission" and seen == AT:
        lose_permission("baselines")
    if HOW.startswith("E") and seen >= AT:
        number = getattr(errno, HOW)
        raise OSError(number, os.strerror(number), arguments[0])

if HOW:
    sys.addaudithook(fault)
if os.environ.get("TORTURE_CLOCK"):
    import datetime
    import pytest_repro.checking.context as run

    class Backwards(datetime.datetime):
        now_s = 2_000_000_000

        @classmethod
        def now(cls, tz=None):
            cls.now_s -= 86_400
            return cls.fromtimestamp(cls.now_s, tz)

    run.datetime = Backwards
"""


@dataclass(frozen=True)
class Ended:
    """One run: exit code (negative: the signal), and what it said."""

    code: int
    text: str


class Suite:
    """The suite, with old values recorded and the new ones known.

    Attributes:
        name: What tables call it.
        old, new: Digests of every entry, before the update and as an undisturbed one makes them.
        took_s: How long the undisturbed update ran.
        steps: How many files an undisturbed update opens for writing, makes, renames.
    """

    name = ""

    def __init__(self, folder: Path, *, checks: int, elements: int) -> None:
        self.folder = folder
        self.baselines = folder / "baselines"
        self._kept = folder.with_name(f"{folder.name}-old")
        folder.mkdir(parents=True)
        suite = SUITE.format(checks=checks, elements=elements)
        (folder / "test_suite.py").write_text(suite, encoding="utf-8")
        (folder / "conftest.py").write_text(textwrap.dedent(FAULT), encoding="utf-8")
        ini = "[pytest]\nrepro_framework = numpy\n"
        (folder / "pytest.ini").write_text(ini, encoding="utf-8")
        self._must(self.run("--repro-update", offset=0))
        shutil.copytree(self.baselines, self._kept)
        self.old = self.entries()
        began = time.monotonic()
        count = folder / "count"
        self._must(self.update(how="count", variables={"TORTURE_COUNT": str(count)}))
        self.took_s = time.monotonic() - began
        self.steps = int(count.read_text())
        self.new = self.entries()
        assert len(self.old) == checks
        assert all(self.old[name] != self.new[name] for name in self.old)

    def reset(self) -> None:
        """Put the old baselines back."""
        for path in sorted(self.baselines.rglob("*"), reverse=True):
            kept = self._kept / path.relative_to(self.baselines)
            if path.is_dir():
                path.chmod(0o755)
                if not kept.is_dir():
                    path.rmdir()
            elif not kept.is_file() or not filecmp.cmp(path, kept):
                path.unlink()
        for kept in self._kept.rglob("*"):
            path = self.baselines / kept.relative_to(self._kept)
            if kept.is_dir():
                path.mkdir(exist_ok=True)
            elif not path.exists():
                shutil.copy2(kept, path)

    def run(
        self, *arguments: str, offset: int, variables: Mapping[str, str] | None = None
    ) -> Ended:
        """One whole run of pytest."""
        process = self.start(*arguments, offset=offset, variables=variables)
        text, _ = process.communicate(timeout=600)
        return Ended(process.returncode, text)

    def update(
        self,
        *arguments: str,
        how: str = "",
        at: int = 0,
        variables: Mapping[str, str] | None = None,
    ) -> Ended:
        """Update to the new values while step ``at`` goes wrong in the way ``how``."""
        fault = {"TORTURE_HOW": how, "TORTURE_AT": str(at), **(variables or {})}
        return self.run("--repro-update", *arguments, offset=100, variables=fault)

    def start(
        self, *arguments: str, offset: int, variables: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start pytest in a process group of its own."""
        as_a_user = _AS_A_USER if os.geteuid() == 0 and shutil.which("setpriv") else ()
        command = [
            *as_a_user,
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "xdist",
        ]
        command += ["-p", "pytest_repro.plugin", *arguments]
        alone = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "TORTURE_OFFSET": str(offset)}
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env={**os.environ, **alone, **(variables or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def kill_after(self, delay_s: float, *arguments: str) -> bool:
        """Start an update and kill all of its processes; whether it still ran."""
        process = self.start("--repro-update", *arguments, offset=100)
        try:
            process.communicate(timeout=delay_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return True
        return False

    def entries(self) -> dict[str, IndexEntry]:
        """Every entry, from manifests that can be read whole and with tensors that can.

        Raises:
            ReproError: Something cannot be read.
            AssertionError: A tensor that an entry names is not there.
        """
        store = Store(self.baselines, root=self.folder)
        found: dict[str, IndexEntry] = {}
        for key in store.keys():  # noqa: SIM118  not a dict
            for module in store.modules(key):
                index = store.index(key, module)
                for one in store.manifest(key, module):
                    assert one.index == index[one.check.entry]
                    for summary in one.tensors:
                        record = store.tensor(Digest(summary.digest))
                        assert record is not None, f"{one.check} names a tensor that is not there"
                    found[one.check.entry] = one.index
        return found

    def half_done(self) -> dict[str, IndexEntry]:
        """The entries, each of which must be the old or the new one; gives the new ones."""
        left = self.entries()
        assert set(left) == set(self.old)
        for name, entry in left.items():
            assert entry in (self.old[name], self.new[name]), name
        return {name: entry for name, entry in left.items() if entry == self.new[name]}

    def goes_on(self) -> None:
        """The next update and the check after it need no repair."""
        self._must(self.update())
        assert self.entries() == self.new
        self._must(self.run(offset=100))

    @staticmethod
    def _must(ended: Ended) -> None:
        assert ended.code == 0, ended.text[-3000:]
