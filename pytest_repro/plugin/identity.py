"""Which test an item is: its module and name as baselines have them."""

from __future__ import annotations

import pytest

from pytest_repro.errors import UsageError

_REPEAT_STEP = "__pytest_repeat_step_number"


def own_id(item: pytest.Item) -> str:
    """The node id without what plugins append to it for a single run.

    xdist appends a group (``--dist loadgroup``) and pytest-repeat a number (``--count``). The same
    test has the same baselines, however a run is shared out or repeated.
    """
    return _without_count(item, _without_group(item))


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


def demand_inside_root(item: pytest.Item) -> None:
    """Refuse a test whose file is not below pytest's root folder.

    Its node id would not name the file, so two tests could share one baseline.

    Raises:
        UsageError: It is outside.
    """
    root = item.config.rootpath
    if item.path.is_relative_to(root):
        return
    raise UsageError(
        f"{item.path}: a test outside of pytest's root folder has no id that names its file",
        facts=(f"root folder  {root}",),
        next_step=f"pytest --rootdir={_common_folder(item)}, or move the ini file up",
    )


def _common_folder(item: pytest.Item) -> str:
    import os

    return os.path.commonpath([item.path.parent, item.config.rootpath])
