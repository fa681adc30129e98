"""Tables, lists of facts and JSON as text."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum

from pytest_repro.errors import printable
from pytest_repro.model.ids import CheckId, EnvironmentKey

JSON_SCHEMA = 1
"""Version of every JSON document that the command writes."""

_GAP = "  "
_LEAST_WIDTH = 8


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
    lines = [heads, *(tuple(one_line(cell) for cell in row) for row in table.rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(heads))]
    text = [_aligned(line, table.columns, widths) for line in lines]
    return "\n".join(([table.title] if table.title else []) + text)


def _aligned(line: Sequence[str], columns: Sequence[Column], widths: Sequence[int]) -> str:
    cells = (
        cell.rjust(width) if column.right else cell.ljust(width)
        for cell, column, width in zip(line, columns, widths, strict=True)
    )
    return _GAP.join(cells).rstrip()


def one_line(cell: str) -> str:
    """One line without control characters, so an id or value cannot forge a row."""
    return printable(cell).replace("\n", "\\n").replace("\t", "\\t")


def fitted(table: Table, width: int) -> Table:
    """The table no wider than ``width`` columns, as far as possible.

    The widest columns of text lose the beginning of their cells, because ids and keys differ at
    their end.
    """
    cells = [tuple(one_line(cell) for cell in row) for row in table.rows]
    widths = [
        max(len(column.title), *(len(row[at]) for row in cells))
        for at, column in enumerate(table.columns)
    ]
    free = [at for at, column in enumerate(table.columns) if not column.right]
    excess = sum(widths) + len(_GAP) * (len(widths) - 1) - width
    while excess > 0 and free:
        at = max(free, key=lambda one: widths[one])
        if widths[at] <= max(_LEAST_WIDTH, len(table.columns[at].title)):
            break
        widths[at] -= 1
        excess -= 1
    rows = tuple(
        tuple(_shortened(cell, widths[at]) for at, cell in enumerate(row)) for row in cells
    )
    return Table(table.columns, rows, table.title)


def _shortened(cell: str, width: int) -> str:
    return cell if len(cell) <= width else "…" + cell[len(cell) - width + 1 :]


def number_text(value: float | None, digits: int = 3) -> str:
    """A number for reading; ``-`` for none."""
    return "-" if value is None else f"{value:.{digits}g}"


def count_text(count: int, noun: str) -> str:
    """``1 check``, ``2 checks``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def json_text(command: str, **parts: object) -> str:
    """A JSON document: ``schema``, ``command`` and the parts; ends without a line break.

    Ids and keys become text, enums their value, dataclasses objects, and numbers that JSON does not
    have the texts ``inf``, ``-inf`` and ``nan``.
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
