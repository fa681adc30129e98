"""How a check is called."""

from __future__ import annotations

from pytest_repro.core.model import CheckId


def test_a_check_is_called_by_module_test_and_name():
    check = CheckId("tests/models/test_ddim.py", "TestDdim::test_fast[float16]", "image")
    assert str(check) == "tests/models/test_ddim.py::TestDdim::test_fast[float16]::image"
    assert check.entry == "TestDdim::test_fast[float16]::image"
