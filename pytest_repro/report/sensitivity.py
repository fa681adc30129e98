"""How much every check amplifies its noise, as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pytest_repro.analysis.sensitivity import Sensitivity
from pytest_repro.report.tables import Column, Table, number_text

_COLUMNS = (
    Column("check"),
    Column("key"),
    Column("dtype"),
    Column("runs", right=True),
    Column("noise moved", right=True),
    Column("result moved", right=True),
    Column("amplification", right=True),
    Column("digits left", right=True),
)


_SUMMARY_COLUMNS = (
    Column("check"),
    Column("dtype"),
    Column("keys", right=True),
    Column("result moved", right=True),
    Column("amplification", right=True),
    Column("digits left", right=True),
)


def sensitivity_summary(rows: Sequence[Sensitivity]) -> Table:
    """A row for each tensor over all its keys, the fewest digits first.

    Two figures are the smallest and the largest of the keys; ``digits left`` is the smallest.
    """
    tensors: dict[tuple[str, str], list[Sensitivity]] = {}
    for one in rows:
        tensors.setdefault((_name(one), one.dtype), []).append(one)
    ordered = sorted(tensors.values(), key=lambda group: min(one.digits for one in group))
    return Table(_SUMMARY_COLUMNS, tuple(_summary_row(group) for group in ordered))


def _summary_row(group: Sequence[Sensitivity]) -> tuple[str, ...]:
    amplifications = [one.amplification for one in group if one.amplification is not None]
    return (
        _name(group[0]),
        group[0].dtype,
        str(len({one.key for one in group})),
        _range([one.output_rel_l2 for one in group]),
        _range(amplifications),
        _digits(min(one.digits for one in group)),
    )


def _range(values: Sequence[float]) -> str:
    if not values:
        return "-"
    low, high = number_text(min(values)), number_text(max(values))
    return low if low == high else f"{low} to {high}"


def _name(one: Sensitivity) -> str:
    return f"{one.check}" + (f" at {one.path}" if one.path else "")


def _digits(digits: float) -> str:
    return "all" if math.isinf(digits) else f"{digits:.1f}"


def sensitivity_table(rows: Sequence[Sensitivity]) -> Table:
    """A row for each tensor and key, in the order given."""
    return Table(_COLUMNS, tuple(_row(one) for one in rows))


def _row(one: Sensitivity) -> tuple[str, ...]:
    return (
        _name(one),
        str(one.key),
        one.dtype,
        str(one.runs),
        number_text(one.input_rel_l2),
        number_text(one.output_rel_l2),
        number_text(one.amplification),
        _digits(one.digits),
    )
