"""Turns what taps hear into the records of a trace; keeps no tensor."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_repro.errors import ValueRefused
from pytest_repro.frameworks.passing import PassingTensors, Pending
from pytest_repro.frameworks.values import TensorFramework
from pytest_repro.settings import TraceLevel
from pytest_repro.tensors.dtypes import dtype_of
from pytest_repro.trace.records import CellRecord, StepRecord, Trace, make_trace

__all__ = ["Recorder"]

_MAX_DEPTH = 8
_FIRST_SIGNALS = ("sample", "model_output")
_TIMES = ("timestep", "timesteps", "t")


@dataclass(frozen=True, slots=True)
class _Open:
    """A call that has begun and not ended."""

    cell: Any
    number: int
    step: int
    inputs: tuple[Pending, ...]


class Recorder:
    """Collects steps and calls in the order in which they end.

    Every tensor is read when it passes by, before the next kernel can write into it; its statistics
    may still be in the making when the pipeline goes on.
    """

    def __init__(self, framework: TensorFramework) -> None:
        self._framework = framework
        self._steps: list[Callable[[], StepRecord]] = []
        self._cells: list[Callable[[], CellRecord]] = []
        self._open: list[_Open] = []
        self._positions: Counter[str] = Counter()
        self._call_count = 0
        self._passing = PassingTensors()

    def trace(self, level: TraceLevel) -> Trace:
        """Everything so far."""
        self._passing.rest()
        return make_trace(level, [step() for step in self._steps], [one() for one in self._cells])

    def step_listener(self, scheduler: str) -> Callable[[Mapping[str, Any]], Callable[[Any], None]]:
        """A listener for a `StepTap` on the scheduler of that name."""

        def began(arguments: Mapping[str, Any]) -> Callable[[Any], None]:
            timestep = _timestep(arguments)
            signals = self._named_signals(_in_order(arguments))

            def ended(result: Any) -> None:
                self._end_step(scheduler, timestep, signals, _previous_sample(result))

            return ended

        return began

    def _end_step(
        self,
        scheduler: str,
        timestep: float | None,
        signals: tuple[tuple[str, Pending], ...],
        result: Any,
    ) -> None:
        position = self._positions[scheduler]
        self._positions[scheduler] += 1
        named = (*signals, *self._named_signals((("result", result),)))

        def step() -> StepRecord:
            measured = tuple((name, signal()) for name, signal in named)
            return StepRecord(scheduler, position, timestep, measured)

        self._steps.append(step)

    def call_began(self, name: str, cell: Any, args: Sequence[Any], kwargs: Any) -> None:
        """A cell is about to compute; its inputs are hashed before it can change them."""
        inputs = self._signals((*args, *kwargs.values()), sketched=False)
        self._open.append(_Open(cell, self._call_count, len(self._steps), inputs))
        self._call_count += 1

    def call_ended(self, name: str, cell: Any, output: Any) -> None:
        """A cell has computed."""
        # Calls that raised never end; they lie above ours.
        while self._open:
            begun = self._open.pop()
            if begun.cell is cell:
                outputs = self._signals(output, sketched=True)
                self._cells.append(partial(_cell_record, begun, name, outputs))
                return

    def root_listener(self) -> _RootCalls:
        """A listener for `CellTaps` that records the calls of a lone cell as steps."""
        return _RootCalls(self)

    def _named_signals(self, named: Sequence[tuple[str, Any]]) -> tuple[tuple[str, Pending], ...]:
        signals: list[tuple[str, Pending]] = []
        for name, value in named:
            found = self._signals(value, sketched=True)
            signals.extend(
                (name if not at else f"{name}[{at}]", signal) for at, signal in enumerate(found)
            )
        return tuple(signals)

    def _signals(self, value: Any, *, sketched: bool) -> tuple[Pending, ...]:
        arrays = _arrays(value, self._framework, 0)
        return tuple(self._passing.take(array, sketched=sketched) for array in arrays)


def _cell_record(begun: _Open, name: str, outputs: Sequence[Pending]) -> CellRecord:
    inputs = tuple(signal() for signal in begun.inputs)
    measured = tuple(signal() for signal in outputs)
    class_name = type(begun.cell).__name__
    return CellRecord(begun.number, begun.step, name, class_name, inputs, measured)


class _RootCalls:
    """Records calls of a lone cell as its steps."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._ends: list[Callable[[Any], None]] = []

    def call_began(self, name: str, cell: Any, args: Sequence[Any], kwargs: Any) -> None:
        """The cell is about to compute."""
        arguments = inspect.signature(cell.construct).bind(*args, **kwargs).arguments
        self._ends.append(self._recorder.step_listener(name)(arguments))

    def call_ended(self, name: str, cell: Any, output: Any) -> None:
        """The cell has computed."""
        # Ends of calls that raised lie below ours only if the caller went on; they stay unused.
        self._ends.pop()(output)


def _in_order(arguments: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    first = [name for name in _FIRST_SIGNALS if name in arguments]
    rest = [name for name in arguments if name not in (*first, *_TIMES)]
    return tuple((name, arguments[name]) for name in (*first, *rest))


def _timestep(arguments: Mapping[str, Any]) -> float | None:
    value = next((arguments[name] for name in _TIMES if name in arguments), None)
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None  # several timesteps at once; they show in what the step computes


def _previous_sample(result: Any) -> Any:
    """The next sample: schedulers return an object, a mapping or a tuple that begins with it."""
    named = getattr(result, "prev_sample", None)
    if named is not None:
        return named
    return result[0] if isinstance(result, tuple) and result else result


def _arrays(value: Any, framework: TensorFramework, depth: int) -> Iterator[NDArray[Any]]:
    """Tensors, arrays and numbers in ``value``, in order; anything else is passed over."""
    if framework.is_tensor(value):
        yield from _storable(framework.peek(value))
    elif isinstance(value, (np.ndarray, np.generic, bool, int, float)):
        yield from _storable(np.asarray(value))
    elif depth < _MAX_DEPTH and isinstance(value, Mapping):
        for item in value.values():
            yield from _arrays(item, framework, depth + 1)
    elif depth < _MAX_DEPTH and isinstance(value, (list, tuple)):
        for item in value:
            yield from _arrays(item, framework, depth + 1)


def _storable(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    if array.dtype.kind == "c":
        array = np.stack([array.real, array.imag])
    try:
        dtype_of(array)
    except ValueRefused:
        return
    yield array
