"""What tox's environments run: every test that needs MindSpore once, and nothing twice."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_NEEDS = re.compile(
    r"importorskip\(.(mindspore|mindone)|find_spec\(.(mindspore|mindone)|has_mindone"
    r"|^from tests\.docs\.test_pages|^ABSENT",
    re.M,
)


def _paths_of_ms():
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    command = tox["testenv:ms{210,29,28,27}"]["commands"]
    return [ROOT / one for one in re.findall(r"tests/[\w/.]+", command)]


def _covered(file, paths):
    return any(file == path or path in file.parents for path in paths)


def _in_need(text):
    return _NEEDS.search(text) is not None


def test_every_file_that_asks_for_mindspore_is_run_with_it():
    paths = _paths_of_ms()
    assert all(path.exists() for path in paths)
    files = [one for one in (ROOT / "tests").rglob("*.py") if one.parent.name != "package"]
    files = [one for one in files if one.name not in ("pages.py", "conftest.py")]
    asking = [one for one in files if _in_need(one.read_text(encoding="utf-8"))]
    assert len(asking) > 8
    assert [one for one in asking if not _covered(one, paths)] == []
    assert _in_need('pytest.importorskip("mindspore")')


def test_a_file_beside_the_list_is_not_covered():
    assert not _covered(ROOT / "tests" / "store" / "test_files.py", _paths_of_ms())


def test_plain_tox_runs_the_model_tests_once():
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    names = [one.strip() for one in tox["tox"]["env_list"].split(",")]
    assert "ms210" in names
    assert not {"models", "ms27", "ms28", "ms29"} & set(names)
    assert "--ignore=tests/models" in tox["testenv"]["commands"]
