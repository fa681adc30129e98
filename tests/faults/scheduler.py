"""Faults in schedulers: their constants, their timesteps, and how a step is taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_repro.model.words import Cause
from tests.faults.fault import DDIM, UNCLIP, Case, Fault, FaultFamily, Injector, Origin
from tests.faults.places import attributes, calling, wrapped_method

__all__ = ["SCHEDULER_FAULTS"]

_OF_DDIM = "scheduler"
_OF_DECODER = "decoder_scheduler"
_OF_SUPER_RES = "super_res_scheduler"
_COMPUTED = ("betas", "alphas", "alphas_cumprod", "final_alpha_cumprod", "_internal_dict")


def _configured(name: str, **values: Any) -> Injector:
    """Another configuration, in place, so every holder of the scheduler sees the fault."""

    @contextmanager
    def inject(pipeline: Any) -> Iterator[None]:
        scheduler = getattr(pipeline, name)
        made = type(scheduler).from_config(scheduler.config, **values)
        taken = {key: vars(made)[key] for key in _COMPUTED if key in vars(made)}
        with attributes([scheduler], **taken):
            yield

    return inject


def _betas(name: str, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Injector:
    """Other betas, and what follows from them."""

    @contextmanager
    def inject(pipeline: Any) -> Iterator[None]:
        import mindspore
        from mindspore import ops

        scheduler = getattr(pipeline, name)
        found = scheduler.betas.asnumpy()
        betas = mindspore.Tensor(change(found).astype(found.dtype))
        alphas = 1.0 - betas
        products = ops.cumprod(alphas, dim=0)
        with attributes([scheduler], betas=betas, alphas=alphas, alphas_cumprod=products):
            yield

    return inject


def _one_late(name: str) -> Injector:
    @contextmanager
    def inject(pipeline: Any) -> Iterator[None]:
        import mindspore

        scheduler = getattr(pipeline, name)
        products = scheduler.alphas_cumprod.asnumpy()
        late = mindspore.Tensor(np.append(products[1:], products[-1:]))
        with attributes([scheduler], alphas_cumprod=late):
            yield

    return inject


def _timesteps(name: str, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Injector:
    """Other timesteps than `set_timesteps` gives."""

    def inject(pipeline: Any) -> Any:
        scheduler = getattr(pipeline, name)

        def wrap(set_timesteps: Callable[..., Any]) -> Callable[..., Any]:
            def setting(*args: Any, **keywords: Any) -> None:
                import mindspore

                set_timesteps(*args, **keywords)
                changed = change(scheduler.timesteps.asnumpy()).astype(np.int64)
                scheduler.timesteps = mindspore.Tensor(changed)

            return setting

        return wrapped_method(scheduler, "set_timesteps", wrap)

    return inject


def _one_early(steps: NDArray[Any]) -> NDArray[Any]:
    earlier: NDArray[Any] = np.maximum(steps - 1, 0)
    return earlier


def _leading(steps: NDArray[Any]) -> NDArray[Any]:
    # As DDIM spaces them; UnCLIP's own are spread from 999 to 0.
    return (np.arange(len(steps)) * (1000 // len(steps)))[::-1]


def _float16(betas: NDArray[Any]) -> NDArray[Any]:
    return betas.astype(np.float16)


def _larger(betas: NDArray[Any]) -> NDArray[Any]:
    return np.minimum(betas * 1.005, 0.999)


def _keywords(**values: Any) -> Injector:
    def inject(pipeline: Any) -> AbstractContextManager[None]:
        return calling(pipeline, lambda call, keywords: call(**{**keywords, **values}))

    return inject


def _case(
    pipeline: str, inject: Injector, scheduler: str, cause: Cause = Cause.CODE, step: int = 0
) -> Case:
    return Case(pipeline, inject, Origin(cause, scheduler, step))


def _fault(name: str, what: str, *cases: Case) -> Fault:
    return Fault(f"scheduler-{name}", FaultFamily.SCHEDULER, what, cases)


SCHEDULER_FAULTS: tuple[Fault, ...] = (
    _fault(
        "betas",
        "betas grow slightly more (DDIM: to 0.0201 instead of 0.02; UnCLIP: all by 0.5 %)",
        _case(DDIM, _configured(_OF_DDIM, beta_end=0.0201), _OF_DDIM),
        _case(UNCLIP, _betas(_OF_DECODER, _larger), _OF_DECODER),
    ),
    _fault(
        "betas-float16",
        "betas are computed in float16",
        _case(DDIM, _betas(_OF_DDIM, _float16), _OF_DDIM),
        _case(UNCLIP, _betas(_OF_SUPER_RES, _float16), _OF_SUPER_RES),
    ),
    _fault(
        "betas-schedule",
        "scaled_linear betas instead of linear ones",
        _case(DDIM, _configured(_OF_DDIM, beta_schedule="scaled_linear"), _OF_DDIM),
    ),
    _fault(
        "clip-off",
        "the predicted image is no longer clipped",
        _case(DDIM, _configured(_OF_DDIM, clip_sample=False), _OF_DDIM),
        _case(UNCLIP, _configured(_OF_DECODER, clip_sample=False), _OF_DECODER),
    ),
    _fault(
        "clip-range",
        "the predicted image is clipped to 0.99 instead of 1",
        _case(DDIM, _configured(_OF_DDIM, clip_sample_range=0.99), _OF_DDIM),
        _case(UNCLIP, _configured(_OF_SUPER_RES, clip_sample_range=0.99), _OF_SUPER_RES),
    ),
    _fault(
        "spacing",
        "timesteps are spaced otherwise (DDIM: trailing; UnCLIP: leading)",
        _case(DDIM, _configured(_OF_DDIM, timestep_spacing="trailing"), _OF_DDIM),
        _case(UNCLIP, _timesteps(_OF_DECODER, _leading), _OF_DECODER),
    ),
    _fault(
        "offset",
        "timesteps are off by one (DDIM: steps_offset 1; UnCLIP: one early)",
        _case(DDIM, _configured(_OF_DDIM, steps_offset=1), _OF_DDIM),
        _case(UNCLIP, _timesteps(_OF_SUPER_RES, _one_early), _OF_SUPER_RES),
    ),
    _fault(
        "lookup",
        "the products of alphas are looked up one step late",
        _case(DDIM, _one_late(_OF_DDIM), _OF_DDIM),
        _case(UNCLIP, _one_late(_OF_DECODER), _OF_DECODER),
    ),
    _fault(
        "last-alpha",
        "the last step goes to the first alpha instead of to one",
        _case(DDIM, _configured(_OF_DDIM, set_alpha_to_one=False), _OF_DDIM, step=-1),
    ),
    _fault(
        "eta",
        "eta is 0.01 instead of 0, so that each step adds noise",
        _case(DDIM, _keywords(eta=0.01), _OF_DDIM, Cause.NOISE),
    ),
    _fault(
        "clipped-output",
        "each step goes on with the noise that follows from the clipped image",
        _case(DDIM, _keywords(use_clipped_model_output=True), _OF_DDIM),
    ),
)
