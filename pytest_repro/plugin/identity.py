"""The id of an item in baselines: its module and name."""

from __future__ import annotations

import os

import pytest

from pytest_repro.errors import UsageError

_REPEAT_STEP = "__pytest_repeat_step_number"


def own_id(item: pytest.Item) -> str:
    """The node id without what plugins append to it.

    xdist appends a group (``--dist loadgroup``) and pytest-repeat a number (``--count``); the test
    keeps its baselines. The module is the path of the file from pytest's root folder, also if it is
    outside of it, where pytest's own id has no folder.

    Raises:
        UsageError: The file is on another drive, so there is no relative path.
    """
    node_id = _without_count(item, _without_group(item))
    if item.path.is_relative_to(item.config.rootpath):
        return node_id
    return "::".join([_path_from_root(item), *node_id.split("::", 1)[1:]])


def _path_from_root(item: pytest.Item) -> str:
    root = item.config.rootpath
    try:
        return os.path.relpath(item.path, root).replace(os.sep, "/")
    except ValueError:
        raise UsageError(
            f"{item.path}: no relative path leads to this test from pytest's root folder",
            facts=(f"root folder  {root}",),
            next_step="pytest --rootdir with a folder on the same drive",
        ) from None


def _without_group(item: pytest.Item) -> str:
    if not getattr(item.config.option, "loadgroup", False):
        return item.nodeid
    groups = {
        str(mark.args[0] if mark.args else mark.kwargs.get("name", "default"))
        for mark in item.iter_markers("xdist_group")
    }
    return item.nodeid.removesuffix(f"@{'_'.join(sorted(groups))}") if groups else item.nodeid


def _without_count(item: pytest.Item, node_id: str) -> str:
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    if _REPEAT_STEP not in parameters:
        return node_id
    head, bracket, rest = node_id.rpartition("[")
    kept = rest.removesuffix("]").split("-")[:-2]  # the last two are step and count
    return f"{head}[{'-'.join(kept)}]" if kept and bracket else head
