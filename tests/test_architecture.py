"""Rooms, owners, names and the import budget of ARCHITECTURE.md, enforced on the code itself."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pytest_repro"
PAGE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
FILES = sorted(PACKAGE.rglob("*.py"))

ROOMS = (
    "errors",
    "model",
    "settings",
    "tensors",
    "noise",
    "tolerance",
    "trace",
    "guard",
    "frameworks",
    "environment",
    "store",
    "pipelines",
    "checking",
    "analysis",
    "report",
    "plugin",
    "cli",
)
"""From the ground up: an import goes to the same room or to one before it."""
LEVELS = {name: level for level, name in enumerate(ROOMS)}

OWNERS = {
    "filelock": {"store/files.py"},
    "ml_dtypes": {"tensors/dtypes.py", "frameworks/mindspore.py", "pipelines/weights.py"},
    "yaml": {"store/manifest.py", "store/policy_file.py"},
    "safetensors": {"store/files.py", "pipelines/"},
    "xxhash": {"tensors/record.py"},
    "huggingface_hub": {"store/hub.py"},
    "requests": {"store/hub.py"},
    "mindspore": {"frameworks/", "guard/", "pipelines/"},
    "mindone": {"frameworks/", "guard/", "pipelines/"},
    "transformers": {"pipelines/"},
    "pytest": {"plugin/", "store/prune.py"},
    "_pytest": {"plugin/pytest_private.py"},
    "jinja2": {"report/html.py", "report/matrix.py"},
    "markupsafe": {"report/html.py"},
    "PIL": {"report/pictures.py"},
    "click": {"cli/"},
    "tomllib": {"cli/"},
    "tomli": {"cli/"},
    "numpy": {f"{room}/" for room in ROOMS if room not in ("errors", "settings", "cli", "plugin")},
}
"""Who may import a third party: a module, or a room (ends with a slash)."""

FORBIDDEN_NAMES = {"utils", "util", "common", "helpers", "helper", "base", "manager", "misc"}


def place(path):
    return path.relative_to(PACKAGE).as_posix()


def room(name):
    """The room of a module, by its place; a module beside the rooms is a room of its own."""
    return name.split("/")[0].removesuffix(".py")


def module_of(name):
    dotted = "pytest_repro." + name.removesuffix(".py").replace("/", ".")
    return dotted.removesuffix(".__init__")


def imported(tree):
    """Every imported module with its line, type-checking and function-level imports included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node.lineno
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def upward_imports(name, tree):
    here = room(name)
    if here == "__init__":  # the public surface shows names of every room
        return []
    found = set()
    for module, line in imported(tree):
        parts = module.split(".")
        if parts[0] == "pytest_repro" and parts[1:] and LEVELS[parts[1]] > LEVELS[here]:
            found.add(f"{name}:{line} ({here}) imports from {parts[1]}")
    return sorted(found)


def without_owner(name, tree):
    for module, line in imported(tree):
        owners = OWNERS.get(module.split(".")[0])
        if owners is not None and not any(_owned(name, owner) for owner in owners):
            yield f"{name}:{line} imports {module}"


def _owned(name, owner):
    return name.startswith(owner) if owner.endswith("/") else name == owner


def cycles(sources):
    """Groups of modules that import each other: strongly connected components (Tarjan, 1972)."""
    modules = {module_of(name): tree for name, tree in sources.items()}
    graph = {
        module: {one for one in _imported_modules(tree, modules) if one != module}
        for module, tree in modules.items()
    }
    reach = {module: _reachable(graph, module) for module in graph}
    groups = {
        frozenset(other for other in reach[module] if module in reach[other]) | {module}
        for module in graph
    }
    return sorted(sorted(group) for group in groups if len(group) > 1)


def _imported_modules(tree, modules):
    """Modules that are imported; ``from package import module`` names the module alone."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module:
            named = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (one for one in named if one in modules)
            if node.module in modules and not all(one in modules for one in named):
                yield node.module


def _reachable(graph, start):
    seen, waiting = set(), [start]
    while waiting:
        for one in graph[waiting.pop()] - seen:
            seen.add(one)
            waiting.append(one)
    return seen


def trees():
    return {place(path): ast.parse(path.read_text(encoding="utf-8")) for path in FILES}


def test_no_import_points_up():
    assert [one for name, tree in trees().items() for one in upward_imports(name, tree)] == []


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("model/ids.py", "from pytest_repro.store.store import Store"),
        ("model/ids.py", "def f():\n    import pytest_repro.checking.writer"),
        ("store/store.py", "from pytest_repro.checking import writer"),
        ("checking/writer.py", "from pytest_repro.plugin import state"),
        ("checking/writer.py", "if TYPE_CHECKING:\n    from pytest_repro.report import failure"),
        ("errors.py", "from pytest_repro.settings import Settings"),
    ],
)
def test_an_import_that_points_up_is_found(name, source):
    assert len(upward_imports(name, ast.parse(source))) == 1


def test_no_modules_import_each_other():
    assert cycles(trees()) == []


def test_a_planted_cycle_is_found():
    sources = {
        "store/a.py": "def f():\n    from pytest_repro.store import b",
        "store/b.py": "from pytest_repro.store.c import x",
        "store/c.py": "if TYPE_CHECKING:\n    import pytest_repro.store.a",
        "store/d.py": "import pytest_repro.store.a",
    }
    found = cycles({name: ast.parse(source) for name, source in sources.items()})
    assert found == [[f"pytest_repro.store.{one}" for one in "abc"]]


def test_only_its_owner_imports_a_third_party():
    assert [one for name, tree in trees().items() for one in without_owner(name, tree)] == []


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("tensors/record.py", "import mindspore"),
        ("tensors/record.py", "def f():\n    import yaml"),
        ("checking/writer.py", "import pytest"),
        ("plugin/__init__.py", "import numpy as np"),
        ("store/store.py", "from huggingface_hub import snapshot_download"),
    ],
)
def test_a_third_party_outside_its_owner_is_found(name, source):
    assert list(without_owner(name, ast.parse(source)))


def test_every_third_party_has_an_owner():
    known = set(OWNERS) | {"pytest_repro"} | set(sys.stdlib_module_names)
    found = {module.split(".")[0] for tree in trees().values() for module, _ in imported(tree)}
    assert found - known == set()


PURE = ("model", "tensors", "noise", "tolerance", "trace")
"""Rooms that decide and measure: they know no files, clock or processes."""


@pytest.mark.parametrize("banned", ["os", "time", "pathlib", "datetime", "subprocess", "socket"])
def test_pure_rooms_know_no_files_clock_or_processes(banned):
    users = [
        f"{name}:{line}"
        for name, tree in trees().items()
        if room(name) in PURE
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
    named = set(re.findall(rf"`((?:{'|'.join(ROOMS)})/[\w/]*(?:\.py)?)`", PAGE))
    named |= set(re.findall(r"`(\w+\.py)`", PAGE))
    assert named
    assert {name for name in named if not (PACKAGE / name).exists()} == set()
    tests = set(re.findall(r"`(tests/[\w/]+(?:\.py)?)`", PAGE))
    assert {name for name in tests if not (ROOT / name).exists()} == set()


CHANGES = re.findall(
    r"^\| [^|]+ \| `([\w/]+\.py)` \| `([^`]+)` \| `(tests/[\w/]+\.py)` \|$", PAGE, re.MULTILINE
)


def test_the_table_of_changes_is_read():
    assert len(CHANGES) >= 12


@pytest.mark.parametrize(("name", "word", "test"), CHANGES)
def test_where_to_change_something_is_true(name, word, test):
    assert word in (PACKAGE / name).read_text(encoding="utf-8")
    assert "def test_" in (ROOT / test).read_text(encoding="utf-8")


def test_every_room_is_on_the_page_in_order():
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert rooms | {"errors", "settings"} == set(ROOMS)
    table = re.findall(r"^\| `(\w+)(?:/|\.py)` \|", PAGE, re.MULTILINE)
    assert tuple(one for one in table if one in LEVELS) == ROOMS


def test_internal_modules_have_no_all():
    listing = [
        name
        for name, tree in trees().items()
        if not name.endswith("__init__.py")
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
    ]
    assert listing == []


def test_the_package_shows_what_it_says():
    import pytest_repro

    assert all(hasattr(pytest_repro, name) for name in pytest_repro.__all__)
    with pytest.raises(AttributeError):
        pytest_repro.absent  # noqa: B018


def test_nothing_has_an_empty_name():
    stems = {path.stem for path in FILES} | {path.parent.name for path in FILES}
    stems |= {path.stem for path in (ROOT / "tests").rglob("*.py")}
    assert stems & FORBIDDEN_NAMES == set()


@pytest.mark.parametrize("path", FILES, ids=place)
def test_a_module_says_what_it_owns(path):
    text = path.read_text(encoding="utf-8")
    assert not text.strip() or ast.get_docstring(ast.parse(text))
