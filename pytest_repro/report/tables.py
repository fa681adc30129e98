"""Tables, lists of facts and JSON as text; judges nothing and knows no command."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum

from pytest_repro.model.ids import CheckId, EnvironmentKey

JSON_SCHEMA = 1
"""Version of every JSON document that the command writes."""

_GAP = "  "


@dataclass(frozen=True, slots=True)
class Column:
    """The head of a column; numbers are aligned to the right."""

    title: str
    right: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under columns; every row is as long as ``columns``."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""


def plain_table(table: Table) -> str:
    """Aligned columns, two blanks apart, nothing cut; for pipes and files."""
    heads = tuple(column.title for column in table.columns)
    lines = [heads, *(tuple(printable(cell) for cell in row) for row in table.rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(heads))]
    text = [_aligned(line, table.columns, widths) for line in lines]
    return "\n".join(([table.title] if table.title else []) + text)


def _aligned(line: Sequence[str], columns: Sequence[Column], widths: Sequence[int]) -> str:
    cells = (
        cell.rjust(width) if column.right else cell.ljust(width)
        for cell, column, width in zip(line, columns, widths, strict=True)
    )
    return _GAP.join(cells).rstrip()


def printable(cell: str) -> str:
    """One line without control characters: an id or a value of a test must not forge a row."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in cell)


def rich_table(table: Table, *, width: int) -> str:
    """The same for a terminal of ``width`` columns, with colour; needs the package rich."""
    import io

    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(title=table.title or None, title_justify="left", box=None, pad_edge=False)
    for column in table.columns:
        justify = "right" if column.right else "left"
        drawn.add_column(Text(column.title), justify=justify, overflow="fold")
    for row in table.rows:
        # Text, never markup: brackets of a parametrised id are no style.
        drawn.add_row(*(Text(printable(cell)) for cell in row))
    console = Console(file=io.StringIO(), width=width, force_terminal=True)
    console.print(drawn)
    written = console.file
    assert isinstance(written, io.StringIO)
    return written.getvalue().rstrip("\n")


def number_text(value: float | None, digits: int = 3) -> str:
    """A number for reading; ``-`` where there is none."""
    return "-" if value is None else f"{value:.{digits}g}"


def count_text(count: int, noun: str) -> str:
    """``1 check``, ``2 checks``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def json_text(command: str, **parts: object) -> str:
    """A JSON document: ``schema``, ``command`` and the parts; ends without a line break.

    Ids and keys become their text, enums their value, dataclasses objects, and numbers that JSON
    lacks the texts ``inf``, ``-inf`` and ``nan``.
    """
    document = {"schema": JSON_SCHEMA, "command": command, **parts}
    return json.dumps(_plain(document), indent=2, ensure_ascii=False, allow_nan=False)


def _plain(value: object) -> object:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (CheckId, EnvironmentKey)):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):  # a record, not a sequence
        return _plain(value._asdict())
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(one) for one in value]
    return value


def shell_word(text: str) -> str:
    """``text`` in single quotes, as a POSIX shell reads it back, whatever it contains."""
    return "'" + text.replace("'", "'\\''") + "'"
