"""The YAML of manifests: written plainly, and read only where our own writer may have made it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from pytest_repro.errors import CorruptBaseline
from pytest_repro.store.files import corrupt, is_lfs_pointer

__all__ = ["dump_yaml", "load_yaml", "mapping_of"]

_BASE_60 = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")
_CONFLICT = re.compile(r"^(?:<{7}|>{7}) .*", re.MULTILINE)
_MAX_NUMBER_CHARACTERS = 64
_MAX_DEPTH = 24
_MIN_COLLECTION_BYTES = 16
"""Of a text this long a collection, on average, at least; ours have more than thirty."""
_YAML_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Loader(_YAML_LOADER):  # type: ignore[misc]
    """YAML's safe loader, but of two equal keys it takes neither."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """One mapping; a merge of two branches may have left a check in it twice."""
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        if len(mapping) != len(node.value):
            raise ValueError(f"line {node.start_mark.line + 1}: a key stands there twice")
        return mapping


def dump_yaml(document: object) -> str:
    """One document as text; keys stay in their order."""
    text: str = yaml.dump(
        document,
        Dumper=_DUMPER,
        default_flow_style=None,
        sort_keys=False,
        allow_unicode=True,
        width=1_000_000,
    )
    return text


def load_yaml(text: str, *, where: str) -> Mapping[str, Any]:
    """One document, which must be a mapping.

    Raises:
        CorruptBaseline: It is something else, or what our writer never writes.
    """
    if is_lfs_pointer(text[:64].encode()):
        raise CorruptBaseline(
            "the manifest is a git-lfs pointer, its content was not pulled",
            where=where,
            next_step="git lfs pull",
        )
    try:
        _refuse_foreign(text)
        document = yaml.load(text, Loader=_Loader)  # noqa: S506  a safe loader
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        _refuse_conflict(text, where)
        raise corrupt(where, " ".join(str(error).split())) from error
    return mapping_of(document, "document", where)


def _refuse_conflict(text: str, where: str) -> None:
    """Name the marks of a merge for what they are: git restores no file that is unmerged."""
    mark = _CONFLICT.search(text)
    if mark is None:
        return
    raise CorruptBaseline(
        "a merge left both sides in a manifest",
        facts=(f"there stands {mark[0]!r}",),
        where=where,
        next_step=f"git checkout --ours -- {where}   (or --theirs; then pytest --repro-update "
        "records what that side lacks)",
    )


def _refuse_foreign(text: str) -> None:
    """Refuse what our writer never writes and what would cost or crash more than it says.

    libyaml builds nested collections by recursion in C, without a limit: a hundred thousand
    brackets end the process. Its events come one by one, so they are looked at first. It also
    expands aliases, and reads ``1:59:59...`` as a number to the base 60, in quadratic time.
    """
    depth = collections = 0
    for event in yaml.parse(text, Loader=_YAML_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            collections += 1
            if depth > _MAX_DEPTH or collections * _MIN_COLLECTION_BYTES > 1000 + len(text):
                raise ValueError("nested too deeply, or too often, for a manifest")
        depth -= isinstance(event, yaml.CollectionEndEvent)
        # An alias has the name of its anchor.
        if getattr(event, "anchor", None) or getattr(event, "tag", None):
            raise ValueError("anchors, aliases and tags are not part of a manifest")
        if isinstance(event, yaml.ScalarEvent) and _is_long_number(event.value):
            raise ValueError("a number that is too long for a manifest")


def _is_long_number(text: str) -> bool:
    return len(text) > _MAX_NUMBER_CHARACTERS and _BASE_60.fullmatch(text) is not None


def mapping_of(value: object, name: str, where: str) -> Mapping[str, Any]:
    """``value``, if it is a mapping.

    Raises:
        CorruptBaseline: It is none.
    """
    if not isinstance(value, dict):
        raise corrupt(where, f"{name} is {type(value).__name__}, not a mapping")
    return value
