"""The text of a failed test, at most one screen, with commands that work where pytest was run."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from pytest_repro.errors import message_parts
from pytest_repro.model.baseline import Difference, ElementDifference
from pytest_repro.model.ids import CheckId, EnvironmentKey, FactDifference
from pytest_repro.model.outcome import Outcome
from pytest_repro.model.words import Cause, Verdict
from pytest_repro.report.tables import one_line
from pytest_repro.settings import TABLE

_OF_ONE_RUN = frozenset(
    f"--repro-{name}" for name in ("update", "report", "summary", "code-quality", "pull")
)
"""What the run writes; a printed command has its own."""
_WITH_VALUE = ("-c", "--config-file", "--rootdir", "-o", "--override-ini")


@dataclass(frozen=True, slots=True)
class Invocation:
    """Where pytest was run, and with which options.

    Attributes:
        folder: The working folder; ``""`` shows paths as they are stored.
        root: pytest's root folder, to which ids are relative.
        options: What a printed command repeats, so it finds the same key and baselines.
    """

    folder: str = ""
    root: str = ""
    options: tuple[str, ...] = ()

    def place(self, called_at: str) -> str:
        """A ``file:line`` relative to the folder where pytest was run."""
        path, _, line = called_at.rpartition(":")
        return f"{self._near(path)}:{line}"

    def pytest(self, check: CheckId, *options: str) -> str:
        """The command that runs the test of a check again."""
        full = os.path.join(self.root, check.module)  # noqa: PTH118  ids of any form
        module = self._near(full) if self.folder and os.path.exists(full) else check.module  # noqa: PTH110
        words = [quoted(f"{module}::{check.test}"), *options, *map(shlex.quote, self.options)]
        return " ".join(["pytest", *words])

    def pull(self, check: CheckId, key: EnvironmentKey) -> str:
        """The command that fetches the tensors of a check from the Hub."""
        words = ["pytest-repro", "pull", "--check", quoted(str(check)), "--key", quoted(str(key))]
        if self.folder != self.root:
            words += ["--root", shlex.quote(self._near(self.root))]
        waiting = iter(self.options)
        for one in waiting:
            name, equals, value = one.partition("=")
            if name == "--repro-baselines":
                words += ["--baselines", shlex.quote(value if equals else next(waiting, ""))]
        return " ".join(words)

    def _near(self, path: str) -> str:
        if not self.folder or not os.path.isabs(path):  # noqa: PTH117
            return path
        try:
            return os.path.relpath(path, self.folder).replace(os.sep, "/")
        except ValueError:  # another drive
            return path


AS_STORED = Invocation()


def kept_options(arguments: Sequence[str]) -> tuple[str, ...]:
    """The options of a command line that decide the key and where the baselines are."""
    return tuple(_kept(arguments))


def _kept(arguments: Sequence[str]) -> Iterator[str]:
    takes_value = {*_WITH_VALUE, *(one.option for one in TABLE if not one.flag_values)}
    waiting = iter(arguments)
    for argument in waiting:
        name, equals, _ = argument.partition("=")
        is_ours = name.startswith("--repro-") or name in _WITH_VALUE
        value = [next(waiting, "")] if name in takes_value and not equals else []
        if is_ours and name not in _OF_ONE_RUN:
            yield from (argument, *value)


def quoted(text: str) -> str:
    """Text as one word of a shell, in quotes."""
    safe = shlex.quote(text)
    return safe if safe != text else f"'{text}'"


MAX_LINES = 25
"""One screen; each further failing check gets a line, and lines that are cut are counted."""

_LABEL = 12
_FACTS = 4
_EVIDENCE = 4
_BEGAN = 6


def nothing_checked(place: str, *, marked: bool = True) -> str:
    """The failure of a test that is marked, or names `repro_check`, and never called it."""
    why = "is marked repro" if marked else "asks for repro_check"
    return "\n".join(
        (
            f"{place} {why} but checked nothing",
            '  next   call repro_check(value, name="..."), return the value from a test with the '
            "@repro() decorator, or remove the marker",
        )
    )


def failure_text(outcomes: Sequence[Outcome], invocation: Invocation = AS_STORED) -> str:
    """The report of every check of a test that did not pass; ``""`` when all passed."""
    failing = [outcome for outcome in outcomes if not outcome.verdict.passes]
    if not failing:
        return ""
    first, others = failing[0], failing[1:]
    lines = _first_in_full(first, invocation, more=bool(others))
    room = MAX_LINES - len(lines)
    shown = others if len(others) <= room else others[: room - 1]
    lines += [f"{_headline(one)}   {_brief(one)}".rstrip() for one in shown]
    if len(shown) < len(others):
        rest = _counted(len(others) - len(shown), "more check", "more checks")
        lines.append(f"and {rest} of this test failed")
    return "\n".join(one_line(line) for line in lines)


def brief(outcome: Outcome) -> str:
    """Verdict, cause and distance in a few words: ``drift, weights of unet, rel_l2 1.1e-05``."""
    parts = [str(outcome.verdict)]
    if outcome.cause is not None and outcome.verdict is Verdict.DRIFT:
        parts.append(_cause(outcome))
    far = [one.rel_l2 for _, one in outcome.differences if not math.isnan(one.rel_l2)]
    if any(one.non_finite is not None for _, one in outcome.differences):
        parts.append("NaN or inf in other places")
    elif far:
        parts.append(f"rel_l2 {max(far):.2g}")
    elif outcome.detail:
        parts.append(outcome.detail[0])
    return one_line(", ".join(parts))


def alike(failing: Sequence[Outcome]) -> str:
    """A text that is equal for tests that failed in the same way, however far each has moved."""
    return repr([(one.verdict, one.gate, one.cause, one.evidence, one.noise and one.noise.sentence,
                  _place_of(one), one.detail) for one in failing])  # fmt: skip


def _place_of(outcome: Outcome) -> str:
    reference = outcome.reference
    return "" if reference is None else f"{reference.key} {outcome.check.module}"


def _cause(outcome: Outcome) -> str:
    if outcome.cause is not Cause.WEIGHTS or outcome.baseline is None or not outcome.observation:
        return str(outcome.cause)
    before, now = outcome.baseline.weights, outcome.observation.weights
    changed = sorted({one.component for one in {*before} ^ {*now}})
    return f"weights of {', '.join(changed)}" if changed else "weights"


def _first_in_full(outcome: Outcome, invocation: Invocation, *, more: bool) -> list[str]:
    """Its lines, cut before ``next`` if they would fill more than the screen."""
    *lines, last = _lines(outcome, invocation)
    return [*lines[: MAX_LINES - 1 - more], last]


def _headline(outcome: Outcome) -> str:
    cause = f", cause {outcome.cause}" if outcome.cause is not None else ""
    return f"{outcome.check.name!r}: {outcome.verdict} (gate {outcome.gate}{cause})"


def _brief(outcome: Outcome) -> str:
    if outcome.noise is not None:
        return outcome.noise.sentence
    if outcome.detail:
        return outcome.detail[0]
    if outcome.differences:
        return _amounts(outcome.differences[0][1])
    return ""


def _lines(outcome: Outcome, invocation: Invocation) -> Iterator[str]:
    if outcome.called_at:
        yield f"{invocation.place(outcome.called_at)}: {brief(outcome)}"
    yield _headline(outcome)
    yield _row("check", f"{outcome.check}")
    yield from (_row(label, text) for label, text in _rows(outcome, invocation) if text)
    yield _row("next", _next(outcome, invocation))


def _row(label: str, text: str) -> str:
    return f"  {label:<{_LABEL}}{text}"


def _rows(outcome: Outcome, invocation: Invocation) -> Iterator[tuple[str, str]]:
    sentences, where, _ = message_parts(outcome.sentences)
    yield from zip(("because", *[""] * 3), sentences, strict=False)
    yield "where", where
    yield from zip(("cause", *[""] * 4), outcome.evidence[:_EVIDENCE], strict=False)
    yield from zip(("began", *[""] * _BEGAN), outcome.began[:_BEGAN], strict=False)
    yield from zip(("operators", *[""] * 3), outcome.operators, strict=False)
    yield from _reference_rows(outcome)
    if outcome.differences:
        yield from _difference_rows(outcome, *outcome.differences[0])
        if len(outcome.differences) > 1:
            further = len(outcome.differences) - 1
            more = _counted(further, "more tensor", "more tensors")
            yield "also", f"{more} of this check {'differs' if further == 1 else 'differ'}"
    if outcome.is_on_hub and outcome.reference is not None:
        yield "full values", invocation.pull(outcome.check, outcome.reference.key)
    if outcome.uses:
        yield "tolerance", f"{outcome.tolerance}, from {outcome.tolerance_origin}{_used(outcome)}"
    if outcome.passing_tolerance and outcome.uses:
        yield "would pass", f"tolerance={outcome.passing_tolerance}"


def _reference_rows(outcome: Outcome) -> Iterator[tuple[str, str]]:
    reference = outcome.reference
    if reference is None:
        return
    more = f" ({reference.apart})" if reference.apart else ""
    yield "reference", f"{reference.distance}: {reference.key}{more}"
    made = "" if outcome.baseline is None else outcome.baseline.provenance.recorded_at
    yield "baseline", reference.manifest + (f", recorded {made}" if made else "")
    said = " ".join(outcome.evidence)
    if any(fact.name not in said for fact in outcome.facts):
        yield "environment", _facts(outcome.facts)


def _facts(facts: Sequence[FactDifference]) -> str:
    shown = [
        f"{fact.name} {fact.baseline or 'absent'} -> {fact.observed or 'absent'}"
        for fact in facts[:_FACTS]
    ]
    more = f" and {len(facts) - _FACTS} more" if len(facts) > _FACTS else ""
    return "; ".join(shown) + more


def _difference_rows(
    outcome: Outcome, path: str, difference: Difference
) -> Iterator[tuple[str, str]]:
    dtype, shape = _kind(outcome, path)
    place = f" at {path}" if path else ""
    yield "tensor", f"{dtype} {shape}{place}, {_count(difference)}"
    if difference.non_finite is not None:
        odd = difference.non_finite
        yield (
            "NaN and inf",
            (
                f"{_counted(odd.count, 'place differs', 'places differ')}, first {odd.index}: "
                f"baseline {odd.baseline}, "
                f"observed {odd.observed}"
            ),
        )
    for label, worst in (
        ("worst abs", difference.worst_abs),
        ("worst ulp", difference.worst_ulp),
    ):
        if worst is not None:
            yield label, _worst(worst)
    if difference.rel_l2 != 0.0 or difference.mean_abs != 0.0:
        yield "overall", _amounts(difference)
    yield "statistics", _statistics(difference)


def _kind(outcome: Outcome, path: str) -> tuple[str, tuple[int, ...]]:
    if outcome.baseline is not None:
        for one in outcome.baseline.tensors:
            if one.path == path:
                return one.dtype, one.shape
    return "", ()


def _count(difference: Difference) -> str:
    if difference.statistics_only:
        return "the baseline's tensor is absent: statistics only"
    share = difference.differing_count / max(difference.element_count, 1)
    counted = f"{difference.differing_count} of {difference.element_count}"
    return f"{counted} elements differ ({share:.1%})"


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _worst(worst: ElementDifference) -> str:
    amount = f"{worst.amount:.6g}"
    return f"{amount} at {worst.index}: baseline {worst.baseline}, observed {worst.observed}"


def _amounts(difference: Difference) -> str:
    return (
        f"rel_l2 {difference.rel_l2:.3g}, mean abs {difference.mean_abs:.3g}, "
        f"cosine distance {difference.cosine:.3g}, psnr {difference.psnr_db:.1f} dB"
    )


def _statistics(difference: Difference) -> str:
    before, after = (
        asdict(difference.baseline_statistics),
        asdict(difference.observed_statistics),
    )
    moved = [
        f"{name} {before[name]:.9g} -> {after[name]:.9g}"
        for name in before
        if before[name] != after[name]
    ]
    return ", ".join(moved[:4])


def _used(outcome: Outcome) -> str:
    worst = outcome.uses[0]
    if math.isfinite(worst.share):
        return f"; used {worst.share:.3g} of 1.0 ({worst.measure})"
    if worst.measure == "exact":
        return ""  # the word is there already, and how many elements differ is above
    return f"; {worst.measure} {worst.observed:.3g}, allowed {worst.allowed:.3g}"


def _next(outcome: Outcome, invocation: Invocation) -> str:
    if outcome.verdict is Verdict.NONDETERMINISTIC:
        again = invocation.pytest(outcome.check)
        return f"{again}   # find what differs from run to run; nothing was recorded"
    if outcome.verdict is Verdict.CORRUPT:
        # A broken baseline is never overwritten silently: the error says how to repair it.
        return message_parts(outcome.detail)[2] or "repair the file; recording leaves it as it is"
    record = invocation.pytest(outcome.check, "--repro-update")
    if outcome.verdict is Verdict.MISSING:
        return f"{record}   # records it; then commit the baseline"
    return f"{record}   # accepts the change; review it with git diff"
