"""Running a pytest item again inside its own call phase, and handing it a fixture's value.

The only place that touches pytest's private names. pytest has no public way to do this;
pytest-rerunfailures has relied on `_setupstate` and `_initrequest` since 2015, and
`tests/plugin/test_rerun.py` fails first if a name changes. Running inside the call phase keeps one
report a test and works beside plugins that own the run-test protocol (xdist, rerunfailures,
timeout).
"""
# ruff: noqa: SLF001  private names are this module's purpose

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from _pytest.tmpdir import tmppath_result_key

from pytest_repro.plugin.state import ACTIVE
from pytest_repro.plugin.subtests import noted_failure, unreported


def hand_over(item: Any, name: str, value: object) -> None:
    """Give a test the value of a fixture of ours, so that pytest need not make it.

    To make it costs pytest as much as all of a small check. A fixture that somebody overrides is
    left to pytest, and so is every fixture where pytest keeps none of the names used here.

    Args:
        item: A test that asks for the fixture and is not set up yet.
        name: The fixture's.
        value: What it would return.
    """
    definitions = getattr(item, "_fixtureinfo", None)
    if definitions is None or len(definitions.name2fixturedefs.get(name, ())) != 1:
        return
    arguments = getattr(item, "funcargs", None)
    if arguments is not None:
        arguments[name] = value


def run_again(
    item: Any, between: Callable[[], object], body: Callable[[], Any]
) -> BaseException | None:
    """Tear the item's own fixtures down, set them up again and run its body.

    Fixtures of wider scope stay. A class instance is made anew, as pytest does for each test.

    Args:
        item: A `pytest.Function` whose call phase is running.
        between: Called after the teardown, before the setup.
        body: Makes the context manager that surrounds the body.

    Returns:
        What the fixtures or the body raised, or ``None``.
    """
    # A TestCase's errors lie on the item; what the first run raised is what pytest shall report.
    kept = item.__dict__.pop("_excinfo", None)
    try:
        _tear_down(item)
        between()
        _forget_instance(item)
        item._initrequest()
        item.session._setupstate.setup(item)
        with unreported(item), body():
            item.runtest()
        return item_failure(item) or noted_failure(item, item.stash.get(ACTIVE, None))
    except (Exception, pytest.fail.Exception, pytest.skip.Exception) as error:  # noqa: BLE001
        return error
    finally:
        item.__dict__.pop("_excinfo", None)
        if kept is not None:
            item._excinfo = kept


def item_failure(item: Any) -> BaseException | None:
    """What a ``unittest.TestCase`` method raised; pytest keeps it aside instead of raising it."""
    kept = getattr(item, "_excinfo", None)
    if not kept:
        return None
    error: BaseException = kept[0].value
    return error


def _tear_down(item: Any) -> None:
    # `tmp_path` deletes this at its end, and a report puts it back only after the last run.
    item.stash.setdefault(tmppath_result_key, {})
    item.session._setupstate.teardown_exact(item.parent)


def _forget_instance(item: Any) -> None:
    if getattr(item, "cls", None) is not None:
        item.__dict__.pop("_instance", None)
        item._obj = None
