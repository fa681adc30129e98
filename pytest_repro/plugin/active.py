"""The test that runs now: its current trial, the globals around it, and how it is judged.

One object a pytest item, made before its fixtures and ended after them; knows no pytest, so the
hooks in `plugin` stay a few lines each.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any

from pytest_repro.errors import ReproError, UsageError

if TYPE_CHECKING:
    from types import TracebackType

    from pytest_repro.checking.batch import BatchImage, Maker
    from pytest_repro.checking.examination import Examination
    from pytest_repro.checking.isolated import IsolatedTrial
    from pytest_repro.checking.session import Session
    from pytest_repro.checking.spec import TestSpec
    from pytest_repro.checking.trial import CheckCall, Trial
    from pytest_repro.guard.guard import Isolation
    from pytest_repro.model.artefact import Artefact
    from pytest_repro.model.outcome import Outcome


ACTIVE: ContextVar[ActiveTest | None] = ContextVar("pytest_repro_active", default=None)
"""The test whose body runs; the decorator, which has no fixtures, finds its trial here."""


def active_test() -> ActiveTest:
    """The test that runs now.

    Raises:
        UsageError: The plugin is not active, so nothing could be compared.
    """
    active = ACTIVE.get()
    if active is None:
        raise UsageError(
            "pytest-repro is not active here, so nothing would be compared",
            next_step="run the test with pytest, without `-p no:repro`",
        )
    return active


class ActiveTest:
    """One test from its fixtures to its outcomes.

    Args:
        session: The run.
        spec: What the test asked for.

    Attributes:
        settled: Its checks, where all were found exact and nothing is left to judge.
        outcomes: Of its checks, once they were judged; empty where they are settled.
        artefacts: What a report keeps of them, where one was asked for.
        idle: Whether it ended well, is marked, and checked nothing.
        refused: Why its first check that could not be made was refused; ``None`` where none was.
    """

    def __init__(self, session: Session, spec: TestSpec) -> None:
        self.session = session
        self.spec = spec
        self.settled: tuple[CheckCall, ...] = ()
        self.outcomes: tuple[Outcome, ...] = ()
        self.artefacts: tuple[Artefact, ...] = ()
        self.idle = False
        self.refused: ReproError | None = None
        self._isolation: Isolation | None = None
        self._trial: Trial | None = None
        self._begun_s = time.monotonic()
        session.attempt(spec)

    @property
    def trial(self) -> Trial:
        """The current execution."""
        if self._trial is None:
            raise UsageError(f"{self.spec.place}: a repro fixture was used outside the test")
        return self._trial

    @property
    def age_s(self) -> float:
        """Seconds since its fixtures began to be set up."""
        return time.monotonic() - self._begun_s

    def begin(self, examination: Examination | None = None) -> None:
        """Start an execution: isolate the global generators, hand out a fresh trial."""
        isolation = self.session.isolation(self.spec)
        isolation.__enter__()
        self._isolation = isolation
        self._trial = self.session.trial(self.spec, examination)

    def pipeline(self, family: str) -> Any:
        """A pipeline in the test's computing dtype, watched."""
        pipeline = self.session.pipelines.load(family, self.spec.asked.computing_dtype)
        return self.trial.watch(pipeline)

    def check_batch(
        self,
        images: object,
        alone: Maker,
        *,
        name: str,
        seeds: Sequence[int] | None,
        tolerance: object,
    ) -> tuple[BatchImage, ...]:
        """Prove that a batch's images are those made alone; see `session.batch.check_batch`."""
        from pytest_repro.checking.batch import check_batch

        return check_batch(
            self.session,
            self.trial,
            images,
            alone,
            name=name,
            seeds=seeds,
            tolerance=tolerance,
            framework=self.session.framework,
        )

    def body(self) -> AbstractContextManager[None]:
        """What surrounds the test's body: the guard against unseeded randomness."""
        return _Body(self, self.session.guard(self.spec))

    def hold_globals(self) -> None:
        """Until `release_globals`, what others do to global states is none of the test's."""
        if self._isolation is not None:
            self._isolation.hold()

    def release_globals(self) -> None:
        """Give the global states back that the test left or began with."""
        if self._isolation is not None:
            self._isolation.release()

    def fixtures(self) -> AbstractContextManager[object]:
        """What surrounds the making of the test's fixtures."""
        return self.session.fixtures_guard(self.spec)

    @staticmethod
    def explain(failure: BaseException) -> str:
        """What a failure of mindone's says about a generator used wrongly; ``""`` where nothing."""
        from pytest_repro.guard.misuse import explain_misuse

        explanation = explain_misuse(failure)
        return "" if explanation is None else str(explanation)

    def end(self) -> None:
        """Give every global state back."""
        if self._isolation is None:
            return
        isolation, self._isolation = self._isolation, None
        trial, self._trial = self._trial, None
        try:
            if trial is not None:
                trial.end()
        finally:
            isolation.__exit__(None, None, None)

    def refuse(self, error: ReproError) -> None:
        """Remember that a check was refused: nothing was compared, though the test may go on."""
        if self.refused is None:
            self.refused = error

    def settle(self) -> bool:
        """Whether every check was found exact, so that nothing is left to `judge`."""
        self.settled = self.session.settled(self.trial)
        return bool(self.settled)

    def judge(
        self,
        failure: BaseException | None,
        again: Callable[[ActiveTest, Examination], BaseException | None],
        apart: Callable[[], IsolatedTrial],
    ) -> None:
        """Judge the checks of the first execution, running the test again where a gate asks.

        Args:
            failure: What the test itself raised, if it did; then nothing is recorded.
            again: Runs the test once more with fixtures set up anew; returns what it raised.
            apart: Runs the test once more in a fresh process.

        Raises:
            IsolationError: It could not be run there.
        """
        examination = self.session.examine(self.trial, failure)
        while examination.wants_run():
            if examination.wants_fresh_process():
                examination.add_isolated(apart())
                continue
            error = again(self, examination)
            examination.add(self.trial, error)
        self.outcomes = examination.conclude()
        self.artefacts = self.session.keep_artefacts(examination, self.outcomes)


class _Body:
    """Stands around a test's body; written out rather than as a generator, for its cost."""

    __slots__ = ("_active", "_guard", "_token")

    def __init__(self, active: ActiveTest, guard: AbstractContextManager[object]) -> None:
        self._active = active
        self._guard = guard

    def __enter__(self) -> None:
        self._guard.__enter__()
        self._active.trial.begin_body()
        self._token: Token[ActiveTest | None] = ACTIVE.set(self._active)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        ACTIVE.reset(self._token)
        try:
            self._active.trial.end_body()
        finally:
            self._guard.__exit__(kind, error, traceback)
