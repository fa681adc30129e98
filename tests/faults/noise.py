"""Faults in the noise: another stream, or other numbers from the same one."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from pytest_repro.model.words import Cause
from tests.faults.fault import DDIM, UNCLIP, Case, Fault, FaultFamily, Injector, Origin
from tests.faults.places import attributes, calling

__all__ = ["NOISE_FAULTS"]

Randn = Callable[..., Any]
_FIRST_SCHEDULER = {DDIM: "scheduler", UNCLIP: "prior_scheduler"}


def _with_randn(make: Callable[[Randn], Randn]) -> Injector:
    """mindone's one function that draws, replaced by what ``make`` makes of it."""

    def inject(pipeline: Any) -> AbstractContextManager[None]:
        module = importlib.import_module("mindone.diffusers.utils.mindspore_utils")
        return attributes([module], randn=make(module.randn))

    return inject


def _rounded(randn: Randn) -> Randn:
    def rounding(size: Any, generator: Any = None, dtype: Any = None) -> Any:
        import mindspore

        drawn = randn(size, generator=generator, dtype=dtype)
        return drawn.to(mindspore.float16).to(dtype)

    return rounding


def _single(randn: Randn) -> Randn:
    def single(size: Any, generator: Any = None, dtype: Any = None) -> Any:
        import mindspore

        return mindspore.tensor(generator.standard_normal(size, dtype=np.float32), dtype=dtype)

    return single


def _channels_last(randn: Randn) -> Randn:
    def channels_last(size: Any, generator: Any = None, dtype: Any = None) -> Any:
        import mindspore

        batch, channel, *space = size
        drawn = np.moveaxis(generator.standard_normal((batch, *space, channel)), -1, 1)
        return mindspore.tensor(np.ascontiguousarray(drawn), dtype=dtype)

    return channels_last


def _on_generator(change: Callable[[Any], object]) -> Injector:
    """``change`` done to the generator before the pipeline is called with it."""

    def inject(pipeline: Any) -> AbstractContextManager[None]:
        def wrap(call: Callable[..., Any], keywords: dict[str, Any]) -> Any:
            change(keywords["generator"])
            return call(**keywords)

        return calling(pipeline, wrap)

    return inject


def _reseed(generator: Any) -> None:
    generator.bit_generator.state = np.random.PCG64(1).state


def _draw_once(generator: Any) -> None:
    generator.standard_normal()


def _both(name: str, what: str, inject: Injector, cause: Cause = Cause.NOISE) -> Fault:
    cases = tuple(
        Case(pipeline, inject, Origin(cause, scheduler))
        for pipeline, scheduler in _FIRST_SCHEDULER.items()
    )
    return Fault(name, FaultFamily.NOISE, what, cases)


NOISE_FAULTS: tuple[Fault, ...] = (
    _both("noise-seed", "the generator is seeded with 1 instead of 0", _on_generator(_reseed)),
    _both("noise-extra-draw", "one number is drawn before the first", _on_generator(_draw_once)),
    _both("noise-float32", "float32 numbers are drawn instead of float64", _with_randn(_single)),
    _both(
        "noise-rounded",
        "the noise goes through float16 after it was drawn",
        _with_randn(_rounded),
        Cause.CODE,  # The draws are the baseline's; what is made of them is not.
    ),
    Fault(
        "noise-order",
        FaultFamily.NOISE,
        "the noise is drawn channels last",
        (
            Case(DDIM, _with_randn(_channels_last), Origin(Cause.NOISE, "scheduler")),
            # The prior's noise has no space, so that its numbers stay; the decoder's move.
            Case(UNCLIP, _with_randn(_channels_last), Origin(Cause.NOISE, "decoder_scheduler")),
        ),
    ),
)
