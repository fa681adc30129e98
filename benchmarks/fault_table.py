"""The words of docs/fault_score.md; counts nothing and judges nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.fault_baselines import StoredDrift
from benchmarks.fault_counting import Alarms, Drift, FaultResult, Place
from benchmarks.fault_rules import Rule
from pytest_repro.core.tolerance import DEFAULT_FACTOR
from tests.faults.fault import Fault, NoOp

__all__ = ["Score", "page"]

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
    parts = (_head, _totals, _environments, _details, _misses, _no_ops, _drifts, _stored)
    return "\n".join("\n".join(part(score)) for part in parts)


def _table(*columns: str) -> list[str]:
    return [f"| {' | '.join(columns)} |", f"| {' | '.join('---' for _ in columns)} |"]


def _row(*cells: object) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def _head(score: Score) -> Iterator[str]:
    references = ", ".join(f"`{place}`" for place in score.references)
    yield "# The fault score"
    yield ""
    yield f"Written by `{score.command}`; not to be edited."
    yield ""
    yield (
        f"{len(score.faults)} small regressions (`tests/faults/`) were put into DDIM and UnCLIP, "
        f"with seeded weights, under `{score.home}` (MindSpore version, SIMD level, cores), one at "
        "a time. Each run was judged by six rules beside the clean run: all rules had the "
        f"baseline of the same environment, `fallback` had those of {references} and "
        "caught what it caught beside every one of them. A result is wrong when the image, "
        "the last sample or the last prediction is; the rules that are not ours see the image "
        "alone, as where they come from. Noise that differs in its ledger is caught "
        "by the noise gate, without a tolerance."
    )
    yield ""


def _counted(score: Score) -> list[FaultResult]:
    return [result for result in score.results if not result.is_no_op]


def _totals(score: Score) -> Iterator[str]:
    runs = list(dict.fromkeys(result.run for result in score.results))
    yield "## What each rule catches, and how often it cries over nothing"
    yield from _table("rule", *(f"caught, {run}" for run in runs), "caught", "false alarms")
    for rule, words in _RULES.items():
        cells = [_share(rule, [r for r in _counted(score) if r.run == run]) for run in runs]
        yield _row(words, *cells, _share(rule, _counted(score)), _alarm_cell(score, rule))
    yield ""
    yield (
        f"False alarms: every clean run of {len(score.places)} environments, beside the baseline "
        "of every other one, all ordered pairs (in brackets: pairs whose bits differ). "
        "`own`: beside its own environment's baseline, in another process."
    )
    yield ""


def _share(rule: Rule, results: Sequence[FaultResult]) -> str:
    caught = sum(result.ruling(rule).caught for result in results)
    return f"{caught} of {len(results)} ({_percent(caught, len(results))})"


def _percent(part: int, whole: int) -> str:
    return f"{100.0 * part / whole:.0f} %" if whole else "-"


def _alarm_cell(score: Score, rule: Rule) -> str:
    mine = [alarms for one, _, alarms in score.alarms if one is rule]
    counts = (sum(a.alarms for a in mine), sum(a.pairs for a in mine))
    text = f"{counts[0]} of {counts[1]} ({sum(a.differing for a in mine)})"
    refused = sum(a.refused for a in mine)
    return f"{text}, {refused} refused" if refused else text


def _environments(score: Score) -> Iterator[str]:
    yield "## Clean environments"
    yield ""
    yield ", ".join(f"`{place}`" for place in score.places) + "."
    yield ""
    yield from _table("run", "groups of equal bits", "largest share of the fallback's tolerance")
    for run, groups in score.groups:
        mine = [a for rule, name, a in score.alarms if (rule, name) == (Rule.FALLBACK, run)]
        worst = max((a.worst_share for a in mine), default=0.0)
        yield _row(run, len(groups), f"{worst:.2f} of 1.0")
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
        "Size: how far the tensor that moved most left its clean value, in envelopes (what one "
        f"ULP of noise does); the fallback catches what exceeds {DEFAULT_FACTOR:g}. `noise`: the "
        "ledger differs. Crosses: caught."
    )
    yield ""
    yield from _table("fault", "what", "run", "size", "where", *(str(rule) for rule in Rule))
    words = {fault.name: fault.what for fault in score.faults}
    for result in score.results:
        marks = [_mark(result, rule) for rule in Rule]
        where = result.ruling(Rule.FALLBACK).where
        yield _row(
            result.fault, words[result.fault], result.run, _size(result), where or "-", *marks
        )
    yield ""


def _mark(result: FaultResult, rule: Rule) -> str:
    ruling = result.ruling(rule)
    if ruling.refused:
        return "refused"
    return "x" if ruling.caught else ""


def _size(result: FaultResult) -> str:
    if result.is_no_op:
        return "no-op"
    if math.isinf(result.envelopes):
        return "-"
    return f"{result.envelopes:.2g}" if result.envelopes < 100 else f"{result.envelopes:.1e}"


def _misses(score: Score) -> Iterator[str]:
    missed = [r for r in _counted(score) if not r.ruling(Rule.FALLBACK).caught]
    escaped = [r for r in _counted(score) if not r.ruling(Rule.OWN).caught]
    yield f"## What the fallback misses: {len(missed)} of {len(_counted(score))}, and why"
    yield ""
    for result in missed:
        yield f"- {result.fault}, {result.run}: {_reason(result)}."
    yield ""
    yield f"Missed by `own`: {len(escaped)}."
    yield ""


def _reason(result: FaultResult) -> str:
    ruling = result.ruling(Rule.FALLBACK)
    if ruling.refused:
        return "refused, since the envelope proves nothing"
    return (
        f"moves {ruling.where} by {result.envelopes:.2g} envelopes beside the other SIMD level's "
        f"baseline, its own drift included; the limit is {DEFAULT_FACTOR:g}"
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


def _drifts(score: Score) -> Iterator[str]:
    yield "## Predicted and observed drift between SIMD levels"
    yield ""
    yield (
        f"MindSpore {score.home.version}, {score.home.cores} cores, all ordered pairs of SIMD "
        "levels; predicted is the baseline's envelope (largest of four disturbed runs). Smallest "
        "to largest."
    )
    yield ""
    yield from _table(
        "run", "tensor", "predicted rel_l2", "observed rel_l2", "observed / predicted", "by max_abs"
    )
    for drift in score.drifts:
        pairs = (drift.predicted_rel_l2, drift.observed_rel_l2)
        yield _row(
            drift.run,
            drift.leaf,
            *(f"{low:.1e} to {high:.1e}" for low, high in pairs),
            *(f"{low:.2f} to {high:.2f}" for low, high in (drift.ratios, drift.abs_ratios)),
        )
    yield ""


def _stored(score: Score) -> Iterator[str]:
    yield "## The same for every recorded model test"
    yield ""
    yield (
        "From the stored baselines, over ordered pairs of keys that differ in SIMD level alone and "
        "hold other bits; largest figures. `refused`: a factor of "
        f"{DEFAULT_FACTOR:g} exceeds the dtype's ceiling, so that a fallback is not judged."
    )
    yield ""
    yield from _table(
        "check", "tensor", "pairs", "predicted rel_l2", "observed rel_l2",
        "observed / predicted", "by max_abs", "",
    )  # fmt: skip
    for drift in score.stored:
        refused = DEFAULT_FACTOR * drift.predicted_rel_l2 > drift.ceiling
        yield _row(
            f"`{drift.check.entry}`",
            drift.path or "-",
            drift.pairs,
            f"{drift.predicted_rel_l2:.1e}",
            f"{drift.observed_rel_l2:.1e}",
            f"{drift.worst_ratio:.2f}",
            f"{drift.worst_abs_ratio:.2f}",
            "refused" if refused else "",
        )
    yield ""
