"""Reads ``policy.yaml``: YAML's safe nodes, with the line of every key.

Anchors, aliases, tags and several documents are refused, and size and depth are limited before
anything is built.
"""

from __future__ import annotations

import codecs
import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from pytest_repro.errors import PolicyError
from pytest_repro.store.system import read_regular
from pytest_repro.tolerance.policy import Block, Entry, Place, Policy, Series, policy_from

if TYPE_CHECKING:
    # The stub of yaml has no types for nodes.
    from yaml.nodes import Node, ScalarNode


SIZE_LIMIT_BYTES = 128 * 1024
"""About a thousand rules; YAML in pure Python takes about a second for it."""

_DEPTH_LIMIT = 8
_NODE_LIMIT = 12_000
# YAML 1.1 calls 1e-5 text and 010 eight; here a number is what Python and JSON write.
_NUMBER = re.compile(r"[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_INTEGER = re.compile(r"[-+]?[0-9]{1,15}")
_TAG = "tag:yaml.org,2002:"
_NO_NUMBERS = {".nan": math.nan, ".inf": math.inf, "+.inf": math.inf, "-.inf": -math.inf}
_QUOTE = "put globs and reasons between quotes: check: 'tests/*'"


def load_policy(path: Path, *, shown: str = "") -> Policy:
    """The policy of a project; empty without a file. ``shown`` is its name in errors.

    Raises:
        PolicyError: The file cannot be read, is too large, is not UTF-8, is not YAML, uses anchors,
            aliases, tags or several documents, or has a wrong rule; file and line are named. Or its
            name is ``policy.yml``.
    """
    place = Place(shown or path.as_posix(), path.name)
    if not path.is_symlink() and not path.exists():
        _refuse_other_suffix(path, place)
        return Policy(source=place.name)
    text = _read(path, place)
    try:
        node = _Composer(text, place).get_single_node()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, int(error.position)) + 1
        raise place.error(line, f"a character that YAML does not allow: {error.reason}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        what = error.problem or error.context or "no YAML"
        raise place.error(line, f"not YAML: {what}", next_step=_QUOTE) from None
    if node is None:
        raise place.error(1, "the policy is empty", next_step="write schema: 1, or delete the file")
    return policy_from(_value(node), place)


def _refuse_other_suffix(path: Path, place: Place) -> None:
    """A misnamed file must not disable its rules silently."""
    other = path.with_suffix(".yml")
    if os.path.lexists(other):
        raise PolicyError(
            f"{other.name} has no effect: the file name must be {path.name}",
            where=str(Path(place.path).with_name(other.name)),
            next_step=f"rename it to {path.name}",
        )


class _Composer(yaml.SafeLoader):
    """Composes nodes from a text, and refuses what a policy does not need."""

    def __init__(self, text: str, place: Place) -> None:
        super().__init__(text)
        self._place = place
        self._depth = 0
        self._nodes = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        """One node; yaml calls this for every node before it is built."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise self._place.error(
                line, "anchors (&) and aliases (*) are not allowed", next_step=_QUOTE
            )
        if getattr(event, "tag", None) is not None:
            raise self._place.error(line, f"the tag {event.tag!r:.60} is not allowed")
        if self._depth >= _DEPTH_LIMIT:
            raise self._place.error(line, f"nested more than {_DEPTH_LIMIT} deep")
        self._nodes += 1
        if self._nodes > _NODE_LIMIT:
            raise self._place.error(line, f"more than {_NODE_LIMIT} keys and values")
        self._depth += 1
        node: Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _read(path: Path, place: Place) -> str:
    try:
        content = read_regular(path, SIZE_LIMIT_BYTES + 1)
    except OSError as error:
        raise place.error(1, f"the policy cannot be read: {error.strerror or error}") from None
    if len(content) > SIZE_LIMIT_BYTES:
        raise place.error(1, f"the policy is larger than {SIZE_LIMIT_BYTES} bytes")
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise place.error(line, "the policy is not UTF-8") from None


def _value(node: Node) -> object:
    line = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        pairs = tuple(
            Entry(_value(key), _value(value), key.start_mark.line + 1) for key, value in node.value
        )
        return Block(pairs, line)
    if isinstance(node, yaml.SequenceNode):
        items = (Entry(None, _value(item), item.start_mark.line + 1) for item in node.value)
        return Series(tuple(items), line)
    return _scalar(node) if isinstance(node, yaml.ScalarNode) else None


def _scalar(node: ScalarNode) -> object:
    text: str = node.value
    if node.style is not None:
        return text
    if _NUMBER.fullmatch(text):
        return int(text) if _INTEGER.fullmatch(text) else float(text)
    if node.tag == f"{_TAG}bool":
        return text.lower() in ("true", "yes", "on")
    if node.tag == f"{_TAG}null":
        return None
    return _NO_NUMBERS.get(text.lower(), text)
