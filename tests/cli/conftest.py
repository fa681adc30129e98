"""What the tests of the command share: a cache folder of their own."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("PYTEST_REPRO_CACHE", str(tmp_path_factory.mktemp("cache")))
