"""Faults after the last step and in the guidance: how a pipeline is called and read."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_repro.model.words import Cause
from tests.faults.fault import DDIM, UNCLIP, Case, Fault, FaultFamily, Injector, Origin
from tests.faults.places import calling

__all__ = ["GUIDANCE_FAULTS", "OUTPUT_FAULTS"]

Image = NDArray[np.float32]


def _channels_reversed(image: Image) -> Image:
    return image[..., ::-1]


def _shifted(image: Image) -> Image:
    return np.roll(image, 1, axis=2)


def _cropped(image: Image) -> Image:
    # Cut one row too high; the gap below is filled with the last row.
    return np.concatenate([image[:, 1:], image[:, -1:]], axis=1)


def _rounded(image: Image) -> Image:
    rounded: Image = np.round(image * 255.0) / np.float32(255.0)
    return rounded


def _truncated(image: Image) -> Image:
    truncated: Image = np.floor(image * 255.0) / np.float32(255.0)
    return truncated


def _gamma(image: Image) -> Image:
    corrected: Image = np.power(image, np.float32(1.0 / 1.01))
    return corrected


def _on_image(change: Callable[[Image], Image]) -> Injector:
    def inject(pipeline: Any) -> AbstractContextManager[None]:
        def wrap(call: Callable[..., Any], keywords: dict[str, Any]) -> Any:
            image, *rest = call(**keywords)
            return (np.ascontiguousarray(change(np.asarray(image)), dtype=image.dtype), *rest)

        return calling(pipeline, wrap)

    return inject


def _with_keywords(**values: float) -> Injector:
    """Another default of an argument of the pipeline's call."""

    def inject(pipeline: Any) -> AbstractContextManager[None]:
        return calling(pipeline, lambda call, keywords: call(**{**values, **keywords}))

    return inject


def _both(name: str, what: str, change: Callable[[Image], Image]) -> Fault:
    cases = tuple(Case(one, _on_image(change), Origin(Cause.CODE)) for one in (DDIM, UNCLIP))
    return Fault(name, FaultFamily.OUTPUT, what, cases)


def _guidance(name: str, what: str, scheduler: str, **values: float) -> Fault:
    case = Case(UNCLIP, _with_keywords(**values), Origin(Cause.CODE, scheduler))
    return Fault(name, FaultFamily.GUIDANCE, what, (case,))


OUTPUT_FAULTS: tuple[Fault, ...] = (
    _both("output-channels", "red and blue are exchanged", _channels_reversed),
    _both("output-shifted", "the image is shifted by one pixel, around the edge", _shifted),
    _both("output-cropped", "the image is cropped one row too high", _cropped),
    _both("output-uint8", "the image goes through uint8, rounded", _rounded),
    _both("output-truncated", "the image goes through uint8, cut off", _truncated),
    _both("output-gamma", "a gamma of 1.01 is applied", _gamma),
)

GUIDANCE_FAULTS: tuple[Fault, ...] = (
    _guidance(
        "guidance-prior",
        "the prior's default guidance is 4.1 instead of 4",
        "prior_scheduler",
        prior_guidance_scale=4.1,
    ),
    _guidance(
        "guidance-decoder",
        "the decoder's default guidance is 7.9 instead of 8",
        "decoder_scheduler",
        decoder_guidance_scale=7.9,
    ),
)
