"""Root folder and ini keys as pytest itself finds them."""

from __future__ import annotations

import pytest

from pytest_repro.cli.options import find_root, ini_values

KEY = "repro_baselines"
FILES = {
    "pytest.toml": f"[pytest]\n{KEY} = 'kept'\n",
    ".pytest.toml": f"[pytest]\n{KEY} = 'kept'\n",
    "pytest.ini": f"[pytest]\n{KEY} = kept\n",
    ".pytest.ini": f"[pytest]\n{KEY} = kept\n",
    "pyproject.toml": f"[tool.pytest.ini_options]\n{KEY} = 'kept'\n",
    "tox.ini": f"[tox]\nenvlist = py\n[pytest]\n{KEY} = kept\n",
    "setup.cfg": f"[metadata]\nname = x\n[tool:pytest]\n{KEY} = kept\n",
}
NOT_PYTESTS = {
    "pyproject.toml": "[tool.ruff]\nline-length = 3\n",
    "tox.ini": "[tox]\nenvlist = py\n",
    "setup.cfg": "[metadata]\nname = x\n",
}
NEWER = ("pytest.toml", ".pytest.toml")


@pytest.mark.parametrize("name", FILES)
def test_root_and_key_are_those_that_pytest_takes(pytester, name):
    below = pytester.path / "tests" / "models"
    below.mkdir(parents=True)
    (pytester.path / name).write_text(FILES[name], encoding="utf-8")
    assert find_root(below) == pytester.path
    assert ini_values(pytester.path)[KEY] == "kept"
    if name in NEWER and pytest.version_tuple < (9,):
        return
    config = pytester.parseconfig("-p", "repro", "--rootdir", str(find_root(below)), str(below))
    assert config.getini(KEY) == "kept"
    assert pytester.parseconfig(str(below)).rootpath == find_root(below)


@pytest.mark.parametrize("name", NOT_PYTESTS)
def test_a_file_without_pytests_section_is_no_root(tmp_path, name):
    (tmp_path / "pytest.ini").write_text(FILES["pytest.ini"], encoding="utf-8")
    below = tmp_path / "below"
    below.mkdir()
    (below / name).write_text(NOT_PYTESTS[name], encoding="utf-8")
    assert find_root(below) == tmp_path
    assert ini_values(below) == {}


def test_an_empty_file_of_pytests_name_is_one(tmp_path):
    below = tmp_path / "below"
    below.mkdir()
    (tmp_path / "pytest.ini").write_text(FILES["pytest.ini"], encoding="utf-8")
    (below / "pytest.ini").write_text("", encoding="utf-8")
    assert find_root(below) == below
    assert ini_values(below) == {}


def test_without_any_file_it_is_here(tmp_path):
    assert find_root(tmp_path) == tmp_path


@pytest.mark.parametrize("text", ["[pytest\n", "\xff", "[pytest]\nx"])
def test_what_cannot_be_read_is_left_to_pytest(tmp_path, text):
    (tmp_path / "setup.cfg").write_bytes(text.encode("latin-1"))
    (tmp_path / "pyproject.toml").write_bytes(text.encode("latin-1"))
    assert ini_values(tmp_path) == {}
