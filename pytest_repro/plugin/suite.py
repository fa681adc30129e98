"""Suite mode: the ini key ``repro_suite`` puts every test below a folder under the harness."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import PurePath

import pytest

KEY = "repro_suite"
HELP = (
    "Put every test below these folders or files (one glob on each line) under the harness "
    "without editing it: each call of a mindone pipeline is watched and its output checked. "
    "Arguments of the marker may follow: tests/pipelines trace=cells runs=3"
)
_MARK: pytest.StashKey[pytest.Mark] = pytest.StashKey()


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of ``repro_suite``.

    Attributes:
        glob: A folder or file relative to the root folder.
        arguments: Arguments of the marker; ``tolerance=rel_l2:1e-5`` is a tolerance of one bound.
    """

    glob: str
    arguments: Mapping[str, object]

    def covers(self, path: str) -> bool:
        """Whether a module (relative to the root folder) or a folder above it matches."""
        places = (path, *map(str, PurePath(path).parents))
        return any(fnmatch(place, self.glob.rstrip("/")) for place in places)


def parse_rule(line: str) -> Rule:
    """The rule in a line of the ini file.

    Raises:
        pytest.UsageError: What follows the glob is not ``name=value``.
    """
    glob, *words = shlex.split(line)
    pairs = [word.partition("=") for word in words]
    if not all(name and value for name, _, value in pairs):
        raise pytest.UsageError(
            f"ini key repro_suite: {line!r} is not a glob followed by name=value\n"
            "  next   for example: tests/pipelines trace=cells runs=3"
        )
    return Rule(glob, {name: _argument(name, value) for name, _, value in pairs})


def _argument(name: str, text: str) -> object:
    if name != "tolerance" or ":" not in text:
        return text
    return {
        key: float(number) for key, _, number in (one.partition(":") for one in text.split(","))
    }


def add_suite_key(parser: pytest.Parser) -> None:
    """Declare the ini key."""
    parser.addini(KEY, HELP, type="linelist", default=[])


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(config: pytest.Config, items: Sequence[pytest.Item]) -> None:
    rules = [parse_rule(line) for line in config.getini(KEY)]
    if not rules:
        return
    for item in items:
        module = item.getparent(pytest.Module)
        if module is None or _MARK in module.stash:
            continue
        path = item.nodeid.partition("::")[0]
        rule = next((one for one in rules if one.covers(path)), None)
        if rule is not None:
            decorator = pytest.mark.repro(**rule.arguments)
            # After the module's own marks: a test's own mark wins.
            module.add_marker(decorator)
            module.stash[_MARK] = decorator.mark


def suite_mark(item: pytest.Item) -> pytest.Mark | None:
    """The mark of a test that comes from ``repro_suite``."""
    module = item.getparent(pytest.Module)
    return None if module is None else module.stash.get(_MARK, None)
