"""Reads the root folder and pytest-repro's keys from pytest's ini file, without a pytest run.

Source: pytest's documentation, "Initialization: determining rootdir and configfile".
"""

from __future__ import annotations

import configparser
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:  # pytest brings it there
    import tomli as tomllib


_FILES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("pytest.toml", ("pytest",)),
    (".pytest.toml", ("pytest",)),
    ("pytest.ini", ("pytest",)),
    (".pytest.ini", ("pytest",)),
    ("pyproject.toml", ("tool", "pytest")),
    ("tox.ini", ("pytest",)),
    ("setup.cfg", ("tool:pytest",)),
)
"""In pytest's order, each with the section that makes it pytest's."""


def find_root(start: Path) -> Path:
    """The nearest folder at or above ``start`` with an ini file of pytest; else ``start``."""
    return next((one for one in (start, *start.parents) if _section(one) is not None), start)


def ini_values(root: Path) -> Mapping[str, str]:
    """The keys of the root folder's ini file, as text; empty without one."""
    return {str(key): str(value) for key, value in (_section(root) or {}).items()}


def _section(folder: Path) -> Mapping[str, Any] | None:
    for name, section in _FILES:
        path = folder / name
        if path.is_file():
            found = _read(path, section)
            if found is not None:
                return found
    return None


def _read(path: Path, section: tuple[str, ...]) -> Mapping[str, Any] | None:
    """The section; ``pytest.ini`` counts even without it; pytest reports unreadable files."""
    try:
        text = path.read_text(encoding="utf-8")
        found = _of_toml(text, section) if path.suffix == ".toml" else _of_ini(text, section[0])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, configparser.Error):
        return None
    return {} if found is None and "pytest" in path.name else found


def _of_toml(text: str, section: tuple[str, ...]) -> Mapping[str, Any] | None:
    table: Any = tomllib.loads(text)
    for name in section:
        table = table.get(name) if isinstance(table, dict) else None
    if not isinstance(table, dict):
        return None
    options = table.get("ini_options", {})
    return {**table, **options} if isinstance(options, dict) else table


def _of_ini(text: str, section: str) -> Mapping[str, Any] | None:
    parser = configparser.RawConfigParser()
    parser.read_string(text)
    return dict(parser[section]) if parser.has_section(section) else None
