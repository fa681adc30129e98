"""Owns the look at a pipeline's last sample, before it is clipped into an image."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_repro.errors import WeightsError


@dataclass(slots=True)
class LatentsWatch:
    """What one scheduler's last step took and gave; filled while `watch_latents` is open.

    Attributes:
        last_sample: What the last ``step`` returned, in the unit of the network's sample
            ([-1, 1] becomes [0, 1] in the image); empty before the first step.
        last_model_output: What the network predicted there. UnCLIP's scheduler clips the sample
            in its last step, so that only this shows what a saturated image hides.
        steps: Number of steps seen.
    """

    last_sample: NDArray[Any] = field(default_factory=lambda: np.empty(0))
    last_model_output: NDArray[Any] = field(default_factory=lambda: np.empty(0))
    steps: int = 0


@contextmanager
def watch_latents(pipeline: Any, scheduler: str = "scheduler") -> Iterator[LatentsWatch]:
    """Watch one scheduler of ``pipeline`` and give it back as it was, also after an exception.

    Args:
        pipeline: Any mindone pipeline.
        scheduler: Name of the component, e.g. ``super_res_scheduler``.

    Yields:
        LatentsWatch: Arrays of the network's dtype and the sample's shape (batch, channel, row,
            column) are in it once the pipeline was called.

    Raises:
        WeightsError: The pipeline has no such scheduler.
    """
    target = getattr(pipeline, scheduler, None)
    if target is None or not callable(getattr(target, "step", None)):
        raise WeightsError(f"{type(pipeline).__name__} has no scheduler called {scheduler!r}.")
    watch = LatentsWatch()
    step = target.step

    # Pipelines look at the signature to see whether a scheduler takes a generator.
    @functools.wraps(step)
    def watched(model_output: Any, *args: Any, **kwargs: Any) -> Any:
        result = step(model_output, *args, **kwargs)
        watch.last_sample = result[0]
        watch.last_model_output = model_output
        watch.steps += 1
        return result

    # On the instance, over whatever stands there: another watcher may have put its own.
    before = target.__dict__.get("step")
    target.step = watched
    try:
        yield watch
        _read(watch)
    finally:
        if before is None:
            del target.step
        else:
            target.step = before


def _read(watch: LatentsWatch) -> None:
    """Tensors to arrays, once and at the end: a copy at each step would cost a wait each."""
    if watch.steps:
        watch.last_sample = watch.last_sample.asnumpy().copy()  # type: ignore[attr-defined]
        watch.last_model_output = watch.last_model_output.asnumpy().copy()  # type: ignore[attr-defined]
