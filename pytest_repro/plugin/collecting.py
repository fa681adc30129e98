"""A small plugin for `pytest --collect-only` that records what was collected, and what was not.

Loaded by name (``-p pytest_repro.plugin.collecting``) in its own process; imports nothing heavy.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from pytest_repro.store.prune import FILE_VARIABLE

_NARROWING = ("keyword", "markexpr", "deselect", "ignore", "ignore_glob")


class _Notes:
    """What one collection showed."""

    def __init__(self) -> None:
        self.modules: set[str] = set()
        self.incomplete: list[str] = []
        self._collected = 0
        self._deselected = 0

    def pytest_itemcollected(self) -> None:
        self._collected += 1

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.incomplete.append(f"{report.nodeid or 'the folder'} cannot be collected")
        elif report.passed and report.nodeid and "::" not in report.nodeid:
            self.modules.add(report.nodeid)

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        self._deselected += len(items)
        self.incomplete.append(f"{len(items)} tests were deselected")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        config = session.config
        taken = self._collected - self._deselected - len(session.items)
        if taken > 0:
            # A plugin that runs shards may drop tests silently.
            self.incomplete.append(f"{taken} collected tests were removed by a plugin")
        for name in _NARROWING:
            value = config.getoption(name, None)
            if value:
                self.incomplete.append(f"--{name.replace('_', '-')} narrows it: {value!r}")
        if config.args_source is pytest.Config.ArgsSource.ARGS:
            self.incomplete.append(f"path arguments narrow it: {' '.join(config.args)}")
        document = {
            "tests": [item.nodeid for item in session.items],
            "modules": sorted(self.modules),
            "incomplete": self.incomplete,
        }
        Path(os.environ[FILE_VARIABLE]).write_text(json.dumps(document), encoding="utf-8")


def pytest_configure(config: pytest.Config) -> None:
    if FILE_VARIABLE in os.environ:
        config.pluginmanager.register(_Notes(), "repro-collecting")
