"""The list of all faults, and of the changes that turned out to be none."""

from __future__ import annotations

from tests.faults.fault import Fault, NoOp
from tests.faults.model import MODEL_FAULTS, MODEL_NO_OPS
from tests.faults.noise import NOISE_FAULTS
from tests.faults.output import GUIDANCE_FAULTS, OUTPUT_FAULTS
from tests.faults.scheduler import SCHEDULER_FAULTS
from tests.faults.weights import WEIGHT_FAULTS

__all__ = ["FAULTS", "NO_OPS", "fault_named"]

FAULTS: tuple[Fault, ...] = (
    *WEIGHT_FAULTS,
    *SCHEDULER_FAULTS,
    *MODEL_FAULTS,
    *NOISE_FAULTS,
    *OUTPUT_FAULTS,
    *GUIDANCE_FAULTS,
)

NO_OPS: tuple[NoOp, ...] = MODEL_NO_OPS


def fault_named(name: str) -> Fault:
    """The fault of that name; ``KeyError`` when there is none."""
    for fault in FAULTS:
        if fault.name == name:
            return fault
    raise KeyError(name)
