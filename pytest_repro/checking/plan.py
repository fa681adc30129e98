"""What a recording would run, and about how long that takes: `--repro-plan`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pytest_repro.model.words import UpdateMode
from pytest_repro.settings import Settings

_REMEASURED = (UpdateMode.ALL, UpdateMode.ENVELOPE)


@dataclass(frozen=True, slots=True)
class PlannedTest:
    """One test of a run that is planned.

    Attributes:
        test: Its id.
        runs: How often it runs.
        why: What for.
        last_s: Seconds that one run took the last time; ``None`` where that is not known.
    """

    test: str
    runs: int
    why: str
    last_s: float | None

    @property
    def line(self) -> str:
        """One line for the terminal."""
        runs = "1 run" if self.runs == 1 else f"{self.runs} runs"
        took = (
            "duration unknown" if self.last_s is None else f"about {self.runs * self.last_s:.1f} s"
        )
        return f"{self.test}: {runs} ({self.why}), {took}"


def plan_test(
    test: str,
    settings: Settings,
    *,
    agreeing: int,
    is_stored: bool,
    is_stored_elsewhere: bool,
    last_s: float | None,
) -> PlannedTest:
    """How often one test runs.

    Args:
        test: Its id.
        settings: The run's.
        agreeing: How many runs must agree before something is recorded.
        is_stored: Whether this machine's key holds its baselines.
        is_stored_elsewhere: Whether another key does.
        last_s: Seconds that one run took the last time.
    """
    if settings.update is UpdateMode.NONE:
        return PlannedTest(test, 1, "compared; nothing is recorded", last_s)
    if is_stored and settings.update not in _REMEASURED:
        return PlannedTest(test, 1, "recorded already; more if it drifts", last_s)
    adopts = settings.adopts_envelope and settings.update not in _REMEASURED
    if adopts and is_stored_elsewhere:
        why = f"{agreeing} that must agree, envelope of another key if its inputs are equal"
        return PlannedTest(test, agreeing, why, last_s)
    why = f"{agreeing} that must agree, {settings.envelope} for the envelope"
    return PlannedTest(test, agreeing + settings.envelope, why, last_s)


def plan_lines(planned: Sequence[PlannedTest]) -> Iterator[str]:
    """A line for each test, and what all of them come to."""
    yield from (one.line for one in planned)
    known_s = sum(one.runs * one.last_s for one in planned if one.last_s is not None)
    unknown = sum(one.last_s is None for one in planned)
    tests = "1 test" if len(planned) == 1 else f"{len(planned)} tests"
    without = f"; {unknown} without a known duration" if unknown else ""
    runs = sum(one.runs for one in planned)
    yield f"{tests}, {runs} runs, about {known_s:.1f} s{without}; nothing ran"
