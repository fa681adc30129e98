"""Checks against keys: which keys agree, as terminal tables, as JSON and as a heat map."""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from pytest_repro.analysis.agreement import GroupDistance, Matrix, MatrixRow
from pytest_repro.errors import UsageError
from pytest_repro.model.ids import CheckId, EnvironmentKey
from pytest_repro.model.words import Verdict
from pytest_repro.report.tables import Column, Table, count_text, json_text, number_text

_ROWS = 200
"""A terminal shows up to this many checks; more are counted by pattern."""

_DRIFT, _UNKNOWN = "!", "?"
_MARK: dict[Verdict | None, str] = {
    Verdict.WITHIN: "",
    Verdict.DRIFT: _DRIFT,
    None: _UNKNOWN,
    Verdict.MISSING: _UNKNOWN,
}
_SIMULATED = {
    Verdict.WITHIN: "within its tolerance",
    Verdict.DRIFT: "more than its tolerance allows",
    Verdict.MISSING: "its envelope is too wide to tell",
}
_COLDEST, _HOTTEST = -8.0, 0.0
"""log10(rel_l2) at the ends of the heat map's scale: float32's rounding, and all digits lost."""


@dataclass(frozen=True, slots=True)
class _Axis:
    """Pairs of keys that differ in only one part, summed over the other part."""

    title: str
    same: Callable[[EnvironmentKey], str]
    differs: Callable[[EnvironmentKey], str]


_AXES = (
    _Axis(
        "same hardware, other framework version",
        lambda key: key.hardware,
        lambda key: key.framework,
    ),
    _Axis(
        "same framework version, other hardware",
        lambda key: key.framework,
        lambda key: key.hardware,
    ),
)


@functools.lru_cache(maxsize=1024)
def letters(number: int | None) -> str:
    """A name for a group of equal keys: A ... Z, then AA ...; ``.`` for none."""
    if number is None:
        return "."
    text = ""
    while number >= 0:
        text = chr(ord("A") + number % 26) + text
        number = number // 26 - 1
    return text


def matrix_lines(matrix: Matrix) -> list[str]:
    """What the letters mean; the last line is the sum."""
    if not matrix.keys:
        return ["no key has a baseline"]
    lines = [f"{number:>3}  {key}" for number, key in enumerate(matrix.keys, 1)]
    lines += ["equal letters in a row: equal bits; '.': not recorded; '~': an estimate"]
    if matrix.measured:
        lines += [
            f"'{_DRIFT}': farther from A than its tolerance allows; '{_UNKNOWN}': the envelope is "
            "too wide to tell, or other noise"
        ]
    return [*lines, "", _sum(matrix)]


def _sum(matrix: Matrix) -> str:
    exact = sum(row.agreement.is_exact for row in matrix.rows)
    differing = [row for row in matrix.rows if len(row.agreement.groups) > 1]
    verb = "agrees" if exact == 1 else "agree"
    text = f"{count_text(exact, 'check')} {verb} exactly everywhere, {len(differing):,} differ"
    if not (matrix.measured and differing):
        return text
    within = sum(all(one.simulated is Verdict.WITHIN for one in row.distances) for row in differing)
    return f"{text}, {within:,} of them by no more than the tolerance"


def matrix_tables(matrix: Matrix) -> tuple[Table, ...]:
    """The checks (or their patterns, if there are many), then each axis that has pairs."""
    heads = tuple(Column(str(number), right=True) for number in range(1, len(matrix.keys) + 1))
    shown = _by_check(matrix, heads) if len(matrix.rows) <= _ROWS else _by_pattern(matrix, heads)
    axes = (_axis_table(axis, matrix) for axis in _AXES)
    return (shown, *(table for table in axes if table.rows))


def _by_check(matrix: Matrix, heads: tuple[Column, ...]) -> Table:
    columns = (Column("check"), *heads)
    if matrix.measured:
        columns += (Column("farthest rel_l2", right=True),)
    rows = []
    for row in matrix.rows:
        cells = (f"{row.agreement.check}{_noise(row)}", *_pattern(row, matrix))
        rows.append((*cells, _farthest(row)) if matrix.measured else cells)
    return Table(columns, tuple(rows))


def _by_pattern(matrix: Matrix, heads: tuple[Column, ...]) -> Table:
    patterns: Counter[tuple[str, ...]] = Counter()
    first: dict[tuple[str, ...], CheckId] = {}
    for row in matrix.rows:
        pattern = _pattern(row, matrix)
        patterns[pattern] += 1
        first.setdefault(pattern, row.agreement.check)
    rows = tuple(
        (f"{count:,}", *pattern, str(first[pattern]))
        for pattern, count in patterns.most_common(_ROWS)
    )
    more = len(patterns) - len(rows)
    title = f"{more:,} rarer patterns are not shown" if more else ""
    return Table((Column("checks", right=True), *heads, Column("for example")), rows, title)


def _pattern(row: MatrixRow, matrix: Matrix) -> tuple[str, ...]:
    marks = _marks(row) if matrix.measured else {}
    shown: dict[EnvironmentKey, str] = {}
    for number, group in enumerate(row.agreement.groups):
        shown.update(dict.fromkeys(group, f"{letters(number)}{marks.get(number, '')}"))
    return tuple(shown.get(key, letters(None)) for key in matrix.keys)


def _marks(row: MatrixRow) -> dict[int | None, str]:
    """The mark after the letter of a group that is not within the tolerance of the first."""
    from_first = (one for one in row.distances if one.first == 0)
    return {one.second: _MARK[one.simulated] for one in from_first}


def _noise(row: MatrixRow) -> str:
    return "" if row.agreement.same_noise else "  (other noise)"


def _farthest(row: MatrixRow) -> str:
    if not row.distances:
        return ""
    distance = max(row.distances, key=lambda one: one.distance.rel_l2).distance
    if distance.incomparable:
        return distance.incomparable
    return ("~" if distance.is_estimate else "") + number_text(distance.rel_l2)


def _axis_table(axis: _Axis, matrix: Matrix) -> Table:
    summed: dict[tuple[str, str], Counter[str]] = {}
    for pair in matrix.pairs:
        if axis.same(pair.first) == axis.same(pair.second) and pair.shared:
            counted = summed.setdefault(
                (axis.differs(pair.first), axis.differs(pair.second)), Counter()
            )
            for name in ("shared", "exact", "within", "drift"):
                counted[name] += getattr(pair, name)
    heads = ("exact", "share", *(("within", "drift") if matrix.measured else ()))
    rows = tuple((*place, *_counted(counted, heads)) for place, counted in summed.items())
    columns = (Column(""), Column(""), *(Column(head, right=True) for head in heads))
    return Table(columns, rows, axis.title)


def _counted(counted: Counter[str], heads: Sequence[str]) -> tuple[str, ...]:
    cells = {name: f"{count:,}" for name, count in counted.items()}
    cells["share"] = _share(counted["exact"], counted["shared"])
    cells["exact"] = f"{counted['exact']:,} of {counted['shared']:,}"
    return tuple(cells[head] for head in heads)


def _share(part: int, whole: int) -> str:
    # Rounding never gives 100% or 0%.
    percent = 100.0 * part / whole
    if 0 < part < whole:
        percent = min(max(percent, 0.1), 99.9)
    return f"{percent:.1f}%"


def matrix_json(matrix: Matrix) -> str:
    """For each check its groups of equal keys and their distances, and counts for each pair."""
    return json_text(
        "matrix",
        keys=matrix.keys,
        measured=matrix.measured,
        checks=[_plain_row(row) for row in matrix.rows],
        pairs=matrix.pairs,
    )


def _plain_row(row: MatrixRow) -> dict[str, object]:
    return {
        "check": row.agreement.check,
        "groups": row.agreement.groups,
        "same_noise": row.agreement.same_noise,
        "distances": [
            {
                "first": one.first,
                "second": one.second,
                "path": one.distance.path,
                "rel_l2": one.distance.rel_l2,
                "is_estimate": one.distance.is_estimate,
                "incomparable": one.distance.incomparable,
                "simulated": one.simulated,
            }
            for one in row.distances
        ],
    }


@dataclass(frozen=True, slots=True)
class _Cell:
    """One cell of the heat map: its class, its text, and its tooltip."""

    kind: str
    text: str
    title: str


def matrix_html(matrix: Matrix) -> str:
    """One self-contained page: a heat map of checks against keys, with the counts below it.

    Raises:
        UsageError: Jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError:
        raise UsageError(
            "the page needs Jinja2, which is not installed",
            next_step="pip install 'pytest-repro[report]'",
        ) from None
    templates = FileSystemLoader(Path(__file__).parent / "templates")
    page = Environment(loader=templates, autoescape=True, undefined=StrictUndefined)
    hardware = groupby(matrix.keys, key=lambda key: key.hardware)
    return page.get_template("matrix.html").render(
        summary=matrix_lines(matrix)[-1],
        hardware=[(name, len(list(keys))) for name, keys in hardware],
        keys=matrix.keys,
        rows=[
            (f"{row.agreement.check}{_noise(row)}", list(_cells(row, matrix.keys)))
            for row in matrix.rows
        ],
        axes=[one for one in (_axis_table(axis, matrix) for axis in _AXES) if one.rows],
    )


def _cells(row: MatrixRow, keys: Sequence[EnvironmentKey]) -> Iterator[_Cell]:
    from_first = {one.second: one for one in row.distances if one.first == 0}
    numbers = {key: number for number, group in enumerate(row.agreement.groups) for key in group}
    marks = _marks(row)
    for key in keys:
        number = numbers.get(key)
        apart = None if number is None else from_first.get(number)
        title = "" if apart is None else _apart(key, apart)
        kind = _heat(number, None if apart is None else apart.distance.rel_l2)
        mark = marks.get(number, "")
        kind += " drift" if mark == _DRIFT else ""
        yield _Cell(kind, f"{letters(number)}{mark}", title)


def _apart(key: EnvironmentKey, apart: GroupDistance) -> str:
    distance = apart.distance
    about = "about " if distance.is_estimate else ""
    size = distance.incomparable or f"rel_l2 {about}{number_text(distance.rel_l2)}"
    simulated = "not judged" if apart.simulated is None else _SIMULATED[apart.simulated]
    return f"{key}: {size} from A, {simulated}"


def _heat(number: int | None, rel_l2: float | None) -> str:
    """``n`` not recorded, ``e`` equal to the first, ``u`` other but not measured, ``h0``-``h8``."""
    if number is None:
        return "n"
    if number == 0:
        return "e"
    if rel_l2 is None:
        return "u"
    power = (
        math.log10(rel_l2) if 0.0 < rel_l2 < math.inf else (_COLDEST if not rel_l2 else _HOTTEST)
    )
    return f"h{round(min(max(power, _COLDEST), _HOTTEST) - _COLDEST)}"
