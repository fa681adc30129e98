"""What accepting a value changes, in lines, and the question whether to accept it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields

from pytest_repro.model.baseline import Baseline, Difference, Statistics
from pytest_repro.model.outcome import Candidate, Change
from pytest_repro.report.tables import count_text
from pytest_repro.tolerance.bounds import DEFAULT_FACTOR

_STATISTICS = 4


def candidate_lines(one: Candidate) -> Iterator[str]:
    """A value that may be accepted, and what would change."""
    yield f"{one.observed.check}"
    yield f"  key         {one.key}"
    yield f"  observed    {one.observed.provenance.recorded_at}, {_runs(one)}"
    if one.refusal:
        yield f"  refused     {one.refusal}"
    elif one.is_stored:
        yield "  unchanged   the same bits are stored already"
    elif one.baseline is None:
        yield f"  new         {count_text(len(one.observed.tensors), 'tensor')}, no baseline yet"
    else:
        yield f"  replaces    the baseline of {one.baseline.provenance.recorded_at}"
        if one.baseline.index.noise != one.observed.index.noise:
            yield "  noise       the draws differ as well"
    if not one.refusal:
        for change in one.changes:
            yield from _change_lines(change)
        yield from _envelope_lines(one.observed)
        for warning in one.warnings:
            yield f"  warning     {warning}"


def _envelope_lines(observed: Baseline) -> Iterator[str]:
    """How far a fallback may be from this value once it is stored."""
    if observed.no_envelope:
        yield f"  envelope    none: {observed.no_envelope}"
    for one in observed.tensors:
        if one.envelope is not None:
            place = f" of {one.path}" if one.path else ""
            moved = one.envelope.rel_l2_max
            yield (
                f"  envelope    rel_l2 {moved:.3g}{place}, {count_text(one.envelope.runs, 'run')}; "
                f"a fallback passes within {DEFAULT_FACTOR * moved:.3g}"
            )
    if observed.step_envelope:
        yield "  envelope    of each step, too"


def _runs(one: Candidate) -> str:
    return f"bitwise equal in {count_text(one.observed.provenance.runs, 'run')}"


def _change_lines(change: Change) -> Iterator[str]:
    name = change.path or "value"
    if change.difference is None:
        yield f"  {name}: {change.sentence}"
        return
    yield f"  {name}: {_amounts(change.difference)}"
    for line in _moved(change.difference):
        yield f"    {line}"


def _amounts(difference: Difference) -> str:
    psnr = f"psnr {difference.psnr_db:.1f} dB, rel_l2 {difference.rel_l2:.3g}"
    if difference.statistics_only:
        return f"{psnr} (estimated: a tensor is absent)"
    ulp = "-" if difference.worst_ulp is None else f"{difference.worst_ulp.amount:.6g}"
    counts = f"{difference.differing_count:,} of {difference.element_count:,} elements differ"
    return f"{counts}, max ulp {ulp}, {psnr}"


def _moved(difference: Difference) -> list[str]:
    pairs = (
        (one.name, *(getattr(side, one.name) for side in _sides(difference)))
        for one in fields(Statistics)
    )
    moved = [f"{name} {old:.9g} -> {new:.9g}" for name, old, new in pairs if old != new]
    return moved[:_STATISTICS]


def _sides(difference: Difference) -> tuple[Statistics, Statistics]:
    return difference.baseline_statistics, difference.observed_statistics


class Questions:
    """Asks about one candidate after another, until an answer is for all of the rest.

    ``read`` returns the next typed line with its end, or ``""`` at the end of input.
    """

    def __init__(self, read: Callable[[], str], write: Callable[[str], object]) -> None:
        self._read = read
        self._write = write
        self._settled = ""

    @property
    def is_settled(self) -> bool:
        """Whether one answer holds for all of the rest."""
        return bool(self._settled)

    def wants(self, one: Candidate) -> bool:
        """Whether this candidate is to be accepted."""
        answer = self._settled or self._answer(f"accept {one.observed.check} under {one.key}?")
        if answer in ("a", "q"):
            self._settled = answer
        return answer in ("y", "a")

    def _answer(self, question: str) -> str:
        while True:
            self._write(f"{question} [y]es, [n]o, [a]ll, [q]uit: ")
            line = self._read()
            if not line:
                return "q"
            answer = line.strip().lower()[:1]
            if answer and answer in "ynaq":
                return answer
