"""The command line: which commands there are, and how a call of one ends."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import cast

import click
from click.shell_completion import ShellComplete, get_completion_class

from pytest_repro.cli.keep import (
    accept_,
    gc,
    merge_,
    migrate_,
    policy_check,
    policy_explain,
    prune_,
    rename_,
    verify_,
)
from pytest_repro.cli.look import diff, history, list_, matrix, sensitivity, show
from pytest_repro.cli.machine import doctor, env, kernels
from pytest_repro.cli.options import DONE, Example, Group, command
from pytest_repro.cli.output import Output
from pytest_repro.cli.remote import pull_, push_
from pytest_repro.errors import ExitCode, ReproError

PROGRAM = "pytest-repro"
COMPLETE = "_PYTEST_REPRO_COMPLETE"
"""The variable with which a completion script asks the command for words."""

_INTERRUPTED = 130
"""What shells report for a command that Ctrl-C ended: 128 plus SIGINT."""


def _version() -> str:
    try:
        return version("pytest-repro")
    except PackageNotFoundError:
        return "unknown"


@click.group(PROGRAM, cls=Group)
@click.version_option(_version(), prog_name=PROGRAM, message="%(prog)s %(version)s")
def app() -> None:
    """Inspect, compare and maintain the baselines of pytest-repro.

    Recording and checking is pytest's work: pytest --repro-update, then pytest.
    """


@click.group("policy", cls=Group)
def policy() -> None:
    """Explain or check the rules of policy.yaml."""


@command(
    "completion",
    examples=(
        Example('eval "$(pytest-repro completion bash)"', "Complete in this bash."),
        Example("pytest-repro completion zsh > ~/.pytest-repro.zsh", "Keep it for zsh."),
        Example("pytest-repro completion fish | source", "Complete in this fish."),
    ),
    exit_codes=DONE[:1],
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(out: Output, shell: str) -> ExitCode:
    """Print a completion script for a shell."""
    kind = cast("type[ShellComplete]", get_completion_class(shell))
    out.line(kind(app, {}, PROGRAM, COMPLETE).source())
    return ExitCode.OK


_COMMANDS: tuple[click.Command, ...] = (
    doctor,
    env,
    list_,
    show,
    diff,
    matrix,
    history,
    sensitivity,
    kernels,
    policy,
    verify_,
    accept_,
    merge_,
    rename_,
    migrate_,
    prune_,
    gc,
    push_,
    pull_,
    completion,
)
policy.add_command(policy_explain)
policy.add_command(policy_check)
for _one in _COMMANDS:
    app.add_command(_one)


def run(arguments: Sequence[str]) -> int:
    """Run one command, and turn our errors into text and an exit code."""
    output = Output(sys.stdout, sys.stderr)
    try:
        ended = app.main(
            list(arguments),
            prog_name=PROGRAM,
            complete_var=COMPLETE,
            standalone_mode=False,
            obj=output,
        )
        return int(ended or 0)
    except click.Abort:
        return _INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ReproError as error:
        output.error(str(error))
        return int(error.exit_code)
    finally:
        output.close()
