"""What a trial watched: the trace so far, and what its pipelines are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pytest_repro.frameworks.values import TensorFramework
from pytest_repro.frameworks.watch import Watch, watch
from pytest_repro.model.baseline import WeightsDigest
from pytest_repro.settings import TraceLevel
from pytest_repro.trace.components import ComponentWeights, Configuration
from pytest_repro.trace.records import CellRecord, Trace, make_trace

if TYPE_CHECKING:
    from pytest_repro.frameworks.msprobe import MsprobeDump

__all__ = ["Anatomy", "Watching"]


@dataclass(frozen=True, slots=True)
class Anatomy:
    """What the watched pipelines are made of: parameters one by one, and configurations."""

    weights: tuple[ComponentWeights, ...] = ()
    configurations: tuple[Configuration, ...] = ()


class Watching:
    """All watches of one trial.

    Args:
        framework: Reads tensors.
        level: How much is recorded of each pipeline.
        dump: Where msprobe is asked for.
    """

    def __init__(
        self, framework: TensorFramework, level: TraceLevel, dump: MsprobeDump | None = None
    ) -> None:
        self._framework = framework
        self._level = level
        self._dump = dump
        self._end_dumps: list[Callable[[], None]] = []
        self._watches: list[Watch] = []
        self._targets: list[object] = []

    def add(self, target: Any, name: str = "") -> None:
        """Begin to watch a pipeline or a cell.

        What is watched already and has not run yet is watched anew, not twice: its weights may
        have been changed in between.

        Raises:
            UsageError: There is nothing to watch in it.
        """
        known = [n for n, one in enumerate(self._targets) if one is target]
        place = known[-1] if known and not self._has_run(known[-1]) else len(self._watches)
        for earlier in self._watches[place : place + 1]:
            earlier.stop()
        started = watch(target, self._level, framework=self._framework, name=name)
        if self._level is not TraceLevel.OFF:
            started.start()
        self._watches[place : place + 1] = [started]
        self._targets[place : place + 1] = [target]
        if self._dump is not None:
            for end in self._end_dumps[place : place + 1]:
                end()
            ends = self._dump.attach(_prefix(place), started.cells, started.schedulers)
            self._end_dumps[place : place + 1] = [ends]

    def _has_run(self, number: int) -> bool:
        if self._level is TraceLevel.OFF:
            return False
        trace = self._watches[number].trace()
        return bool(trace.steps or trace.cells)

    @property
    def is_watching(self) -> bool:
        """Whether anything was ever watched."""
        return bool(self._watches)

    def stop(self) -> None:
        """Take every tap away."""
        while self._end_dumps:
            self._end_dumps.pop()()
        for one in self._watches:
            one.stop()

    def weights(self) -> tuple[WeightsDigest, ...]:
        """The digest of each component; of a second pipeline, its name says so."""
        return tuple(
            WeightsDigest(f"{_prefix(number)}{one.component}", one.digest)
            for number, watched in enumerate(self._watches)
            for one in watched.weights()
        )

    def trace(self) -> Trace | None:
        """What was recorded so far; ``None`` when nothing is traced."""
        if not self._watches or self._level is TraceLevel.OFF:
            return None
        traces = [watched.trace() for watched in self._watches]
        return traces[0] if len(traces) == 1 else _joined(traces)

    def anatomy(self) -> Anatomy:
        """Parameters and configurations as they are now; reads every weight."""
        return Anatomy(
            tuple(
                ComponentWeights(f"{_prefix(number)}{one.component}", one.tensors)
                for number, watched in enumerate(self._watches)
                for one in watched.weight_tensors()
            ),
            tuple(
                replace(one, component=f"{_prefix(number)}{one.component}")
                for number, watched in enumerate(self._watches)
                for one in watched.configurations()
            ),
        )


def _prefix(number: int) -> str:
    return "" if number == 0 else f"{number + 1}/"


def _joined(traces: Sequence[Trace]) -> Trace:
    steps = [
        replace(step, scheduler=f"{_prefix(number)}{step.scheduler}")
        for number, trace in enumerate(traces)
        for step in trace.steps
    ]
    cells: list[CellRecord] = []
    before = 0
    for number, trace in enumerate(traces):
        cells += [
            replace(cell, name=f"{_prefix(number)}{cell.name}", step=cell.step + before)
            for cell in trace.cells
        ]
        before += len(trace.steps)
    return make_trace(traces[0].level, steps, cells)
