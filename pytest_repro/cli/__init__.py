"""The command ``pytest-repro``: words in, text and an exit code out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec

_NO_CLICK = "pytest-repro: the package click is not installed\n  next   pip install 'click>=8.4'\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is that of `errors.ExitCode`."""
    if find_spec("click") is None:
        sys.stderr.write(_NO_CLICK)
        return 2
    from pytest_repro.cli.app import run

    return run(sys.argv[1:] if arguments is None else arguments)
