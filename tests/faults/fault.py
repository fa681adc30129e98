"""What a fault is: a small realistic regression that can be put into a pipeline and taken out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from pytest_repro.model.words import Cause, Word

__all__ = ["DDIM", "UNCLIP", "Case", "Fault", "FaultFamily", "Injector", "NoOp", "Origin"]

DDIM = "DDIMPipeline"
UNCLIP = "UnCLIPPipeline"

Injector = Callable[[Any], AbstractContextManager[None]]
"""Puts a fault into a pipeline for the length of a ``with`` statement, also after an exception."""


class FaultFamily(Word):
    """What part of a pipeline a fault is in."""

    WEIGHTS = "weights"
    SCHEDULER = "scheduler"
    MODEL = "model"
    NOISE = "noise"
    OUTPUT = "output"
    GUIDANCE = "guidance"


@dataclass(frozen=True, slots=True)
class Origin:
    """What a good harness says of a drift that a fault caused.

    Attributes:
        cause: The cause in one word.
        scheduler: The scheduler whose step is the first to differ; ``""`` when no step does, which
            is so where only the image is touched.
        step: Position of that step; negative counts from the scheduler's last, as in a list.
        cell: The first call whose inputs agree and whose output does not, by the path from the
            pipeline's component; ``""`` when no cell is to blame.
        parameter: For ``weights``, the first changed tensor in alphabetical order; ``""`` when all
            of the component's are.
    """

    cause: Cause
    scheduler: str = ""
    step: int = 0
    cell: str = ""
    parameter: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """A fault as it is put into one kind of pipeline.

    Attributes:
        pipeline: Name of the pipeline's class.
        inject: Puts it in. Inject before anything watches the pipeline: a fault may exchange a cell
            or a method that a watcher has hooked.
        origin: What a harness should name.
    """

    pipeline: str
    inject: Injector
    origin: Origin


@dataclass(frozen=True, slots=True)
class Fault:
    """One regression, in one or more pipelines.

    Attributes:
        name: Unique; the family first.
        family: Where it is.
        what: What went wrong, as a reviewer would say it.
        cases: One a kind of pipeline.
    """

    name: str
    family: FaultFamily
    what: str
    cases: tuple[Case, ...]

    @property
    def pipelines(self) -> tuple[str, ...]:
        """Names of the classes that it can be put into."""
        return tuple(case.pipeline for case in self.cases)

    def case(self, pipeline: str) -> Case:
        """The case of that class; ``KeyError`` when there is none."""
        for case in self.cases:
            if case.pipeline == pipeline:
                return case
        raise KeyError(f"{self.name} is no fault of {pipeline}")

    def inject(self, pipeline: Any) -> AbstractContextManager[None]:
        """Put it into ``pipeline``, by the name of its class, until the ``with`` block ends."""
        return self.case(type(pipeline).__name__).inject(pipeline)


@dataclass(frozen=True, slots=True)
class NoOp:
    """A change that one would take for a fault and that moves no bit; excluded, with the reason."""

    name: str
    pipeline: str
    inject: Injector
    reason: str
