"""Compares weights, settings and traces with the records of a baseline, and decides the cause."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from pytest_repro.checking.trial import Trial
from pytest_repro.errors import BaselineError
from pytest_repro.frameworks.kernels import used_by
from pytest_repro.model.baseline import (
    Baseline,
    CellRecord,
    Configuration,
    DrawLogDifference,
    Environment,
    SignalRecord,
    Trace,
    WeightsDigest,
)
from pytest_repro.model.ids import FactDifference
from pytest_repro.model.words import Cause
from pytest_repro.store.store import Store
from pytest_repro.trace.components import (
    ComponentWeights,
    SettingChange,
    TensorChange,
    WeightsChange,
    compare_configurations,
    compare_weights,
    configurations_from_rows,
    digest_settings,
    weights_from_rows,
)
from pytest_repro.trace.divergence import (
    Change,
    Divergence,
    Within,
    first_divergence,
    how_far,
    unpaired_sentences,
)
from pytest_repro.trace.envelope import StepBounds, step_envelope_from_rows, within_steps
from pytest_repro.trace.records import trace_from_rows
from pytest_repro.trace.wording import all_within_sentence, divergence_sentences, dump_lines


@dataclass(frozen=True, slots=True)
class Slack:
    """How far the signals of a fallback's trace may be from the baseline's.

    Attributes:
        factor: The factor for each step's envelope, if the baseline has one.
        otherwise_rel_l2: The bound of every signal without an envelope; 0.0 for bitwise.
    """

    factor: float
    otherwise_rel_l2: float


def _uniform(slack: Slack) -> Within | None:
    def within(one: SignalRecord, two: SignalRecord) -> bool:
        return how_far(one, two).rel_l2 <= slack.otherwise_rel_l2

    return within if slack.otherwise_rel_l2 > 0 else None


def setting_changes(
    store: Store, baseline: Baseline, observed: Sequence[Configuration]
) -> tuple[SettingChange, ...]:
    """The entries that differ between the settings of a baseline and the observed ones.

    Empty if a side was not watched, or the baseline's record was not pulled.
    """
    if baseline.configuration in (None, digest_settings(observed)):
        return ()
    rows = store.rows(baseline.configuration)
    return () if rows is None else compare_configurations(configurations_from_rows(rows), observed)


def unread_settings(
    store: Store, baseline: Baseline, observed: Sequence[Configuration]
) -> tuple[str, ...]:
    """A sentence if settings differ and the record that says which ones was not pulled."""
    wanted = baseline.configuration
    if (
        not observed
        or wanted in (None, digest_settings(observed))
        or store.rows(wanted) is not None
    ):
        return ()
    return ("the settings differ; the record that says which ones was not pulled",)


class ComponentDiff:
    """Compares the components of a baseline with those of a trial.

    Records that were not pulled are skipped, and the result is less precise.
    """

    def __init__(self, store: Store, baseline: Baseline, trial: Trial) -> None:
        self._store = store
        self._baseline = baseline
        self._trial = trial

    def weights_changes(self, observed: Sequence[WeightsDigest]) -> tuple[WeightsChange, ...]:
        """The components whose weights differ; parameter by parameter if tables exist."""
        before = self._baseline.weights
        if tuple(before) == tuple(observed) or not before or not observed:
            return ()
        return compare_weights(
            before,
            observed,
            baseline_tensors=weights_tables(self._store, before),
            observed_tensors=self._trial.watching.weight_tensors(),
        )

    def setting_changes(self, observed: Sequence[Configuration]) -> tuple[SettingChange, ...]:
        """The entries of configurations that differ, also those of only one side."""
        return setting_changes(self._store, self._baseline, observed)

    def divergence_sentences(self, observed: Trace | None, slack: Slack | None) -> tuple[str, ...]:
        """The first difference between the traces, in words; nothing if one is absent.

        ``slack`` is for a fallback; ``None`` compares bits.
        """
        if observed is None or self._baseline.trace is None:
            return ()
        try:
            before = self._before
        except BaselineError as error:
            return (f"the baseline's trace cannot be read: {error.what}",)
        if before is None:
            return ("the baseline's trace was not pulled, so the first difference is unknown",)
        found, bounds = self._divergence(before, observed, slack)
        if found is not None:
            unpaired = unpaired_sentences(found, before, observed)
            return divergence_sentences(found, bounds, unpaired=unpaired)
        return () if bounds is None else (all_within_sentence(before, observed, bounds),)

    def first_cell(self, observed: Trace | None) -> CellRecord | None:
        """The first call with the baseline's inputs, bit for bit, and another output."""
        try:
            before = self._before
        except BaselineError:
            return None  # the sentences say so
        if observed is None or before is None:
            return None
        found = first_divergence(before, observed)
        cell = None if found is None else found.cell
        return cell.call if cell is not None and cell.change is Change.SIGNAL else None

    def dump_lines(self, observed: Trace | None, slack: Slack | None) -> tuple[str, ...]:
        """How msprobe dumps the first difference; empty if no trace shows one."""
        try:
            before = self._before
        except BaselineError:
            return ()  # the sentences say so
        if observed is None or before is None:
            return ()
        found, _ = self._divergence(before, observed, slack)
        return () if found is None else dump_lines(found, observed)

    def _divergence(
        self, before: Trace, observed: Trace, slack: Slack | None
    ) -> tuple[Divergence | None, StepBounds | None]:
        """The first difference of the traces, and the bounds of each step."""
        if slack is None:
            return first_divergence(before, observed), None
        bounds = self._bounds(slack)
        within = _uniform(slack) if bounds is None else within_steps(before, bounds)
        return first_divergence(before, observed, within=within), bounds

    def _bounds(self, slack: Slack) -> StepBounds | None:
        """The bounds of each step, if the baseline has them and they were pulled."""
        wanted = self._baseline.step_envelope
        try:
            rows = None if wanted is None else self._store.rows(wanted)
            return None if rows is None else StepBounds(step_envelope_from_rows(rows), slack.factor)
        except BaselineError:
            return None

    @cached_property
    def _before(self) -> Trace | None:
        """The baseline's trace; ``None`` if there is none or it was not pulled."""
        if self._baseline.trace is None:
            return None
        rows = self._store.rows(self._baseline.trace)
        return None if rows is None else trace_from_rows(rows)


def weights_tables(store: Store, weights: Sequence[WeightsDigest]) -> tuple[ComponentWeights, ...]:
    """The stored parameters of each component, as far as they were pulled."""
    found = ((one.component, store.rows(one.digest)) for one in weights)
    return tuple(weights_from_rows(name, rows) for name, rows in found if rows is not None)


CODE_FACTS = (
    *("mindone.version", "mindone.commit", "code.commit", "code.dirty", "mindspore.version"),
)
"""Facts that are shown then and now if the code is the cause and they differ."""

_SHOWN_TENSORS = 4
_SHOWN_FACTS = 8
_SHOWN_KERNELS = 6
_DIGEST_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known about the change between baseline and observed.

    Attributes:
        nondeterminism: Where two runs of this very session parted, in words; ``""`` if they agree.
        noise: The first difference of the draw logs, if any.
        weights: Components whose weights differ (`components.compare_weights`).
        settings: Entries of configurations that differ (`components.compare_configurations`).
        facts: Facts that differ.
        kernels: Kernels that compute different bits here; ``None`` if they were not recorded.
        first_cell: The first call of a cell with equal inputs and another output.
        baseline, observed: Both environments, as far as known.
        value_passed: Whether dtype, shape, structure and the places of NaN and inf are equal.
        is_rounding: Whether the rounding of another environment can explain the difference.
    """

    nondeterminism: str = ""
    noise: DrawLogDifference | None = None
    weights: tuple[WeightsChange, ...] = ()
    settings: tuple[SettingChange, ...] = ()
    facts: tuple[FactDifference, ...] = ()
    kernels: tuple[str, ...] | None = None
    first_cell: CellRecord | None = None
    baseline: Environment | None = None
    observed: Environment | None = None
    value_passed: bool = True
    is_rounding: bool = True


@dataclass(frozen=True, slots=True)
class CauseFinding:
    """The cause, one sentence, and lines of evidence, most important first."""

    cause: Cause
    sentence: str
    evidence: tuple[str, ...]


def decide_cause(known: Evidence) -> CauseFinding:
    """The first of the causes that applies, in this order.

    ``nondeterminism``, ``noise``, ``weights``, ``settings``; ``environment`` if the value gate
    passed, rounding can explain it, and a fact that changes bits or the key differs; else
    ``code``. Other facts decide nothing, but are listed. Further causes that apply are named in
    the evidence.
    """
    findings = _findings(known)
    first, *others = findings
    evidence = [*first.evidence, *(f"also: {other.sentence}" for other in others)]
    return CauseFinding(first.cause, first.sentence, tuple(evidence))


def _findings(known: Evidence) -> list[CauseFinding]:
    found: list[CauseFinding] = []
    if known.nondeterminism:
        sentence = (
            "two runs in this session differ, so a difference from the baseline means nothing"
        )
        found.append(CauseFinding(Cause.NONDETERMINISM, sentence, (known.nondeterminism,)))
    if known.noise is not None:
        found.append(_noise(known.noise))
    if known.weights:
        found.append(_weights(known.weights))
    changed = [change for change in known.settings if not change.is_one_sided]
    if changed:
        found.append(_settings(changed))
    if _environment_changed(known):
        found.append(_environment(known))
    if not found or any(_is_code(fact.name) for fact in known.facts):
        found.append(_code(known, alone=not found))
    return found


def _noise(noise: DrawLogDifference) -> CauseFinding:
    sides = (("baseline", noise.baseline), ("observed", noise.observed))
    lines = (
        f"{side}  {draw.method} {draw.shape} {draw.dtype} {draw.digest[:_DIGEST_DIGITS]}"
        for side, draw in sides
        if draw is not None
    )
    sentence = f"the noise differs from the baseline: {noise.sentence}"
    return CauseFinding(Cause.NOISE, sentence, tuple(lines))


def _weights(changes: Sequence[WeightsChange]) -> CauseFinding:
    names = ", ".join(change.component for change in changes)
    lines = tuple(line for change in changes for line in _weights_lines(change))
    return CauseFinding(Cause.WEIGHTS, f"the weights of {names} differ from the baseline", lines)


def _weights_lines(change: WeightsChange) -> tuple[str, ...]:
    if not change.baseline or not change.observed:
        side = "this run" if not change.baseline else "the baseline"
        return (f"{change.component}: only {side} has it",)
    if not change.tensors:
        old, new = change.baseline[:_DIGEST_DIGITS], change.observed[:_DIGEST_DIGITS]
        why = "the tensors were not recorded"
        if change.tensor_count:
            why = "at the end of the test, its tensors matched the baseline again"
        return (f"{change.component}: digest {old} became {new}; {why}",)
    count = len(change.tensors)
    first = f"{change.component}: {count} of {change.tensor_count} tensors differ"
    shown = [_tensor_line(tensor) for tensor in change.tensors[:_SHOWN_TENSORS]]
    more = [f"and {count - _SHOWN_TENSORS} more"] if count > _SHOWN_TENSORS else []
    return (first, *shown, *more)


def _tensor_line(change: TensorChange) -> str:
    old, new = change.baseline, change.observed
    if old is not None and new is None and change.digest:
        was, seen = old.digest[:_DIGEST_DIGITS], change.digest[:_DIGEST_DIGITS]
        return f"{change.name}: {old.dtype} {old.shape}, digest {was} became {seen}"
    if old is None or new is None:
        return f"{change.name}: only in {'this run' if old is None else 'the baseline'}"
    if (old.dtype, old.shape) != (new.dtype, new.shape):
        return f"{change.name}: {old.dtype} {old.shape} became {new.dtype} {new.shape}"
    apart = how_far(old, new)
    measure = "at least" if apart.is_bound else "about"
    means = f"mean {old.mean:.9g} -> {new.mean:.9g}, l2 {old.l2:.9g} -> {new.l2:.9g}"
    return f"{change.name}: {old.dtype} {old.shape}, rel_l2 {measure} {apart.rel_l2:.1e}, {means}"


def _environment_changed(known: Evidence) -> bool:
    if not known.value_passed or not known.is_rounding:
        return False  # hardware never changes dtype, shape or structure
    old, new = known.baseline, known.observed
    if old is not None and new is not None and old.key != new.key:
        return True
    if known.kernels:
        return True
    return any(fact.changes_bits and not _is_code(fact.name) for fact in known.facts)


def _is_code(name: str) -> bool:
    return name.startswith(("mindone.", "code."))


def _environment(known: Evidence) -> CauseFinding:
    facts = sorted(known.facts, key=lambda fact: not fact.changes_bits)
    strong = [fact for fact in facts if fact.changes_bits and not _is_code(fact.name)]
    named = ", ".join(_became(fact) for fact in strong[:3])
    old, new = known.baseline, known.observed
    if not named and old is not None and new is not None and old.key != new.key:
        named = f"{old.key} became {new.key}"
    if not named and known.kernels:
        named = f"{_few(known.kernels)} compute different bits"
    sentence = f"the environment differs from the baseline: {named}"
    lines = (*_kernel_lines(known.kernels), *_cell_lines(known), *_fact_lines(facts))
    return CauseFinding(Cause.ENVIRONMENT, sentence, lines)


def _kernel_lines(kernels: Sequence[str] | None) -> tuple[str, ...]:
    if kernels is None:
        return ()
    if not kernels:
        return ("kernels  all probed kernels compute the baseline's bits",)
    return (f"kernels  different bits in {len(kernels)}: {_few(kernels)}",)


def _cell_lines(known: Evidence) -> tuple[str, ...]:
    """Whether the first differing cell computes with a kernel that differs."""
    cell = known.first_cell
    if cell is None or not known.kernels:
        return ()
    dtypes = {one.dtype for one in (*cell.inputs, *cell.outputs)}
    used = used_by(cell.class_name, dtypes, known.kernels)
    what = f"uses {_few(used)}" if used else "uses none of them"
    return (f"kernels  the first differing cell, {cell.name} ({cell.class_name}), {what}",)


def _few(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN_KERNELS
    return ", ".join(names[:_SHOWN_KERNELS]) + (f" and {more} more" if more > 0 else "")


def _became(fact: FactDifference) -> str:
    return f"{fact.name} {fact.baseline or 'nothing'} became {fact.observed or 'nothing'}"


def _fact_lines(facts: Sequence[FactDifference]) -> tuple[str, ...]:
    lines = [
        _became(fact) + ("" if fact.changes_bits else " (not known to change bits)")
        for fact in facts[:_SHOWN_FACTS]
    ]
    more = len(facts) - _SHOWN_FACTS
    return (*lines, f"and {more} more facts") if more > 0 else tuple(lines)


def _settings(changes: Sequence[SettingChange]) -> CauseFinding:
    named = ", ".join(str(change) for change in changes[:3])
    lines = tuple(str(change) for change in changes)
    return CauseFinding(Cause.SETTINGS, f"the settings differ from the baseline: {named}", lines)


def _code(known: Evidence, *, alone: bool) -> CauseFinding:
    changed = [_became(fact) for fact in known.facts if _is_code(fact.name)]
    sentence = f"the code changed: {', '.join(changed)}" if changed else _unexplained(known)
    others = [fact for fact in known.facts if not _is_code(fact.name)] if alone else []
    one_sided = [
        f"{change} (only one side has it)" for change in known.settings if change.is_one_sided
    ]
    lines = (*one_sided, *_then_and_now(known), *_fact_lines(others))
    return CauseFinding(Cause.CODE, sentence, lines)


def _unexplained(known: Evidence) -> str:
    if not known.value_passed:
        return (
            "no environment changes dtype, shape, structure or the places of NaN and inf; the code "
            "is the likely cause"
        )
    environment = "the facts that change bits" if known.facts else "environment"
    return f"noise, weights and {environment} match the baseline; the code is the likely cause"


def _then_and_now(known: Evidence) -> tuple[str, ...]:
    if known.baseline is None or known.observed is None:
        return ()
    rows = [(name, known.baseline.value(name), known.observed.value(name)) for name in CODE_FACTS]
    return tuple(
        f"{name}  then {old or 'unknown'}, now {new or 'unknown'}"
        for name, old, new in rows
        if old != new
    )
