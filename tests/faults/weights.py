"""Faults in weights: what a wrong checkpoint, a conversion or one flipped bit does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_repro.model.words import Cause
from tests.faults.fault import DDIM, UNCLIP, Case, Fault, FaultFamily, Injector, Origin
from tests.faults.places import Place, parameter_at, written

__all__ = ["WEIGHT_FAULTS"]

Change = Callable[[NDArray[Any]], NDArray[Any]]

_SCHEDULERS = {
    "unet": "scheduler",
    "decoder": "decoder_scheduler",
    "text_encoder": "prior_scheduler",
    "prior": "prior_scheduler",
    "super_res_first": "super_res_scheduler",
    "super_res_last": "super_res_scheduler",
}


def _middle(array: NDArray[Any]) -> int:
    return int(array.size // 2)


def _one_value(array: NDArray[Any]) -> NDArray[Any]:
    array.reshape(-1)[_middle(array)] *= -1.0
    return array


def _one_ulp(array: NDArray[Any]) -> NDArray[Any]:
    flat, at = array.reshape(-1), _middle(array)
    flat[at] = np.nextafter(flat[at], np.float32(np.inf))
    return array


def _scaled(array: NDArray[Any]) -> NDArray[Any]:
    scaled: NDArray[Any] = array * np.float32(1.01)
    return scaled


def _transposed(array: NDArray[Any]) -> NDArray[Any]:
    transposed: NDArray[Any] = array.T
    return transposed


def _rounded(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(np.float16).astype(array.dtype)


def _zeroed(array: NDArray[Any]) -> NDArray[Any]:
    return np.zeros_like(array)


def _one_training_step(array: NDArray[Any]) -> NDArray[Any]:
    # Adam's first step has the size of its learning rate in each weight, 1e-5, at either sign.
    signs = np.where(np.arange(array.size) % 3 == 0, -1.0, 1.0).reshape(array.shape)
    moved: NDArray[Any] = array + 1e-5 * signs
    return moved


def _channels_reversed(array: NDArray[Any]) -> NDArray[Any]:
    return array[:, ::-1]


def _changing(place: Place, change: Change) -> Injector:
    return lambda pipeline: written([parameter_at(pipeline, place)], change)


def _changing_all(component: str, change: Change) -> Injector:
    def inject(pipeline: Any) -> Any:
        return written(list(getattr(pipeline, component).get_parameters()), change)

    return inject


def _exchanging(one: Place, other: Place) -> Injector:
    @contextmanager
    def inject(pipeline: Any) -> Iterator[None]:
        first, second = parameter_at(pipeline, one), parameter_at(pipeline, other)
        first_array, second_array = first.asnumpy().copy(), second.asnumpy().copy()
        with written([first], lambda _: second_array), written([second], lambda _: first_array):
            yield

    return inject


def _origin(component: str, path: str, step: int = 0) -> Origin:
    cell = f"{component}.{path.rpartition('.')[0]}"
    return Origin(Cause.WEIGHTS, _SCHEDULERS[component], step, cell, path)


def _layer(name: str, what: str, change: Change, ddim: str, unclip: tuple[str, str]) -> Fault:
    """A fault of one parameter: of DDIM's ``unet``, and of a component of UnCLIP."""
    component, path = unclip
    step = -1 if component == "super_res_last" else 0
    return Fault(
        name,
        FaultFamily.WEIGHTS,
        what,
        (
            Case(DDIM, _changing(Place("unet", ddim), change), _origin("unet", ddim)),
            Case(UNCLIP, _changing(Place(*unclip), change), _origin(component, path, step)),
        ),
    )


def _all_of(component: str, pipeline: str) -> Case:
    origin = Origin(
        Cause.WEIGHTS, _SCHEDULERS[component], 0, f"{component}.time_embedding.linear_1"
    )
    return Case(pipeline, _changing_all(component, _rounded), origin)


def _exchanged(pipeline: str, component: str, attention: str) -> Case:
    query, key = f"{attention}.to_q.weight", f"{attention}.to_k.weight"
    inject = _exchanging(Place(component, query), Place(component, key))
    origin = Origin(Cause.WEIGHTS, _SCHEDULERS[component], 0, f"{component}.{attention}.to_q", key)
    return Case(pipeline, inject, origin)


WEIGHT_FAULTS: tuple[Fault, ...] = (
    _layer(
        "weights-one-value",
        "one weight of one convolution has the other sign",
        _one_value,
        "mid_block.resnets.0.conv1.weight",
        ("decoder", "mid_block.resnets.0.conv1.weight"),
    ),
    _layer(
        "weights-one-ulp",
        "one weight of the first convolution is one ULP larger",
        _one_ulp,
        "conv_in.weight",
        ("decoder", "conv_in.weight"),
    ),
    _layer(
        "weights-layer-scaled",
        "one layer's weights are 1 % larger",
        _scaled,
        "down_blocks.1.attentions.0.to_v.weight",
        ("text_encoder", "text_model.encoder.layers.2.mlp.fc1.weight"),
    ),
    _layer(
        "weights-transposed",
        "a square matrix was converted without its transposition",
        _transposed,
        "mid_block.attentions.0.to_q.weight",
        ("prior", "transformer_blocks.0.attn1.to_v.weight"),
    ),
    _layer(
        "weights-layer-float16",
        "one layer went through float16",
        _rounded,
        "up_blocks.1.resnets.0.conv1.weight",
        ("super_res_first", "up_blocks.0.resnets.0.conv1.weight"),
    ),
    _layer(
        "weights-bias-lost",
        "one layer lost its bias",
        _zeroed,
        "time_embedding.linear_2.bias",
        ("decoder", "time_embedding.linear_2.bias"),
    ),
    _layer(
        "weights-stale",
        "one layer is one optimiser step old (1e-5 in each weight)",
        _one_training_step,
        "down_blocks.0.resnets.0.conv2.weight",
        ("super_res_last", "mid_block.resnets.0.conv1.weight"),
    ),
    _layer(
        "weights-channels-reversed",
        "the first convolution takes blue, green, red",
        _channels_reversed,
        "conv_in.weight",
        ("decoder", "conv_in.weight"),
    ),
    Fault(
        "weights-all-float16",
        FaultFamily.WEIGHTS,
        "all weights of a network went through float16",
        (_all_of("unet", DDIM), _all_of("decoder", UNCLIP)),
    ),
    Fault(
        "weights-exchanged",
        FaultFamily.WEIGHTS,
        "query and key of one attention are exchanged",
        (
            _exchanged(DDIM, "unet", "down_blocks.1.attentions.1"),
            _exchanged(UNCLIP, "prior", "transformer_blocks.0.attn1"),
        ),
    ),
)
