"""Writes to the terminal or a pipe, with control characters escaped."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from typing import TextIO, TypeVar

import click

from pytest_repro.errors import printable
from pytest_repro.report.tables import Table, fitted, plain_table

_Item = TypeVar("_Item")


class Output:
    """The output of a command.

    Control characters become escapes. If the reader ends (``| head``), writing stops but not the
    command: its exit code still says what it found.

    Args:
        out: Results.
        err: Errors, questions and progress.
    """

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self._out = out
        self._err = err
        self._is_broken = False

    def line(self, text: str = "") -> None:
        """Write one or more lines."""
        if self._is_broken:
            return
        encoding = self._out.encoding or "ascii"
        shown = printable(text).encode(encoding, "backslashreplace").decode(encoding)
        try:
            self._out.write(shown + "\n")
        except BrokenPipeError:
            self._give_up()

    def table(self, table: Table) -> None:
        """Write a table, cut to the width of a terminal; nothing where it has no rows."""
        if not table.rows:
            return
        if self._out.isatty():
            table = fitted(table, shutil.get_terminal_size().columns)
        self.line(plain_table(table))

    def error(self, text: str) -> None:
        """Write a line to the error stream."""
        self.ask(text + "\n")

    def ask(self, text: str) -> None:
        """Write to the error stream, without an end of line."""
        with contextlib.suppress(BrokenPipeError):
            self._err.write(printable(text))
            self._err.flush()

    def track(self, items: Iterable[_Item], label: str) -> Iterable[_Item]:
        """The same items; on a terminal a bar shows progress."""
        return self._tracked(items, label) if self._err.isatty() else items

    def _tracked(self, items: Iterable[_Item], label: str) -> Iterator[_Item]:
        with click.progressbar(list(items), label=label, file=self._err) as bar:
            yield from bar

    def close(self) -> None:
        """Flush."""
        try:
            self._out.flush()
        except BrokenPipeError:
            self._give_up()

    def _give_up(self) -> None:
        self._is_broken = True
        # The interpreter flushes stdout again when it ends; that must not raise either.
        with contextlib.suppress(OSError, ValueError):
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, self._out.fileno())
            os.close(quiet)
