"""The use case of renaming: stored checks follow their test to its new place, under every key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from pytest_repro.errors import UsageError
from pytest_repro.model.baseline import Baseline
from pytest_repro.model.ids import CheckId, EnvironmentKey
from pytest_repro.store.select import check_id, entries
from pytest_repro.store.store import Store

_LISTED = 8


@dataclass(frozen=True, slots=True)
class Renaming:
    """One stored check under one key, and the id that it is to have."""

    key: EnvironmentKey
    old: CheckId
    new: CheckId


def find_renamings(
    store: Store, keys: Iterable[EnvironmentKey], old: str, new: str
) -> tuple[Renaming, ...]:
    """The stored checks at or below ``old``, with ``new`` in its place.

    Args:
        store: The baselines.
        keys: Those to look under.
        old: A whole id, or what an id begins with up to the end of a part: a folder
            (``tests/models``), a module, a class, a test (all its parameters), a check.
        new: The same of where the test is now.

    Raises:
        UsageError: Nothing is there, ``new`` makes no id, or a check is stored there already.
        BaselineError: A manifest cannot be used.
    """
    stored = [(one.key, one.check) for one in entries(store, keys)]
    begin = old.rstrip("/")
    found = tuple(
        Renaming(key, check, _renamed(str(check), begin, new.rstrip("/")))
        for key, check in stored
        if _begins(str(check), begin)
    )
    if not found:
        near = sorted({str(check) for _, check in stored if old in str(check)})
        raise UsageError(
            f"no stored check is {old!r} or below it",
            facts=tuple(f"{one} contains it" for one in near[:_LISTED]),
            next_step="name a folder, module, class, test or check as pytest-repro list shows it",
        )
    taken = sorted({str(one.new) for one in found if (one.key, one.new) in set(stored)})
    if taken:
        raise UsageError(
            f"there are baselines of {taken[0]!r} already",
            facts=tuple(taken[1:_LISTED]),
            next_step=f"delete those first: pytest-repro prune --check '{taken[0]}'",
        )
    return found


def _begins(check: str, begin: str) -> bool:
    """Whether ``begin`` is the id, or ends where one of its parts ends."""
    return check == begin or check.startswith(tuple(begin + end for end in ("/", "::", "[")))


def _renamed(check: str, old: str, new: str) -> CheckId:
    text = new + check[len(old) :]
    renamed = check_id(text)
    if not (renamed.module.endswith(".py") and renamed.test and renamed.name):
        raise UsageError(
            f"{text!r} is no id of a check",
            facts=(f"it would be the new id of {check}",),
            next_step="name the same part of an id twice: module and module, test and test",
        )
    return renamed


def rename(store: Store, renamings: Sequence[Renaming]) -> int:
    """Give every check its new id; what is stored of it stays as it is.

    The new entries are written before the old ones go: a run that is killed leaves both.

    Returns:
        How many entries have a new id.

    Raises:
        StoreError: The folder cannot be written.
        BaselineError: A manifest cannot be used.
    """
    moved: dict[tuple[EnvironmentKey, str], list[Baseline]] = {}
    gone: dict[tuple[EnvironmentKey, str], list[str]] = {}
    for one in renamings:
        baseline = replace(store.baseline(one.key, one.old), check=one.new)
        moved.setdefault((one.key, one.new.module), []).append(baseline)
        gone.setdefault((one.key, one.old.module), []).append(one.old.entry)
    for (key, module), baselines in moved.items():
        store.write(key, module, baselines, ())
    return sum(store.remove(key, module, names) for (key, module), names in gone.items())
