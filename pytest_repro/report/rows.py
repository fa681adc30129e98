"""Outcomes as small flat rows that travel with a test's report, from worker to controller."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_repro.model.words import Verdict

if TYPE_CHECKING:
    from pytest_repro.model.baseline import Outcome
    from pytest_repro.model.ids import CheckId, Reference

__all__ = ["Row", "exact_row", "rows_from"]


class Row(NamedTuple):
    """One check in the closing lines; a tuple, for every passing check makes one.

    Attributes:
        check: Id of the check, or of the test where it checked nothing.
        verdict: The verdict's word; ``""`` for a marked test that checked nothing.
        distance: ``own``, ``release``, ``any`` or ``""``.
        key: Key of the reference, or ``""``.
        share: Used share of the tolerance; -1.0 stands for infinity.
        no_envelope: Why it was recorded without an envelope; ``""`` otherwise.
        value: Digest of what is to be written; ``""`` where nothing is.
    """

    check: str
    verdict: str
    distance: str = ""
    key: str = ""
    share: float = 0.0
    no_envelope: str = ""
    value: str = ""

    def plain(self) -> dict[str, Any]:
        """Primitives that every transport between workers accepts."""
        return self._asdict()


def exact_row(check: CheckId, reference: Reference) -> Row:
    """The row of a check that was found exact."""
    return Row(str(check), "exact", str(reference.distance), str(reference.key))


def rows_from(place: str, idle: bool, outcomes: Iterable[Outcome]) -> list[Row]:
    """A row a check; an idle test (marked, but checked nothing) gives one without a verdict."""
    rows = [_row(outcome) for outcome in outcomes]
    if not rows and idle:
        return [Row(place, "")]
    return rows


def _row(outcome: Outcome) -> Row:
    reference = outcome.reference
    recorded = outcome.verdict in (Verdict.RECORDED, Verdict.UPDATED)
    return Row(
        check=str(outcome.check),
        verdict=str(outcome.verdict),
        distance="" if reference is None else str(reference.distance),
        key="" if reference is None else str(reference.key),
        share=outcome.share if math.isfinite(outcome.share) else -1.0,
        no_envelope=outcome.detail[0] if recorded and outcome.detail else "",
        value=str(outcome.observation.digest) if recorded and outcome.observation else "",
    )
