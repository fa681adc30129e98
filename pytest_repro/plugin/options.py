"""pytest's options and ini keys, all made from the one table of settings."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_repro.settings_table import TABLE

__all__ = ["add_options"]


def add_options(parser: pytest.Parser) -> None:
    """Add every row of the table of settings, to the command line and to the ini file."""
    group = parser.getgroup("repro", "pytest-repro: determinism regression tests")
    for setting in TABLE:
        dest = f"repro_option_{setting.name}"
        if setting.flag_values:
            _add_flag(group, setting.option, setting.flag_values, dest, setting.help)
        else:
            shown = f" (default: {setting.default})" if setting.default else ""
            group.addoption(
                setting.option, dest=dest, metavar=setting.metavar, help=setting.help + shown
            )
        if setting.ini:
            parser.addini(setting.ini_key, setting.help, default="")


def _add_flag(group: Any, option: str, words: tuple[str, ...], dest: str, text: str) -> None:
    """Add a flag that may carry a word, ``--repro-update`` and ``--repro-update=all``.

    Each spelling is an option of its own: with ``nargs='?'`` argparse would take the path in
    ``pytest --repro-update tests/models`` for the word.
    """
    bare = "drifted" if "drifted" in words else words[0]
    group.addoption(option, dest=dest, action="store_const", const=bare, help=text)
    for word in words if len(words) > 1 else ():
        group.addoption(
            f"{option}={word}", dest=dest, action="store_const", const=word, help=f"`{word}` only."
        )
