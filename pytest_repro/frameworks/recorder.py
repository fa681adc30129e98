"""Makes the records of a trace from the calls that hooks report."""

from __future__ import annotations

import inspect
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_repro.errors import ReproError, ValueRefused, WatchError
from pytest_repro.frameworks.values import TensorFramework
from pytest_repro.model.baseline import CellRecord, SignalRecord, StepRecord, Trace
from pytest_repro.model.ids import Digest, TensorRecord
from pytest_repro.model.words import TraceLevel
from pytest_repro.tensors.dtypes import dtype_of
from pytest_repro.tensors.record import make_record, owned
from pytest_repro.trace.records import make_trace, trace_signal

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

    Every tensor is read at once, before the next kernel can write into it; its statistics may be
    computed while the pipeline continues.
    """

    def __init__(self, framework: TensorFramework) -> None:
        self._framework = framework
        self._steps: list[Callable[[], StepRecord]] = []
        self._cells: list[Callable[[], CellRecord]] = []
        self._open: list[_Open] = []
        self._positions: Counter[str] = Counter()
        self._call_count = 0
        self._signal_cache = SignalCache()

    def trace(self, level: TraceLevel) -> Trace:
        """Everything so far."""
        self._signal_cache.finish()
        return make_trace(level, [step() for step in self._steps], [one() for one in self._cells])

    def step_listener(self, scheduler: str) -> Callable[[Mapping[str, Any]], Callable[[Any], None]]:
        """A listener for a `StepHook` on the scheduler of that name."""

        def began(arguments: Mapping[str, Any]) -> Callable[[Any], None]:
            with own_fault(scheduler):
                timestep = _timestep(arguments)
                signals = self._named_signals(_in_order(arguments))

            def ended(result: Any) -> None:
                with own_fault(scheduler):
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
        """Hash the inputs of a cell before it can change them."""
        with own_fault(name):
            inputs = self._signals((*args, *kwargs.values()), sketched=False)
        self._open.append(_Open(cell, self._call_count, len(self._steps), inputs))
        self._call_count += 1

    def call_ended(self, name: str, cell: Any, output: Any) -> None:
        """A cell has computed."""
        # Calls that raised never end; they are above this one.
        while self._open:
            begun = self._open.pop()
            if begun.cell is cell:
                with own_fault(name):
                    outputs = self._signals(output, sketched=True)
                self._cells.append(partial(_cell_record, begun, name, outputs))
                return

    def root_listener(self) -> _RootCalls:
        """A listener that records the calls of a single cell as steps."""
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
        return tuple(self._signal_cache.take(array, sketched=sketched) for array in arrays)


@contextmanager
def own_fault(name: str) -> Iterator[None]:
    """Mark an error of the recording, so that it is not taken for the model's."""
    try:
        yield
    except ReproError:
        raise
    except Exception as error:
        # A framework may raise any type while its tensors are read.
        raise WatchError(
            f"pytest-repro failed to record {name}: {type(error).__name__}: {error}",
            facts=("this is a fault of the recording, not of the model",),
            next_step="run with --repro-trace=off, which compares results without recording steps",
        ) from error


def _cell_record(begun: _Open, name: str, outputs: Sequence[Pending]) -> CellRecord:
    inputs = tuple(signal() for signal in begun.inputs)
    measured = tuple(signal() for signal in outputs)
    class_name = type(begun.cell).__name__
    return CellRecord(begun.number, begun.step, name, class_name, inputs, measured)


class _RootCalls:
    """Records the calls of a single cell as its steps."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._ends: list[Callable[[Any], None]] = []

    def call_began(self, name: str, cell: Any, args: Sequence[Any], kwargs: Any) -> None:
        """The cell is about to compute."""
        with own_fault(name):
            arguments = inspect.signature(cell.construct).bind(*args, **kwargs).arguments
        self._ends.append(self._recorder.step_listener(name)(arguments))

    def call_ended(self, name: str, cell: Any, output: Any) -> None:
        """The cell has computed."""
        # Calls that raised are below this one only if the caller continued; they stay unused.
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
        return None  # several timesteps at once; the step's result shows them


def _previous_sample(result: Any) -> Any:
    """The next sample: schedulers return an object, a mapping or a tuple that begins with it."""
    named = getattr(result, "prev_sample", None)
    if named is not None:
        return named
    return result[0] if isinstance(result, tuple) and result else result


def _arrays(value: Any, framework: TensorFramework, depth: int) -> Iterator[NDArray[Any]]:
    """Tensors, arrays and numbers in ``value``, in order; anything else is skipped."""
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


Pending = Callable[[], SignalRecord]
"""Waits until the record is measured and returns it; raises what measuring raised."""

_LEAST_SKETCHED = 64
"""Fewer elements need no sketch, which has 16 numbers."""
_LEAST_ASIDE = 1 << 14
"""Fewer elements are measured at once: the other thread would cost more."""
_LEAST_KEPT_BYTES = 4096
"""Fewer bytes are hashed: comparing with the kept copies costs as much."""
_KEPT = 8
_KEPT_BYTES = 32 << 20
_WAITING_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class _Known:
    """The finished or running measurement of one tensor."""

    signal: Pending
    sketched: bool


class SignalCache:
    """Takes the record of each tensor, and keeps copies of the latest few.

    Every byte is read before `take` returns, so the next kernel may overwrite it. A tensor that was
    just seen (the output of one cell is the input of the next) is compared with the copy instead of
    hashed. Memory: at most 64 MiB, or one larger tensor.
    """

    def __init__(self) -> None:
        self._known: dict[Digest, _Known] = {}
        self._newest: OrderedDict[Digest, TensorRecord] = OrderedDict()
        self._waiting: deque[tuple[Future[SignalRecord], int]] = deque()
        self._thread: ThreadPoolExecutor | None = None

    def take(self, array: NDArray[Any], *, sketched: bool) -> Pending:
        """The record of ``array`` as it is now; ``sketched`` adds a sketch to larger ones.

        Its dtype must be one that a baseline can hold.
        """
        sketched = sketched and array.size >= _LEAST_SKETCHED
        record = self._seen(array) or self._kept(make_record(array))
        known = self._known.get(record.digest)
        if known is None or (sketched and not known.sketched):
            known = self._known[record.digest] = _Known(self._measure(record, sketched), sketched)
        return known.signal

    def finish(self) -> None:
        """Wait until everything is measured, and end the thread; the next tensor starts one."""
        while self._waiting:
            self._waiting.popleft()[0].result()
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None

    def _seen(self, array: NDArray[Any]) -> TensorRecord | None:
        if array.nbytes < _LEAST_KEPT_BYTES:
            return None
        for digest, record in reversed(self._newest.items()):
            if record.array.dtype == array.dtype and _equal_bits(record.array, array):
                self._newest.move_to_end(digest)
                return record
        return None

    def _kept(self, record: TensorRecord) -> TensorRecord:
        if record.array.nbytes < _LEAST_KEPT_BYTES:
            return record  # measured before the next kernel runs
        kept = self._newest[record.digest] = owned(record)
        self._newest.move_to_end(record.digest)
        while len(self._newest) > _KEPT or self._kept_bytes() > _KEPT_BYTES:
            self._newest.popitem(last=False)
        return kept

    def _kept_bytes(self) -> int:
        return sum(record.array.nbytes for record in self._newest.values())

    def _measure(self, record: TensorRecord, sketched: bool) -> Pending:
        if record.array.size < _LEAST_ASIDE:
            signal = trace_signal(record, sketched=sketched)
            return lambda: signal
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "pytest-repro-trace")
        measured = self._thread.submit(trace_signal, record, sketched=sketched)
        self._waiting.append((measured, record.array.nbytes))
        while len(self._waiting) > 1 and sum(size for _, size in self._waiting) > _WAITING_BYTES:
            self._waiting.popleft()[0].result()
        return measured.result


def _equal_bits(kept: NDArray[Any], array: NDArray[Any]) -> bool:
    if kept.shape != array.shape or not array.flags.c_contiguous or not array.size:
        return False
    ours, other = kept.reshape(-1).view(np.uint8), array.reshape(-1).view(np.uint8)
    # Tensors that differ usually differ in the first element.
    return bool(ours[0] == other[0]) and np.array_equal(ours, other)
