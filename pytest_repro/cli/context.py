"""What a subcommand is, and what it is given to work with."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pytest_repro.cli.output import Output
from pytest_repro.cli.pytest_ini import find_root, ini_values
from pytest_repro.errors import UsageError
from pytest_repro.settings import TABLE
from pytest_repro.store.policy_file import load_policy
from pytest_repro.store.store import Store
from pytest_repro.tolerance.policy import Policy


@dataclass(frozen=True, slots=True)
class Example:
    """A command line that runs as it stands, and what it does."""

    line: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Context:
    """The parsed arguments of one call, and where its words go."""

    arguments: argparse.Namespace
    output: Output

    @property
    def root(self) -> Path:
        """The root folder of the tests: the one given, or the one that pytest would take here.

        Raises:
            UsageError: It is not a folder.
        """
        if not self.arguments.root:
            return find_root(Path.cwd())
        root = Path(self.arguments.root).absolute()
        if not root.is_dir():
            raise UsageError(f"--root: {root} is not a folder")
        return root

    def setting(self, name: str) -> str:
        """A setting of the runs: as given here, in pytest's ini file, or the default."""
        setting = next(one for one in TABLE if one.name == name)
        given = getattr(self.arguments, name, "") or ini_values(self.root).get(setting.ini_key, "")
        return str(given or setting.default)

    def store(self) -> Store:
        """The baselines that the arguments name.

        Raises:
            UsageError: There is no such folder: a misspelt one must not look empty and whole.
        """
        root = self.root
        folder = root / self.setting("baselines")
        if not folder.exists():
            raise UsageError(
                f"there is no folder {folder}",
                next_step="name it with --baselines and --root, or record: pytest --repro-update",
            )
        return Store(folder, root=root)

    def target(self) -> Store:
        """The same for a command that writes, which may be the first to do so."""
        return Store(self.root / self.setting("baselines"), root=self.root)

    def policy(self) -> Policy:
        """The tolerances that people decided on, beside these baselines.

        Raises:
            SettingError: The file is there and cannot be used.
        """
        store = self.store()
        path = store.folder / "policy.yaml"
        return load_policy(path, shown=store.shown(path))

    def text(self, name: str) -> str:
        """A text argument; ``""`` when it was not given."""
        return str(getattr(self.arguments, name) or "")

    def words(self, name: str) -> list[str]:
        """A text argument that may be given several times."""
        return [str(one) for one in getattr(self.arguments, name) or ()]

    def has(self, name: str) -> bool:
        """Whether a flag was given."""
        return bool(getattr(self.arguments, name))


@dataclass(frozen=True, slots=True)
class Command:
    """One subcommand: a row of `table.COMMANDS`.

    Attributes:
        name: The word that calls it.
        summary: One line for the list of commands.
        description: What it does and what its result means.
        add_arguments: Gives its arguments to its parser.
        run: Does it.
        examples: Three, which the help shows.
        exit_codes: What each exit code means here, besides usage errors (2).
    """

    name: str
    summary: str
    description: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[Context], int]
    examples: tuple[Example, ...]
    exit_codes: tuple[tuple[int, str], ...]
