"""The reference page says what the tables in the code say."""

from __future__ import annotations

import subprocess
import sys

from pytest_repro.checking.spec import MARKER_ARGUMENTS
from pytest_repro.settings import TABLE
from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "reference.md"


def _written() -> str:
    code = "import runpy; print(runpy.run_path('docs/make_reference.py')['reference'](), end='')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_the_reference_is_up_to_date():
    page = PAGE.read_text(encoding="utf-8")
    assert page == _written(), "python docs/make_reference.py"


def test_the_reference_names_every_option_ini_key_and_marker_argument():
    page = _written()
    for one in TABLE:
        assert f"`{one.option}" in page
        assert not one.ini or f"`{one.ini_key}`" in page
    for name in MARKER_ARGUMENTS:
        assert f"| `{name}` |" in page
    # The companion: the search can fail.
    assert "`--repro-nothing" not in page
