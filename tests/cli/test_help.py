"""Help, suggestions and completion: what a person meets before a command does anything."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys

import click
import pytest
from click.shell_completion import ShellComplete

from pytest_repro.cli import main
from pytest_repro.cli.app import COMPLETE, app
from pytest_repro.errors import ExitCode


def commands(group=app, before=()):
    for name, one in group.commands.items():
        if isinstance(one, click.Group):
            yield from commands(one, (*before, name))
        else:
            yield (*before, name), one


COMMANDS = [pytest.param(words, one, id=" ".join(words)) for words, one in commands()]


@pytest.mark.parametrize(("words", "command"), COMMANDS)
def test_help_shows_every_option_the_examples_and_the_exit_codes(words, command, capsys):
    assert main([*words, "--help"]) == 0
    shown = capsys.readouterr().out
    for one in command.params:
        if isinstance(one, click.Option):
            assert one.opts[0] in shown
            assert one.help
        else:
            assert one.make_metavar(click.Context(command)).strip("[]") in shown
    for example in command.examples:
        assert f"  {example.line}\n      {example.meaning}\n" in shown
    for code in (*(code for code, _ in command.exit_codes), ExitCode.USAGE):
        assert re.search(rf"^  {int(code)}  ", shown, re.MULTILINE)


@pytest.mark.parametrize(("words", "command"), COMMANDS)
def test_the_list_of_commands_shows_a_whole_sentence(words, command):
    assert command.get_short_help_str(60).endswith(".")
    assert "..." not in command.get_short_help_str(60)


@pytest.mark.parametrize(("words", "command"), COMMANDS)
def test_each_command_has_three_examples_that_parse_to_itself(words, command):
    assert len(command.examples) == 3
    for example in command.examples:
        line = re.search(r"pytest-repro (.*?)(?: > .*| \| .*|\)\"|$)", example.line)
        assert line is not None
        given = shlex.split(line[1])
        assert tuple(given[: len(words)]) == words
        command.make_context("", given[len(words) :])


def test_an_example_with_an_unknown_option_would_be_found():
    with pytest.raises(click.UsageError):
        app.commands["list"].make_context("", ["--nope"])


@pytest.mark.parametrize(
    ("arguments", "code", "shown"),
    [
        (["--help"], 0, "Usage: pytest-repro"),
        (["--version"], 0, "pytest-repro "),
        ([], 2, "Commands:"),
        (["policy"], 2, "Commands:"),
        (["lits"], 2, "Did you mean 'list'?"),
        (["policy", "explian", "x"], 2, "Did you mean 'explain'?"),
        (["list", "--jsn"], 2, "Did you mean '--json'?"),
        (["list", "--js"], 2, "No such option '--js'"),
        (["list", "--verdict", "drfit"], 2, "'drift'"),
        (["show"], 2, "Missing argument 'CHECK'"),
    ],
)
def test_the_command_line_ends_with_a_code_and_a_hint(arguments, code, shown, capsys):
    assert main(arguments) == code
    captured = capsys.readouterr()
    assert shown in (captured.err if code else captured.out)


def test_without_click_the_command_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr("pytest_repro.cli.find_spec", lambda name: None)
    assert main(["list"]) == 2
    assert "pip install 'click>=8.4'" in capsys.readouterr().err


def offered(*words):
    *before, last = words
    made = ShellComplete(app, {}, "pytest-repro", COMPLETE)
    return [one.value for one in made.get_completions(list(before), last)]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("ma",), ["matrix"]),
        (("policy", "e"), ["explain"]),
        (("policy", "check", "--j"), ["--json"]),
        (("matrix", "--check", "x", "--h"), ["--html", "--help"]),
        (("completion", "z"), ["zsh"]),
        (("list", "--verdict", "dri"), ["drift"]),
    ],
)
def test_completion_knows_commands_options_and_choices(words, wanted):
    assert offered(*words) == wanted


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_accepted_by_its_shell(shell, capsys):
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert COMPLETE in script
    done = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_bash_asks_the_command_for_words():
    done = subprocess.run(
        [sys.executable, "-m", "pytest_repro.cli"],
        env={
            **os.environ,
            COMPLETE: "bash_complete",
            "COMP_WORDS": "pytest-repro sens",
            "COMP_CWORD": "1",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["plain,sensitivity"]
