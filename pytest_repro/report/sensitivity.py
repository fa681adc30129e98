"""How much every check amplifies its noise, as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pytest_repro.core.sensitivity import Sensitivity
from pytest_repro.report.tables import Column, Table, number_text

__all__ = ["sensitivity_table"]

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


def sensitivity_table(rows: Sequence[Sensitivity]) -> Table:
    """A row a tensor, in the order given."""
    return Table(_COLUMNS, tuple(_row(one) for one in rows))


def _row(one: Sensitivity) -> tuple[str, ...]:
    return (
        f"{one.check}" + (f" at {one.path}" if one.path else ""),
        str(one.key),
        one.dtype,
        str(one.runs),
        number_text(one.input_rel_l2),
        number_text(one.output_rel_l2),
        number_text(one.amplification),
        "all" if math.isinf(one.digits) else f"{one.digits:.1f}",
    )
