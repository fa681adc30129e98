"""Orphans: a check is one only if no test can ask for it any more."""

from __future__ import annotations

from pytest_repro.model.ids import CheckId
from pytest_repro.store.prune import Collection, ownership_of

HERE = CheckId("tests/test_a.py", "test_one[x::y]", "image")
RENAMED = CheckId("tests/test_a.py", "test_gone", "image")
DELETED = CheckId("tests/test_deleted.py", "test_x", "image")
SKIPPED = CheckId("tests/test_ascend.py", "test_x", "image")
COLLECTION = Collection(frozenset({"tests/test_a.py::test_one[x::y]"}), frozenset({HERE.module}))


LESS = CheckId("tests/test_a.py", "test_one[z]", "image")
CONDITIONAL = CheckId("tests/test_a.py", "TestX::test_two[npu]", "image")
SOURCE = """
def test_one(x): ...

if False:
    class TestX:
        def test_two(self, device): ...
"""


def test_orphans_are_those_of_gone_tests_gone_parameters_and_gone_modules_only(tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / HERE.module).write_text(SOURCE)
    (tmp_path / SKIPPED.module).write_text("")
    stored = [SKIPPED, DELETED, HERE, RENAMED, LESS, CONDITIONAL, HERE]
    owned = ownership_of(stored, COLLECTION, tmp_path)
    assert owned.orphans == (RENAMED, LESS, DELETED)
    assert owned.unsure == (CONDITIONAL, SKIPPED)
