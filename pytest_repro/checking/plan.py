"""What is to become of one check of a test once its first run is over."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_repro.checking.trial import CheckCall
from pytest_repro.model.baseline import Outcome
from pytest_repro.model.words import Verdict

__all__ = ["Plan"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to become of one check, before the repeatable gate."""

    call: CheckCall
    outcome: Outcome | None
    recording: Verdict | None = None

    @property
    def needs_repeat(self) -> bool:
        if self.recording is not None:
            return True
        return self.outcome is not None and self.outcome.verdict is Verdict.DRIFT

    @property
    def is_acceptable(self) -> bool:
        """Whether somebody who reads a report may want to accept it."""
        verdict = None if self.outcome is None else self.outcome.verdict
        return self.needs_repeat or verdict in (Verdict.MISSING, Verdict.WITHIN)
