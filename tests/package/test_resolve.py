"""What `tox -e resolve` calls a fault; it asks pip itself, and needs an index."""

from __future__ import annotations

from tests.package.resolve import Case, faults, replaced

CASE = Case("mindone 0.5.0", "mindone", ("mindone==0.5.0",), (("mindone", "0.5.0"),), keeps=True)
BEFORE = {"mindone": "0.5.0", "transformers": "4.57.1"}


def test_packages_beside_new_ones_are_kept():
    found = {**BEFORE, "pytest": "9.0.0"}
    assert faults(CASE, found) == replaced(CASE, BEFORE, found) == []


def test_another_version_and_a_missing_package_are_replaced():
    found = {"mindone": "0.2.0"}
    assert faults(CASE, found) == ["mindone 0.5.0: mindone 0.2.0, not 0.5.0"]
    assert replaced(CASE, BEFORE, found) == [
        "mindone 0.5.0: pytest-repro replaces mindone 0.5.0 by 0.2.0",
        "mindone 0.5.0: pytest-repro replaces transformers 4.57.1 by nothing",
    ]


def test_no_solution_is_a_fault():
    assert faults(CASE, "ERROR: no")
    assert replaced(CASE, "ERROR: no", BEFORE)
