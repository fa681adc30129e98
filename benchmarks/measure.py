"""Runs pytest in processes of their own, variants side by side, and gives medians of their cost.

CPU time (user and system, of the process and its children) is what ratios are made of: on a shared
machine wall time says more about the neighbours than about the code.
"""

from __future__ import annotations

import atexit
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ALONE", "REPRO", "Cost", "Variant", "run_pytest", "side_by_side"]

ALONE = {
    # Only the plugins that are named: others would hide the difference.
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # Compiled code is kept, as that of an installed package is, and not in the checkout.
    "PYTHONDONTWRITEBYTECODE": "",
    "PYTHONPYCACHEPREFIX": str(Path(tempfile.gettempdir()) / f"benchmark-bytecode-{os.getpid()}"),
}
atexit.register(shutil.rmtree, ALONE["PYTHONPYCACHEPREFIX"], ignore_errors=True)
REPRO = ("-p", "pytest_repro.plugin")


@dataclass(frozen=True, slots=True)
class Cost:
    """What one process used.

    Attributes:
        cpu_s: User and system time in seconds.
        wall_s: Elapsed seconds.
        written_bytes: Size of the files below the project's temporary folder afterwards.
        peak_bytes: Most memory it held.
    """

    cpu_s: float
    wall_s: float
    written_bytes: int = 0
    peak_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Variant:
    """One way of running a project: its name, the folder, pytest's arguments."""

    name: str
    folder: Path
    arguments: tuple[str, ...]


def run_pytest(
    folder: Path, arguments: Sequence[str], exit_code: int = 0, prefix: Sequence[str] = ()
) -> Cost:
    """Run pytest below ``folder`` and demand that everything passes, or another exit code.

    Args:
        folder: Where it runs.
        arguments: pytest's.
        exit_code: What it must return.
        prefix: Words before the command, such as ``env NAME=VALUE``.

    Raises:
        RuntimeError: pytest returned something else; its last lines are in the message.
    """
    temporary = folder / "tmp"
    command = [*prefix, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += ["--basetemp", str(temporary), *arguments]
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, **ALONE},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    text = process.stdout.read().decode(errors="replace")
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall_s = time.perf_counter() - began
    if process.returncode != exit_code:
        raise RuntimeError(f"{' '.join(command)} gave {process.returncode}\n{text[-3000:]}")
    cpu_s = used.ru_utime + used.ru_stime
    return Cost(cpu_s, wall_s, _size_of(temporary), used.ru_maxrss * 1024)


def _size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def side_by_side(
    variants: Sequence[Variant],
    rounds: int,
    run: Callable[[Path, Sequence[str]], Cost] = run_pytest,
) -> Mapping[str, Cost]:
    """The median cost of every variant; each round runs all of them in a new order.

    A run of each that is not counted comes first and compiles what is imported.
    """
    for variant in variants:
        run(variant.folder, variant.arguments)
    order = random.Random(0)
    seen: dict[str, list[Cost]] = {variant.name: [] for variant in variants}
    for _ in range(rounds):
        for variant in order.sample(list(variants), len(variants)):
            seen[variant.name].append(run(variant.folder, variant.arguments))
    return {name: _median(costs) for name, costs in seen.items()}


def _median(costs: Sequence[Cost]) -> Cost:
    return Cost(
        statistics.median(cost.cpu_s for cost in costs),
        statistics.median(cost.wall_s for cost in costs),
        max(cost.written_bytes for cost in costs),
        max(cost.peak_bytes for cost in costs),
    )
