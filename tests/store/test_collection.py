"""Orphans: a check is one only where nobody can ask for it any more."""

from __future__ import annotations

from pytest_repro.model.ids import CheckId
from pytest_repro.store.prune import Collection, ownership_of

HERE = CheckId("tests/test_a.py", "test_one[x::y]", "image")
RENAMED = CheckId("tests/test_a.py", "test_gone", "image")
DELETED = CheckId("tests/test_deleted.py", "test_x", "image")
SKIPPED = CheckId("tests/test_ascend.py", "test_x", "image")
COLLECTION = Collection(frozenset({"tests/test_a.py::test_one[x::y]"}), frozenset({HERE.module}))


def test_orphans_are_those_of_gone_tests_and_gone_modules_only():
    owned = ownership_of(
        [SKIPPED, DELETED, HERE, RENAMED, HERE], COLLECTION, lambda module: "deleted" not in module
    )
    assert owned.orphans == (RENAMED, DELETED)
    assert owned.unsure == (SKIPPED,)
