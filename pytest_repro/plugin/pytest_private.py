"""The only place that uses private names of pytest, and two of other plugins.

pytest has no public way to run an item again inside its call phase. pytest-rerunfailures has relied
on ``_setupstate`` and ``_initrequest`` since 2015. Running inside the call phase keeps one report
for each test, and works beside plugins that own the run-test protocol (xdist, rerunfailures,
timeout). `tests/plugin/test_pytest_private.py` fails first when one of these names changes.
"""
# ruff: noqa: SLF001  private names are this module's purpose

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from _pytest.logging import caplog_handler_key, caplog_records_key
from _pytest.skipping import evaluate_xfail_marks
from _pytest.tmpdir import tmppath_result_key


def tear_down(item: Any) -> BaseException | None:
    """Tear down the item's own fixtures, not those of wider scope; returns what that raised."""
    # `tmp_path` deletes this at its end, and a report restores it only after the last run.
    item.stash.setdefault(tmppath_result_key, {})
    return caught(lambda: item.session._setupstate.teardown_exact(item.parent))


def set_up(item: Any) -> None:
    """Set up the item's own fixtures again, with a new class instance."""
    if getattr(item, "cls", None) is not None:
        item.__dict__.pop("_instance", None)
        item._obj = None
    item._initrequest()
    item.session._setupstate.setup(item)


def caught(step: Callable[[], object]) -> BaseException | None:
    """What a step raised; exceptions that end the run pass through."""
    try:
        step()
    except (KeyboardInterrupt, pytest.exit.Exception):
        raise
    except BaseException as error:  # noqa: BLE001  SystemExit and CancelledError end a test, too
        return error
    return None


def item_failure(item: Any) -> BaseException | None:
    """What a ``unittest.TestCase`` method raised; pytest stores it instead of raising it."""
    kept = getattr(item, "_excinfo", None)
    if not kept:
        return None
    error: BaseException = kept[0].value
    return error


def forget_failure(item: Any) -> list[Any] | None:
    """Drop what a ``TestCase`` method raised, so another failure is reported."""
    kept: list[Any] | None = item.__dict__.pop("_excinfo", None)
    return kept


def restore_failure(item: Any, kept: list[Any] | None) -> None:
    """Restore what `forget_failure` dropped."""
    item.__dict__.pop("_excinfo", None)
    if kept is not None:
        item._excinfo = kept


def is_marked_xfail(item: Any) -> bool:
    """Whether an ``xfail`` mark applies, also one that was added while the test ran."""
    return not item.config.getoption("runxfail") and evaluate_xfail_marks(item) is not None


def asked_names(item: Any) -> tuple[str, ...]:
    """The fixtures in the arguments of the test function."""
    return tuple(getattr(getattr(item, "_fixtureinfo", None), "argnames", ()))


@contextmanager
def without_traces(item: Any) -> Iterator[None]:
    """Remove what a further run left in the item: properties, report sections, log records."""
    properties, sections = list(item.user_properties), list(item._report_sections)
    handler = item.stash.get(caplog_handler_key, None)
    records = dict(item.stash.get(caplog_records_key, {}))
    logged = None if handler is None else (handler.records, handler.stream)
    try:
        yield
    finally:
        item.user_properties[:], item._report_sections[:] = properties, sections
        if logged is not None:
            handler.records, handler.stream = logged
            item.stash[caplog_records_key].clear()
            item.stash[caplog_records_key].update(records)


def begin_phase(item: Any, when: str) -> None:
    """Begin a phase of a further run with no captured log records, as pytest does."""
    handler = item.stash.get(caplog_handler_key, None)
    if handler is not None:
        handler.reset()
        item.stash[caplog_records_key][when] = handler.records


def timer_settings(item: Any) -> Any:
    """pytest-timeout's settings of a test; ``None`` if it sets no timer."""
    manager = item.config.pluginmanager
    # Its name differs if `-p pytest_timeout` loads it.
    plugin = manager.getplugin("timeout") or manager.getplugin("pytest_timeout")
    settings = None if plugin is None else plugin._get_item_settings(item)
    return settings if settings and settings.timeout and settings.timeout > 0 else None


def benchmark_table(item: Any) -> list[Any]:
    """The results in the table of pytest-benchmark; an empty list of its own without the plugin."""
    table: list[Any] = getattr(getattr(item.config, "_benchmarksession", None), "benchmarks", [])
    return table
