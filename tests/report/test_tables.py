"""Tables: aligned, unforgeable by ids, and JSON that every reader accepts."""

from __future__ import annotations

import json
import math

import pytest

from pytest_repro.model.ids import NO_INPUTS, CheckId, EnvironmentKey, IndexEntry
from pytest_repro.model.words import Verdict
from pytest_repro.report.tables import (
    Column,
    Table,
    count_text,
    fitted,
    json_text,
    number_text,
    plain_table,
)

TABLE = Table(
    (Column("name"), Column("n", right=True)), (("a[red]b[/red]", "1"), ("c", "1,000")), "title"
)


def test_plain_columns_are_aligned_and_numbers_to_the_right():
    assert plain_table(TABLE) == (
        "title\nname               n\na[red]b[/red]      1\nc              1,000"
    )


@pytest.mark.parametrize("cell", ["a\nforged row", "\x1b[31mred", "a\u2028b", "\r"])
def test_no_cell_can_break_a_row_or_colour_it(cell):
    text = plain_table(Table((Column("x"),), ((cell,),)))
    assert len(text.splitlines()) == 2
    assert "\x1b" not in text
    assert "\\" in text


def test_a_fitted_table_cuts_the_widest_text_from_the_left_and_no_number():
    table = Table(
        (Column("check"), Column("key"), Column("n", right=True)),
        (("tests/models/test_ddim.py::test_ddim::image", "cpu/mindspore-2.10.0", "1,000,000"),),
    )
    assert fitted(table, 200) == table
    lines = plain_table(fitted(table, 50)).splitlines()
    assert max(map(len, lines)) == 50
    assert "…" in lines[1]
    assert lines[1].endswith("1,000,000")
    assert "::image" in lines[1]
    assert "1,000,000" in plain_table(fitted(table, 5))


def test_json_is_versioned_and_strict():
    text = json_text(
        "list",
        check=CheckId("m.py", "t", "n"),
        key=EnvironmentKey("h", "f-1"),
        index=IndexEntry("a", "b"),
        numbers=[1.5, math.inf, -math.inf, math.nan],
        verdict=Verdict.EXACT,
        shape=(1, 2),
    )

    def refuse(word):
        raise AssertionError(word)

    assert json.loads(text, parse_constant=refuse) == {
        "schema": 1,
        "command": "list",
        "check": "m.py::t::n",
        "key": "h/f-1",
        "index": {"value": "a", "noise": "b", "inputs": NO_INPUTS},
        "numbers": [1.5, "inf", "-inf", "nan"],
        "verdict": "exact",
        "shape": [1, 2],
    }


def test_counts_and_numbers_read_well():
    assert [count_text(n, "check") for n in (0, 1, 20000)] == [
        "0 checks",
        "1 check",
        "20,000 checks",
    ]
    assert [number_text(x) for x in (None, 1.23456e-7, 2.0)] == ["-", "1.23e-07", "2"]
