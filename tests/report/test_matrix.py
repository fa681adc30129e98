"""The matrix: letters, counts along both axes, a page without script that escapes ids."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser

import pytest

from pytest_repro.analysis.agreement import (
    GroupDistance,
    LeafDistance,
    Matrix,
    MatrixRow,
    agreement_of,
    pair_counts,
)
from pytest_repro.model.ids import CheckId, EnvironmentKey, IndexEntry
from pytest_repro.model.words import Verdict
from pytest_repro.report.matrix import (
    letters,
    matrix_html,
    matrix_json,
    matrix_lines,
    matrix_tables,
)
from pytest_repro.report.tables import plain_table
from pytest_repro.tensors.record import digest_text

KEYS = tuple(
    EnvironmentKey(f"cpu-{simd}", f"mindspore-{version}")
    for simd in ("avx", "sse")
    for version in ("2.8.0", "2.9.0")
)
NOISE = digest_text("noise")


def _row(name, values, *distances):
    entries = {
        key: IndexEntry(digest_text(letter), NOISE)
        for key, letter in zip(KEYS, values, strict=True)
        if letter != "."
    }
    return MatrixRow(agreement_of(CheckId("m.py", "t", name), entries), distances)


def _matrix(*rows, measured=False):
    return Matrix(KEYS, rows, pair_counts(rows, KEYS), measured)


def _text(matrix):
    tables = [plain_table(table) for table in matrix_tables(matrix)]
    return "\n".join([*matrix_lines(matrix), *tables])


@pytest.mark.parametrize(
    ("number", "text"), [(None, "."), (0, "A"), (25, "Z"), (26, "AA"), (27, "AB"), (702, "AAA")]
)
def test_groups_have_short_names_of_their_own(number, text):
    assert letters(number) == text


def test_rows_show_who_agrees_and_axes_show_how_often():
    matrix = _matrix(_row("a", "xxyy"), _row("b", "xxxx"), _row("c", "xz.y"))
    checks, versions, hardware = matrix_tables(matrix)
    assert [row[1:] for row in checks.rows] == [
        ("A", "A", "B", "B"),
        ("A", "A", "A", "A"),
        ("A", "B", ".", "C"),
    ]
    assert versions.rows == (("mindspore-2.8.0", "mindspore-2.9.0", "4 of 5", "80.0%"),)
    assert hardware.rows == (("cpu-avx", "cpu-sse", "2 of 5", "40.0%"),)
    assert matrix_lines(matrix)[-1] == "1 check agrees exactly everywhere, 2 differ"


def test_a_share_is_rounded_to_all_or_none_only_where_it_is():
    rows = [_row(str(n), "xxxx") for n in range(1999)]
    nearly = matrix_tables(_matrix(*rows, _row("odd", "xyxx")))[1]
    assert nearly.rows[0][2:] == ("3,999 of 4,000", "99.9%")
    assert matrix_tables(_matrix(*rows))[1].rows[0][3] == "100.0%"


def test_many_checks_are_counted_by_pattern():
    rows = [_row(f"{n:04}", "xxyy" if n % 3 else "xxxx") for n in range(300)]
    table = matrix_tables(_matrix(*rows))[0]
    assert [row[:5] for row in table.rows] == [
        ("200", "A", "A", "B", "B"),
        ("100", "A", "A", "A", "A"),
    ]
    assert table.rows[1][5] == "m.py::t::0000"


def test_the_farthest_distance_and_what_is_incomparable_are_shown():
    far = GroupDistance(0, 1, LeafDistance("", 3e-7), Verdict.WITHIN)
    farther = GroupDistance(0, 2, LeafDistance("", 2e-3), Verdict.DRIFT)
    incomparable = LeafDistance("", math.inf, incomparable="dtype float32 and float64")
    odd = GroupDistance(0, 1, incomparable, Verdict.DRIFT)
    matrix = _matrix(_row("a", "xyzz", far, farther), _row("b", "xyyy", odd), measured=True)
    rows = matrix_tables(matrix)[0].rows
    assert [row[-1] for row in rows] == ["0.002", "dtype float32 and float64"]
    page = matrix_html(matrix)
    near = "cpu-avx/mindspore-2.9.0: rel_l2 3e-07 from A, within its tolerance"
    assert f'<td class="h1" title="{near}">B</td>' in page
    assert re.search(r'<td class="h5 drift" title="[^"]* more than its tolerance allows">C!', page)
    assert "dtype float32 and float64 from A" in page


def test_what_is_beyond_its_tolerance_or_cannot_be_told_is_marked_and_counted():
    simulated = (Verdict.WITHIN, Verdict.DRIFT, Verdict.MISSING, None)
    rows = [
        _row(str(one), "xyxy", GroupDistance(0, 1, LeafDistance("", 1e-6), one))
        for one in simulated
    ]
    matrix = _matrix(*rows, _row("same", "xxxx"), measured=True)
    checks, versions, hardware = matrix_tables(matrix)
    assert [row[2] for row in checks.rows] == ["B", "B!", "B?", "B?", "A"]
    assert [column.title for column in versions.columns[2:]] == [
        "exact",
        "share",
        "within",
        "drift",
    ]
    assert versions.rows[0][2:] == ("2 of 10", "20.0%", "2", "2")
    assert hardware.rows[0][2:] == ("10 of 10", "100.0%", "0", "0")
    wanted = "1 check agrees exactly everywhere, 4 differ, 1 of them by no more than the tolerance"
    assert matrix_lines(matrix)[-1] == wanted
    assert wanted in matrix_html(matrix)
    # The control: where nothing was measured, nothing is said of tolerances.
    plain = "\n".join(matrix_lines(_matrix(*rows[:0], _row("a", "xyxy"))))
    assert "tolerance" not in plain


def test_json_names_groups_distances_and_pairs():
    far = GroupDistance(0, 1, LeafDistance("x", 0.5), Verdict.WITHIN)
    document = json.loads(matrix_json(_matrix(_row("a", "xy..", far), measured=True)))
    assert document["keys"] == [str(key) for key in KEYS]
    (check,) = document["checks"]
    assert check["groups"] == [[str(KEYS[0])], [str(KEYS[1])]]
    assert check["distances"][0]["rel_l2"] == 0.5
    assert check["distances"][0]["simulated"] == "within"
    counts = {"shared": 1, "exact": 0, "within": 1, "drift": 0}
    assert document["pairs"][0] == {"first": str(KEYS[0]), "second": str(KEYS[1])} | counts


class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags = []
        self.text = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_is_one_file_without_script_and_escapes_ids():
    name = '<script>alert("x")</script> @BODY@ @HEADS@'
    parser = _Page()
    parser.feed(matrix_html(_matrix(_row(name, "xxyy"), _row("b", "xy.."))))
    tags = [tag for tag, _ in parser.tags]
    assert "script" not in tags
    assert not any("src" in attrs or "href" in attrs for _, attrs in parser.tags)
    assert any(name in text for text in parser.text)
    cells = [attrs.get("class") for tag, attrs in parser.tags if tag == "td" and "class" in attrs]
    assert cells[-8:] == ["e", "e", "u", "u", "e", "u", "n", "n"]
