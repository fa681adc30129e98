"""The private names of pytest that the plugin uses: this fails first when one of them changes."""

from __future__ import annotations

import inspect
import logging
import re
from pathlib import Path

from _pytest import logging as pytest_logging
from _pytest import skipping, tmpdir
from _pytest.runner import SetupState

from pytest_repro.plugin import pytest_private

PAGE = Path(__file__).parents[2] / "ARCHITECTURE.md"
NAMES = {
    "_setupstate",
    "_initrequest",
    "_instance",
    "_obj",
    "_excinfo",
    "_fixtureinfo",
    "_report_sections",
    "evaluate_xfail_marks",
    "caplog_handler_key",
    "caplog_records_key",
    "tmppath_result_key",
}
OF_OTHER_PLUGINS = {"_get_item_settings", "_benchmarksession"}  # held by tests/neighbours


def test_a_running_item_has_every_private_attribute(request):
    item = request.node
    assert isinstance(item.session._setupstate, SetupState)
    assert list(inspect.signature(item.session._setupstate.teardown_exact).parameters) == [
        "nextitem"
    ]
    assert list(inspect.signature(item.session._setupstate.setup).parameters) == ["item"]
    assert callable(item._initrequest)
    assert item._fixtureinfo.argnames == ("request",)
    assert isinstance(item._report_sections, list)
    assert "_obj" in vars(item)


def test_the_modules_have_every_private_name(request):
    assert list(inspect.signature(skipping.evaluate_xfail_marks).parameters) == ["item"]
    assert tmpdir.tmppath_result_key is not None
    handler = request.node.stash[pytest_logging.caplog_handler_key]
    logging.getLogger(__name__).warning("heard")
    assert [record.msg for record in handler.records] == ["heard"]
    assert request.node.stash[pytest_logging.caplog_records_key]["call"] is handler.records
    handler.reset()
    assert handler.records == []


def test_a_test_case_keeps_what_it_raised_aside(pytester):
    source = "import unittest\nclass TestX(unittest.TestCase):\n def test_x(self): pass"
    (item,) = pytester.getitems(source)
    assert pytest_private.item_failure(item) is None
    try:
        raise ValueError("aside")
    except ValueError as error:
        item.addError(None, (type(error), error, error.__traceback__))
    assert str(pytest_private.item_failure(item)) == "aside"


def test_the_page_lists_the_names_that_the_module_uses():
    source = inspect.getsource(pytest_private)
    used = set(re.findall(r"(?<=[.\"])_[a-z][a-z_]+\b", source)) - {"_pytest"}
    for line in re.findall(r"^from _pytest\.\w+ import (.+)$", source, re.MULTILINE):
        used |= set(line.split(", "))
    assert used == NAMES | OF_OTHER_PLUGINS
    page = PAGE.read_text(encoding="utf-8")
    assert {name for name in used if f"`{name}`" not in page} == set()
