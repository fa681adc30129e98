"""The words of docs/evidence/fault_origin.md; counts, and judges nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.fault_messages import Named, Part
from benchmarks.fault_runs import Run
from benchmarks.page import columns, row
from tests.faults.fault import Fault, Origin

__all__ = ["Found", "OriginScore", "page"]


@dataclass(frozen=True, slots=True)
class Found:
    """What the message said of one fault in one run.

    Attributes:
        fault, run: Which.
        origin: The truth, from the catalogue.
        named: What the message names; no drift where the check passed.
        right: Which statements are right.
    """

    fault: Fault
    run: Run
    origin: Origin
    named: Named
    right: tuple[tuple[Part, bool], ...]

    @property
    def wrong(self) -> tuple[Part, ...]:
        """The statements that are not right; none where nothing drifted."""
        return tuple(part for part, right in self.right if not right and self.named.is_drift)


@dataclass(frozen=True, slots=True)
class OriginScore:
    """Everything that the page says.

    Attributes:
        key: The environment's.
        found: One a fault and run.
    """

    key: str
    found: tuple[Found, ...]


def page(score: OriginScore) -> str:
    """The page in Markdown, the same text for the same score."""
    parts = (_head, _totals, _misses, _passed, _details)
    return "\n".join("\n".join(part(score)) for part in parts)


def _head(score: OriginScore) -> Iterator[str]:
    yield "# Where a fault began"
    yield ""
    yield "Written by `python -m benchmarks.fault_origin`; not to be edited."
    yield ""
    yield (
        "Negative controls of the failure message. A baseline of each run was recorded under "
        f"`{score.key}`; then every fault of the list (`tests/faults/`) was put into its "
        "pipeline, one at a time, and the test ran in the objects that `pytest` drives, with the "
        "repeated run that a drift asks for. What the text of the failure names is shown beside "
        "what the list says is true. Before the first fault and after the last the clean test "
        "passed bit for bit."
    )
    yield ""


def _totals(score: OriginScore) -> Iterator[str]:
    runs = list(dict.fromkeys(one.run.name for one in score.found))
    yield from columns("run", "faults", "failed", *(f"{part} right" for part in Part))
    for name in runs:
        yield _total(name, [one for one in score.found if one.run.name == name])
    if len(runs) > 1:
        yield _total("all", score.found)
    yield ""
    yield (
        "Of those that failed. Right is also a message that names no step or no cell where none is "
        "to blame: a fault of the image, the scheduler or the noise. First cell, of the faults "
        f"that are in one: {_share(Part.CELL, [f for f in score.found if f.origin.cell])}."
    )
    yield ""


def _total(name: str, found: Sequence[Found]) -> str:
    failed = [one for one in found if one.named.is_drift]
    return row(name, len(found), len(failed), *(_share(part, failed) for part in Part))


def _share(part: Part, found: Sequence[Found]) -> str:
    failed = (dict(one.right) for one in found if one.named.is_drift)
    judged = [right[part] for right in failed if part in right]
    if not judged:
        return "-"
    return f"{sum(judged)} of {len(judged)} ({100.0 * sum(judged) / len(judged):.0f} %)"


def _misses(score: OriginScore) -> Iterator[str]:
    missed = [one for one in score.found if one.wrong]
    yield f"## Named wrongly: {len(missed)}"
    yield ""
    for one in missed:
        words = ", ".join(
            f"{part} {_named(one, part) or 'none'} instead of {_true(one, part) or 'none'}"
            for part in one.wrong
        )
        yield f"- {one.fault.name}, {one.run.name}: {words}."
    if missed:
        yield ""


def _passed(score: OriginScore) -> Iterator[str]:
    passed = [one for one in score.found if not one.named.is_drift]
    yield f"## Passed: {len(passed)}"
    yield ""
    yield (
        "Image, last sample and last prediction are bitwise the clean run's, so that nothing is to "
        "be explained in this run."
    )
    yield ""
    yield from (f"- {one.fault.name}, {one.run.name}: {one.fault.what}." for one in passed)
    yield ""


def _details(score: OriginScore) -> Iterator[str]:
    yield "## Every fault"
    yield ""
    yield "What the message names; crossed out where it is wrong."
    yield ""
    yield from columns("fault", "run", *(str(part) for part in Part))
    for one in score.found:
        if one.named.is_drift:
            yield row(one.fault.name, one.run.name, *(_cell(one, part) for part in Part))
    yield ""


def _cell(one: Found, part: Part) -> str:
    text = f"`{found}`" if (found := _named(one, part)) else "none"
    if part not in dict(one.right):
        return ""
    return f"~~{text}~~" if part in one.wrong else text


def _named(one: Found, part: Part) -> str:
    named = one.named
    texts = {
        Part.CAUSE: named.cause,
        Part.STEP: named.step,
        Part.CELL: named.cell,
        Part.PARAMETER: named.parameter and f"{named.component}.{named.parameter}",
    }
    return texts[part]


def _true(one: Found, part: Part) -> str:
    origin = one.origin
    texts = {
        Part.CAUSE: str(origin.cause),
        Part.STEP: origin.scheduler and f"{origin.scheduler} {origin.step}",
        Part.CELL: origin.cell,
        Part.PARAMETER: origin.parameter,
    }
    return texts[part]
