"""Builds the argument parser from the table of commands."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pytest_repro.cli.context import Command
from pytest_repro.errors import ExitCode

_PROGRAM = "pytest-repro"
_DESCRIPTION = (
    "Look at, compare and look after the baselines of pytest-repro.\n"
    "Recording and checking is pytest's work: pytest --repro-update, then pytest."
)


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the line breaks of descriptions; the options' column stands still."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=24)

    def add_argument(self, action: argparse.Action) -> None:
        super().add_argument(action)
        # Until Python 3.13 the indent of subcommands was not counted, and their column broke.
        indent = self._current_indent + self._indent_increment
        for one in self._iter_indented_subactions(action):
            length = len(self._format_action_invocation(one)) + indent
            self._action_max_length = max(self._action_max_length, length)


def build_parser(commands: Sequence[Command]) -> argparse.ArgumentParser:
    """The parser of the whole command line; sets ``command`` to the `Command` that was called.

    A name of two words, such as ``policy explain``, stands below a command of the first word.
    """
    parser = _parser(argparse.ArgumentParser, prog=_PROGRAM, description=_DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"{_PROGRAM} {_own_version()}")
    top = _subparsers(parser)
    groups: dict[str, Any] = {}
    for command in commands:
        group, _, name = command.name.rpartition(" ")
        if group and group not in groups:
            about = " or ".join(one.name for one in commands if one.name.startswith(f"{group} "))
            text = f"{group.capitalize()}: {about}."
            groups[group] = _subparsers(_parser(top.add_parser, group, help=text, description=text))
        _add_command(groups[group] if group else top, name, command)
    return parser


def _subparsers(parser: argparse.ArgumentParser) -> Any:
    return parser.add_subparsers(
        metavar="COMMAND", required=True, title="commands", parser_class=argparse.ArgumentParser
    )


def _add_command(parsers: Any, name: str, command: Command) -> None:
    parser = _parser(
        parsers.add_parser,
        name,
        help=command.summary,
        description=command.description,
        epilog=_epilog(command),
    )
    command.add_arguments(parser)
    parser.set_defaults(command=command)


def _parser(make: Any, *names: str, **options: Any) -> argparse.ArgumentParser:
    # Python 3.14 colours help by default; ours is the same text everywhere.
    if "color" in inspect.signature(argparse.ArgumentParser).parameters:
        options["color"] = False
    made: argparse.ArgumentParser = make(
        *names, formatter_class=_Formatter, allow_abbrev=False, **options
    )
    return made


def _epilog(command: Command) -> str:
    lines = ["examples:"]
    for example in command.examples:
        lines += [f"  {example.line}", f"      {example.meaning}"]
    lines += ["", "exit codes:"]
    codes = (*command.exit_codes, (ExitCode.USAGE, "the command line is wrong"))
    lines += [f"  {int(code)}  {meaning}" for code, meaning in sorted(codes)]
    return "\n".join(lines)


def _own_version() -> str:
    try:
        return version("pytest-repro")
    except PackageNotFoundError:
        return "unknown"
