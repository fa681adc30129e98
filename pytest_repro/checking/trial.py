"""One execution of one test: its generators, what it checked, in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from pytest_repro.checking.context import RunContext
from pytest_repro.checking.references import narrower
from pytest_repro.checking.spec import TestSpec
from pytest_repro.checking.suite import SuiteCalls
from pytest_repro.errors import BaselineError, SettingError, UsageError
from pytest_repro.frameworks.framework import FrameworkAdapter
from pytest_repro.frameworks.torch import TorchRecorder
from pytest_repro.frameworks.values import value_from
from pytest_repro.frameworks.watch import Watching
from pytest_repro.guard.pipeline_calls import watch_pipeline_calls
from pytest_repro.model.baseline import WeightsDigest
from pytest_repro.model.ids import CheckId, DrawLog, IndexEntry
from pytest_repro.model.outcome import Observation, Reference
from pytest_repro.model.words import Distance, NoiseMode, TraceLevel, UpdateMode
from pytest_repro.noise.draw_log import EMPTY_DRAW_LOG
from pytest_repro.noise.generator import LoggedGenerator, NoiseBook
from pytest_repro.noise.sources import Fresh, NamedTensors, NoiseSource, can_move
from pytest_repro.settings import parse_choice, parse_count
from pytest_repro.tensors.dtypes import DTYPES, coarsest
from pytest_repro.tensors.record import digest_leaves, owned
from pytest_repro.tolerance.bounds import Tolerance, tolerance_from
from pytest_repro.trace.components import digest_inputs, digest_settings


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


def first_trial(spec: TestSpec, context: RunContext) -> Trial:
    """The first run of a test.

    Raises:
        CorruptBaseline: Noise is to be replayed, but was not stored or cannot be read.
    """
    return further_trial(spec, context, clean_source(spec, context), spec.asked.trace)


def further_trial(
    spec: TestSpec, context: RunContext, source: NoiseSource, level: TraceLevel
) -> Trial:
    """A further run of a test with this noise and this level of traces."""
    keep = context.settings.noise is NoiseMode.STORE
    book = NoiseBook(source, store=keep, allow_reuse=spec.asked.reuse)
    return Trial(spec, lambda: book, context.framework, _finder(spec, context), level)


def clean_source(spec: TestSpec, context: RunContext) -> NoiseSource:
    """The noise source of a clean run.

    Raises:
        CorruptBaseline: Noise is to be replayed, but was not stored or cannot be read.
    """
    if context.settings.noise is not NoiseMode.REPLAY:
        return Fresh()
    return context.references.recorded_noise(spec.module, spec.test, context.settings.reference)


def _finder(spec: TestSpec, context: RunContext) -> FindExact:
    """Looks a value up in the indices as they are before the test runs."""
    if context.is_isolated or context.settings.update is not UpdateMode.NONE:
        return lambda check, entry: (False, None)
    reach = narrower(context.settings.reference, spec.asked.reference)
    try:
        indices = context.references.indices(spec.module, spec.test, reach)
        own = context.references.own_reference(spec.module)
    except BaselineError:
        return lambda check, entry: (False, None)  # said when the test is judged

    def find(check: CheckId, entry: IndexEntry) -> tuple[bool, Reference | None]:
        found = next((one for one in indices if check.entry in one.entries), None)
        if found is None or found.entries[check.entry] != entry:
            return False, None
        return True, own if found.distance is Distance.OWN else None

    return find
