"""msprobe, which this module alone imports: one pipeline's run under its ``PrecisionDebugger``.

Its ``config.json`` was read, and a cell dumped, by msprobe 26.2.0 on MindSpore's CPU kernels, where
one kernel that msprobe wants (a norm) had to be stood in for. Untested on an Ascend device.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_repro.errors import StoreError, UsageError
from pytest_repro.frameworks.watch import StepTap
from pytest_repro.store.files import read_regular
from pytest_repro.trace.msprobe_target import read_target


class MsprobeDump:
    """Dumps one denoising step of the first watched pipeline that has the component asked for.

    msprobe has one debugger a process and leaves its hooks on the cells, so only one run of one
    test is dumped.

    Args:
        config: The ``config.json``.

    Raises:
        UsageError: It is none of ours.
        StoreError: It cannot be read.
    """

    def __init__(self, config: Path) -> None:
        try:
            text = read_regular(config).decode("utf-8", "replace")
        except OSError as error:
            raise StoreError(
                "msprobe's config.json cannot be read",
                facts=(f"{type(error).__name__}: {error.strerror or error}",),
                where=str(config),
                next_step="name the file that a report of a drift holds",
            ) from error
        self._target = read_target(text, where=str(config))
        self._config = config
        self._is_used = False

    def attach(
        self, pipeline: str, cells: Mapping[str, Any], schedulers: Sequence[Any]
    ) -> Callable[[], None]:
        """Dump what is asked for while the pipeline runs; returns what ends it.

        Args:
            pipeline: Prefix of the names of its components, ``""`` for the first pipeline.
            cells: Its components that are cells, by name.
            schedulers: Its schedulers; each step of any of them ends a step of msprobe's.

        Raises:
            UsageError: msprobe is not installed.
        """
        wanted = self._target.component
        chosen = [cell for name, cell in cells.items() if wanted in (pipeline, f"{pipeline}{name}")]
        if self._is_used or not chosen:
            return lambda: None
        self._is_used = True
        debugger = _debugger(self._config)
        model = chosen[0] if len(chosen) == 1 else chosen

        def began(_: Mapping[str, Any]) -> Callable[[Any], None]:
            def ended(_result: Any) -> None:
                debugger.stop()
                debugger.step()
                debugger.start(model)

            return ended

        taps = [StepTap.on(scheduler) for scheduler in schedulers]
        for tap in taps:
            tap.listen(began)
        debugger.start(model)

        def end() -> None:
            debugger.stop()
            for tap in taps:
                tap.drop(began)

        return end


def _debugger(config: Path) -> Any:
    try:
        made: Any = importlib.import_module("msprobe.mindspore").PrecisionDebugger
    except ImportError as error:
        raise UsageError(
            "msprobe cannot be imported",
            facts=(str(error),),
            next_step="pip install mindstudio-probe",
        ) from error
    return made(config_path=str(config))
