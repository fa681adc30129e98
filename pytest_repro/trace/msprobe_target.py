"""Where msprobe is to look: the step and the cell of a divergence in msprobe's own words.

msprobe (package ``mindstudio-probe``) dumps single operators on Ascend, which no trace of ours
reaches. Source of its words: ``config_json_introduct.md`` and ``mindspore_data_dump_instruct.md``
of Ascend/msprobe; its reader: ``msprobe/core/dump/common_config.py``, release 26.2.0.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pytest_repro.errors import UsageError
from pytest_repro.model.trace import CellRecord, DumpTarget, StepRecord, Trace
from pytest_repro.trace.divergence import CellDivergence, Divergence

_OURS = "pytest_repro"
"""Our key in msprobe's config.json; msprobe passes over keys that it does not know."""


def dump_target(divergence: Divergence, observed: Trace) -> DumpTarget | None:
    """What to dump of a run that parted from its baseline; ``None`` where no step is known.

    With a cell to blame it is that call of that cell; else the whole step, of every component.

    Args:
        divergence: Where the run parted.
        observed: The trace of the run.
    """
    blamed = divergence.cell or divergence.entered
    call = _happened(blamed)
    if call is not None:
        pipeline, component, path = _parts(call.name)
        step = _number(observed.steps[: call.step], pipeline)
        return DumpTarget(step, pipeline + component, _msprobe_name(call, path, observed.cells))
    if divergence.step is None:
        return None
    pipeline = _parts(divergence.step.step.scheduler)[0]
    return DumpTarget(_number(observed.steps[: divergence.step.index], pipeline), pipeline, "")


def _happened(blamed: CellDivergence | None) -> CellRecord | None:
    return None if blamed is None else blamed.observed


def _parts(name: str) -> tuple[str, str, str]:
    """``2/unet.mid.0`` as ``2/``, ``unet`` and ``mid.0``: pipeline, component, path in it."""
    pipeline, slash, rest = name.rpartition("/")
    component, _, path = rest.partition(".")
    return pipeline + slash, component, path


def _number(steps: Sequence[StepRecord], pipeline: str) -> int:
    """How many of ``steps`` are of that pipeline: msprobe counts the steps of one."""
    return sum(_parts(step.scheduler)[0] == pipeline for step in steps)


def _msprobe_name(call: CellRecord, path: str, cells: Sequence[CellRecord]) -> str:
    """The name of a call in msprobe; ``""`` for the component itself, which msprobe does not hook.

    Its last part counts the calls of that cell since the step began.
    """
    if not path:
        return ""
    alike = [one for one in cells if (one.name, one.step) == (call.name, call.step)]
    earlier = sum(one.number < call.number for one in alike)
    return f"Cell.{path}.{call.class_name}.forward.{earlier}"


def dump_config(target: DumpTarget, dump_path: str) -> str:
    """The text of msprobe's ``config.json`` for ``target``.

    One call of one cell is dumped whole, with every operator inside it; of a whole step msprobe
    keeps statistics and CRC-32 sums of the cells, since its tensors may be many gigabytes.

    Args:
        target: What to dump.
        dump_path: Where msprobe shall write; relative to where it runs.
    """
    task, level = ("tensor", "mix") if target.cell else ("statistics", "L0")
    chosen = {
        "scope": [],
        "list": [target.cell] if target.cell else [],
        "data_mode": ["forward"],
        "summary_mode": "md5",
    }
    document = {
        "task": task,
        "dump_path": dump_path,
        "rank": [],
        "step": [target.step],
        "level": level,
        "async_dump": False,
        task: chosen,
        _OURS: {"component": target.component},
    }
    return json.dumps(document, indent=2) + "\n"


def read_target(text: str, *, where: str) -> DumpTarget:
    """The target of a ``config.json``; also of one in which msprobe's own keys were changed.

    Raises:
        UsageError: It is no such file, or none of ours.
    """
    try:
        document: dict[str, Any] = json.loads(text)
        component = str(document[_OURS]["component"])
        (step,) = document["step"]
        named = document[document["task"]]["list"]
        return DumpTarget(int(step), component, str(named[0]) if named else "")
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise UsageError(
            f"{where} is not a config.json for msprobe that pytest-repro wrote",
            facts=(f"{type(error).__name__}: {error}",),
            next_step="pytest --repro-report DIR writes one for a drift on an Ascend device",
        ) from error
