"""The test that runs now: its current trial, the globals around it, and how it is judged.

One object a pytest item, made before its fixtures and ended after them; knows no pytest, so the
hooks in `plugin` stay a few lines each.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from pytest_repro.core.errors import UsageError

if TYPE_CHECKING:
    from pytest_repro.core.artefact import Artefact
    from pytest_repro.core.model import Outcome
    from pytest_repro.session.examination import Examination
    from pytest_repro.session.run import Session
    from pytest_repro.session.spec import TestSpec
    from pytest_repro.session.trial import Trial

__all__ = ["ACTIVE", "ActiveTest", "active_test"]

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
        outcomes: Of its checks, once it was judged.
        artefacts: What a report keeps of them, where one was asked for.
        idle: Whether it ended well, is marked, and checked nothing.
    """

    def __init__(self, session: Session, spec: TestSpec) -> None:
        self.session = session
        self.spec = spec
        self.outcomes: tuple[Outcome, ...] = ()
        self.artefacts: tuple[Artefact, ...] = ()
        self.idle = False
        self._around: ExitStack | None = None
        self._trial: Trial | None = None

    @property
    def trial(self) -> Trial:
        """The current execution."""
        if self._trial is None:
            raise UsageError(f"{self.spec.place}: a repro fixture was used outside the test")
        return self._trial

    def begin(self, examination: Examination | None = None) -> None:
        """Start an execution: isolate the global generators, hand out a fresh trial."""
        self._around = ExitStack()
        self._around.enter_context(self.session.isolation(self.spec))
        self._trial = self.session.trial(self.spec, examination)
        self._around.callback(self._trial.watching.stop)

    def pipeline(self, family: str) -> Any:
        """A pipeline in the test's computing dtype, watched."""
        pipeline = self.session.pipelines.load(family, self.spec.computing_dtype)
        return self.trial.watch(pipeline)

    def body(self) -> AbstractContextManager[None]:
        """What surrounds the test's body: the guard against unseeded randomness."""
        stack = ExitStack()
        stack.enter_context(self.session.guard(self.spec, self.trial))
        token = ACTIVE.set(self)
        stack.callback(ACTIVE.reset, token)
        return stack  # type: ignore[return-value]  # entering gives the stack, which nobody uses

    @staticmethod
    def explain(failure: BaseException) -> str:
        """What a failure of mindone's says about a generator used wrongly; ``""`` where nothing."""
        from pytest_repro.adapters.randomness import explain_misuse

        explanation = explain_misuse(failure)
        return "" if explanation is None else str(explanation)

    def end(self) -> None:
        """Give every global state back."""
        if self._around is not None:
            around, self._around, self._trial = self._around, None, None
            around.close()

    def judge(
        self,
        failure: BaseException | None,
        again: Callable[[ActiveTest, Examination], BaseException | None],
    ) -> None:
        """Judge the checks of the first execution, running the test again where a gate asks.

        Args:
            failure: What the test itself raised, if it did; then nothing is recorded.
            again: Runs the test once more with fixtures set up anew; returns what it raised.
        """
        examination = self.session.examine(self.trial, failure)
        while examination.wants_run():
            error = again(self, examination)
            examination.add(self.trial, error)
        self.outcomes = examination.conclude()
        self.artefacts = self.session.keep_artefacts(examination, self.outcomes)
