"""Further runs of a test: which are made, what they cost, and where they differ from the first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from pytest_repro.model.baseline import Difference
from pytest_repro.model.ids import TensorRecord
from pytest_repro.model.outcome import Observation
from pytest_repro.model.words import Isolate, Repeat, TraceLevel
from pytest_repro.noise.draw_log import compare_draw_logs
from pytest_repro.tensors.compare import compare_records
from pytest_repro.trace.divergence import first_divergence

_WORTH_SAYING_S = 5.0


@dataclass(frozen=True, slots=True)
class Raised:
    """What a run raised: the name of its type, and its repr."""

    kind: str
    shown: str


_FEW = 3
"""Drifted tests of a module that run again: an upgrade moves them all for one reason."""


class RepeatBudget:
    """Decides which drifted tests run again; counts those of each module."""

    def __init__(self, which: Repeat) -> None:
        self._which = which
        self._begun: Counter[str] = Counter()

    def grants(self, module: str) -> bool:
        """Whether one more drifted test of ``module`` runs again; counts it."""
        if self._which is not Repeat.FEW:
            return self._which is Repeat.ALL
        self._begun[module] += 1
        return self._begun[module] <= _FEW

    def why_not(self) -> str:
        """Why a drifted test did not run again, and how to make it run again."""
        first = f"only the first {_FEW} drifted tests of a module run again"
        why = "--repro-repeat=off" if self._which is Repeat.OFF else first
        return f"not repeated ({why}): pytest --repro-repeat=all repeats every drifted test"


_CELLS_UP_TO_S = 60.0
"""Recording every cell takes one to two plain runs more, and what it finds can be asked for."""


def repeated_level(asked: TraceLevel, first_run_s: float) -> TraceLevel:
    """What the repeated run of a watched pipeline records, for a test that asks for ``asked``.

    Every cell where the first run took at most a minute, because only cells show where a drift
    begins; else what the test asks for.
    """
    is_short = first_run_s <= _CELLS_UP_TO_S
    return TraceLevel.CELLS if asked is TraceLevel.STEPS and is_short else asked


class FreshRuns:
    """Says which tests also run in a fresh process.

    With `auto` it is the first test of a module that is recorded, and the next one where the fresh
    process saw other values.

    Args:
        which: What the run asks for.
        is_cheap: Whether another process costs nothing but time; a device may be full.
    """

    def __init__(self, which: Isolate, *, is_cheap: bool) -> None:
        self.demands = which is Isolate.ON
        self._is_auto = which is Isolate.AUTO and is_cheap
        self.skipped: list[str] = []
        self._done: set[str] = set()

    def grants(self, module: str, *, is_recorded: bool) -> bool:
        """Whether a test of ``module`` runs in a fresh process."""
        return self.demands or (self._is_auto and is_recorded and module not in self._done)

    def agreed(self, module: str) -> None:
        """A test of the module computed the same in a fresh process."""
        self._done.add(module)

    def skip(self, module: str, why: str) -> None:
        """Its first test cannot be compared there."""
        self._done.add(module)
        self.skipped.append(f"{module} was not compared with a fresh process: {why}")


@dataclass(frozen=True, slots=True)
class FurtherRun:
    """A further run of a test that begins now.

    Attributes:
        test: Its id.
        number: Which run of the test it is; the first run is 1.
        planned: How many runs are planned, all in all.
        is_perturbed: Whether it measures an envelope.
        spent_s: Seconds that its runs took so far.
    """

    test: str
    number: int
    planned: int
    is_perturbed: bool
    spent_s: float

    @property
    def sentence(self) -> str:
        """The progress line; the runs to come are taken to be as long as those so far."""
        why = "for its envelope" if self.is_perturbed else "to check that it is deterministic"
        left_s = (self.planned - self.number + 1) * self.spent_s / (self.number - 1)
        return (
            f"{self.test}: run {self.number} of {self.planned}, {self.spent_s:.0f} s, "
            f"about {left_s:.0f} s left ({why})"
        )


Cost = tuple[int, float, float, int, float]
"""What a test cost: how many runs it made, the seconds of the first and of all of them, and how
many of them were for an envelope, with their seconds. Plain numbers, which xdist can send."""


def cost_sentence(costs: Iterable[Cost]) -> str:
    """The line for the end of a run; ``""`` if further runs took hardly any time."""
    repeated = [cost for cost in costs if cost[0] > 1]
    count = sum(runs - 1 for runs, *_ in repeated)
    spent_s = sum(all_s - first_s for _, first_s, all_s, *_ in repeated)
    if spent_s < _WORTH_SAYING_S:
        return ""
    text = f"{'1 further run' if count == 1 else f'{count} further runs'} took {spent_s:.1f} s"
    perturbed = sum(cost[3] for cost in repeated)
    if perturbed:
        perturbed_s = sum(cost[4] for cost in repeated)
        text += f"; {perturbed} of them, {perturbed_s:.1f} s, for envelopes"
    return text


def raised_by(error: BaseException | None) -> Raised | None:
    """A caught error as `Raised`; ``None`` without one."""
    if error is None:
        return None
    return Raised(f"{type(error).__module__}.{type(error).__qualname__}", repr(error))


def name_run(number: int, *, isolated: bool = False) -> str:
    """The name of run ``number``, counted from 1, in sentences."""
    return f"run {number}" + (", in a fresh process," if isolated else "")


def first_difference(first: Observation, second: Observation | None, run: str) -> str:
    """The first difference between two runs, in one sentence; ``""`` if they are equal.

    Noise comes before the value, because a different draw explains a different value. ``second``
    is ``None`` if the other run, called ``run``, did not reach the check.
    """
    if second is None:
        return f"{run} did not reach this check"
    noise = compare_draw_logs(first.draw_log, second.draw_log)
    if noise is not None:
        return f"{run} drew different noise: {noise.sentence}"
    if first.digest == second.digest:
        return ""
    return (
        f"{run} drew the same noise but gave different numbers{_where(first, second)}"
        f"{_step(first, second)}"
    )


def _step(first: Observation, second: Observation) -> str:
    """The first step that differs, if both runs have a trace."""
    if first.trace is None or second.trace is None:
        return ""
    divergence = first_divergence(first.trace, second.trace)
    if divergence is None or divergence.step is None:
        return ""
    step = divergence.step.step
    return f"; first step that differs: {step.scheduler} step {step.position}"


def _where(first: Observation, second: Observation) -> str:
    others = dict(second.tensors)
    for path, record in first.tensors:
        other = others.get(path)
        if other is None or other.digest == record.digest:
            continue
        return f": {path + ': ' if path else ''}{_element(record, other)}"
    return ""


def _element(first: TensorRecord, second: TensorRecord) -> str:
    if (first.dtype, first.shape) != (second.dtype, second.shape):
        return f"{first.dtype} {first.shape} became {second.dtype} {second.shape}"
    difference = compare_records(first, second)
    counted = f"{difference.differing_count} of {difference.element_count} elements"
    return counted + _worst(difference)


def _worst(difference: Difference) -> str:
    place = difference.worst_abs
    if place is None:
        return ""
    return f", most at {place.index}: {place.baseline}, then {place.observed}"
