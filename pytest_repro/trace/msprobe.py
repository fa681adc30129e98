"""How to continue with msprobe after a drift on Ascend: its ``config.json`` and the calls to make.

msprobe (package ``mindstudio-probe``) dumps single operators; a trace ends at cells. Source:
``config_json_introduct.md`` and ``mindspore_data_dump_instruct.md`` of Ascend/msprobe, release
26.2.0. Untested on an Ascend device.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from pytest_repro.model.trace import CellRecord, StepRecord, Trace
from pytest_repro.trace.divergence import Divergence


def dump_lines(divergence: Divergence, observed: Trace) -> tuple[str, ...]:
    """What to paste so that msprobe dumps the first difference; empty if no step is known.

    If a cell's call differs, that call and every operator in it are dumped whole. Otherwise every
    cell is dumped as statistics, because the tensors may be many gigabytes.
    """
    call = _blamed_call(divergence)
    if call is not None:
        pipeline, component, path = _parts(call.name)
        step = _number(observed.steps[: call.step], pipeline)
        return _lines(step, component, _msprobe_name(call, path, observed.cells))
    if divergence.step is None:
        return ()
    pipeline = _parts(divergence.step.step.scheduler)[0]
    return _lines(_number(observed.steps[: divergence.step.index], pipeline), "", "")


def _lines(step: int, component: str, cell: str) -> tuple[str, ...]:
    model = f"pipeline.{component}" if component else "[every cell of the pipeline]"
    return (
        f"msprobe dumps {cell or 'every cell'} (step {step}) with this config.json:",
        dump_config(cell),
        "and these calls around the pipeline's (pip install mindstudio-probe):",
        f"debugger = PrecisionDebugger('config.json'); debugger.start({model}); debugger.stop()",
    )


def dump_config(cell: str) -> str:
    """The ``config.json`` for one call of one cell, or for every cell (``""``)."""
    task, level = ("tensor", "mix") if cell else ("statistics", "L0")
    chosen = {
        "scope": [],
        "list": [cell] if cell else [],
        "data_mode": ["forward"],
        "summary_mode": "md5",
    }
    document = {
        "task": task,
        "dump_path": "msprobe",
        "rank": [],
        "step": [],
        "level": level,
        "async_dump": False,
        task: chosen,
    }
    return json.dumps(document)


def _blamed_call(divergence: Divergence) -> CellRecord | None:
    blamed = divergence.cell or divergence.entered
    return None if blamed is None else blamed.observed


def _parts(name: str) -> tuple[str, str, str]:
    """``2/unet.mid.0`` as ``2/``, ``unet`` and ``mid.0``: pipeline, component, path in it."""
    pipeline, slash, rest = name.rpartition("/")
    component, _, path = rest.partition(".")
    return pipeline + slash, component, path


def _number(steps: Sequence[StepRecord], pipeline: str) -> int:
    """How many of ``steps`` belong to that pipeline."""
    return sum(_parts(step.scheduler)[0] == pipeline for step in steps)


def _msprobe_name(call: CellRecord, path: str, cells: Sequence[CellRecord]) -> str:
    """The name of a call in msprobe; ``""`` for the component itself, which msprobe does not hook.

    Its last part counts the calls of that cell since the debugger was started.
    """
    if not path:
        return ""
    earlier = sum(one.name == call.name and one.number < call.number for one in cells)
    return f"Cell.{path}.{call.class_name}.forward.{earlier}"
