"""What commands share: their help, their common options, and the place of the baselines."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from pytest_repro.cli.pytest_ini import find_root, ini_values
from pytest_repro.errors import ExitCode, UsageError
from pytest_repro.settings import TABLE
from pytest_repro.store.policy_file import load_policy
from pytest_repro.store.store import Store
from pytest_repro.tolerance.policy import Policy

Function = Callable[..., Any]
Codes = Sequence[tuple[int, str]]

UNREADABLE = (ExitCode.BASELINE, "a baseline cannot be read; pytest-repro verify names all")
DONE = ((ExitCode.OK, "done"), UNREADABLE)
DONE_OR_SHOWN = ((ExitCode.OK, "done, or shown"), UNREADABLE)
_WRONG = (ExitCode.USAGE, "the command line is wrong")


@dataclass(frozen=True, slots=True)
class Example:
    """A command line that can be pasted, and what it does."""

    line: str
    meaning: str


class Command(click.Command):
    """A command whose help ends with examples and exit codes.

    Args:
        examples: Three of them.
        exit_codes: What each exit code means here, besides usage errors (2).
        options: What click wants.
    """

    def __init__(
        self, *, examples: Sequence[Example] = (), exit_codes: Codes = (), **options: Any
    ) -> None:
        super().__init__(**options)
        self.examples = tuple(examples)
        self.exit_codes = tuple(exit_codes)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write both as they are: a wrapped example could not be pasted."""
        with formatter.section("Examples"):
            for example in self.examples:
                formatter.write(f"  {example.line}\n      {example.meaning}\n")
        with formatter.section("Exit codes"):
            formatter.write_dl(
                [(str(int(c)), text) for c, text in sorted({*self.exit_codes, _WRONG})]
            )


class Group(click.Group):
    """Lists its commands in the order in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


def command(
    name: str, *, examples: Sequence[Example], exit_codes: Codes = DONE
) -> Callable[[Function], Command]:
    """Make a command of a function; its docstring is the help, its first argument the `Output`."""

    def make(function: Function) -> Command:
        return click.command(name, cls=Command, examples=examples, exit_codes=exit_codes)(
            click.pass_obj(function)
        )

    return make


@dataclass(frozen=True, slots=True)
class Place:
    """Where the tests and their baselines are.

    Attributes:
        root_option, baselines_option: As given on the command line, or ``""``.
    """

    root_option: str = ""
    baselines_option: str = ""

    @property
    def root(self) -> Path:
        """The root folder of the tests: the one given, or the one that pytest would take here.

        Raises:
            UsageError: It is not a folder.
        """
        if not self.root_option:
            return find_root(Path.cwd())
        root = Path(self.root_option).absolute()
        if not root.is_dir():
            raise UsageError(f"--root: {root} is not a folder")
        return root

    def setting(self, name: str, given: str = "") -> str:
        """A setting of the runs: as given, in pytest's ini file, or the default."""
        setting = next(one for one in TABLE if one.name == name)
        return str(given or ini_values(self.root).get(setting.ini_key, "") or setting.default)

    def store(self) -> Store:
        """The baselines.

        Raises:
            UsageError: There is no such folder: a misspelt one must not look empty and whole.
        """
        store = self.target()
        if not store.folder.exists():
            raise UsageError(
                f"there is no folder {store.folder}",
                next_step="name it with --baselines and --root, or record: pytest --repro-update",
            )
        return store

    def target(self) -> Store:
        """The same for a command that writes, which may be the first to do so."""
        root = self.root
        return Store(root / self.setting("baselines", self.baselines_option), root=root)

    def policy(self) -> Policy:
        """The tolerances that people chose, in the folder of the baselines.

        Raises:
            SettingError: The file is there and cannot be used.
        """
        store = self.store()
        path = store.folder / "policy.yaml"
        return load_policy(path, shown=store.shown(path))


def setting_option(name: str) -> Callable[[Function], Function]:
    """The option of a command for a setting that the ini file may hold as well."""
    setting = next(one for one in TABLE if one.name == name)
    default = f"(default: {setting.ini_key} of pytest's ini file, or else {setting.default})"
    return click.option(
        f"--{name}",
        default="",
        metavar=setting.metavar,
        help=f"{setting.help} {default}",
    )


def root_option(function: Function) -> Function:
    """``--root DIR``."""
    return click.option(
        "--root",
        default="",
        metavar="DIR",
        help="Root folder of the tests (default: the nearest from here upwards with an ini file "
        "of pytest's, or else here).",
    )(function)


def with_place(function: Function) -> Function:
    """Add ``--root`` and ``--baselines``, and hand them over as the argument ``place``."""

    @root_option
    @setting_option("baselines")
    @functools.wraps(function)
    def run(*arguments: Any, root: str, baselines: str, **options: Any) -> Any:
        return function(*arguments, place=Place(root, baselines), **options)

    return run


def yes_option(verb: str) -> Callable[[Function], Function]:
    """``--yes``, without which a command shows what it would do."""
    return click.option("--yes", is_flag=True, help=f"{verb}; without it nothing changes.")


check_argument = click.argument("check", metavar="CHECK")
check_option = click.option(
    "--check",
    metavar="GLOB",
    default="*",
    help="Only checks that match; '*' matches anything, and a text without '*' every check that "
    "contains it.",
)
key_option = click.option(
    "--key",
    metavar="GLOB",
    default="*",
    help="Only keys that match, e.g. 'cpu-*/mindspore-2.10.0'; '*' matches anything, and a text "
    "without '*' every key that contains it.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON instead of tables.")
