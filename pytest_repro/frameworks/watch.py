"""Watching a pipeline or a cell: its weights, its configuration, and a trace of what it does."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MethodType, TracebackType
from typing import Any, Protocol

from numpy.typing import NDArray

from pytest_repro.errors import UsageError
from pytest_repro.frameworks.recorder import Recorder
from pytest_repro.frameworks.values import TensorFramework
from pytest_repro.model.baseline import WeightsDigest
from pytest_repro.model.ids import Digest
from pytest_repro.model.trace import SignalRecord, Trace
from pytest_repro.model.words import TraceLevel
from pytest_repro.tensors.memo import ContentMemo
from pytest_repro.tensors.record import make_record
from pytest_repro.trace.components import ComponentWeights, Configuration, digest_weights
from pytest_repro.trace.records import measure_signal


def watch(
    target: Any,
    level: TraceLevel = TraceLevel.STEPS,
    *,
    framework: TensorFramework | None = None,
    name: str = "",
) -> Watch:
    """A watch on ``target``, not yet started; use it in a ``with`` statement, or start and stop it.

    Args:
        target: A mindone ``DiffusionPipeline`` (anything with components that are cells or
            schedulers), or a MindSpore ``nn.Cell``, whose calls then count as steps.
        level: ``off`` (weights and configuration only), ``steps``, or ``cells``.
        framework: Reads tensors; by default MindSpore's adapter.
        name: What a lone cell is called in the trace; by default the name of its class.

    Raises:
        UsageError: There is nothing to watch in ``target``, or no MindSpore.
    """
    from pytest_repro.frameworks.mindspore import MindSporeAdapter

    adapter = MindSporeAdapter()
    if not adapter.installed():
        raise UsageError(
            f"a {type(target).__qualname__} cannot be watched: MindSpore is not installed",
            facts=("cells and schedulers of mindone are what is watched",),
            next_step="pip install 'pytest-repro[mindone]', or leave repro_watch out",
        )
    return Watch(target, level, framework or adapter, name)


class Watch:
    """One watched pipeline or cell; see `watch`.

    Starting adds a tap to the ``step`` of each scheduler, and hooks to cells where the level or a
    lone cell needs them; stopping takes all of it away again, in whatever order watches end and
    whatever was raised. Nothing that is watched computes anything else because of it.
    """

    def __init__(
        self, target: Any, level: TraceLevel, framework: TensorFramework, name: str
    ) -> None:
        self.level = level
        self._framework = framework
        self._components = _components_of(target, name)
        self._cell_names = sorted(n for n, part in self._components.items() if _is_cell(part))
        self._is_lone = _is_cell(target)
        self._recorder = Recorder(framework)
        self._undo: list[Callable[[], None]] = []
        if not self._components:
            raise UsageError(
                f"there is nothing to watch in a {type(target).__qualname__}",
                next_step="hand over a mindone pipeline or a mindspore.nn.Cell",
            )

    def start(self) -> None:
        """Begin to record; a running watch goes on.

        Raises:
            UsageError: Hooks are needed and MindSpore is in GRAPH mode, which has none. Nothing is
                left behind.
        """
        if self._undo:
            return
        try:
            self._add_taps()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End recording and take every tap away; more than once does no harm."""
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

    def clear(self) -> None:
        """Forget what was recorded, as before the first step; a running watch goes on."""
        running = bool(self._undo)
        self.stop()
        self._recorder = Recorder(self._framework)
        if running:
            self.start()

    def trace(self) -> Trace:
        """What was recorded so far; also while it runs."""
        return self._recorder.trace(self.level)

    def weights(self) -> tuple[WeightsDigest, ...]:
        """The digest of each component's parameters as they are now.

        Parameters that were digested before and have not changed cost only a fingerprint.
        """
        return tuple(
            digest_weights(name, [(path, _DIGESTS.of(array)) for path, array in self._arrays(cell)])
            for name, cell in self._cells()
        )

    def weight_tensors(self) -> tuple[ComponentWeights, ...]:
        """Every parameter's digest and statistics as they are now."""
        found: list[ComponentWeights] = []
        for name, cell in self._cells():
            tensors = [(path, _SIGNALS.of(array)) for path, array in self._arrays(cell)]
            found.append(ComponentWeights(name, tuple(sorted(tensors, key=lambda item: item[0]))))
        return tuple(found)

    def configurations(self) -> tuple[Configuration, ...]:
        """The configuration of each component that has one, as it is now."""
        return tuple(
            Configuration(name, type(part).__name__, _entries(part.config))
            for name, part in self._components.items()
            if isinstance(getattr(part, "config", None), Mapping)
        )

    @property
    def cells(self) -> dict[str, Any]:
        """The components that are cells, by name."""
        return dict(self._cells())

    @property
    def schedulers(self) -> tuple[Any, ...]:
        """The components that are schedulers."""
        return tuple(part for part in self._components.values() if _is_scheduler(part))

    def _cells(self) -> Iterator[tuple[str, Any]]:
        return ((name, self._components[name]) for name in self._cell_names)

    def _arrays(self, cell: Any) -> Iterator[tuple[str, NDArray[Any]]]:
        # By path: MindSpore renames a parameter whose cell is put into another list, and mindone's
        # UnCLIP does that in its first run (`self.resnets[1:]`).
        for path, parameter in cell.parameters_and_names():
            yield str(path), self._framework.peek(parameter)

    def _add_taps(self) -> None:
        if self.level is TraceLevel.OFF:
            return
        for name, part in self._components.items():
            if _is_scheduler(part):
                self._tap_steps(part, self._recorder.step_listener(name))
        if self._is_lone:
            self._hook_lone_cell()
        if self.level is TraceLevel.CELLS:
            self._hook_all_cells()

    def _tap_steps(self, scheduler: Any, listener: StepListener) -> None:
        tap = StepTap.on(scheduler)
        tap.listen(listener)
        self._undo.append(lambda: tap.drop(listener))

    def _hook_lone_cell(self) -> None:
        _refuse_graph_mode("the calls of a cell")
        taps = CellTaps(self._recorder.root_listener())
        self._undo.append(taps.remove)
        for name, cell in self._cells():
            taps.add(name, cell)

    def _hook_all_cells(self) -> None:
        _refuse_graph_mode("cells")
        taps = CellTaps(self._recorder)
        self._undo.append(taps.remove)
        seen: set[int] = set()
        for component, root in self._cells():
            for path, cell in root.cells_and_names():
                # A cell that two components share is known by its first name.
                if id(cell) not in seen:
                    seen.add(id(cell))
                    taps.add(f"{component}.{path}" if path else component, cell)


def _digest(array: NDArray[Any]) -> Digest:
    return make_record(array).digest


def _signal(array: NDArray[Any]) -> SignalRecord:
    return measure_signal(make_record(array), sketched=False)


_DIGESTS, _SIGNALS = ContentMemo(_digest), ContentMemo(_signal)
"""For the whole process: many tests watch pipelines of the same weights."""


def _components_of(target: Any, name: str) -> dict[str, Any]:
    if _is_cell(target):
        return {name or type(target).__name__: target}
    try:
        listed = getattr(target, "components", None)
    except ValueError:
        listed = None  # pipelines whose constructor and configuration disagree refuse to list them
    found = dict(listed) if isinstance(listed, Mapping) else {}
    # Optional components are attributes only.
    attributes = vars(target) if hasattr(target, "__dict__") else {}
    found.update({key: part for key, part in attributes.items() if not key.startswith("_")})
    return {key: part for key, part in found.items() if _is_cell(part) or _is_scheduler(part)}


def _is_cell(part: Any) -> bool:
    from mindspore.nn import Cell

    return isinstance(part, Cell)


def _is_scheduler(part: Any) -> bool:
    return not _is_cell(part) and callable(getattr(part, "step", None))


def _refuse_graph_mode(what: str) -> None:
    import mindspore

    if mindspore.get_context("mode") == mindspore.GRAPH_MODE:
        raise UsageError(
            f"{what} cannot be traced in GRAPH mode: a compiled graph calls no hooks",
            facts=("schedulers' steps can be: they stay in Python",),
            next_step="trace='steps' on a pipeline, or mindspore.set_context(mode=PYNATIVE_MODE)",
        )


def _entries(config: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    # What begins with an underscore says where it was loaded from and by which release.
    return tuple(
        (str(key), _canonical(value))
        for key, value in sorted(config.items())
        if not str(key).startswith("_")
    )


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=_described)


def _described(value: Any) -> Any:
    listed = getattr(value, "tolist", None)  # numpy arrays and numbers
    return listed() if callable(listed) else type(value).__qualname__


StepListener = Callable[[Mapping[str, Any]], Callable[[Any], None]]
"""Called with the arguments of a step by name before it; what it returns gets the result."""


class StepTap:
    """Stands in for ``scheduler.step`` on one scheduler, for any number of listeners.

    Only the instance is touched. The tap looks like the method it replaces (pipelines read its
    signature to decide whether to pass ``eta`` or ``generator``), and a deep copy of the scheduler
    gets the plain method back.
    """

    def __init__(self, scheduler: Any) -> None:
        self._scheduler = scheduler
        self._original = scheduler.step
        self._listeners: list[StepListener] = []
        functools.update_wrapper(self, self._original)
        self.__signature__ = inspect.signature(self._original)

    @classmethod
    def on(cls, scheduler: Any) -> StepTap:
        """The tap that stands on ``scheduler`` now, or a new one."""
        tap = vars(scheduler).get("step")
        if not isinstance(tap, StepTap):
            tap = cls(scheduler)
            scheduler.step = tap
        return tap

    def listen(self, listener: StepListener) -> None:
        """Have ``listener`` hear every step from now on."""
        self._listeners.append(listener)

    def drop(self, listener: StepListener) -> None:
        """Undo `listen`, in any order; the last one to go puts the method back.

        If somebody wrapped ``step`` after us, their wrapper stays and our tap in it falls silent.
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
        """Take the step as the scheduler would, and tell every listener."""
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


class CallListener(Protocol):
    """Hears calls of cells; ``name`` is the cell's path."""

    def call_began(self, name: str, cell: Any, args: Sequence[Any], kwargs: Any) -> None:
        """The cell is about to compute."""

    def call_ended(self, name: str, cell: Any, output: Any) -> None:
        """The cell has computed; not called when it raised."""


class CellTaps:
    """Forward hooks on many cells, removed together."""

    def __init__(self, listener: CallListener) -> None:
        self._listener = listener
        self._handles: list[Any] = []

    def add(self, name: str, cell: Any) -> None:
        """Hear every call of ``cell`` in PYNATIVE mode."""
        listener = self._listener

        # Hooks that return None change neither arguments nor output.
        def before(_cell: Any, args: Sequence[Any], kwargs: Any) -> None:
            listener.call_began(name, cell, args, kwargs)

        def after(_cell: Any, _args: Sequence[Any], _kwargs: Any, output: Any) -> None:
            listener.call_ended(name, cell, output)

        self._handles.append(cell.register_forward_pre_hook(before, with_kwargs=True))
        self._handles.append(cell.register_forward_hook(after, with_kwargs=True))

    def remove(self) -> None:
        """Remove every hook; more than once does no harm."""
        while self._handles:
            self._handles.pop().remove()
