"""Runs one subcommand, and turns our errors into text and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pytest_repro.cli.app import COMMANDS
from pytest_repro.cli.context import Context
from pytest_repro.cli.output import Output
from pytest_repro.cli.parser import build_parser
from pytest_repro.errors import ReproError

_INTERRUPTED = 130
"""What shells give a command that Ctrl-C ended: 128 plus SIGINT."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is that of `core.errors.ExitCode`."""
    parser = build_parser(COMMANDS)
    try:
        parsed = parser.parse_args(arguments)
    except SystemExit as ended:  # argparse has written help or its own error
        return int(ended.code or 0)
    output = Output(sys.stdout, sys.stderr)
    try:
        return int(parsed.command.run(Context(parsed, output)))
    except ReproError as error:
        output.error(str(error))
        return int(error.exit_code)
    except KeyboardInterrupt:
        return _INTERRUPTED
    finally:
        output.close()
