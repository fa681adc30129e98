"""The folder of a report: emptied of an earlier one, written whole, joined from several."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pytest_repro.checking.accept import OBSERVED
from pytest_repro.errors import StoreError, UsageError
from pytest_repro.model.ids import Digest, EnvironmentKey, TensorRecord
from pytest_repro.report.document import ReadReport, read_report, report_text
from pytest_repro.store.store import Store
from pytest_repro.store.system import read_regular

DOCUMENT, PAGE = "report.json", "index.html"
_OURS = frozenset({DOCUMENT, PAGE, OBSERVED})

Entries = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Contents:
    """What a report says; `report.document.report_text` explains the parts."""

    entries: Entries
    sites: Mapping[str, Mapping[str, Any]]
    made_at: str
    notes: Sequence[str]
    idle: Sequence[str]


def prepare_folder(folder: Path, option: str) -> None:
    """Make the folder, and empty it of an earlier report.

    Args:
        folder: Of the report.
        option: The option that named it, for the message.

    Raises:
        UsageError: There are other things in it.
        StoreError: It cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        others = sorted(one.name for one in folder.iterdir() if one.name not in _OURS)
        if others:
            raise UsageError(
                f"{option}: {folder} holds other things than a report",
                facts=tuple(others[:4]),
                next_step="name a new folder, or one of an earlier report",
            )
        (folder / DOCUMENT).unlink(missing_ok=True)
        (folder / PAGE).unlink(missing_ok=True)
        if (folder / OBSERVED).exists():
            shutil.rmtree(folder / OBSERVED)
    except OSError as error:
        raise unwritable(folder, error) from error


def write_folder(folder: Path, contents: Contents, baselines: Sequence[Store]) -> str:
    """Write report.json and the page, and say where, in a line for the terminal.

    Args:
        folder: Prepared, with the observed values in it.
        contents: Of the report.
        baselines: Where the page finds the tensors that were not observed in this run.

    Raises:
        StoreError: It cannot be written.
    """
    try:
        return _write(folder, contents, baselines)
    except OSError as error:
        raise unwritable(folder, error) from error


def _write(folder: Path, contents: Contents, baselines: Sequence[Store]) -> str:
    observed = Store(folder / OBSERVED, root=folder)
    entries, lost = _kept(contents.entries, observed)
    notes = [*contents.notes, *filter(None, (lost,))]
    text = report_text(
        entries,
        contents.sites,
        tool=f"pytest-repro {version('pytest-repro')}",
        made_at=contents.made_at,
        files=_digests(folder),
        notes=notes,
        idle=contents.idle,
    )
    (folder / DOCUMENT).write_text(text, encoding="utf-8")
    document = read_report(text, where=DOCUMENT).document
    try:
        from pytest_repro.report.html import page_text
    except ImportError as error:
        return (
            f"report: {folder / DOCUMENT}; the page needs {error.name}: "
            "pip install 'pytest-repro[report]'"
        )
    page = page_text(document, _tensors([observed, *baselines]))
    (folder / PAGE).write_text(page, encoding="utf-8")
    return f"report: {folder / PAGE}"


def _tensors(stores: Sequence[Store]) -> Callable[[Digest], TensorRecord | None]:
    return lambda digest: next(
        (found for store in stores if (found := store.tensor(digest)) is not None), None
    )


def _kept(entries: Entries, observed: Store) -> tuple[Entries, str]:
    """A worker that was lost may have sent a verdict and never named its tensors."""
    kept, lost = [], 0
    for entry in entries:
        if entry.get("runs") and not _is_held(entry, observed):
            lost += 1
            entry = {name: value for name, value in entry.items() if name != "runs"}  # noqa: PLW2901
        kept.append(entry)
    return kept, f"{lost} observed values are missing: a worker was lost" if lost else ""


def _is_held(entry: Mapping[str, Any], observed: Store) -> bool:
    module, _, rest = str(entry["check"]).partition("::")
    return rest in observed.index(EnvironmentKey(*str(entry["key"]).split("/")), module)


def _digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(read_regular(path)).hexdigest()
        for path in sorted((folder / OBSERVED).rglob("*.yaml"))
    }


def unwritable(path: Path, error: OSError) -> StoreError:
    """The error of a report's file or folder that cannot be written."""
    return StoreError(
        "the report cannot be written",
        facts=(f"{type(error).__name__}: {error.strerror or error}",),
        where=str(path),
        next_step="check the folder's permissions and free space, then run again",
    )


def join_contents(reports: Mapping[str, ReadReport]) -> Contents:
    """One report made of several, of shards and of other machines.

    A check that several reports judged under one key, as a shard that ran twice does, is kept once.

    Args:
        reports: By the name of their folder.

    Raises:
        UsageError: Two reports saw different values of one check under one key, or judged it
            differently.
    """
    entries: dict[tuple[str, str], Mapping[str, Any]] = {}
    origin: dict[tuple[str, str], str] = {}
    sites: dict[str, Mapping[str, Any]] = {}
    notes: dict[str, None] = {}
    idle: set[str] = set()
    for name, report in reports.items():
        for entry in report.document["checks"]:
            place = str(entry["key"]), str(entry["check"])
            if place in entries and not _is_same(entries[place], entry):
                raise _contradiction(place, origin[place], name)
            if place not in entries or entry.get("runs", 0) > entries[place].get("runs", 0):
                entries[place], origin[place] = entry, name
        sites.update(report.document["environments"])
        notes.update(dict.fromkeys(report.document["notes"]))
        idle.update(report.document["idle"])
    ordered = [entries[place] for place in sorted(entries, key=lambda one: (one[1], one[0]))]
    made_at = max(report.made_at for report in reports.values())
    return Contents(ordered, sites, made_at, list(notes), sorted(idle))


def _is_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(one.get(name) == other.get(name) for name in ("verdict", "value", "ledger"))


def _contradiction(place: tuple[str, str], first: str, second: str) -> UsageError:
    return UsageError(
        "two reports contradict each other about one check",
        facts=(f"{place[1]} under {place[0]}", f"in {first} and in {second}"),
        next_step="leave one of the two out, or run its tests again",
    )


def counted(entries: Entries) -> str:
    """How many checks came to which verdict under which keys, for the terminal."""
    verdicts = Counter(str(one["verdict"]) for one in entries)
    words = ", ".join(f"{number} {verdict}" for verdict, number in sorted(verdicts.items()))
    keys = ", ".join(sorted({str(one["key"]) for one in entries}))
    return f"{len(entries)} checks: {words}; keys: {keys}"
