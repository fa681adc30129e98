"""For the command: writes the facts that the project's hook gives, then ends the run."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

FILE = "PYTEST_REPRO_FACTS_FILE"
"""The variable that names the file to write."""


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Write the facts as JSON, before anything is collected."""
    given = session.config.hook.pytest_repro_environment(config=session.config)
    facts = {name: value for each in given for name, value in each.items()}
    Path(os.environ[FILE]).write_text(json.dumps(facts), encoding="utf-8")
    pytest.exit("the facts are written", returncode=0)
