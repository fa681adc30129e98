"""The words of docs/evidence/fault_score.md; counts nothing and judges nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.fault_baselines import StoredDrift
from benchmarks.fault_counting import Alarms, Drift, FaultResult, Place
from benchmarks.fault_drift_table import drift_lines, stored_lines
from benchmarks.fault_rules import Rule
from benchmarks.page import columns, row
from pytest_repro.model.words import Distance
from pytest_repro.tolerance.bounds import DEFAULT_FACTOR
from tests.faults.catalogue import fault_named
from tests.faults.fault import Fault, FaultFamily, NoOp

__all__ = ["Score", "page"]

_LARGE = 100.0
_RULES = {
    Rule.OWN: "ours, `own`: bitwise, image and latents",
    Rule.FALLBACK: f"ours, fallback: envelope x {DEFAULT_FACTOR:g}, image and latents",
    Rule.MINDONE_SLICE: "mindone: 3x3 corner of the image, relative L2 below 5e-3",
    Rule.MINDONE_PIXEL: "mindone: whole image, mean of 0..255 below 20",
    Rule.HUGGING_FACE: "Hugging Face: 3x3 corner of the image, 1e-2",
    Rule.NUMPY: "`numpy.testing.assert_allclose`, defaults, image",
}


@dataclass(frozen=True, slots=True)
class Score:
    """Everything that the page says.

    Attributes:
        command: What wrote it.
        home: Where the faults ran.
        references: The environments whose baselines ``fallback`` was given for the faults.
        places: All clean environments.
        faults, no_ops: The lists.
        results: One a fault and run.
        alarms: By rule and run.
        groups: By run, environments of equal bits.
        drifts: Between the SIMD levels of the home environment.
        stored: From the recorded baselines.
    """

    command: str
    home: Place
    references: tuple[Place, ...]
    places: tuple[Place, ...]
    faults: tuple[Fault, ...]
    no_ops: tuple[NoOp, ...]
    results: tuple[FaultResult, ...]
    alarms: tuple[tuple[Rule, str, Alarms], ...]
    groups: tuple[tuple[str, tuple[tuple[Place, ...], ...]], ...]
    drifts: tuple[Drift, ...]
    stored: tuple[StoredDrift, ...]


def page(score: Score) -> str:
    """The page in Markdown, the same text for the same score."""
    parts = (_head, _totals, _environments, _details, _misses, _no_ops)
    lines = [line for part in parts for line in part(score)]
    return "\n".join([*lines, *drift_lines(score.home, score.drifts), *stored_lines(score.stored)])


def _head(score: Score) -> Iterator[str]:
    references = ", ".join(f"`{place}`" for place in score.references)
    yield "# The fault score"
    yield ""
    yield f"Written by `{score.command}`; not to be edited."
    yield ""
    yield (
        f"{len(score.faults)} small regressions (`tests/faults/`) were put into the pipelines of "
        "`tests/models` (ddim and unclip with seeded weights, digits with trained ones; the figure "
        "in a run's name counts its steps), "
        f"under `{score.home}` (MindSpore version, SIMD level, cores), one at "
        "a time. Each run was judged by six rules beside the clean run: all rules had the "
        f"baseline of the same environment, `fallback` had those of {references} and "
        "caught what it caught beside every one of them. A result is wrong when the image, "
        "the last sample or the last prediction is; the rules that are not ours see the image "
        "alone, as where they come from. Noise that differs in its draw log is caught "
        "by the noise gate, without a tolerance."
    )
    yield ""


def _counted(score: Score) -> list[FaultResult]:
    return [result for result in score.results if not result.is_no_op]


def _totals(score: Score) -> Iterator[str]:
    runs = list(dict.fromkeys(result.run for result in score.results))
    yield "## What each rule catches, and how often it cries over nothing"
    yield ""
    yield from columns("rule", *(f"caught, {run}" for run in runs), "caught", "false alarms")
    for rule, words in _RULES.items():
        cells = [_share(rule, [r for r in _counted(score) if r.run == run]) for run in runs]
        yield row(words, *cells, _share(rule, _counted(score)), _alarm_cell(score, rule))
    yield ""
    yield from _by_distance(score)
    yield (
        f"False alarms: every clean run of {len(score.places)} environments, beside the baseline "
        "of every other one, all ordered pairs (in brackets: pairs whose bits differ). "
        "`own`: beside its own environment's baseline, in another process."
    )
    yield ""
    visible = [result for result in _counted(score) if result.envelopes_alone > 1.0]
    yield (
        "A fault that moves no tensor further than one ULP of noise does cannot be told from other "
        "hardware. Of those that move one further than that in their own environment, the fallback "
        f"catches {_share(Rule.FALLBACK, visible)}."
    )
    yield ""


def _by_distance(score: Score) -> Iterator[str]:
    words = {
        Distance.RELEASE: "another MindSpore version, same hardware",
        Distance.ANY: "other SIMD level or cores, same MindSpore version or another",
    }
    yield from columns("rule", *(f"false alarms, {text}" for text in words.values()))
    for rule, text in _RULES.items():
        if rule is not Rule.OWN:
            yield row(text, *(_alarm_cell(score, rule, distance) for distance in words))
    yield ""
    judged = [r.release for r in _counted(score) if r.release is not None]
    if judged:
        caught = sum(ruling.caught for ruling in judged)
        yield (
            "Beside the baselines of the same hardware by MindSpore versions that give different "
            f"bits, the fallback catches {caught} of {len(judged)} "
            f"({_percent(caught, len(judged))})."
        )
        yield ""


def _share(rule: Rule, results: Sequence[FaultResult]) -> str:
    caught = sum(result.ruling(rule).caught for result in results)
    return f"{caught} of {len(results)} ({_percent(caught, len(results))})"


def _percent(part: int, whole: int) -> str:
    return f"{100.0 * part / whole:.0f} %" if whole else "-"


def _alarm_cell(score: Score, rule: Rule, distance: Distance | None = None) -> str:
    mine = [alarms for one, _, alarms in score.alarms if one is rule]
    mine = [alarms for alarms in mine if distance in (None, alarms.distance)]
    counts = (sum(a.alarms for a in mine), sum(a.pairs for a in mine))
    text = f"{counts[0]} of {counts[1]} ({sum(a.differing for a in mine)})"
    refused = sum(a.refused for a in mine)
    return f"{text}, {refused} refused" if refused else text


def _environments(score: Score) -> Iterator[str]:
    yield "## Clean environments"
    yield ""
    yield ", ".join(f"`{place}`" for place in score.places) + "."
    yield ""
    yield from columns("run", "groups of equal bits", "largest share of the fallback's tolerance")
    for run, groups in score.groups:
        mine = [a for rule, name, a in score.alarms if (rule, name) == (Rule.FALLBACK, run)]
        worst = max((a.worst_share for a in mine), default=0.0)
        yield row(run, len(groups), f"{worst:.2f} of 1.0")
    yield ""
    for run, groups in score.groups:
        yield f"{run}:"
        yield ""
        yield from (f"- {', '.join(str(place) for place in group)}" for group in groups)
        yield ""


def _details(score: Score) -> Iterator[str]:
    yield "## Every fault"
    yield ""
    yield (
        "Size: how far the tensor that moved most left its clean value in the same environment, in "
        "envelopes (what one ULP of noise does). Fallback: the same beside another SIMD level's "
        f"baseline, the nearer one; above {DEFAULT_FACTOR:g} it is caught. `noise`: the draw log "
        "differs. Crosses: caught."
    )
    yield ""
    rules = (str(rule) for rule in Rule)
    yield from columns("fault", "what", "run", "size", "fallback", "by", *rules)
    words = {fault.name: fault.what for fault in score.faults}
    for result in score.results:
        marks = [_mark(result, rule) for rule in Rule]
        where = result.ruling(Rule.FALLBACK).where
        sizes = (_size(result, result.envelopes_alone), _size(result, result.envelopes))
        yield row(result.fault, words[result.fault], result.run, *sizes, where or "-", *marks)
    yield ""


def _mark(result: FaultResult, rule: Rule) -> str:
    ruling = result.ruling(rule)
    if ruling.refused:
        return "refused"
    return "x" if ruling.caught else ""


def _size(result: FaultResult, envelopes: float) -> str:
    if result.is_no_op:
        return "no-op"
    if math.isinf(envelopes):
        return "-"
    return f"{envelopes:.2g}" if envelopes < _LARGE else f"{envelopes:.1e}"


def _misses(score: Score) -> Iterator[str]:
    missed = [r for r in _counted(score) if not r.ruling(Rule.FALLBACK).caught]
    escaped = [r for r in _counted(score) if not r.ruling(Rule.OWN).caught]
    yield f"## What the fallback misses: {len(missed)} of {len(_counted(score))}, and why"
    yield ""
    if missed:
        yield from (_of_missed(missed), "")
    for result in missed:
        yield f"- {result.fault}, {result.run}: {_reason(result)}."
    yield ""
    yield f"Missed by `own`: {len(escaped)}."
    yield ""


def _of_missed(missed: Sequence[FaultResult]) -> str:
    below = sum(result.envelopes_alone < DEFAULT_FACTOR for result in missed)
    hidden = sum(result.envelopes_alone <= 1.0 for result in missed)
    in_weights = sum(fault_named(one.fault).family is FaultFamily.WEIGHTS for one in missed)
    return (
        f"By themselves {below} of them move less than the limit of {DEFAULT_FACTOR:g} envelopes, "
        f"{hidden} no more than one. {in_weights} are faults of weights, whose digest is another "
        "one than the baseline's; a fallback does not judge by it."
    )


def _reason(result: FaultResult) -> str:
    ruling = result.ruling(Rule.FALLBACK)
    if ruling.refused:
        return "refused, since the envelope proves nothing"
    return (
        f"the fault itself moves {result.alone.where} by {result.envelopes_alone:.2g} envelopes, "
        f"and beside another SIMD level's baseline it is {result.envelopes:.2g} ({ruling.where}); "
        f"the limit is {DEFAULT_FACTOR:g}"
    )


def _no_ops(score: Score) -> Iterator[str]:
    yield "## No faults"
    yield ""
    yield "Excluded from all counts, because no bit of image, latents or noise moves:"
    yield ""
    for result in score.results:
        if result.is_no_op:
            yield f"- {result.fault}, {result.run}: bitwise the clean run's."
    for no_op in score.no_ops:
        yield f"- {no_op.name}, {no_op.pipeline}: {no_op.reason} (held by `tests/faults`)."
    yield ""
