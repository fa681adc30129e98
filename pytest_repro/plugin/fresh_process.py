"""Runs a function in a fresh Python with the start conditions of this one."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from json import dumps
from pathlib import Path
from typing import Any

_TAIL_LINES = 8
_TAIL_BYTES = 1 << 14
_START = (
    # -c puts the folder it is called in first, from which nothing may be imported yet.
    "import sys; del sys.path[0]; import importlib, json, pathlib; "
    "job = json.loads(pathlib.Path(sys.argv[1]).read_text(encoding='utf-8')); "
    "sys.path[:], sys.argv[:] = job['path'], job['argv']; "
    "module, function = job['target']; "
    "sys.exit(getattr(importlib.import_module(module), function)(job))"
)


@dataclass(frozen=True, slots=True)
class Origin:
    """The state of a process before tests change it.

    Attributes:
        folder: The working folder.
        environment: The variables.
    """

    folder: Path
    environment: Mapping[str, str]

    @classmethod
    def now(cls, folder: Path) -> Origin:
        """This process as it is now."""
        return cls(folder, dict(os.environ))


@dataclass(frozen=True, slots=True)
class Ended:
    """How a fresh process ended.

    Attributes:
        how: In words, ``ended with exit code 1``.
        said: The last lines of its output.
    """

    how: str
    said: tuple[str, ...]


def run_in_fresh_process(
    target: tuple[str, str],
    job: Mapping[str, Any],
    folder: Path,
    *,
    origin: Origin,
    limit_s: float,
) -> Ended:
    """Call ``target(job)`` in a fresh Python of the same kind and wait for its end.

    It is stopped after ``limit_s`` seconds, when this call is interrupted, and when this process
    dies. ``target`` is a module and a function that returns the exit code; ``job`` is JSON, to
    which ``path``, ``argv`` and ``target`` are added; ``folder`` gets ``job.json`` and ``output``.

    Raises:
        OSError: No process can be started.
    """
    full = {**job, "path": sys.path, "argv": sys.argv, "target": target}
    (folder / "job.json").write_text(dumps(full), encoding="utf-8")
    output = folder / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, *_flags(), "-c", _START, str(folder / "job.json")],
            cwd=origin.folder,
            env=dict(origin.environment),
            stdin=subprocess.PIPE,  # held open: its end tells the process that we are gone
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        with _stopped_afterwards(process):
            try:
                code = process.wait(limit_s)
            except subprocess.TimeoutExpired:
                return Ended(f"had not ended after {limit_s:.0f} s and was stopped", _tail(output))
    return Ended(_how(code), _tail(output))


@contextlib.contextmanager
def _stopped_afterwards(process: subprocess.Popen[bytes]) -> Any:
    try:
        yield
    finally:
        process.kill()
        process.wait()
        assert process.stdin is not None
        process.stdin.close()


def _flags() -> list[str]:
    """Flags of the interpreter that no variable carries over."""
    flags = ["-O"] * sys.flags.optimize + ["-B"] * sys.flags.dont_write_bytecode
    return [*flags, *(["-s"] if sys.flags.no_user_site else [])]


def _how(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    with contextlib.suppress(ValueError):
        return f"was ended by {signal.Signals(-code).name}"
    return f"was ended by signal {-code}"


def _tail(path: Path) -> tuple[str, ...]:
    data = path.read_bytes()[-_TAIL_BYTES:]
    lines = data.decode("utf-8", "replace").splitlines()
    return tuple(line.rstrip() for line in lines if line.strip())[-_TAIL_LINES:]


def end_with_parent() -> None:
    """In the fresh process: end when the parent process ends; tests get no stdin."""
    pipe = os.dup(0)
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)

    def wait() -> None:
        with contextlib.suppress(OSError):
            os.read(pipe, 1)
        os._exit(1)

    threading.Thread(target=wait, name="pytest-repro-parent", daemon=True).start()
