"""What the commands cost in a store of 20,000 checks under 20 keys.

``python benchmarks/commands.py [--short]``
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from growth import ARRAY, fill, opened
from measure import ALONE
from page import GOALS, mark, table, write_section

from pytest_repro.tensors.record import make_record

_CHECK = "tests/test_1000.py::test_77::value"
_LIMITS_S = {
    ("list",): 5,
    ("matrix",): 5,
    ("history", _CHECK): 1,
    ("show", _CHECK): 1,
    ("policy", "explain", _CHECK): 1,
    ("verify",): 60,
    ("verify", "again"): 5,
}
_CORES = 2
_SETTLED_S = 3


def cpu_s(root: Path, words: tuple[str, ...]) -> float:
    """CPU seconds of one command and its processes."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest_repro.cli", *words],
        cwd=root,
        env={**os.environ, **ALONE, "PYTEST_REPRO_CACHE": str(root / "cache")},
        stdout=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(words)} gave {process.returncode}")
    return used.ru_utime + used.ru_stime


def main() -> None:
    checks, keys = (2000, 5) if "--short" in sys.argv else (20_000, 20)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        context = opened(root)
        fill(context, checks, keys)
        context.store.write_tensors([make_record(ARRAY)])
        time.sleep(_SETTLED_S)  # a file of this moment is not remembered
        cpu_s(root, ("--help",))  # compiles what is imported, as installing a package does
        rows = []
        for words, limit_s in _LIMITS_S.items():
            command = tuple(word for word in words if word != "again")
            shared = _CORES if words == ("verify",) else 1  # it divides its work
            shown = " ".join(words).replace(_CHECK, "of one check")
            rows.append((shown, *mark(cpu_s(root, command) / shared, limit_s)))
    head = ("command", *GOALS)
    lines = [
        f"{checks:,} checks under {keys} keys, in modules of 1,000; one tensor for all of them. "
        f"CPU seconds; the first `verify` is divided by its {_CORES} processes.",
        "",
        *table(head, rows),
    ]
    write_section("commands", "Commands at scale", lines)


if __name__ == "__main__":
    main()
