"""One baseline, one environment and one policy's explanation as lines for a person."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from pytest_repro.environment.facts import default_of, not_at_default
from pytest_repro.model.baseline import Baseline, Environment, TensorSummary
from pytest_repro.model.ids import Draw, EnvironmentKey
from pytest_repro.report.tables import Column, Table, count_text, number_text
from pytest_repro.tolerance.policy import Explanation

_DRAWS = 10


def environment_table(environment: Environment) -> Table:
    """A row for each fact; those that change bits are marked."""
    rows = tuple(
        ("*" if fact.changes_bits else "", fact.name, fact.value or "-")
        for fact in environment.facts
    )
    return Table((Column(""), Column("fact"), Column("value")), rows)


def suffix_lines(environment: Environment) -> Iterator[str]:
    """The meaning of the key's suffix: a line for each fact that is not at its default."""
    pairs = [(fact.name, fact.value) for fact in environment.facts]
    for name, value in not_at_default(pairs, environment.key):
        yield f"suffix  {name} is {value or 'not set'}, by default {default_of(name) or 'not set'}"


def baseline_lines(key: EnvironmentKey, baseline: Baseline, manifest: str) -> Iterator[str]:
    """Everything that is stored of one check under one key."""
    made = baseline.provenance
    yield f"\n{key}"
    yield f"  manifest    {manifest}"
    yield f"  recorded    {made.recorded_at} by {made.tool}; {made.runs} runs agreed"
    yield f"  value       {baseline.index.value}"
    for summary in baseline.tensors:
        yield from _tensor_lines(summary)
    yield f"  noise       {baseline.index.noise}"
    yield from _noise_lines(baseline)
    for weights in baseline.weights:
        yield f"  weights     {weights.component} {weights.digest}"
    if baseline.no_envelope:
        yield f"  envelope    none: {baseline.no_envelope}"
    if baseline.step_envelope:
        yield f"  steps       {baseline.step_envelope} (envelope of each step)"
    if baseline.trace:
        yield f"  trace       {baseline.trace}"
    yield from (f"  {line}" for line in suffix_lines(made.environment))
    facts = [fact for fact in made.environment.facts if fact.changes_bits and fact.value]
    for fact in facts:
        yield f"  fact        {fact.name} {fact.value}"
    others = len(made.environment.facts) - len(facts)
    yield f"              and {count_text(others, 'fact')} that change no bits or are absent"


def _tensor_lines(one: TensorSummary) -> Iterator[str]:
    place = f" at {one.path}" if one.path else ""
    yield f"  tensor      {one.dtype} {one.shape}{place}  {one.digest}"
    statistics = (f"{name} {value:.9g}" for name, value in asdict(one.statistics).items())
    yield f"              {', '.join(statistics)}"
    envelope = one.envelope
    if envelope is not None:
        yield (
            f"  envelope    {envelope.method}; {count_text(envelope.runs, 'run')}: rel_l2 up to "
            f"{number_text(envelope.rel_l2_max)}, max abs {number_text(envelope.max_abs_max)}, "
            f"ulp {number_text(envelope.ulp_max)}"
        )


def _noise_lines(baseline: Baseline) -> Iterator[str]:
    draws = baseline.draw_log.draws
    if baseline.draw_log.generators:
        yield f"              generators {', '.join(baseline.draw_log.generators)}"
    for number, draw in enumerate(draws[:_DRAWS], 1):
        yield f"              draw {number} of {len(draws)}: {_draw(draw)}"
    if len(draws) > _DRAWS:
        yield f"              and {count_text(len(draws) - _DRAWS, 'more draw')}"


def _draw(draw: Draw) -> str:
    arguments = f", {draw.arguments}" if draw.arguments else ""
    return f"{draw.method} {draw.shape} {draw.dtype}{arguments}, generator {draw.generator}"


def explanation_lines(explanation: Explanation) -> Iterator[str]:
    """Which rule decides what about a check, and which are overridden."""
    yield explanation.check
    source = explanation.resolved.source
    for decision in explanation.resolved.decisions:
        yield f"  {decision.field:<10}  {decision.text}"
        yield f"              {source} line {decision.line}: check {decision.rule.glob!r}"
        if decision.rule.reason:
            yield f"              because {decision.rule.reason}"
        for rule in decision.overridden:
            line = rule.line_of(decision.field)
            yield f"              overrides line {line}: check {rule.glob!r}"
    for field in explanation.undecided:
        yield f"  {field:<10}  default (no rule decides it)"
