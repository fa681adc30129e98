"""What the README of the folder ``digits`` says of its weights; the pace of the training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.models.digits.train import NETWORK, SCHEDULER, Pace

_FOLDER = Path(__file__).parent / "digits"
_FILE = _FOLDER / "unet" / "diffusion_pytorch_model.safetensors"


def test_weights_are_small_and_float32():
    weights = load_file(_FILE).values()
    assert _FILE.stat().st_size <= 2_000_000
    assert {array.dtype for array in weights} == {np.dtype(np.float32)}
    assert sum(array.size for array in weights) == 431_377
    assert f"{431_377:,} parameters" in (_FOLDER / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "made_of"),
    [("unet/config.json", NETWORK), ("scheduler/scheduler_config.json", SCHEDULER)],
)
def test_configuration_is_the_training_scripts(name, made_of):
    stored = json.loads((_FOLDER / name).read_text(encoding="utf-8"))
    assert {key: stored[key] for key in made_of} == json.loads(json.dumps(made_of))


def test_rates_rise_then_fall_to_nothing():
    rates = Pace().rates()
    assert rates[0] < rates[49] > rates[500] > rates[-1] > 0.0
    assert max(rates) == pytest.approx(2e-3, rel=0.01)
