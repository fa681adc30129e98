"""The arrows, owners, names and import budget of ARCHITECTURE.md, held by the code itself."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pytest_repro"
PAGE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
FILES = sorted(PACKAGE.rglob("*.py"))

LEVELS = {
    "core": 0,
    "adapters": 1,
    "pipelines": 2,
    "session": 3,
    "report": 3,
    "cli": 4,
    "plugin": 4,
}
"""Rooms from the bottom up; an arrow goes to a lower level or stays in its room."""

OWNERS = {
    "ml_dtypes": {"core/dtypes.py", "adapters/mindspore.py", "pipelines/digests.py"},
    "yaml": {"adapters/manifest_yaml.py", "adapters/policy_file.py"},
    "safetensors": {"adapters/contents.py", "adapters/whole_file.py", "pipelines/"},
    "huggingface_hub": {"adapters/hub.py"},
    "requests": {"adapters/hub.py"},
    "mindspore": {"adapters/", "pipelines/"},
    "mindone": {"adapters/", "pipelines/"},
    "transformers": {"pipelines/"},
    "pytest": {
        "plugin.py", "rerun.py", "decorator.py", "hooks.py", "collecting.py", "stashed.py",
        "options.py", "fixtures.py", "phases.py", "running.py", "starting.py", "closing.py",
        "adapters/pytest_collection.py", "reporting.py", "isolating.py", "subtests.py",
    },
    "_pytest": {"rerun.py"},
    "jinja2": {"report/html.py"},
    "markupsafe": {"report/html.py"},
    "PIL": {"report/pictures.py"},
    "rich": {"cli/", "report/tables.py"},
    "tomllib": {"adapters/pytest_ini.py"},
    "tomli": {"adapters/pytest_ini.py"},
    "numpy": {"core/", "adapters/", "pipelines/", "session/", "report/"},
}  # fmt: skip
"""Who may import a third party; a folder ends with a slash."""

FORBIDDEN_NAMES = {"utils", "util", "common", "helpers", "helper", "base", "manager", "misc"}


def place(path):
    return path.relative_to(PACKAGE).as_posix()


def room(name):
    """The room of a module by its place; the plugin's neighbours belong to the plugin."""
    first = name.split("/")[0]
    return first if first in LEVELS else "plugin"


def imported(tree):
    """Every imported module with its line; relative imports are refused by ruff."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node.lineno
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def broken_arrows(name, tree):
    here = room(name)
    found = set()
    for module, line in imported(tree):
        parts = module.split(".")
        if parts[0] != "pytest_repro" or len(parts) == 1:
            continue
        there = room(_target(parts[1:]))
        if there != here and LEVELS[there] >= LEVELS[here]:
            found.add(f"{name}:{line} ({here}) imports from {there}")
    return sorted(found)


def _target(parts):
    return "/".join(parts) if parts[0] in LEVELS else f"{parts[0]}.py"


def foreign_owners(name, tree):
    for module, line in imported(tree):
        owners = OWNERS.get(module.split(".")[0])
        if owners is not None and not any(_owned(name, owner) for owner in owners):
            yield f"{name}:{line} imports {module}"


def _owned(name, owner):
    return name.startswith(owner) if owner.endswith("/") else name == owner


def trees():
    return {place(path): ast.parse(path.read_text(encoding="utf-8")) for path in FILES}


def test_no_arrow_points_up():
    assert [one for name, tree in trees().items() for one in broken_arrows(name, tree)] == []


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("core/model.py", "from pytest_repro.store.store import Store"),
        ("core/model.py", "def f():\n    import pytest_repro.checking.session"),
        ("adapters/store.py", "from pytest_repro.checking import session as run"),
        ("session/run.py", "from pytest_repro.plugin import session_of"),
        ("session/run.py", "from pytest_repro.report import failure"),
        ("report/failure.py", "from pytest_repro import active"),
        ("cli/main.py", "from pytest_repro.plugin.rerun import run_again"),
    ],
)
def test_an_arrow_that_points_up_is_seen(name, source):
    assert len(broken_arrows(name, ast.parse(source))) == 1


def test_only_its_owner_imports_a_third_party():
    assert [one for name, tree in trees().items() for one in foreign_owners(name, tree)] == []


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("core/digest.py", "import mindspore"),
        ("core/digest.py", "def f():\n    import yaml"),
        ("session/run.py", "import pytest"),
        ("plugin.py", "import numpy as np"),
        ("adapters/store.py", "from huggingface_hub import snapshot_download"),
    ],
)
def test_a_third_party_in_foreign_hands_is_seen(name, source):
    assert list(foreign_owners(name, ast.parse(source)))


def test_every_third_party_has_an_owner():
    known = set(OWNERS) | {"pytest_repro"} | set(sys.stdlib_module_names)
    found = {module.split(".")[0] for tree in trees().values() for module, _ in imported(tree)}
    assert found - known == set()


@pytest.mark.parametrize("banned", ["os", "time", "pathlib", "datetime", "subprocess", "socket"])
def test_core_knows_no_files_clock_or_environment(banned):
    core = {name: tree for name, tree in trees().items() if name.startswith("core/")}
    users = [
        f"{name}:{line}"
        for name, tree in core.items()
        for module, line in imported(tree)
        if module.split(".")[0] == banned
    ]
    assert users == []


def modules_after(statement):
    code = f"import sys; {statement}; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stdout.split())


HEAVY = {"numpy", "mindspore", "mindone", "yaml", "safetensors", "huggingface_hub", "ml_dtypes"}


def test_loading_the_plugin_imports_nothing_heavy():
    loaded = modules_after("import pytest_repro.plugin")
    assert "pytest_repro.plugin" in loaded
    assert loaded & HEAVY == set()


def test_a_run_that_uses_no_repro_test_imports_nothing_heavy(tmp_path):
    (tmp_path / "test_plain.py").write_text("def test_plain(): pass\n", encoding="utf-8")
    run = f"import pytest; pytest.main(['-q', '-p', 'no:hypothesispytest', {str(tmp_path)!r}])"
    assert modules_after(run) & HEAVY == set()


def test_a_heavy_import_would_be_seen():
    assert modules_after("import pytest_repro.store.manifest") >= {"numpy", "yaml"}


def test_every_file_and_room_that_the_page_names_exists():
    named = set(
        re.findall(r"`((?:core|adapters|pipelines|session|report|cli)/[\w/]*(?:\.py)?)`", PAGE)
    )
    named |= set(re.findall(r"`(\w+\.py)`", PAGE))
    assert named
    absent = {name for name in named if not (PACKAGE / name).exists()}
    assert absent == set()
    tests = set(re.findall(r"`(tests/[\w/]+(?:\.py)?)`", PAGE))
    assert {name for name in tests if not (ROOT / name).exists()} == set()


def test_every_room_is_on_the_page():
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert rooms == set(LEVELS) - {"plugin"}
    assert all(f"`{name}/`" in PAGE or f"`{name}`" in PAGE for name in rooms)


def public_names(tree):
    """Functions, classes and constants; an alias of a type is a way to write annotations."""
    defined = set()
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            defined.add(node.name)
        elif isinstance(node, ast.Assign):
            defined |= {one.id for one in node.targets if isinstance(one, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            defined.add(node.target.id)
    visible = {name for name in defined if not name.startswith("_")}
    return {name for name in visible if name.isupper() or name not in _aliases(tree)}


def _aliases(tree):
    assigned = (node for node in tree.body if isinstance(node, (ast.Assign, ast.AnnAssign)))
    targets = (getattr(node, "targets", None) or [node.target] for node in assigned)
    return {one.id for group in targets for one in group if isinstance(one, ast.Name)}


def exported(tree):
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return set(ast.literal_eval(node.value))
    return None


WITHOUT_ALL = {"plugin.py", "__init__.py", "cli/__main__.py"}
"""pytest calls the plugin's names; `__init__` files and `__main__` define none."""


OPTIONAL = {"report/html.py": ("jinja2",), "report/pictures.py": ("PIL",)}
"""What a module imports at its top that only an extra brings."""


@pytest.mark.parametrize("path", FILES, ids=place)
def test_all_is_what_is_visible(path):
    name = place(path)
    if name in WITHOUT_ALL or name.endswith("__init__.py"):
        return
    tree = ast.parse(path.read_text(encoding="utf-8"))
    listed = exported(tree)
    assert listed is not None, f"{name} has no __all__"
    assert public_names(tree) <= listed
    if name != "rerun.py":
        for optional in OPTIONAL.get(name, ()):
            pytest.importorskip(optional, reason="an extra that is not installed here")
        module = importlib.import_module(f"pytest_repro.{name[:-3].replace('/', '.')}")
        assert all(hasattr(module, one) for one in listed)


def test_a_visible_name_outside_all_is_seen():
    tree = ast.parse("__all__ = ['a']\ndef a(): ...\ndef b(): ...\n_c = 1\nD: int = 2")
    assert public_names(tree) - exported(tree) == {"b", "D"}


def test_the_package_shows_what_it_says():
    import pytest_repro

    assert all(hasattr(pytest_repro, name) for name in pytest_repro.__all__)
    with pytest.raises(AttributeError):
        pytest_repro.absent  # noqa: B018


def test_nothing_is_called_by_an_empty_name():
    stems = {path.stem for path in FILES} | {path.parent.name for path in FILES}
    stems |= {path.stem for path in (ROOT / "tests").rglob("*.py")}
    assert stems & FORBIDDEN_NAMES == set()


@pytest.mark.parametrize("path", FILES, ids=place)
def test_a_module_says_what_it_owns(path):
    text = path.read_text(encoding="utf-8")
    assert not text.strip() or ast.get_docstring(ast.parse(text))
