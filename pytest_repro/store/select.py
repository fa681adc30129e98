"""Finds checks, keys and index entries in a store by what a person typed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from pytest_repro.errors import UsageError
from pytest_repro.model.ids import CheckId, EnvironmentKey, IndexEntry
from pytest_repro.store.store import Store
from pytest_repro.tolerance.policy import matches

_LISTED = 8


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of an index, with its key and check."""

    check: CheckId
    key: EnvironmentKey
    index: IndexEntry


def selects(pattern: str, text: str) -> bool:
    """Whether ``pattern`` selects ``text``: ``*`` matches anything, and a pattern without ``*``
    selects every text that contains it.
    """
    return matches(pattern, text) if "*" in pattern else pattern in text


def select_keys(store: Store, pattern: str = "*") -> tuple[EnvironmentKey, ...]:
    """The keys that ``pattern`` selects, in the order of `by_version`.

    Raises:
        UsageError: There are keys, but none is selected.
    """
    keys = store.keys()
    chosen = tuple(key for key in sorted(keys, key=by_version) if selects(pattern, str(key)))
    if keys and not chosen:
        raise _nothing("key", pattern, map(str, keys), store)
    return chosen


def one_key(store: Store, text: str) -> EnvironmentKey:
    """The key ``text``, or the only key that it selects.

    Raises:
        UsageError: None or several; they are named.
    """
    known = store.keys()
    chosen = [key for key in known if str(key) == text]
    chosen = chosen or [key for key in known if selects(text, str(key))]
    if not chosen:
        raise _nothing("key", text, map(str, known), store)
    if len(chosen) > 1:
        raise _several("key", text, map(str, chosen))
    return chosen[0]


def one_check(store: Store, text: str, keys: Iterable[EnvironmentKey]) -> CheckId:
    """The check under ``keys`` with the id ``text``, or the only one that it selects.

    Raises:
        UsageError: None or several; they are named.
    """
    keys, named = tuple(keys), check_id(text)
    is_whole = "::" in named.entry and named.module.endswith(".py")
    if is_whole and any(named.entry in store.index(key, named.module) for key in keys):
        return named  # reads the indexes of one module only
    known = sorted({entry.check for entry in entries(store, keys)})
    chosen = [check for check in known if selects(text, str(check))]
    if not chosen:
        raise _nothing("check", text, map(str, known), store)
    if len(chosen) > 1:
        raise _several("check", text, map(str, chosen))
    return chosen[0]


def entries(store: Store, keys: Iterable[EnvironmentKey], pattern: str = "*") -> Iterator[Entry]:
    """The index entries of the checks that ``pattern`` selects, key by key; parses no block.

    Raises:
        BaselineError: A manifest cannot be used.
    """
    for key in keys:
        for module in store.modules(key):
            for name, index in store.index(key, module).items():
                check = _check(module, name)
                if pattern == "*" or selects(pattern, str(check)):
                    yield Entry(check, key, index)


def named_entries(store: Store, keys: Sequence[EnvironmentKey], name: str) -> tuple[Entry, ...]:
    """The entries of the check with the whole id ``name``, or that a pattern with ``*`` selects.

    A part of an id selects nothing, because these entries are deleted.

    Raises:
        UsageError: There is none.
        BaselineError: A manifest cannot be used.
    """
    found = tuple(one for one in entries(store, keys) if matches(name, str(one.check)))
    if not found:
        known = sorted({str(one.check) for one in entries(store, keys, name)})
        raise UsageError(
            f"no check is {name!r}",
            facts=_some([f"{one} contains it" for one in known]),
            next_step="name one check in full, or write '*' for the rest",
        )
    return found


def entries_by_check(
    store: Store, keys: Sequence[EnvironmentKey], pattern: str = "*"
) -> dict[CheckId, dict[EnvironmentKey, IndexEntry]]:
    """The same as `entries`, by check (sorted), then by key (in the given order).

    Raises:
        BaselineError: A manifest cannot be used.
    """
    modules: dict[str, list[EnvironmentKey]] = {}
    for key in keys:
        for module in store.modules(key):
            modules.setdefault(module, []).append(key)
    held: dict[CheckId, dict[EnvironmentKey, IndexEntry]] = {}
    for module, holders in modules.items():
        # By name first: an id is made once for each check, not for each of its many keys.
        named: dict[str, dict[EnvironmentKey, IndexEntry]] = {}
        for key in holders:
            for name, index in store.index(key, module).items():
                if name not in named:
                    named[name] = {}
                named[name][key] = index
        held.update((_check(module, name), found) for name, found in named.items())
    return {
        check: held[check]
        for check in sorted(held)
        if pattern == "*" or selects(pattern, str(check))
    }


def check_id(text: str) -> CheckId:
    """The id in ``text``; absent parts are empty."""
    module, _, entry = text.partition("::")
    return _check(module, entry)


def _check(module: str, entry: str) -> CheckId:
    test, _, name = entry.rpartition("::")
    return CheckId(module, test, name)


def _nothing(noun: str, text: str, known: Iterable[str], store: Store) -> UsageError:
    names = list(known)
    near = tuple(f"did you mean {one}" for one in _nearest(text, names))
    return UsageError(
        f"no {noun} is or contains {text!r}",
        facts=near
        or _some(names)
        or (f"there are no baselines below {store.shown(store.folder)}",),
        next_step=f"pytest-repro list   # names every {noun}" if names else "pytest --repro-update",
    )


def _nearest(text: str, names: Iterable[str]) -> tuple[str, ...]:
    """The names of which a part, or the whole, is spelt nearly like ``text``."""
    parts = {part: name for name in names for part in (*re.split(r"::|/|\[", name), name)}
    close = get_close_matches(text, parts, n=3, cutoff=0.7)
    return tuple(dict.fromkeys(parts[one] for one in close))


def _several(noun: str, text: str, chosen: Iterable[str]) -> UsageError:
    names = list(chosen)
    return UsageError(
        f"{text!r} selects {len(names)} {noun}s; one is needed",
        facts=_some(names),
        next_step=f"name one {noun} in full",
    )


def _some(names: list[str]) -> tuple[str, ...]:
    more = (f"and {len(names) - _LISTED} more",) if len(names) > _LISTED else ()
    return (*names[:_LISTED], *more)


def by_version(key: EnvironmentKey) -> tuple[str, str, tuple[tuple[int, str], ...]]:
    """Sorts keys by hardware, then by framework from its oldest version (2.9.0 before 2.10.0)."""
    name, _, version = key.framework.partition("-")
    parts = re.findall(r"\d+|[^\d.]+", version)
    # A release comes after its candidates (rc1).
    order = tuple((int(part), "") if part.isdecimal() else (-1, part) for part in parts)
    return key.hardware, name, (*order, (0, ""))
