"""Faults in networks: what a changed default or a rewritten layer does; the weights are right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from pytest_repro.model.words import Cause
from tests.faults.fault import DDIM, UNCLIP, Case, Fault, FaultFamily, Injector, NoOp, Origin
from tests.faults.places import Place, attributes, cell_at, cells_of, wrapped_method

__all__ = ["MODEL_FAULTS", "MODEL_NO_OPS"]

_SCHEDULERS = {
    "unet": "scheduler",
    "decoder": "decoder_scheduler",
    "prior": "prior_scheduler",
    "super_res_first": "super_res_scheduler",
}
_MIDDLE = "mid_block.resnets.0"
_ATTENTION = "mid_block.attentions.0"


def _setting(place: Place, **values: Any) -> Injector:
    """Attributes of one cell."""
    return lambda pipeline: attributes([cell_at(pipeline, place)], **values)


def _all_norms(component: str) -> Injector:
    """Ten times the eps in every group norm of a network."""

    def inject(pipeline: Any) -> AbstractContextManager[None]:
        norms = cells_of(pipeline, component, "GroupNorm")
        return attributes(norms, eps=10.0 * norms[0].eps)

    return inject


def _computing(place: Place, name: str, make: Callable[[Any, Any], Any]) -> Injector:
    """A method of one cell, replaced by what ``make`` makes of the cell and the method."""

    def inject(pipeline: Any) -> AbstractContextManager[None]:
        cell = cell_at(pipeline, place)
        wrapped: AbstractContextManager[None] = wrapped_method(
            cell, name, lambda method: make(cell, method)
        )
        return wrapped

    return inject


def _scaled_attention(place: Place, factor: float) -> Injector:
    def inject(pipeline: Any) -> AbstractContextManager[None]:
        cell = cell_at(pipeline, place)
        root = factor**0.5
        return attributes([cell], scale=cell.scale * factor, scale_sqrt=cell.scale_sqrt * root)

    return inject


def _half_the_groups(place: Place) -> Injector:
    def inject(pipeline: Any) -> AbstractContextManager[None]:
        cell = cell_at(pipeline, place)
        return attributes([cell], num_groups=cell.num_groups // 2)

    return inject


def _gelu(place: Place) -> Injector:
    @contextmanager
    def inject(pipeline: Any) -> Iterator[None]:
        from mindspore import nn

        with attributes([cell_at(pipeline, place)], nonlinearity=nn.GELU()):
            yield

    return inject


def _in_halves(cell: Any, _: Any) -> Any:
    """A dense layer that adds the products of both halves of its input: the same sum, reordered."""

    def construct(x: Any) -> Any:
        from mindspore import ops

        half = x.shape[-1] // 2
        weight = cell.weight
        first = ops.matmul(x[..., :half], weight[:, :half].T)
        second = ops.matmul(x[..., half:], weight[:, half:].T)
        return (first + cell.bias) + second

    return construct


def _scores_in_float16(_: Any, scores: Any) -> Any:
    def rounded(*args: Any, **keywords: Any) -> Any:
        import mindspore

        found = scores(*args, **keywords)
        return found.to(mindspore.float16).to(found.dtype)

    return rounded


def _scaled_after(cell: Any, _: Any) -> Any:
    """Scores scaled after the product instead of before it, on both sides."""

    def scores(query: Any, key: Any, attention_mask: Any = None) -> Any:
        from mindspore import ops

        product = ops.bmm(query, key.swapaxes(-1, -2)) * cell.scale
        product = product if attention_mask is None else product + attention_mask.to(query.dtype)
        return ops.softmax(product, axis=-1).to(query.dtype)

    return scores


def _residual_first(cell: Any, construct: Any) -> Any:
    """Both summands of a residual block are divided before they are added."""

    def divided(input_tensor: Any, temb: Any) -> Any:
        factor, cell.output_scale_factor = cell.output_scale_factor, 1.0
        try:
            return construct(input_tensor, temb) / factor
        finally:
            cell.output_scale_factor = factor

    return divided


def _case(
    pipeline: str, place: Place, inject: Injector, inner: str = "", cause: Cause = Cause.CODE
) -> Case:
    cell = f"{place}.{inner}" if inner else str(place)
    return Case(pipeline, inject, Origin(cause, _SCHEDULERS[place.component], 0, cell))


def _fault(name: str, what: str, *cases: Case) -> Fault:
    return Fault(f"model-{name}", FaultFamily.MODEL, what, cases)


def _both(
    name: str,
    what: str,
    path: str,
    make: Callable[[Place], Injector],
    inner: str = "",
    unclip: str = "decoder",
) -> Fault:
    """The same in DDIM's network and in one of UnCLIP's."""
    places = (DDIM, Place("unet", path)), (UNCLIP, Place(unclip, path))
    return _fault(name, what, *(_case(one, at, make(at), inner) for one, at in places))


_FIRST_NORM = "down_blocks.0.resnets.0.norm1"
_FEED_FORWARD = Place("prior", "transformer_blocks.0.ff.net.0")

MODEL_FAULTS: tuple[Fault, ...] = (
    _both(
        "norms-eps",
        "every group norm's eps is ten times as large",
        _FIRST_NORM,
        lambda place: _all_norms(place.component),
    ),
    _both(
        "norm-eps",
        "one group norm's eps is 1e-4",
        f"{_MIDDLE}.norm1",
        lambda place: _setting(place, eps=1e-4),
    ),
    _both(
        "norm-groups",
        "one group norm has half as many groups",
        f"{_MIDDLE}.norm2",
        _half_the_groups,
    ),
    _both(
        "attention-scale",
        "one attention's scale is 5 % larger",
        _ATTENTION,
        lambda place: _scaled_attention(place, 1.05),
    ),
    _both(
        "attention-float16",
        "one attention's probabilities go through float16",
        _ATTENTION,
        lambda place: _computing(place, "get_attention_scores", _scores_in_float16),
    ),
    _both(
        "residual-dropped",
        "one attention forgets to add its input",
        _ATTENTION,
        lambda place: _setting(place, residual_connection=False),
        unclip="super_res_first",
    ),
    _both(
        "residual-scale",
        "one residual block divides by the root of two",
        _MIDDLE,
        lambda place: _setting(place, output_scale_factor=2.0**0.5),
    ),
    _both(
        "activation",
        "one residual block uses GELU instead of SiLU",
        "mid_block.resnets.1",
        _gelu,
        inner="nonlinearity",
    ),
    _both(
        "time-embedding-dropped",
        "one residual block does not see the time",
        _MIDDLE,
        lambda place: _setting(place, time_embedding_norm="none"),
    ),
    _fault(
        "time-frequencies",
        "the time's frequencies are shifted (freq_shift 0 for 1, 1 for 0)",
        _case(
            DDIM,
            Place("unet", "time_proj"),
            _setting(Place("unet", "time_proj"), downscale_freq_shift=0),
        ),
        _case(
            UNCLIP,
            Place("decoder", "time_proj"),
            _setting(Place("decoder", "time_proj"), downscale_freq_shift=1),
        ),
    ),
    _both(
        "time-sine-cosine",
        "sine and cosine of the time are exchanged",
        "time_proj",
        lambda place: _setting(place, flip_sin_to_cos=place.component == "unet"),
    ),
    _both(
        "order-of-sum",
        "one dense layer adds its products in another order",
        "time_embedding.linear_1",
        lambda place: _computing(place, "construct", _in_halves),
    ),
    _fault(
        "gelu-tanh",
        "the prior's GELU is approximated by tanh",
        _case(UNCLIP, _FEED_FORWARD, _setting(_FEED_FORWARD, approximate="tanh")),
    ),
    _fault(
        "attention-scaled-after",
        "one attention scales its scores after the product",
        _case(
            UNCLIP,
            Place("decoder", _ATTENTION),
            _computing(Place("decoder", _ATTENTION), "get_attention_scores", _scaled_after),
        ),
    ),
)

MODEL_NO_OPS: tuple[NoOp, ...] = (
    NoOp(
        "model-attention-scaled-after",
        DDIM,
        _computing(Place("unet", _ATTENTION), "get_attention_scores", _scaled_after),
        "256 channels a head: the scale is a power of two, and scaling by it rounds nothing",
    ),
    NoOp(
        "model-residual-divided-first",
        DDIM,
        _computing(Place("unet", _MIDDLE), "construct", _residual_first),
        "the factor is 1, and dividing by it changes no number",
    ),
)
