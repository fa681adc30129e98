"""Compares a port with its original in one test: equal noise and weights, and equal results except
rounding.

Each side is run with clean and with perturbed noise, so both envelopes are measured here and
nothing is stored. A generator of `repro_check.parity` has its own book, so the test's draw log does
not change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from pytest_repro.checking.context import RunContext
from pytest_repro.checking.trial import Trial
from pytest_repro.errors import CheckFailed, UsageError
from pytest_repro.frameworks.framework import Watchable
from pytest_repro.frameworks.torch import TorchModules, moved_modules, shared_noise
from pytest_repro.frameworks.values import CheckedValue, value_from
from pytest_repro.frameworks.watch import Watch, watch
from pytest_repro.model.baseline import Configuration, Envelope, TensorSummary, Trace
from pytest_repro.model.ids import CheckId, Digest, DrawLog, TensorRecord
from pytest_repro.model.words import Distance, TraceLevel
from pytest_repro.noise.draw_log import compare_draw_logs
from pytest_repro.noise.generator import LoggedGenerator, NoiseBook
from pytest_repro.noise.sources import Disturbed, Fresh, NoiseSource, can_move
from pytest_repro.tensors.compare import compare_records, summary_of
from pytest_repro.tensors.dtypes import DTYPES, coarsest
from pytest_repro.tensors.record import make_record, owned
from pytest_repro.tensors.statistics import summarise
from pytest_repro.tolerance.bounds import MODULES_FACTOR, Tolerance, describe, tolerance_from
from pytest_repro.tolerance.choose import (
    HOW_TO_MEASURE,
    Chosen,
    LeafJudgement,
    choose_tolerance,
    factor_of,
    judge_leaves,
    value_faults,
)
from pytest_repro.tolerance.measured import envelope_from, measured_something, runs_wanted
from pytest_repro.tolerance.policy import Resolved
from pytest_repro.trace.divergence import Divergence, first_divergence
from pytest_repro.trace.envelope import (
    Movement,
    StepBounds,
    StepEnvelope,
    measure_steps,
    within_steps,
)
from pytest_repro.trace.wording import divergence_sentences

Maker = Callable[[LoggedGenerator], object]
"""Makes a result from a generator."""

_RENAMED = {"weight": ("gamma", "embedding_table"), "bias": ("beta",)}
"""The last part of a parameter's name in PyTorch, and MindSpore's names for it."""
_SHOWN = 3
_WHOLE_ABOVE = 10


# --- weights ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PortWeights:
    """The parameters of both sides, paired by name.

    Attributes:
        equal: How many pairs have equal bits; dimensions of length 1 do not count.
        differing: The names of pairs whose bits differ.
        ours_only, theirs_only: Names without a partner.
    """

    equal: int
    differing: tuple[str, ...] = ()
    ours_only: tuple[str, ...] = ()
    theirs_only: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [f"{self.equal} parameters equal by name"]
        named = (
            (self.differing, "differ"),
            (self.ours_only, "only ours"),
            (self.theirs_only, "only theirs"),
        )
        parts += [f"{len(names)} {what} ({_listed(names)})" for names, what in named if names]
        return ", ".join(parts)


def pair_weights(ours: Mapping[str, Digest], theirs: Mapping[str, Digest]) -> PortWeights:
    """Pair parameters by name, also where MindSpore's layers call them ``gamma`` or ``beta``."""
    pairs = {name: partner(name, ours) for name in theirs}
    known = {name: partner for name, partner in pairs.items() if partner}
    differing = [name for name, partner in known.items() if theirs[name] != ours[partner]]
    return PortWeights(
        len(known) - len(differing),
        tuple(differing),
        tuple(sorted(ours.keys() - set(known.values()))),
        tuple(name for name, partner in pairs.items() if not partner),
    )


def partner(name: str, ours: Mapping[str, object]) -> str:
    """Our name of a parameter of PyTorch; ``""`` for none."""
    head, dot, last = name.rpartition(".")
    names = (name, *(f"{head}{dot}{other}" for other in _RENAMED.get(last, ())))
    return next((one for one in names if one in ours), "")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


# --- runs ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PortRun:
    """One run of one side.

    Attributes:
        value: The result.
        draw_log: What it drew from the generator.
        trace: Its steps; ``None`` if its pipeline is not known.
        input_rel_l2: Mean relative size of the perturbation; 0.0 for a clean run.
    """

    value: CheckedValue
    draw_log: DrawLog
    trace: Trace | None
    input_rel_l2: float


class RunSide(Protocol):
    """Runs one side."""

    def __call__(self, source: NoiseSource) -> PortRun:
        """One run with that noise."""


RunMoved = Callable[[int], PortRun]
"""Runs a side with clean noise and moved modules, with signs of that seed."""


@dataclass(frozen=True, slots=True)
class Side:
    """The runs of one side.

    Attributes:
        clean: With clean noise.
        moved: With perturbed noise.
    """

    clean: PortRun
    moved: tuple[PortRun, ...] = ()

    def envelope(self, path: str, method: str, seed: int) -> Envelope | None:
        """The envelope of one tensor; ``None`` if the perturbed noise does not move it."""
        clean = dict(self.clean.value.tensors)[path]
        moved = [dict(one.value.tensors).get(path) for one in self.moved]
        if not moved or any(
            o is None or (o.dtype, o.shape) != (clean.dtype, clean.shape) for o in moved
        ):
            return None
        found = envelope_from(
            [compare_records(clean, one) for one in moved if one is not None],
            method=method,
            seed=seed,
            input_rel_l2=sum(one.input_rel_l2 for one in self.moved) / len(self.moved),
        )
        return found if measured_something(found, clean.dtype) else None

    def movements(self) -> Iterator[tuple[float, ...]]:
        """How far each tensor moved in each run."""
        for path, clean in self.clean.value.tensors:
            yield tuple(compare_records(clean, one).rel_l2 for one in self._alike(path))

    def _alike(self, path: str) -> Iterator[TensorRecord]:
        """The tensor in each perturbed run that gave one of the same kind."""
        clean = dict(self.clean.value.tensors)[path]
        for run in self.moved:
            found = dict(run.value.tensors).get(path)
            if found is not None and (found.dtype, found.shape) == (clean.dtype, clean.shape):
                yield found

    def steps(self) -> StepEnvelope | None:
        """The envelope of every step; ``None`` if there is none."""
        traces = [one.trace for one in self.moved if one.trace is not None]
        return None if self.clean.trace is None else measure_steps(self.clean.trace, traces)


@dataclass(frozen=True, slots=True)
class Ports:
    """Both sides, run with the same noise.

    Attributes:
        computing_dtype: The dtype of the ULP that moved the noise.
        seed: Seed of the signs of the first perturbed run.
        modules: Their clean run, and those in which the output of each module moved by one ULP.
    """

    ours: Side
    theirs: Side
    computing_dtype: str
    seed: int
    modules: Side | None = None


def run_ports(
    ours: RunSide,
    theirs: RunSide,
    *,
    asked: int,
    seed: int,
    computing_dtype: str | None,
    moved: RunMoved | None = None,
) -> Ports:
    """Run both sides clean and, if their results differ, with perturbed noise.

    At least ``asked`` times, with signs from ``seed`` on, by one ULP of ``computing_dtype`` (by
    default the coarsest of the results). ``moved`` runs theirs with moved modules.
    """
    one, two = Side(ours(Fresh())), Side(theirs(Fresh()))
    dtype = computing_dtype or _coarsest_of(one, two)
    ports = Ports(one, two, dtype, seed)
    if not asked or _is_equal(one, two):
        return ports
    if moved is not None:
        unit = 2.0 ** -DTYPES[dtype].significand_bits
        made = (moved(seed + number) for number in range(asked))
        runs = tuple(replace(run, input_rel_l2=unit) for run in made)
        ports = replace(ports, modules=replace(two, moved=runs))
    if not any(map(can_move, one.clean.draw_log.draws)):
        return ports
    wanted = asked
    while len(one.moved) < wanted:
        source = Disturbed(seed + len(one.moved), dtype)
        one = replace(one, moved=(*one.moved, ours(source)))
        two = replace(two, moved=(*two.moved, theirs(source)))
        if len(one.moved) >= wanted:
            wanted = runs_wanted([*one.movements(), *two.movements()], asked)
    return replace(ports, ours=one, theirs=two)


def _is_equal(one: Side, two: Side) -> bool:
    digests = [[(p, r.digest) for p, r in side.clean.value.tensors] for side in (one, two)]
    return digests[0] == digests[1]


def _coarsest_of(one: Side, two: Side) -> str:
    """The coarsest dtype of the results; float32 for float64, which is often a cast at the end."""
    names = {record.dtype for side in (one, two) for _, record in side.clean.value.tensors}
    floats = [DTYPES[name] for name in names if DTYPES[name].is_float]
    found = coarsest(floats).name if floats else "float32"
    return "float32" if found == "float64" else found


# --- judge --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PortLeaf:
    """How far one tensor of the result is from the original's.

    Attributes:
        path: Its place in the value; ``""`` for a single tensor.
        judgement: The difference and its tolerance; ``None`` if the bits are equal.
        ours, theirs: The envelope of each side, as rel_l2; 0.0 without one.
        modules: How far the original moves with the output of each module; 0.0 if unknown.
    """

    path: str
    judgement: LeafJudgement | None
    ours: float
    theirs: float
    modules: float = 0.0

    @property
    def rel_l2(self) -> float:
        """``||ours - theirs||_2 / ||theirs||_2``."""
        return 0.0 if self.judgement is None else self.judgement.difference.rel_l2

    @property
    def times(self) -> float:
        """The distance in envelopes, of the one that counts; 0.0 without one."""
        least = min((one for one in (self.ours, self.theirs) if one), default=0.0)
        counts = max(least, self.modules)
        return self.rel_l2 / counts if counts else 0.0

    @property
    def share(self) -> float:
        """Used share of the tolerance; above 1.0 it is exceeded."""
        return 0.0 if self.judgement is None else self.judgement.uses[0].share

    @property
    def passes(self) -> bool:
        """Whether it is within its tolerance."""
        return self.judgement is None or self.judgement.passes

    def __str__(self) -> str:
        if self.judgement is None:
            return f"{self.path} bitwise equal".strip()
        far = f"rel_l2 {self.rel_l2:.2g}; envelopes: ours {self.ours:.2g}, theirs {self.theirs:.2g}"
        far += f", of its modules {self.modules:.2g}" if self.modules else ""
        return f"{self.path} {far}; used {self.share:.2g} of 1.0".strip()


@dataclass(frozen=True, slots=True)
class Parity:
    """The result of `repro_check.parity`.

    Attributes:
        leaves: Each tensor of the result, worst first.
        step: The first step that differs by more than rounding; ``None`` for none, or if the
            pipelines are not known.
        bounds: What the steps were judged by; ``None`` if they have no envelope.
        weights: Of both pipelines; ``None`` if they are not known.
        settings: Entries of the configurations that both sides have, and that differ, in words.
        runs: How many perturbed runs each side made.
        computing_dtype: The dtype of the ULP that moved the noise.
    """

    leaves: tuple[PortLeaf, ...]
    step: Divergence | None
    bounds: StepBounds | None
    weights: PortWeights | None
    settings: tuple[str, ...]
    runs: int
    computing_dtype: str

    @property
    def passes(self) -> bool:
        """Whether result and steps differ by rounding only."""
        return self.step is None and all(leaf.passes for leaf in self.leaves)

    @property
    def verdict(self) -> str:
        """``exact``, ``within`` or ``drift``."""
        if not self.passes:
            return "drift"
        return "within" if any(leaf.judgement for leaf in self.leaves) else "exact"


Choose = Callable[[TensorSummary], Chosen]


def judge_ports(
    ports: Ports,
    choose: Choose,
    factor: float,
    weights: PortWeights | None = None,
    settings: Iterable[str] = (),
) -> Parity:
    """Judge our clean run by their clean run.

    The smaller of the two envelopes counts, because a fault may widen one. A side that perturbed
    noise does not move, e.g. because it computes in a coarser dtype, has none. Where the original
    was run with moved modules, and they move it further, that movement counts.
    Both sides have the same places, dtypes and shapes. ``choose`` gives the tolerance for the
    summary of one of their tensors, ``factor`` the envelopes that a step may differ by.
    """
    method = f"every draw moved by one {ports.computing_dtype} ULP, random signs"
    envelopes = {
        path: (
            ports.ours.envelope(path, method, ports.seed),
            ports.theirs.envelope(path, method, ports.seed),
            None if ports.modules is None else ports.modules.envelope(path, method, ports.seed),
        )
        for path, _ in ports.theirs.clean.value.tensors
    }
    summaries = [
        replace(summary_of(path, record), envelope=_floored(_counting(*envelopes[path]), record))
        for path, record in ports.theirs.clean.value.tensors
    ]
    stored = {record.digest: record for _, record in ports.theirs.clean.value.tensors}
    judged = judge_leaves(summaries, ports.ours.clean.value.tensors, stored.get, choose)
    known = {one.path: one for one in judged}
    leaves = [
        PortLeaf(path, known.get(path), *(0.0 if one is None else one.rel_l2_max for one in three))
        for path, three in envelopes.items()
    ]
    bounds = _step_bounds(ports, factor)
    return Parity(
        tuple(sorted(leaves, key=lambda leaf: -leaf.share)),
        _first_step(ports, bounds),
        bounds,
        weights,
        tuple(settings),
        len(ports.theirs.moved),
        ports.computing_dtype,
    )


def _counting(
    ours: Envelope | None, theirs: Envelope | None, modules: Envelope | None
) -> Envelope | None:
    known = [one for one in (ours, theirs) if one is not None]
    least = min(known, key=_size, default=None)
    wide = [one for one in (least, modules) if one is not None]
    return max(wide, key=_size, default=None)


def _floored(envelope: Envelope | None, record: TensorRecord) -> Envelope | None:
    """At least one unit in the last place: two correct results may round to neighbours."""
    row = DTYPES[record.dtype]
    if envelope is None or not row.is_float:
        return envelope
    unit, statistics = 2.0 ** (1 - row.significand_bits), summarise(record)
    largest = max(abs(statistics.min), abs(statistics.max))
    mean = statistics.abs_sum / max(1, record.array.size)
    return replace(
        envelope,
        rel_l2_max=max(envelope.rel_l2_max, unit),
        max_abs_max=max(envelope.max_abs_max, unit * largest),
        mean_abs_max=max(envelope.mean_abs_max, unit * mean),
    )


def _size(envelope: Envelope) -> float:
    return envelope.rel_l2_max


def _step_bounds(ports: Ports, factor: float) -> StepBounds | None:
    modules = None if ports.modules is None else ports.modules.steps()
    ours, theirs = ports.ours.steps(), ports.theirs.steps()
    places: dict[tuple[str, int, str], Movement] = {}
    for known in (modules, theirs):
        for one in () if known is None else known.movements:
            places.setdefault((one.scheduler, one.position, one.signal), one)
    if not places:
        return None
    counting = []
    for place, one in places.items():
        least = min(_moved(ours, place), _moved(theirs, place))
        counting.append(replace(one, rel_l2_max=max(least, _moved(modules, place))))
    return StepBounds(StepEnvelope(len(ports.theirs.moved), tuple(counting)), factor)


def _moved(envelope: StepEnvelope | None, place: tuple[str, int, str]) -> float:
    return 0.0 if envelope is None else envelope.rel_l2(*place)


def _first_step(ports: Ports, bounds: StepBounds | None) -> Divergence | None:
    ours, theirs = ports.ours.clean.trace, ports.theirs.clean.trace
    if bounds is None or ours is None or theirs is None:
        return None
    return first_divergence(theirs, ours, within=within_steps(theirs, bounds))


# --- check --------------------------------------------------------------------------------------


def check_parity(
    context: RunContext,
    trial: Trial,
    ours: Maker,
    theirs: Maker,
    *,
    name: str,
    pipelines: tuple[object, object] | None,
    tolerance: object,
) -> Parity | None:
    """Run both sides with equal noise, and require that they differ only by rounding.

    With perturbed or replayed noise of the test nothing is compared, and ``None`` is returned. The
    arguments are those of `repro_check.parity`.

    Raises:
        CheckFailed: Noise, weights, shape or dtype differ, or the distance is more than rounding.
        UsageError: A side cannot be called.
        SettingError: The tolerance is wrong.
    """
    check = CheckId(trial.spec.module, trial.spec.test, name)
    if not all(map(callable, (ours, theirs))):
        raise UsageError(
            f"{check}: parity takes two functions of a generator, because it runs each side again "
            "with perturbed noise",
            next_step="repro_check.parity(lambda generator: ours(generator=generator)[0], "
            "lambda generator: theirs(generator=generator)[0])",
        )
    if not isinstance(trial.book.source, Fresh):
        return None
    asked = None if tolerance is None else tolerance_from(tolerance, origin="repro_check.parity")
    frameworks: tuple[Watchable, Watchable] = (context.framework, TorchModules())
    watches = _watches(pipelines, frameworks)
    weights = _weights(watches)
    if weights is not None and weights.differing:
        raise CheckFailed(_weights_text(check, weights))
    makers = [
        port_runner(check, maker, trial.spec.asked.seed, watched, framework)
        for maker, watched, framework in zip((ours, theirs), watches, frameworks, strict=True)
    ]
    with trial.watching.paused(), shared_noise():
        ports = run_ports(
            *makers,
            asked=trial.spec.asked.envelope,
            seed=context.settings.envelope_seed,
            computing_dtype=_computing_dtype(trial, watches),
            moved=None if pipelines is None else _mover(makers[1], pipelines[1]),
        )
    _demand_noise(check, ports)
    _demand_value(check, ports)
    has_modules = ports.modules is not None
    choose, factor = port_tolerance(context.resolve(check), asked, has_modules=has_modules)
    found = judge_ports(ports, choose, factor, weights, _settings(watches))
    if not found.passes:
        raise CheckFailed(parity_text(check, found, ports))
    return found


Watches = tuple[Watch | None, Watch | None]


def _watches(
    pipelines: tuple[object, object] | None, frameworks: tuple[Watchable, Watchable]
) -> Watches:
    if pipelines is None:
        return None, None
    ours, theirs = pipelines
    return (
        watch(ours, TraceLevel.STEPS, framework=frameworks[0]),
        watch(theirs, TraceLevel.STEPS, framework=frameworks[1]),
    )


def port_runner(
    check: CheckId, make: Maker, seed: int, watched: Watch | None, framework: Watchable
) -> RunSide:
    def run(source: NoiseSource) -> PortRun:
        book = NoiseBook(source)
        recording = None if watched is None else watched.empty()
        with ExitStack() as stack:
            if recording is not None:
                stack.enter_context(recording)
            made = make(book.generator(seed))
        value = value_from(made, check=check, framework=framework)
        kept = tuple((path, owned(record)) for path, record in value.tensors)
        trace = None if recording is None else recording.trace()
        return PortRun(replace(value, tensors=kept), book.draw_log(), trace, book.input_rel_l2)

    return run


def _mover(run: RunSide, pipeline: object) -> RunMoved:
    def moved(seed: int) -> PortRun:
        with moved_modules(pipeline, seed):
            return run(Fresh())

    return moved


def _computing_dtype(trial: Trial, watches: Watches) -> str | None:
    """Of the marker, or the coarsest of the weights; ``None`` if neither is known."""
    if trial.spec.asked.computing_dtype:
        return trial.spec.asked.computing_dtype
    names = {name for one in watches if one is not None for name in one.dtypes()}
    floats = [DTYPES[name] for name in names if name in DTYPES and DTYPES[name].is_float]
    if floats:
        return coarsest(floats).name
    return trial.computing_dtype if trial.watching.is_watching else None


def _weights(watches: Watches) -> PortWeights | None:
    ours, theirs = watches
    if ours is None or theirs is None:
        return None
    return pair_weights(parameter_digests(ours), parameter_digests(theirs))


def parameter_digests(watched: Watch) -> dict[str, Digest]:
    """The digest of each parameter by its path, without dimensions of length 1."""
    return {name: make_record(np.squeeze(array)).digest for name, array in watched.parameters()}


def _settings(watches: Watches) -> Iterator[str]:
    ours, theirs = watches
    if ours is None or theirs is None:
        return
    for (component, name), mine in _entries(ours.configurations()).items():
        other = _entries(theirs.configurations()).get((component, name))
        if other is not None and other != mine:
            yield f"{component}.{name}: ours {mine}, theirs {other}"


def _entries(configurations: Sequence[Configuration]) -> dict[tuple[str, str], str]:
    return {(one.component, name): text for one in configurations for name, text in one.entries}


def port_tolerance(
    resolved: Resolved, asked: Tolerance | None = None, *, has_modules: bool
) -> tuple[Choose, float]:
    """The tolerance of a tensor, and the factor for steps.

    ``asked`` is that of the call, ``resolved`` what the policy says. Where the original was run
    with moved modules, a smaller factor is the default.
    """
    given = ((asked, "repro_check.parity"),)
    if has_modules and asked is None and resolved.tolerance is None:
        given = ((Tolerance(factor=MODULES_FACTOR), "the default for a port"),)
    factor = factor_of(given, resolved, Distance.PORT)
    return lambda summary: choose_tolerance(given, resolved, Distance.PORT, summary), factor


# --- words --------------------------------------------------------------------------------------


def _demand_noise(check: CheckId, ports: Ports) -> None:
    ours, theirs = ports.ours.clean.draw_log, ports.theirs.clean.draw_log
    if ours.draws == theirs.draws:
        return
    if ours.draws and not theirs.draws:
        what = "theirs drew nothing from the generator that it was given"
        step = "pass it on: theirs(generator=generator); a torch.Generator shares no noise"
    else:
        found = compare_draw_logs(theirs, ours)
        what = f"theirs became ours: {found.sentence if found else 'unknown'}"
        step = "make both sides draw the same, in the same order"
    raise CheckFailed(
        f"{check.name!r}: the two sides did not get the same noise (cause noise)\n"
        f"{_row('check', check)}{_row('noise', what)}{_row('next', step)}"
    )


def _demand_value(check: CheckId, ports: Ports) -> None:
    theirs = [summary_of(path, record) for path, record in ports.theirs.clean.value.tensors]
    faults = value_faults(theirs, ports.ours.clean.value.tensors)
    if faults:
        raise CheckFailed(
            f"{check.name!r}: the two sides give values of different kinds (gate value)\n"
            f"{_row('check', check)}"
            + "".join(_row("value", f"theirs became ours: {one}") for one in faults[:_SHOWN])
            + _row("next", "return arrays of equal dtype and shape from both functions")
        )


def _weights_text(check: CheckId, weights: PortWeights) -> str:
    return (
        f"{check.name!r}: the two sides have different weights (cause weights)\n"
        f"{_row('check', check)}{_row('weights', weights)}"
        f"{_row('next', 'load the same weights on both sides, then compare')}"
    )


def parity_text(check: CheckId, found: Parity, ports: Ports) -> str:
    """The failure of a port that differs by more than rounding."""
    lines = [f"{check.name!r}: the port differs from the original by more than rounding"]
    lines += [_row(label, text) for label, text in _rows(check, found, ports) if text]
    return "\n".join(line.rstrip("\n") for line in lines)


def _rows(check: CheckId, found: Parity, ports: Ports) -> Iterator[tuple[str, object]]:
    draws = len(ports.ours.clean.draw_log.draws)
    yield "check", check
    yield "noise", f"bitwise equal, {draws} draw{'' if draws == 1 else 's'}"
    yield "weights", found.weights or "not compared: give pipelines=(ours, theirs)"
    yield from (("settings", one) for one in found.settings[:_SHOWN])
    yield from _leaf_rows(found)
    if found.step is not None:
        yield from (("steps", one) for one in divergence_sentences(found.step, found.bounds))
    elif found.bounds is not None:
        yield "steps", f"every step agrees within {found.bounds.factor:g} times its envelope"
    yield "next", _next(found)


def _leaf_rows(found: Parity) -> Iterator[tuple[str, object]]:
    leaf = found.leaves[0]
    judged = leaf.judgement
    if judged is None:
        yield "result", "bitwise equal"
        return
    worst = judged.difference.worst_abs
    place = "" if worst is None else f", most {worst.amount:.3g} at {worst.index}"
    yield "distance", f"{leaf.path} rel_l2 {leaf.rel_l2:.3g} of theirs{place}".strip()
    yield (
        "envelopes",
        f"ours {leaf.ours:.3g}, theirs {leaf.theirs:.3g} ({found.runs} runs of each, noise moved "
        f"by one {found.computing_dtype} ULP)",
    )
    if leaf.modules:
        yield "", f"{leaf.modules:.3g} if each module of theirs moves its output by one ULP"
    if leaf.times:
        times = f"{leaf.times:,.{0 if leaf.times >= _WHOLE_ABOVE else 1}f}"
        yield "factor", f"the distance is {times} times the envelope that counts"
    chosen = judged.chosen
    yield (
        "tolerance",
        f"{describe(chosen.tolerance)}, from {chosen.origin.removesuffix(HOW_TO_MEASURE)}; "
        f"used {leaf.share:.3g} of 1.0 "
        f"({judged.uses[0].measure})",
    )
    yield "tolerance", chosen.proves_nothing


def _next(found: Parity) -> str:
    if found.weights is None:
        return "repro_check.parity(..., pipelines=(ours, theirs)) names the first step that differs"
    if found.step is not None and found.step.step is not None:
        step = found.step.step.step
        return f"compare what both sides compute in {step.scheduler} step {step.position}"
    return "compare what both sides compute after the last step"


def _row(label: str, text: object) -> str:
    return f"  {label:<12}{text}\n"
