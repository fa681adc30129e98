"""The cost of further runs: shown while a test is recorded, summed up at the end of the run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic

_now_s = monotonic
"""Taken before a test can replace it."""
_WORTH_SAYING_S = 5.0


@dataclass(frozen=True, slots=True)
class FurtherRun:
    """A further run of a test that begins now.

    Attributes:
        test: Its id.
        number: Which run of the test it is; the first run is 1.
        is_perturbed: Whether it measures an envelope.
        spent_s: Seconds that its runs took so far.
    """

    test: str
    number: int
    is_perturbed: bool
    spent_s: float

    @property
    def sentence(self) -> str:
        """The progress line."""
        why = "for its envelope" if self.is_perturbed else "to check that it is deterministic"
        return f"{self.test}: run {self.number} {why}, {self.spent_s:.0f} s so far"


class Tally:
    """Counts the further runs of all tests and the seconds they take."""

    def __init__(self) -> None:
        self._counts = {False: 0, True: 0}
        self._spent_s = {False: 0.0, True: 0.0}

    @contextmanager
    def further_run(self, run: FurtherRun) -> Iterator[None]:
        """What surrounds a further run."""
        began_s = _now_s()
        try:
            yield
        finally:
            self._counts[run.is_perturbed] += 1
            self._spent_s[run.is_perturbed] += _now_s() - began_s

    def sentence(self) -> str:
        """The line for the end of the run; ``""`` if further runs took hardly any time."""
        count, spent_s = sum(self._counts.values()), sum(self._spent_s.values())
        if spent_s < _WORTH_SAYING_S:
            return ""
        text = f"{'1 further run' if count == 1 else f'{count} further runs'} took {spent_s:.1f} s"
        if self._counts[True]:
            text += f"; {self._counts[True]} of them, {self._spent_s[True]:.1f} s, for envelopes"
        return text
