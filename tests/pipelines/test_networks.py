"""What the conditioned networks do, on MindSpore: informative, and alive in every layer."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mindone")

from docs.measure.conditioning import rail_share, unconditioned
from pytest_repro.frameworks.watch import watch
from pytest_repro.pipelines.registry import load_pipeline
from pytest_repro.pipelines.source import parse_source

_SEEDED = parse_source("seeded")


@pytest.fixture(scope="module")
def ddim():
    return load_pipeline("ddim", _SEEDED)


def _predicted(ddim, timestep=500):
    import mindspore

    noise = np.random.Generator(np.random.PCG64(0)).standard_normal((1, 3, 32, 32))
    sample = noise.astype(np.float32)
    return sample, ddim.unet(mindspore.Tensor(sample), timestep)[0].asnumpy()


def _correlation(ddim):
    sample, predicted = _predicted(ddim)
    return float(np.corrcoef(sample.ravel(), predicted.ravel())[0, 1]), float(predicted.std())


def test_architecture_is_the_published_one(ddim):
    parameters = list(ddim.unet.get_parameters())
    assert len(parameters) == 328
    assert sum(parameter.size for parameter in parameters) == 35_746_307


def test_predicted_noise_follows_the_input_only_when_conditioned():
    ddim = load_pipeline("ddim", _SEEDED)
    correlation, spread = _correlation(ddim)
    assert correlation > 0.98
    assert 0.9 < spread < 1.1
    unconditioned(ddim, "ddim", ("unet",))
    assert abs(_correlation(ddim)[0]) < 0.5


_LAYERS = [
    "conv_in.weight",
    "time_embedding.linear_1.weight",
    "time_embedding.linear_2.weight",
    "down_blocks.0.resnets.0.conv1.weight",
    "down_blocks.1.attentions.0.to_q.weight",
    "down_blocks.1.attentions.0.to_k.weight",
    "down_blocks.1.attentions.0.to_v.weight",
    "down_blocks.2.downsamplers.0.conv.weight",
    "down_blocks.3.resnets.1.time_emb_proj.weight",
    "mid_block.attentions.0.to_out.0.weight",
    "mid_block.attentions.0.group_norm.weight",
    "mid_block.resnets.1.norm2.weight",
    "up_blocks.0.resnets.0.conv2.weight",
    "up_blocks.2.attentions.1.to_q.weight",
    "up_blocks.3.resnets.2.norm1.weight",
    "up_blocks.3.resnets.2.conv2.weight",
    "conv_norm_out.weight",
    "conv_out.weight",
]


@pytest.fixture(scope="module")
def clean(ddim):
    return _predicted(ddim)[1]


@pytest.mark.parametrize("name", _LAYERS)
def test_one_percent_in_any_layer_moves_the_prediction(ddim, clean, name):
    import mindspore

    parameter = {p.name: p for p in ddim.unet.get_parameters()}[name]
    before = parameter.asnumpy().copy()
    parameter.set_data(mindspore.Tensor(before * np.float32(1.01)))
    try:
        moved = _predicted(ddim)[1]
    finally:
        parameter.set_data(mindspore.Tensor(before))
    relative = np.linalg.norm(moved - clean) / np.linalg.norm(clean)
    # Ten times what a disturbance of one ULP (6e-8) does.
    assert relative > 6e-7, relative


def test_prediction_repeats_bit_for_bit_once_the_weights_are_back(ddim, clean):
    assert (_predicted(ddim)[1] == clean).all()


def test_two_step_image_is_informative(ddim):
    generator = np.random.Generator(np.random.PCG64(0))
    image = ddim(num_inference_steps=2, output_type="np", generator=generator)[0]
    assert rail_share(image) < 0.05
    assert image.std() > 0.1
    assert rail_share(np.round(image)) > 0.95  # the control: black and white only


def test_one_value_of_one_weight_changes_only_its_component():
    import mindspore

    unclip = load_pipeline("unclip", _SEEDED)
    before = {one.component: one.digest for one in watch(unclip).weights()}
    assert sorted(before) == [
        "decoder", "prior", "super_res_first", "super_res_last", "text_encoder", "text_proj",
    ]  # fmt: skip
    assert before["super_res_first"] != before["super_res_last"]
    parameter = next(p for p in unclip.prior.get_parameters() if p.name == "proj_in.bias")
    array = parameter.asnumpy().copy()
    array[3] = np.nextafter(array[3], np.float32(np.inf))
    parameter.set_data(mindspore.Tensor(array))
    after = {one.component: one.digest for one in watch(unclip).weights()}
    assert {name for name in before if before[name] != after[name]} == {"prior"}


def test_loading_leaves_numpys_global_state_alone():
    np.random.seed(7)
    untouched = np.random.random(3)
    np.random.seed(7)
    load_pipeline("unclip", _SEEDED)
    assert (np.random.random(3) == untouched).all()
