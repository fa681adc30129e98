"""A plugin of pytest that plants one fault into every pipeline of the model tests, by ``--plant``.

``python -m pytest -p tests.faults.planted --plant=weight tests/models``, in every release of
mindone; `unnamed` reads the report.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pytest_repro.model.words import Cause

__all__ = ["BICUBIC", "PLANTS", "Expected", "drifts", "expected_of", "unnamed"]

PLANTS = ("seed", "weight", "scheduler", "attention")
BICUBIC = "bicubic"
"""No fault: bicubic interpolation by `mindspore.ops`, as in mindone 0.2.0."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a failure must say of a fault.

    Attributes:
        cause: In one word.
        named: What its sentences must hold: the seed, the parameter, the entry.
        cell: First cell that differs; ``""`` where the step is enough.
    """

    cause: Cause
    named: str
    cell: str = ""


@dataclass(frozen=True, slots=True)
class _Places:
    """Where a family gets its faults.

    Attributes:
        network: Component that predicts the noise.
        kernel: A convolution in it, of whose weights one changes its sign.
        query: The layer that makes an attention's queries, which become 1 % larger: another scale.
        scheduler: Component whose entry changes.
        entry: Its name and new value.
    """

    network: str
    kernel: str
    query: str
    scheduler: str = "scheduler"
    entry: tuple[str, float] = ("beta_end", 0.0125)


_CROSS = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_q"
_BLOCK = "transformer_blocks.0.attn1.to_q"
_UNET = _Places("unet", "conv_in", _CROSS)
_CLIPPED = ("clip_sample_range", 0.9)
_UNCLIP = _Places(
    "decoder", "conv_in", "mid_block.attentions.0.to_q", "decoder_scheduler", _CLIPPED
)
_PLACES: Mapping[str, _Places] = {
    "ddim": _Places("unet", "conv_in", "mid_block.attentions.0.to_q", entry=("beta_end", 0.021)),
    "unclip": _UNCLIP,
    "unclip_image_variation": _UNCLIP,
    "stable_diffusion": _UNET,
    "stable_diffusion_xl": _UNET,
    "stable_diffusion_3": _Places(
        "transformer", "pos_embed.proj", "transformer_blocks.0.attn.to_q", entry=("shift", 3.1)
    ),
    "dit": _Places("transformer", "pos_embed.proj", _BLOCK, entry=("beta_end", 0.021)),
    "animatediff": _UNET,
}
_TESTS: Mapping[str, str] = {
    "test_text_to_image": "unclip",
    "test_image_variation": "unclip_image_variation",
    "test_stable_diffusion": "stable_diffusion",
    "test_stable_diffusion_with_euler": "stable_diffusion",
    "test_stable_diffusion_xl": "stable_diffusion_xl",
    "test_stable_diffusion_3": "stable_diffusion_3",
    "test_dit": "dit",
    "test_animatediff": "animatediff",
}


def expected_of(plant: str, check: str) -> Expected:
    """What the failure of ``check`` must say of that fault."""
    places = _PLACES[_TESTS.get(check.split("::")[1], "ddim")]
    kernel, query = (f"{places.network}.{path}" for path in (places.kernel, places.query))
    return {
        "seed": Expected(Cause.NOISE, "seed 0 became 1"),
        "weight": Expected(Cause.WEIGHTS, f"{places.kernel}.weight", kernel),
        "scheduler": Expected(Cause.SETTINGS, places.entry[0]),
        "attention": Expected(Cause.CODE, "the code is the likely cause", query),
    }[plant]


def drifts(report: Path) -> list[dict[str, Any]]:
    """The checks of a run's report that drifted."""
    found = json.loads((report / "report.json").read_text(encoding="utf-8"))["checks"]
    return [one for one in found if one["verdict"] == "drift"]


def unnamed(plant: str, entry: Mapping[str, Any]) -> str:
    """What the failure of a check does not say of the fault; empty where it says all."""
    expected = expected_of(plant, entry["check"])
    told = " ".join((*entry.get("detail", ()), *entry.get("evidence", ()), entry.get("noise", "")))
    began = " ".join(entry.get("began", ()))
    wanted = (
        (f"cause {expected.cause}", entry["cause"] == expected.cause),
        (expected.named, expected.named in told),
        ("the first step", "first step that differs: " in began and " step 0 " in began),
        (f"cell {expected.cell}", f"first cell that differs: {expected.cell} (" in began),
    )
    missing = [name for name, is_said in wanted[: 4 if expected.cell else 3] if not is_said]
    return ", ".join(missing)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--plant", choices=(*PLANTS, BICUBIC))


def pytest_configure(config: pytest.Config) -> None:
    from pytest_repro.pipelines import registry

    load = registry.load_pipeline
    plants = {"weight": _weight, "scheduler": _scheduler, "attention": _attention}
    plant = {**plants, BICUBIC: _bicubic}.get(config.getoption("--plant"))

    def planted(name: str, *source: Any, **dtype: Any) -> Any:
        pipeline = load(name, *source, **dtype)
        if plant is not None:
            plant(pipeline, _PLACES[name])
        return pipeline

    registry.load_pipeline = planted


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--plant") == "seed":
        for item in items:
            item.add_marker(pytest.mark.repro(seed=1), append=False)


def _weight(pipeline: Any, places: _Places) -> None:
    import mindspore

    weight = _cell(pipeline, places.network, places.kernel).weight
    array = weight.asnumpy().copy()
    array.reshape(-1)[array.size // 2] *= -1
    weight.set_data(mindspore.Tensor(array))


def _scheduler(pipeline: Any, places: _Places) -> None:
    before = getattr(pipeline, places.scheduler)
    name, value = places.entry
    made = type(before).from_config(before.config, **{name: value})
    setattr(pipeline, places.scheduler, made)


def _attention(pipeline: Any, places: _Places) -> None:
    cell = _cell(pipeline, places.network, places.query)
    construct: Callable[..., Any] = cell.construct
    cell.construct = lambda *arguments: construct(*arguments) * 1.01


def _bicubic(pipeline: Any, places: _Places) -> None:
    import mindspore

    functional = mindspore.mint.nn.functional
    other = functional.interpolate

    def interpolate(picture: Any, *sizes: Any, mode: str = "nearest", **named: Any) -> Any:
        chosen = mindspore.ops.interpolate if mode == "bicubic" else other
        return chosen(picture, *sizes, mode=mode, **named)

    functional.interpolate = interpolate


def _cell(pipeline: Any, component: str, path: str) -> Any:
    return dict(getattr(pipeline, component).cells_and_names())[path]
