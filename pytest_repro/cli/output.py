"""Writes to the terminal or the pipe; rich where it is installed and a person looks."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import TextIO, TypeVar

from pytest_repro.errors import printable
from pytest_repro.report.tables import Table, plain_table, rich_table

_Item = TypeVar("_Item")


class Output:
    """Where a command's words go.

    A reader that goes away (``| head``) ends the writing and not the command, whose exit code
    still says what it found.

    Args:
        out: Results.
        err: Errors and progress.
    """

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self._out = out
        self._err = err
        self._is_broken = False
        has_rich = find_spec("rich") is not None and "NO_COLOR" not in os.environ
        self._is_rich = has_rich and out.isatty()
        self._shows_progress = has_rich and err.isatty()

    def line(self, text: str = "") -> None:
        """Write one or more lines; control characters become escapes."""
        self._write(printable(text))

    def _write(self, text: str) -> None:
        if self._is_broken:
            return
        encoding = self._out.encoding or "ascii"
        try:
            self._out.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        except BrokenPipeError:
            self._give_up()

    def table(self, table: Table) -> None:
        """Write a table; nothing where it has no rows."""
        if not table.rows:
            return
        if self._is_rich:
            self._write(rich_table(table, width=shutil.get_terminal_size().columns))
        else:
            self.line(plain_table(table))

    def error(self, text: str) -> None:
        """Write to the error stream."""
        with contextlib.suppress(BrokenPipeError):
            self._err.write(printable(text) + "\n")

    def track(self, items: Iterable[_Item], label: str) -> Iterable[_Item]:
        """The same items; on a terminal a bar shows how far they have come."""
        return self._tracked(items, label) if self._shows_progress else items

    def _tracked(self, items: Iterable[_Item], label: str) -> Iterator[_Item]:
        from rich.console import Console
        from rich.progress import track

        yield from track(
            list(items), description=label, console=Console(file=self._err), transient=True
        )

    def close(self) -> None:
        """Hand over what is buffered."""
        try:
            self._out.flush()
        except BrokenPipeError:
            self._give_up()

    def _give_up(self) -> None:
        self._is_broken = True
        # The interpreter flushes stdout once more when it ends; that must not complain either.
        with contextlib.suppress(OSError, ValueError):
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, self._out.fileno())
            os.close(quiet)
