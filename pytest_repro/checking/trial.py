"""One execution of one test: its generators, what it checked, in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from pytest_repro.checking.spec import TestSpec
from pytest_repro.checking.suite import SuiteCalls
from pytest_repro.errors import SettingError, UsageError
from pytest_repro.frameworks.framework import FrameworkAdapter
from pytest_repro.frameworks.torch import TorchRecorder
from pytest_repro.frameworks.values import value_from
from pytest_repro.frameworks.watch import Watch, watch
from pytest_repro.guard.pipeline_calls import watch_pipeline_calls
from pytest_repro.model.baseline import CellRecord, Configuration, Trace, WeightsDigest
from pytest_repro.model.ids import CheckId, DrawLog, IndexEntry
from pytest_repro.model.outcome import Observation, Reference
from pytest_repro.model.words import Distance, TraceLevel
from pytest_repro.noise.draw_log import EMPTY_DRAW_LOG
from pytest_repro.noise.sources import NamedTensors, can_move
from pytest_repro.settings import parse_choice, parse_count
from pytest_repro.tensors.dtypes import DTYPES, coarsest
from pytest_repro.tensors.record import digest_leaves, owned
from pytest_repro.tolerance.bounds import Tolerance, tolerance_from
from pytest_repro.trace.components import ComponentWeights, digest_inputs, digest_settings
from pytest_repro.trace.records import make_trace

if TYPE_CHECKING:
    from pytest_repro.noise.generator import LoggedGenerator, NoiseBook


class CheckCall(NamedTuple):
    """One call of `repro_check`.

    Attributes:
        observation: The observation; without tensors if they were exact and dropped.
        tolerance, reference: The arguments of the call.
        called_at: ``file:line`` of the call.
        exact: The own key's baseline, if its digests are equal: nothing is left to judge.
    """

    observation: Observation
    tolerance: Tolerance | None
    reference: Distance
    called_at: str
    exact: Reference | None = None


class FindExact(Protocol):
    """Looks a value up while it is still at hand."""

    def __call__(self, check: CheckId, entry: IndexEntry) -> tuple[bool, Reference | None]:
        """Whether these digests are stored, and where if that is under the own key."""


class Trial:
    """Collects what one execution of a test drew and checked.

    Args:
        spec: The test.
        open_book: Makes the book of its generators, when it is first needed.
        framework: Reads tensors of the framework.
        find_exact: Says whether a value is exact, so its tensors can be dropped.
        level: What is recorded of watched pipelines.
    """

    def __init__(
        self,
        spec: TestSpec,
        open_book: Callable[[], NoiseBook],
        framework: FrameworkAdapter,
        find_exact: FindExact,
        level: TraceLevel,
    ) -> None:
        self.spec = spec
        self.calls: dict[str, CheckCall] = {}
        self._open_book = open_book
        self._torch = TorchRecorder(lambda: self.book)
        self._book: NoiseBook | None = None
        self._named: NamedTensors | None = None
        self._watching: Watching | None = None
        self._in_body = False
        self._is_over = False
        self._pipeline_calls: AbstractContextManager[None] | None = None
        self._level = level
        self.suite = SuiteCalls(self) if spec.suite else None
        self._weights: tuple[WeightsDigest, ...] = ()
        self._framework = framework
        self._find_exact = find_exact

    @property
    def book(self) -> NoiseBook:
        """The book of its generators."""
        if self._book is None:
            self._book = self._open_book()
            if self._in_body:
                self._watch_pipeline_calls()
        return self._book

    @property
    def draw_log(self) -> DrawLog:
        """All draws so far."""
        return EMPTY_DRAW_LOG if self._book is None else self._book.draw_log()

    @property
    def watching(self) -> Watching:
        """What it watches."""
        if self._watching is None:
            self._watching = Watching(self._framework, self._level)
        return self._watching

    def begin(self) -> None:
        """Start to log PyTorch's draws, if PyTorch is loaded."""
        self._torch.start()

    def begin_body(self) -> None:
        """Start to notice a generator that two pipeline calls use."""
        self._in_body = True
        if self.suite is not None:
            self.suite.begin()
        if self._book is not None:
            self._watch_pipeline_calls()

    def end_body(self) -> None:
        """Leave pipelines alone again; later checks are refused."""
        self._in_body = False
        self._is_over = True
        self._torch.stop()
        if self._pipeline_calls is not None:
            calls, self._pipeline_calls = self._pipeline_calls, None
            calls.__exit__(None, None, None)
        if self.suite is not None:
            self.suite.end()

    def end(self) -> None:
        """Take every hook away."""
        self._torch.stop()
        if self._watching is not None:
            self._watching.stop()

    def _watch_pipeline_calls(self) -> None:
        self._pipeline_calls = watch_pipeline_calls(self.book)
        self._pipeline_calls.__enter__()

    def generator(self, seed: int | None = None) -> LoggedGenerator:
        """A fresh generator on ``PCG64(seed)``; by default with the test's seed."""
        if seed is not None:
            seed = parse_count(seed, origin=f"{self.spec.place} seed", least=0)
        return self.book.generator(self.spec.asked.seed if seed is None else seed)

    def generators(
        self, count: int | None = None, *, seeds: Sequence[int] | None = None
    ) -> list[LoggedGenerator]:
        """A generator for each image of a batch: seeds ``seed, seed + 1, ...`` or the given."""
        if (count is None) == (seeds is None):
            raise SettingError(f"{self.spec.place}: repro_generators takes a count or seeds")
        if seeds is None:
            count = parse_count(count, origin=f"{self.spec.place} repro_generators", least=1)
            seeds = range(self.spec.asked.seed, self.spec.asked.seed + count)
        return [self.generator(seed) for seed in seeds]

    def disturb(self, value: Any) -> Any:
        """Name a tensor that perturbed noise moves, too, and return what to use.

        ``value`` is a numpy array or number, or a tensor, of floats. Returns it; in a perturbed run
        a new value of its kind, dtype and shape, one ULP away in every element.

        Raises:
            UsageError: It is something else.
        """
        if self._framework.is_tensor(value):
            array = self._framework.to_numpy(value)
            given = self._tensors().disturb(array)
            return value if given is array else self._framework.from_numpy(given)
        if not isinstance(value, (np.ndarray, np.generic, float)):
            raise UsageError(
                f"{self.spec.place}: repro_disturb takes an array or a tensor, not a value of type "
                f"{type(value).__qualname__}",
                next_step="call it once for each tensor, and use what it returns",
            )
        array = np.asarray(value)
        given = self._tensors().disturb(array)
        if given is array:
            return value
        return given if isinstance(value, np.ndarray) else type(value)(given[()])

    def _tensors(self) -> NamedTensors:
        if self._named is None:
            self._named = NamedTensors(self.book.source)
        return self._named

    @property
    def _named_count(self) -> int:
        return 0 if self._named is None else self._named.count

    @property
    def is_noisy(self) -> bool:
        """Whether there is anything to perturb: a draw of floats, or a named tensor."""
        return bool(self._named_count or any(map(can_move, self.draw_log.draws)))

    @property
    def computing_dtype(self) -> str:
        """The dtype whose ULP perturbs the noise: of the marker, the watched weights or the values.

        Of several the coarsest, because a cast loses a finer perturbation.
        """
        if self.spec.asked.computing_dtype:
            return self.spec.asked.computing_dtype
        for names in (self._watched_dtypes(), self._value_dtypes()):
            floats = [row for name in names if (row := DTYPES.get(name)) and row.is_float]
            if floats:
                return coarsest(floats).name
        return "float32"

    @property
    def is_dtype_of_values(self) -> bool:
        """Whether the computing dtype comes from the checked values."""
        floats = (DTYPES[name].is_float for name in self._watched_dtypes() if name in DTYPES)
        return not self.spec.asked.computing_dtype and not any(floats)

    def _watched_dtypes(self) -> set[str]:
        return set() if self._watching is None else self._watching.dtypes()

    def _value_dtypes(self) -> set[str]:
        seen = (call.observation for call in self.calls.values())
        return {record.dtype for one in seen for _, record in one.tensors}

    @property
    def disturbed_what(self) -> str:
        """What a perturbed run perturbs, in words."""
        draws = "every draw" if any(map(can_move, self.draw_log.draws)) else ""
        named = "every tensor named to repro_disturb" if self._named_count else ""
        return " and ".join(part for part in (draws, named) if part)

    @property
    def input_rel_l2(self) -> float:
        """Mean relative L2 size of the perturbation of draws and named tensors; 0.0 if none."""
        sizes = [one for one in (self.book.input_rel_l2, self._tensors().input_rel_l2) if one]
        return sum(sizes) / len(sizes) if sizes else 0.0

    def watch(self, target: Any, name: str = "") -> Any:
        """Watch a pipeline or a cell until the test ends, and return it.

        Its weights are digested now, so the next trial notices a test that changes them later.

        Raises:
            UsageError: There is nothing to watch in it.
        """
        self.watching.add(target, name)
        self._weights = self.watching.weights()
        return target

    def end_watches(self) -> bool:
        """Watch nothing more; gives whether the newest watch saw a step, or records none."""
        self.watching.stop()
        return self._level is TraceLevel.OFF or self.watching.has_stepped()

    def adopt(self, bits: np.random.BitGenerator) -> LoggedGenerator:
        """A generator on ``bits`` whose draws are logged."""
        return self.book.adopt(bits)

    def check(
        self,
        value: object,
        name: str | None = None,
        *,
        tolerance: object = None,
        reference: object = None,
        called_at: str = "",
    ) -> None:
        """Observe ``value``; it is judged when the test ends.

        Raises:
            ValueRefused: A baseline cannot hold the value.
            UsageError: The name is used twice in this test or cannot be a name, or the test has
                ended.
            SettingError: The tolerance or reference is wrong.
        """
        if self._is_over:
            raise UsageError(
                f"{self.spec.place}: a check after the end of the test would be compared with "
                "nothing",
                next_step="check in the test itself, or before the `yield` of a fixture",
            )
        check = CheckId(self.spec.module, self.spec.test, self._name(name))
        bound = None if tolerance is None else self._tolerance(check, tolerance)
        reach = Distance.ANY
        if reference is not None:
            reach = parse_choice(Distance, reference, origin=f"{check}, repro_check reference")
        observation, exact = self._observe(check, value)
        self.calls[check.name] = CheckCall(observation, bound, reach, called_at, exact)

    def _observe(self, check: CheckId, value: object) -> tuple[Observation, Reference | None]:
        seen = value_from(value, check=check, framework=self._framework)
        leaves = [(path, record.digest) for path, record in seen.tensors]
        digest = digest_leaves(leaves, seen.structure)
        draw_log = self.draw_log
        settings = () if self._watching is None else self._watching.configurations()
        seen_so_far = Observation(
            check,
            (),
            digest,
            draw_log,
            self._weights,
            settings=settings,
            inputs=digest_inputs(self._weights, digest_settings(settings)),
        )
        is_exact, reference = self._find_exact(check, seen_so_far.index)
        if is_exact:
            return seen_so_far, reference
        # The test may change its array in place after the check.
        kept = tuple((path, owned(record)) for path, record in seen.tensors)
        trace = None if self._watching is None else self._watching.trace()
        whole = replace(seen_so_far, tensors=kept, trace=trace, structure=seen.structure)
        return whole, None

    def _tolerance(self, check: CheckId, tolerance: object) -> Tolerance:
        return tolerance_from(tolerance, origin=f"{check}, repro_check tolerance")

    def _name(self, name: str | None) -> str:
        if name is None:
            name = "value" if "value" not in self.calls else f"value-{len(self.calls) + 1}"
        if not _is_text(name) or not name.strip() or "::" in name or not name.isprintable():
            raise UsageError(
                f"{self.spec.place}: {name!r} cannot be the name of a check",
                facts=("a name is printable text without '::'",),
            )
        if name in self.calls:
            raise UsageError(
                f"{self.spec.place}: the name {name!r} is used twice in this test",
                facts=(f"first at {self.calls[name].called_at}",),
                next_step=f'repro_check(value, name="{name}-2")',
            )
        return name


def _is_text(name: object) -> bool:
    """Whether a name is text; tests are rarely typed."""
    return isinstance(name, str)


class Watching:
    """All watches of one trial."""

    def __init__(self, framework: FrameworkAdapter, level: TraceLevel) -> None:
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

    def weights(self) -> tuple[WeightsDigest, ...]:
        """The digest of each component when it was last added; further pipelines have a prefix."""
        return tuple(
            WeightsDigest(f"{_prefix(number)}{one.component}", one.digest)
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
