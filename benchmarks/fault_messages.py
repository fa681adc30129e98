"""What a failed check's message names, read from its text as a person would."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pytest_repro.model.words import Cause, Word
from tests.faults.fault import Origin

__all__ = ["Named", "Part", "named_in", "right_parts"]

_CAUSE = re.compile(r"^'[^']*': drift \(gate \w+, cause (\w+)\)", re.MULTILINE)
_STEP = re.compile(r"first step that differs: (\S+) step (\d+)")
_CELL = re.compile(r"first cell that differs: (\S+) \(")
_TENSORS = re.compile(
    r"^\s*(?:cause\s+)?(\w+): \d+ of \d+ tensors differ\n\s+(\S+): ", re.MULTILINE
)


class Part(Word):
    """A statement of the message that the catalogue knows the truth of."""

    CAUSE = "cause"
    STEP = "first step"
    CELL = "first cell"
    PARAMETER = "parameter"


@dataclass(frozen=True, slots=True)
class Named:
    """What a message names; ``""`` where it names none.

    Attributes:
        cause: The word in the headline.
        step: ``scheduler 0``: the scheduler and the position of its step.
        cell: Path of the first cell.
        component, parameter: The first component listed with its first changed tensor.
    """

    cause: str = ""
    step: str = ""
    cell: str = ""
    component: str = ""
    parameter: str = ""

    @property
    def is_drift(self) -> bool:
        """Whether the message speaks of a drift at all."""
        return bool(self.cause)


def named_in(text: str) -> Named:
    """What ``text``, a failure as pytest shows it, names."""
    cause, step, cell = (pattern.search(text) for pattern in (_CAUSE, _STEP, _CELL))
    tensors = _TENSORS.search(text)
    return Named(
        cause=cause[1] if cause else "",
        step=f"{step[1]} {step[2]}" if step else "",
        cell=cell[1] if cell else "",
        component=tensors[1] if tensors else "",
        parameter=tensors[2] if tensors else "",
    )


def right_parts(origin: Origin, steps: int, named: Named) -> dict[Part, bool]:
    """Which statements are right; ``parameter`` only where weights changed.

    Args:
        origin: The truth, from the catalogue.
        steps: How many steps the origin's scheduler takes.
        named: What the message names.
    """
    step = f"{origin.scheduler} {origin.step % steps}" if origin.scheduler else ""
    right = {
        Part.CAUSE: named.cause == origin.cause,
        Part.STEP: named.step == step,
        Part.CELL: named.cell == origin.cell,
    }
    if origin.cause is Cause.WEIGHTS:
        component = named.component == origin.cell.partition(".")[0]
        right[Part.PARAMETER] = component and origin.parameter in ("", named.parameter)
    return right
