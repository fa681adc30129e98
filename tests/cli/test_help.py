"""Every help text is the one that was reviewed; its examples and exit codes are real.

After a change that is meant: ``python -m tests.cli.test_help`` writes the texts anew.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
from pathlib import Path

import pytest

from pytest_repro.cli import main
from pytest_repro.cli.app import COMMANDS
from pytest_repro.cli.parser import build_parser
from pytest_repro.errors import ExitCode

GOLDEN = Path(__file__).parent / "golden"
NAMES = ["", "policy", *(command.name for command in COMMANDS)]


def _file(name: str) -> Path:
    return GOLDEN / f"{name.replace(' ', '-') or 'pytest-repro'}.txt"


def _help(name: str) -> str:
    parser = build_parser(COMMANDS)
    for word in name.split():
        (subparsers,) = (
            action for action in parser._actions if isinstance(action, argparse._SubParsersAction)
        )
        parser = subparsers.choices[word]
    return parser.format_help()


@pytest.mark.parametrize("name", NAMES)
def test_help_is_the_reviewed_text(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    assert _help(name) == _file(name).read_text(encoding="utf-8")


def test_no_reviewed_text_is_left_over():
    assert sorted(GOLDEN.glob("*.txt")) == sorted(_file(name) for name in NAMES)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_each_command_has_three_examples_that_parse_to_itself(command):
    assert len(command.examples) == 3
    for example in command.examples:
        line = re.search(r"pytest-repro (.*?)(?: > .*| \| .*|\)\"|$)", example.line)
        assert line is not None
        parsed = build_parser(COMMANDS).parse_args(shlex.split(line[1]))
        assert parsed.command is command


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_exit_codes_are_in_the_help(command):
    text = _help(command.name)
    for code in (*(code for code, _ in command.exit_codes), ExitCode.USAGE):
        assert re.search(rf"^  {int(code)}  ", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "code"), [(["--help"], 0), (["--version"], 0), ([], 2), (["nope"], 2)]
)
def test_the_parser_ends_with_a_code_and_not_with_an_exception(arguments, code, capsys):
    assert main(arguments) == code
    captured = capsys.readouterr()
    assert (captured.err if code else captured.out).startswith(("usage:", "pytest-repro "))


def test_options_are_never_abbreviated(capsys):
    assert main(["list", "--js"]) == 2
    assert "unrecognized arguments: --js" in capsys.readouterr().err


if __name__ == "__main__":
    os.environ["COLUMNS"] = "100"
    for one in NAMES:
        _file(one).write_text(_help(one), encoding="utf-8")
