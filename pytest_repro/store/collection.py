"""Owns orphans: which stored checks no test of a complete collection can ask for any more."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pytest_repro.model.baseline import CheckId

__all__ = ["FILE_VARIABLE", "Collection", "Ownership", "ownership_of"]

FILE_VARIABLE = "PYTEST_REPRO_COLLECTION_FILE"
"""Environment variable that tells `pytest_repro.plugin.collecting` which file to write."""


@dataclass(frozen=True, slots=True)
class Collection:
    """What pytest collected, and whether that was everything.

    Attributes:
        tests: Node ids of all tests.
        modules: Paths of the test modules that were collected without fault, empty ones included.
        incomplete: One sentence a reason why something may be left out; empty when nothing is.
    """

    tests: frozenset[str]
    modules: frozenset[str]
    incomplete: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ownership:
    """What a collection says of stored checks.

    Attributes:
        orphans: Their module is gone, or was collected and no longer holds their test.
        unsure: Their module is still there and was not collected (skipped as a whole, ignored),
            so that nobody can tell.
    """

    orphans: tuple[CheckId, ...]
    unsure: tuple[CheckId, ...]


def ownership_of(
    checks: Iterable[CheckId], collection: Collection, module_exists: Callable[[str], bool]
) -> Ownership:
    """Which of ``checks`` are orphans and which cannot be told.

    A check's name is known only when its test runs, so a check that its test no longer makes is
    not found here.

    Args:
        checks: The stored checks.
        collection: A complete collection.
        module_exists: Whether a module's file is still there.
    """
    orphans: list[CheckId] = []
    unsure: list[CheckId] = []
    for check in sorted(set(checks)):
        if f"{check.module}::{check.test}" in collection.tests:
            continue
        gone = check.module in collection.modules or not module_exists(check.module)
        (orphans if gone else unsure).append(check)
    return Ownership(tuple(orphans), tuple(unsure))
