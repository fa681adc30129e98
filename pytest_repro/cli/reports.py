"""Report folders as the command reads them: their checks as a list, or one side of a diff."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pytest_repro.analysis.sides import ReportSide, Side, StoreSide
from pytest_repro.checking.accept import open_observed
from pytest_repro.cli.options import Place
from pytest_repro.errors import StoreError, UsageError
from pytest_repro.model.artefact import Judged
from pytest_repro.report.document import ReadReport, read_report
from pytest_repro.report.tables import Column, Table, number_text
from pytest_repro.store.select import one_key, selects
from pytest_repro.store.system import read_regular

_REPORT = "report.json"


def read_folder(folder: Path) -> ReadReport:
    """The report in ``folder``.

    Raises:
        UsageError: There is none.
        BaselineError: It cannot be read, or was changed after the run.
    """
    path = folder / _REPORT
    if not os.path.lexists(path):
        raise UsageError(
            f"there is no report in {folder}",
            facts=(f"{path} is absent",),
            next_step="make one: pytest --repro-report DIR",
        )
    try:
        text = read_regular(path).decode("utf-8", "replace")
    except OSError as error:
        raise StoreError(
            "cannot read a report",
            facts=(error.strerror or str(error),),
            where=str(path),
            next_step="fetch the report again, or make it again: pytest --repro-report DIR",
        ) from error
    return read_report(text, where=str(path))


def side_of(place: Place, text: str, pattern: str) -> Side:
    """What ``text`` names as a side of a diff: a report folder, or else a key of the baselines.

    Raises:
        ReproError: It names neither, or what it names cannot be used.
    """
    folder = Path(text)
    if not os.path.lexists(folder / _REPORT):
        store = place.store()
        return StoreSide(store, one_key(store, text), pattern)
    report = read_folder(folder)
    if report.judged and not any(one.index for one in report.judged):
        raise UsageError(
            f"the report in {folder} holds no digests of its values",
            facts=(f"{report.tool} wrote it, before schema 2",),
            next_step="make it again: pytest --repro-report DIR",
        )
    observed = open_observed(folder, report.files)
    chosen = [one for one in report.judged if selects(pattern, one.check)]
    return ReportSide(str(folder), chosen, observed, place.target())


def judged_checks(folder: Path, glob: str, key: str, verdicts: Sequence[str]) -> tuple[Judged, ...]:
    """The checks of a report, by glob, key and verdict (all of them where none is named)."""
    return tuple(
        one
        for one in read_folder(folder).judged
        if selects(glob, one.check)
        and selects(key, one.key)
        and (not verdicts or str(one.verdict) in verdicts)
    )


def judged_table(judged: Sequence[Judged]) -> Table:
    """A row a check: how it was judged, and against what."""
    columns = (
        *map(Column, ("check", "verdict", "cause", "reference")),
        Column("used", right=True),
    )
    rows = tuple(
        (
            one.check,
            str(one.verdict),
            one.cause or "-",
            f"{one.distance}: {one.reference}" if one.reference else "-",
            number_text(one.share) if one.share else "-",
        )
        for one in judged
    )
    return Table(columns, rows)
