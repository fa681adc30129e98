"""How pytest was run, so printed paths and commands work in the same folder."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pytest_repro.model.ids import CheckId
from pytest_repro.settings import TABLE

_OF_ONE_RUN = frozenset({"--repro-update", "--repro-report", "--repro-summary"})
"""What the run writes; a printed command has its own."""
_WITH_VALUE = ("-c", "--config-file", "--rootdir", "-o", "--override-ini")


@dataclass(frozen=True, slots=True)
class Invocation:
    """Where pytest was run, and with which options.

    Attributes:
        folder: The working folder; ``""`` shows paths as they are stored.
        root: pytest's root folder, to which ids are relative.
        options: What a printed command repeats, so it finds the same key and baselines.
    """

    folder: str = ""
    root: str = ""
    options: tuple[str, ...] = ()

    def place(self, called_at: str) -> str:
        """A ``file:line`` relative to the folder where pytest was run."""
        path, _, line = called_at.rpartition(":")
        return f"{self._near(path)}:{line}"

    def pytest(self, check: CheckId, *options: str) -> str:
        """The command that runs the test of a check again."""
        full = os.path.join(self.root, check.module)  # noqa: PTH118  ids of any form
        module = self._near(full) if self.folder and os.path.exists(full) else check.module  # noqa: PTH110
        words = [_quoted(f"{module}::{check.test}"), *options, *map(shlex.quote, self.options)]
        return " ".join(["pytest", *words])

    def _near(self, path: str) -> str:
        if not self.folder or not os.path.isabs(path):  # noqa: PTH117
            return path
        try:
            return os.path.relpath(path, self.folder).replace(os.sep, "/")
        except ValueError:  # another drive
            return path


AS_STORED = Invocation()


def kept_options(arguments: Sequence[str]) -> tuple[str, ...]:
    """The options of a command line that decide the key and where the baselines are."""
    return tuple(_kept(arguments))


def _kept(arguments: Sequence[str]) -> Iterator[str]:
    takes_value = {*_WITH_VALUE, *(one.option for one in TABLE if not one.flag_values)}
    waiting = iter(arguments)
    for argument in waiting:
        name, equals, _ = argument.partition("=")
        is_ours = name.startswith("--repro-") or name in _WITH_VALUE
        value = [next(waiting, "")] if name in takes_value and not equals else []
        if is_ours and name not in _OF_ONE_RUN:
            yield from (argument, *value)


def _quoted(text: str) -> str:
    quoted = shlex.quote(text)
    return quoted if quoted != text else f"'{text}'"
