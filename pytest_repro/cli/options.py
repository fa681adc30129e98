"""What commands share: help, common options, the place of the baselines, folders of reports."""

from __future__ import annotations

import configparser
import functools
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from pytest_repro.analysis.sides import ReportSide, Side, StoreSide
from pytest_repro.checking.accept import open_observed
from pytest_repro.errors import ExitCode, StoreError, UsageError
from pytest_repro.model.outcome import Judged
from pytest_repro.report.document import ReadReport, read_report
from pytest_repro.report.tables import Column, Table, number_text
from pytest_repro.settings import TABLE
from pytest_repro.store.policy_file import load_policy
from pytest_repro.store.select import one_key, selects
from pytest_repro.store.store import Store
from pytest_repro.store.system import read_regular
from pytest_repro.tolerance.policy import Policy

if sys.version_info >= (3, 11):
    import tomllib
else:  # pytest brings it there
    import tomli as tomllib


_FILES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("pytest.toml", ("pytest",)),
    (".pytest.toml", ("pytest",)),
    ("pytest.ini", ("pytest",)),
    (".pytest.ini", ("pytest",)),
    ("pyproject.toml", ("tool", "pytest")),
    ("tox.ini", ("pytest",)),
    ("setup.cfg", ("tool:pytest",)),
)
"""In pytest's order, each with the section that makes it pytest's."""


def find_root(start: Path) -> Path:
    """The nearest folder at or above ``start`` with an ini file of pytest; else ``start``."""
    return next((one for one in (start, *start.parents) if _section(one) is not None), start)


def ini_values(root: Path) -> Mapping[str, str]:
    """The keys of the root folder's ini file, as text; empty without one."""
    return {str(key): str(value) for key, value in (_section(root) or {}).items()}


def _section(folder: Path) -> Mapping[str, Any] | None:
    for name, section in _FILES:
        path = folder / name
        if path.is_file():
            found = _read(path, section)
            if found is not None:
                return found
    return None


def _read(path: Path, section: tuple[str, ...]) -> Mapping[str, Any] | None:
    """The section; ``pytest.ini`` counts even without it; pytest reports unreadable files."""
    try:
        text = path.read_text(encoding="utf-8")
        found = _of_toml(text, section) if path.suffix == ".toml" else _of_ini(text, section[0])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, configparser.Error):
        return None
    return {} if found is None and "pytest" in path.name else found


def _of_toml(text: str, section: tuple[str, ...]) -> Mapping[str, Any] | None:
    table: Any = tomllib.loads(text)
    for name in section:
        table = table.get(name) if isinstance(table, dict) else None
    if not isinstance(table, dict):
        return None
    options = table.get("ini_options", {})
    return {**table, **options} if isinstance(options, dict) else table


def _of_ini(text: str, section: str) -> Mapping[str, Any] | None:
    parser = configparser.RawConfigParser()
    parser.read_string(text)
    return dict(parser[section]) if parser.has_section(section) else None


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


_REPORT = "report.json"


def read_folder(folder: Path) -> ReadReport:
    """The report in ``folder``.

    Raises:
        UsageError: There is none.
        BaselineError: It cannot be read, or was changed after the run.
    """
    path = folder / _REPORT
    if not os.path.lexists(path):
        raise UsageError(
            f"there is no report in {folder}",
            facts=(f"{path} is absent",),
            next_step="make one: pytest --repro-report DIR",
        )
    try:
        text = read_regular(path).decode("utf-8", "replace")
    except OSError as error:
        raise StoreError(
            "cannot read a report",
            facts=(error.strerror or str(error),),
            where=str(path),
            next_step="fetch the report again, or make it again: pytest --repro-report DIR",
        ) from error
    return read_report(text, where=str(path))


def side_of(place: Place, text: str, pattern: str) -> Side:
    """What ``text`` names as a side of a diff: a report folder, or else a key of the baselines.

    Raises:
        ReproError: It names neither, or what it names cannot be used.
    """
    folder = Path(text)
    if not os.path.lexists(folder / _REPORT):
        store = place.store()
        return StoreSide(store, one_key(store, text), pattern)
    report = read_folder(folder)
    if report.judged and not any(one.index for one in report.judged):
        raise UsageError(
            f"the report in {folder} holds no digests of its values",
            facts=(f"{report.tool} wrote it, before schema 2",),
            next_step="make it again: pytest --repro-report DIR",
        )
    observed = open_observed(folder, report.files)
    chosen = [one for one in report.judged if selects(pattern, one.check)]
    return ReportSide(str(folder), chosen, observed, place.target())


def judged_checks(folder: Path, glob: str, key: str, verdicts: Sequence[str]) -> tuple[Judged, ...]:
    """The checks of a report, by glob, key and verdict (all of them where none is named)."""
    return tuple(
        one
        for one in read_folder(folder).judged
        if selects(glob, one.check)
        and selects(key, one.key)
        and (not verdicts or str(one.verdict) in verdicts)
    )


def judged_table(judged: Sequence[Judged]) -> Table:
    """A row a check: how it was judged, and against what."""
    columns = (
        *map(Column, ("check", "verdict", "cause", "reference")),
        Column("used", right=True),
    )
    rows = tuple(
        (
            one.check,
            str(one.verdict),
            one.cause or "-",
            f"{one.distance}: {one.reference}" if one.reference else "-",
            number_text(one.share) if one.share else "-",
        )
        for one in judged
    )
    return Table(columns, rows)
