"""What isolation and guard cost, as a part of a two-step DDIM call in the same run.

``python benchmarks/guard_cost.py``; needs MindSpore and mindone.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

from pytest_repro.frameworks.framework import default_framework
from pytest_repro.frameworks.torch import TorchState
from pytest_repro.guard.guard import Isolation, guard_randomness
from pytest_repro.pipelines.registry import Pipelines

GOAL = 0.01
_ROUNDS = 9


def _cpu_s(call: Callable[[], object]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


def main() -> int:
    pipeline = Pipelines("seeded").load("ddim", "float32")
    framework = default_framework()

    def denoise() -> None:
        generator = np.random.Generator(np.random.PCG64(0))
        pipeline(num_inference_steps=2, output_type="np", generator=generator)

    def surround() -> None:
        """What surrounds a test, without the test."""
        with Isolation(0, framework, TorchState()):
            with guard_randomness("error", globals_may_draw=True):
                pass
            with guard_randomness("error"):
                pass

    denoise()
    surround()
    pairs = [(_cpu_s(denoise), _cpu_s(surround)) for _ in range(_ROUNDS)]
    call_s = statistics.median(one for one, _ in pairs)
    guard_s = statistics.median(two for _, two in pairs)
    part = guard_s / call_s
    print(f"two-step DDIM: {call_s:.3f} s of CPU (median of {_ROUNDS})")
    print(f"isolation and two guards: {guard_s * 1000:.1f} ms of CPU")
    print(f"part: {part:.2%} (goal: below {GOAL:.0%})")
    return int(part >= GOAL)


if __name__ == "__main__":
    sys.exit(main())
