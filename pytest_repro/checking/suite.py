"""Suite mode: watches each pipeline call of a test, logs its noise, and checks its output."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from pytest_repro.errors import ReproError, UsageError
from pytest_repro.noise.generator import LoggedGenerator
from pytest_repro.pipelines.calls import PipelineCall, PipelineCalls


class SuiteTrial(Protocol):
    """The part of a trial that suite mode needs."""

    def watch(self, target: Any) -> Any:
        """Watch a pipeline from now on."""

    def end_watches(self) -> bool:
        """Watch nothing more; gives whether the newest watch saw a step, or records none."""

    def adopt(self, bits: np.random.BitGenerator) -> np.random.Generator:
        """A generator on ``bits`` whose draws are logged."""

    def check(self, value: object, name: str, *, called_at: str) -> None:
        """Observe a value."""


class SuiteCalls:
    """Checks the pipeline calls of one execution of a test.

    The test's own assertions get the output of every call unchanged. A refused check is kept in
    `refused` and does not raise into the test.

    Attributes:
        refused: Why the first refused check was refused.
        without_steps: Pipelines that were called without a step of a watched scheduler.
    """

    def __init__(self, trial: SuiteTrial) -> None:
        self.refused: ReproError | None = None
        self.without_steps: list[str] = []
        self._trial = trial
        self._calls = PipelineCalls(self._around)
        self._count = 0

    def begin(self) -> None:
        """Start to watch calls."""
        self._calls.begin()

    def end(self) -> None:
        """Leave pipelines alone again."""
        self._calls.end()

    def _around(self, call: PipelineCall) -> Any:
        self._count += 1
        name = f"{type(call.pipeline).__name__}-{self._count}"
        if "generator" in call.kwargs:
            call.kwargs["generator"] = self._logged(call.kwargs["generator"])
        is_watched = self._watch(call.pipeline)
        try:
            output = call.make()
        finally:
            # A later call of the same pipeline is watched on its own.
            has_stepped = self._trial.end_watches()
        if is_watched and not has_stepped:
            self.without_steps.append(name)
        try:
            self._trial.check(output, name, called_at=call.place)
        except ReproError as error:
            self.refused = self.refused or error
        return output

    def _watch(self, pipeline: Any) -> bool:
        try:
            self._trial.watch(pipeline)
        except UsageError:
            return False  # no cells and no schedulers: only its output is compared
        return True

    def _logged(self, generator: Any) -> Any:
        """A generator that draws the same numbers and writes them into the draw log."""
        if isinstance(generator, (list, tuple)):
            return type(generator)(self._logged(one) for one in generator)
        if not isinstance(generator, np.random.Generator) or isinstance(generator, LoggedGenerator):
            return generator
        return self._trial.adopt(generator.bit_generator)
