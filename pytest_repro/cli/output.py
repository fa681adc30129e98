"""Writes to the terminal or a pipe, with control characters escaped, and words what is shown."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import TextIO, TypeVar

import click

from pytest_repro.environment.facts import default_of, not_at_default
from pytest_repro.errors import printable
from pytest_repro.model.baseline import Baseline, Environment, TensorSummary
from pytest_repro.model.ids import Draw, EnvironmentKey
from pytest_repro.report.tables import Column, Table, count_text, fitted, number_text, plain_table
from pytest_repro.tolerance.policy import Explanation

_Item = TypeVar("_Item")


class Output:
    """The output of a command.

    Control characters become escapes. If the reader ends (``| head``), writing stops but not the
    command: its exit code still says what it found.

    Args:
        out: Results.
        err: Errors, questions and progress.
    """

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self._out = out
        self._err = err
        self._is_broken = False

    def line(self, text: str = "") -> None:
        """Write one or more lines."""
        if self._is_broken:
            return
        encoding = self._out.encoding or "ascii"
        shown = printable(text).encode(encoding, "backslashreplace").decode(encoding)
        try:
            self._out.write(shown + "\n")
        except BrokenPipeError:
            self._give_up()

    def table(self, table: Table) -> None:
        """Write a table, cut to the width of a terminal; nothing where it has no rows."""
        if not table.rows:
            return
        if self._out.isatty():
            table = fitted(table, shutil.get_terminal_size().columns)
        self.line(plain_table(table))

    def error(self, text: str) -> None:
        """Write a line to the error stream."""
        self.ask(text + "\n")

    def ask(self, text: str) -> None:
        """Write to the error stream, without an end of line."""
        with contextlib.suppress(BrokenPipeError):
            self._err.write(printable(text))
            self._err.flush()

    def track(self, items: Iterable[_Item], label: str) -> Iterable[_Item]:
        """The same items; on a terminal a bar shows progress."""
        return self._tracked(items, label) if self._err.isatty() else items

    def _tracked(self, items: Iterable[_Item], label: str) -> Iterator[_Item]:
        with click.progressbar(list(items), label=label, file=self._err) as bar:
            yield from bar

    def close(self) -> None:
        """Flush."""
        try:
            self._out.flush()
        except BrokenPipeError:
            self._give_up()

    def _give_up(self) -> None:
        self._is_broken = True
        # The interpreter flushes stdout again when it ends; that must not raise either.
        with contextlib.suppress(OSError, ValueError):
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, self._out.fileno())
            os.close(quiet)


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
