"""The fixture of every story: a project of its own."""

from __future__ import annotations

import sys

import pytest

from tests.stories.project import Project


@pytest.fixture
def project(pytester, monkeypatch):
    # Stories change a file twice within a second; its compiled form would be taken for fresh.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    return Project(pytester)
