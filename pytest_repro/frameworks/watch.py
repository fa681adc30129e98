"""Watches a pipeline or a cell: its weights, its configuration, and a trace of its steps."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from json import dumps
from types import MethodType, TracebackType
from typing import Any

from numpy.typing import NDArray

from pytest_repro.errors import UsageError
from pytest_repro.frameworks.framework import Watchable, default_framework
from pytest_repro.frameworks.recorder import Recorder, own_fault
from pytest_repro.model.baseline import (
    CellRecord,
    Configuration,
    SignalRecord,
    Trace,
    WeightsDigest,
)
from pytest_repro.model.ids import Digest
from pytest_repro.model.words import TraceLevel
from pytest_repro.tensors.record import ContentMemo, make_record
from pytest_repro.trace.components import ComponentWeights, digest_weights
from pytest_repro.trace.records import make_trace, measure_signal


def watch(
    target: Any,
    level: TraceLevel = TraceLevel.STEPS,
    *,
    framework: Watchable | None = None,
    name: str = "",
) -> Watch:
    """A watch on ``target``; use it in a ``with`` statement, or start and stop it.

    Args:
        target: A mindone ``DiffusionPipeline`` (anything with components that are cells or
            schedulers), or a MindSpore ``nn.Cell``, whose calls count as steps.
        level: ``off`` (weights and configuration only), ``steps``, or ``cells``.
        framework: The framework of the cells; by default the installed one.
        name: Name of a single cell in the trace; by default the name of its class.

    Raises:
        UsageError: There is nothing to watch in ``target``, or no framework is installed.
    """
    adapter = framework or default_framework()
    if not adapter.installed():
        raise UsageError(
            f"a {type(target).__qualname__} cannot be watched: MindSpore is not installed",
            facts=("repro_watch needs cells and schedulers of mindone",),
            next_step="pip install 'pytest-repro[mindone]', or leave repro_watch out",
        )
    return Watch(target, level, adapter, name)


class Watch:
    """One watched pipeline or cell; see `watch`.

    Starting adds a hook to the ``step`` of each scheduler, and listens to the calls of cells if the
    level or a single cell needs it; stopping removes everything, in any order of watches. Watching
    changes no result. Nothing enters a compiled graph: its outermost cell is recorded as one call.
    """

    def __init__(self, target: Any, level: TraceLevel, framework: Watchable, name: str) -> None:
        self.level = level
        self._target, self._name = target, name
        self._framework = framework
        self._is_lone = framework.is_cell(target)
        self._components = self._components_of(target, name)
        self._recorder = Recorder(framework)
        self._undo: list[Callable[[], None]] = []
        if not self._components:
            raise UsageError(
                f"there is nothing to watch in a {type(target).__qualname__}",
                next_step="pass a mindone pipeline or a mindspore.nn.Cell",
            )

    def _components_of(self, target: Any, name: str) -> dict[str, Any]:
        if self._is_lone:
            return {name or type(target).__name__: target}
        return {
            key: part
            for key, part in _parts_of(target).items()
            if self._framework.is_cell(part) or self._is_scheduler(part)
        }

    def _is_scheduler(self, part: Any) -> bool:
        return not self._framework.is_cell(part) and callable(getattr(part, "step", None))

    def empty(self) -> Watch:
        """The same watch without records."""
        return Watch(self._target, self.level, self._framework, self._name)

    def start(self) -> None:
        """Start to record; a running watch continues. If this raises, nothing was changed."""
        if self._undo:
            return
        try:
            self._add_hooks()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop recording and remove every hook; may be called again."""
        while self._undo:
            self._undo.pop()()

    def __enter__(self) -> Watch:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def trace(self) -> Trace:
        """The records so far; also while it runs."""
        return self._recorder.trace(self.level)

    def parameters(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """The path, with the component's name, and the current numbers of every parameter."""
        for name, cell in self._cells():
            for path, array in self._arrays(cell):
                yield f"{name}.{path}", array

    def weights(self) -> tuple[WeightsDigest, ...]:
        """The current digest of each component's parameters.

        Unchanged parameters that were digested before cost only a fingerprint.
        """
        return tuple(
            digest_weights(name, [(path, _DIGESTS.of(array)) for path, array in self._arrays(cell)])
            for name, cell in self._cells()
        )

    def dtypes(self) -> set[str]:
        """The names of the dtypes of all parameters."""
        cells = (cell for _, cell in self._cells())
        return {array.dtype.name for cell in cells for _, array in self._arrays(cell)}

    def weight_tensors(self) -> tuple[ComponentWeights, ...]:
        """The current digest and statistics of every parameter."""
        found: list[ComponentWeights] = []
        for name, cell in self._cells():
            tensors = [(path, _SIGNALS.of(array)) for path, array in self._arrays(cell)]
            found.append(ComponentWeights(name, tuple(sorted(tensors, key=lambda item: item[0]))))
        return tuple(found)

    def configurations(self) -> tuple[Configuration, ...]:
        """The current configuration of each component that has one.

        The execution mode and the jit level are entries of a component ``mindspore`` if they are
        not at their default: a test sets them, so they are not facts of the run. So are the seeds
        that the test set, which are all that is known of draws in a graph.
        """
        found = [
            Configuration(name, type(part).__name__, _entries(part.config))
            for name, part in self._components.items()
            if isinstance(getattr(part, "config", None), Mapping)
        ]
        context = self._framework.context()
        if context:
            found.append(Configuration("mindspore", "context", context))
        return tuple(found)

    def _cells(self) -> Iterator[tuple[str, Any]]:
        cells = ((n, part) for n, part in self._components.items() if self._framework.is_cell(part))
        return iter(sorted(cells, key=lambda item: item[0]))

    def _arrays(self, cell: Any) -> Iterator[tuple[str, NDArray[Any]]]:
        for path, parameter in self._framework.parameters_of(cell):
            with own_fault(path):
                array = self._framework.peek(parameter)
            yield path, array

    def _add_hooks(self) -> None:
        if self.level is TraceLevel.OFF:
            return
        for name, part in self._components.items():
            if self._is_scheduler(part):
                self._hook_steps(part, self._recorder.step_listener(name))
        if self._is_lone:
            listener = self._recorder.root_listener()
            self._undo.append(self._framework.hear_calls(self._cells(), listener))
        if self.level is TraceLevel.CELLS:
            self._undo.append(self._framework.hear_calls(self._all_cells(), self._recorder))

    def _hook_steps(self, scheduler: Any, listener: StepListener) -> None:
        hook = StepHook.on(scheduler)
        hook.listen(listener)
        self._undo.append(lambda: hook.drop(listener))

    def _all_cells(self) -> Iterator[tuple[str, Any]]:
        """Every cell once; a cell that two components share has its first name."""
        seen: set[int] = set()
        for component, root in self._cells():
            for path, cell in self._framework.cells_of(root):
                if id(cell) not in seen:
                    seen.add(id(cell))
                    yield (f"{component}.{path}" if path else component), cell


def _digest(array: NDArray[Any]) -> Digest:
    return make_record(array).digest


def _signal(array: NDArray[Any]) -> SignalRecord:
    return measure_signal(make_record(array), sketched=False)


_DIGESTS, _SIGNALS = ContentMemo(_digest), ContentMemo(_signal)
"""For the whole process: many tests watch pipelines with the same weights."""


def _parts_of(target: Any) -> dict[str, Any]:
    try:
        listed = getattr(target, "components", None)
    except ValueError:
        listed = None  # pipelines whose constructor and configuration disagree refuse to list them
    found = dict(listed) if isinstance(listed, Mapping) else {}
    # Optional components are attributes only.
    attributes = vars(target) if hasattr(target, "__dict__") else {}
    found.update({key: part for key, part in attributes.items() if not key.startswith("_")})
    return found


def _entries(config: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    # Names with an underscore say where it was loaded from, and by which release.
    return tuple(
        (str(key), _canonical(value))
        for key, value in sorted(config.items())
        if not str(key).startswith("_")
    )


def _canonical(value: Any) -> str:
    return dumps(value, sort_keys=True, default=_described)


def _described(value: Any) -> Any:
    listed = getattr(value, "tolist", None)  # numpy arrays and numbers
    return listed() if callable(listed) else type(value).__qualname__


StepListener = Callable[[Mapping[str, Any]], Callable[[Any], None]]
"""Called before a step with its arguments by name; returns a function that gets the result."""


class StepHook:
    """Replaces ``scheduler.step`` on one scheduler, for any number of listeners.

    Only the instance changes. The hook has the signature of the method it replaces, because
    pipelines read it to decide whether to pass ``eta`` or ``generator``. A deep copy of the
    scheduler has the plain method.
    """

    def __init__(self, scheduler: Any) -> None:
        self._scheduler = scheduler
        self._original = scheduler.step
        self._listeners: list[StepListener] = []
        functools.update_wrapper(self, self._original)
        self.__signature__ = inspect.signature(self._original)

    @classmethod
    def on(cls, scheduler: Any) -> StepHook:
        """The hook of ``scheduler``, or a new one."""
        hook = vars(scheduler).get("step")
        if not isinstance(hook, StepHook):
            hook = cls(scheduler)
            scheduler.step = hook
        return hook

    def listen(self, listener: StepListener) -> None:
        """Report every step to ``listener`` from now on."""
        self._listeners.append(listener)

    def drop(self, listener: StepListener) -> None:
        """Undo `listen`, in any order; the last one restores the method.

        A wrapper that was added later stays, and the hook in it does nothing.
        """
        self._listeners.remove(listener)
        if not self._listeners and vars(self._scheduler).get("step") is self:
            self._put_back()

    def _put_back(self) -> None:
        plain = getattr(self._original, "__func__", None) is getattr(
            type(self._scheduler), "step", None
        )
        if plain:
            del self._scheduler.step
        else:
            self._scheduler.step = self._original

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Make the scheduler's step, and call every listener."""
        arguments = self._named(args, kwargs)
        ends = [listener(arguments) for listener in tuple(self._listeners)]
        result = self._original(*args, **kwargs)
        for end in ends:
            end(result)
        return result

    def _named(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            return self.__signature__.bind(*args, **kwargs).arguments
        except TypeError:
            return {}  # the scheduler itself will say what is wrong with the call

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        copied = memo.get(id(self._scheduler))
        return self._original if copied is None else MethodType(type(copied).step, copied)


class Watching:
    """All watches of one trial."""

    def __init__(self, framework: Watchable, level: TraceLevel) -> None:
        self._framework = framework
        self._level = level
        self._watches: list[Watch] = []
        self._targets: list[object] = []
        self._weights: list[tuple[WeightsDigest, ...]] = []

    def add(self, target: Any, name: str = "") -> None:
        """Begin to watch a pipeline or a cell.

        A target that is watched already and has not run yet is watched again, not twice: its
        weights may have changed in between.

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
        self._weights[place : place + 1] = [started.weights()]

    def has_stepped(self) -> bool:
        """Whether the newest watch saw a step."""
        return bool(self._watches) and bool(self._watches[-1].trace().steps)

    def _has_run(self, number: int) -> bool:
        if self._level is TraceLevel.OFF:
            return False
        trace = self._watches[number].trace()
        return bool(trace.steps or trace.cells)

    @property
    def is_watching(self) -> bool:
        """Whether anything was watched."""
        return bool(self._watches)

    def stop(self) -> None:
        """Take every hook away."""
        for one in self._watches:
            one.stop()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Record nothing for a while."""
        self.stop()
        yield
        if self._level is not TraceLevel.OFF:
            for one in self._watches:
                one.start()

    def weights(self) -> tuple[WeightsDigest, ...]:
        """The digest of each component when it was last added; further pipelines have a prefix."""
        return tuple(
            replace(one, component=f"{_prefix(number)}{one.component}")
            for number, weights in enumerate(self._weights)
            for one in weights
        )

    def dtypes(self) -> set[str]:
        """The names of the dtypes of all weights."""
        return {name for one in self._watches for name in one.dtypes()}

    def trace(self) -> Trace | None:
        """The trace so far; ``None`` if nothing is traced."""
        if not self._watches or self._level is TraceLevel.OFF:
            return None
        traces = [watched.trace() for watched in self._watches]
        return traces[0] if len(traces) == 1 else _joined(traces)

    def configurations(self) -> tuple[Configuration, ...]:
        """The current configurations of the components."""
        return tuple(
            replace(one, component=f"{_prefix(number)}{one.component}")
            for number, watched in enumerate(self._watches)
            for one in watched.configurations()
        )

    def weight_tensors(self) -> tuple[ComponentWeights, ...]:
        """Every parameter's current values."""
        return tuple(
            ComponentWeights(f"{_prefix(number)}{one.component}", one.tensors)
            for number, watched in enumerate(self._watches)
            for one in watched.weight_tensors()
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
