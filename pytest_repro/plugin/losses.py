"""What went with lost workers: values not yet written, and the checks of the tests they ran."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pytest_repro.model.words import Verdict
from pytest_repro.plugin.naming import FEW, first_few

__all__ = ["correct", "crash_text", "loss_text", "unwritten"]

_WRITTEN = frozenset({str(Verdict.RECORDED), str(Verdict.UPDATED)})


def unwritten(rows: Iterable[dict[str, Any]], folder: Path, *, root: Path) -> list[dict[str, Any]]:
    """The rows that say `recorded` or `updated` of a value that the store does not hold.

    A worker writes several values at once, so one that is killed has sent verdicts of values that
    waited.

    Args:
        rows: Of the workers that were lost.
        folder: The baselines.
        root: The root folder of the tests.
    """
    from pytest_repro.store.store import Store

    store = Store(folder, root=root)
    return [
        row for row in rows if row["verdict"] in _WRITTEN and _stored(store, row) != row["value"]
    ]


def _stored(store: Any, row: dict[str, Any]) -> str:
    """The digest of the stored value, ``""`` when there is none."""
    from pytest_repro.model.baseline import EnvironmentKey

    module, _, entry = row["check"].partition("::")
    found = store.index(EnvironmentKey(*row["key"].split("/")), module).get(entry)
    return "" if found is None else str(found.value)


def correct(rows: Iterable[dict[str, Any]]) -> None:
    """Give the rows of unwritten values the verdict that stands: nothing became of them."""
    was = {str(Verdict.RECORDED): str(Verdict.MISSING), str(Verdict.UPDATED): str(Verdict.DRIFT)}
    for row in rows:
        row["verdict"] = was[row["verdict"]]
        row["no_envelope"] = ""


def crash_text(workers: Sequence[str], tests: Sequence[str]) -> str:
    """What the run says of workers that it lost while nothing was recorded.

    Args:
        workers: Their names.
        tests: The tests that they ran when they were lost, by node id.
    """
    if not tests:
        return f"{_named(workers)} lost, between two tests: every verdict is counted"
    shown = ", ".join(tests[:FEW])
    more = f" and {len(tests) - FEW} more" if len(tests) > FEW else ""
    return f"{_named(workers)} lost, and what was checked in {shown}{more} was not judged there"


def _named(workers: Sequence[str]) -> str:
    return f"{'worker' if len(workers) == 1 else 'workers'} {', '.join(workers)}"


def loss_text(workers: Sequence[str], rows: Sequence[dict[str, Any]]) -> str:
    """What the run says of the workers that it lost."""
    who = _named(workers)
    if not rows:
        return f"{who} lost; everything that was recorded before is stored"
    count = "1 value that was" if len(rows) == 1 else f"{len(rows)} values that were"
    what = f"{who} lost, and {count} to be recorded; what was stored before stands"
    checks = first_few([row["check"] for row in rows])
    return "\n".join([what, *checks, "  next   pytest --repro-update   (records what is absent)"])
