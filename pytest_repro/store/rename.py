"""The command `rename`: stored checks follow their test to its new name, under every key."""

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
    """One stored check under one key, and its new id."""

    key: EnvironmentKey
    old: CheckId
    new: CheckId


def find_renamings(
    store: Store, keys: Iterable[EnvironmentKey], old: str, new: str
) -> tuple[Renaming, ...]:
    """The stored checks at or below ``old``, with ``new`` in its place.

    ``old`` is a whole id, or its beginning up to the end of a part: a folder (``tests/models``), a
    module, a class, a test (with all its parameters) or a check. ``new`` has the same form.

    Raises:
        UsageError: ``old`` selects nothing, ``new`` makes no id, or that id is stored already.
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
            f"no stored check has the id {old!r} or begins with it",
            facts=tuple(f"{one} contains it" for one in near[:_LISTED]),
            next_step="name a folder, module, class, test or check as pytest-repro list shows it",
        )
    taken = sorted({str(one.new) for one in found if (one.key, one.new) in set(stored)})
    if taken:
        raise UsageError(
            f"{taken[0]!r} already has baselines",
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
            f"{text!r} is not the id of a check",
            facts=(f"it would be the new id of {check}",),
            next_step="give the same part of an id twice: module and module, or test and test",
        )
    return renamed


def rename(store: Store, renamings: Sequence[Renaming]) -> int:
    """Give every check its new id, and return how many; its content does not change.

    The new entries are written before the old ones are deleted: a killed run leaves both.

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
