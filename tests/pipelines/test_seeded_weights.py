from __future__ import annotations

import hashlib

import numpy as np
import pytest

from pytest_repro.pipelines.weights import Conditioning, condition, draw_uniform, seeded_parameters


def test_draw_has_the_same_bits_everywhere():
    # Recomputed here from the raw stream by integers and Python floats, without our code's path.
    seed = int.from_bytes(hashlib.sha256(b"seeded weights 1\0unet.a").digest(), "big")
    word = int(np.random.PCG64(seed).random_raw())
    low, high = (word & 0xFFFFFFFF) >> 8, word >> 40
    scale = np.float32(3.0**0.5 * 0.5)
    observed = draw_uniform("unet.a", (2,), 0.5)
    assert observed.tolist() == [float(np.float32(n / 2**23 - 1.0) * scale) for n in (low, high)]


def test_draw_has_the_asked_standard_deviation_and_bounds():
    drawn = draw_uniform("a", (100_000,), 0.25).astype(np.float64)
    assert abs(drawn.std() - 0.25) < 0.002
    assert abs(drawn.mean()) < 0.003
    assert np.abs(drawn).max() <= 0.25 * 3**0.5


def test_odd_and_empty_and_scalar_shapes_are_drawn():
    assert draw_uniform("a", (3,), 1.0).tolist() == draw_uniform("a", (4,), 1.0)[:3].tolist()
    assert draw_uniform("a", (0, 2), 1.0).shape == (0, 2)
    assert draw_uniform("a", (), 1.0).shape == ()


def test_another_name_has_other_numbers():
    one, same, other = (draw_uniform(name, (50,), 1.0) for name in ("a", "a", "b"))
    assert (one == same).all()
    assert not (one == other).any()


@pytest.mark.parametrize(
    ("name", "shape", "std"),
    [
        ("conv_in.weight", (64, 16, 3, 3), 1 / 12),
        ("up_blocks.0.resnets.0.conv2.weight", (64, 16, 3, 3), 1 / 24),
        ("time_embedding.linear_1.weight", (400, 100), 0.1),
        ("text_model.embeddings.token_embedding.weight", (400, 100), 0.5),
    ],
)
def test_scale_follows_fan_in_and_kind(name, shape, std):
    weights = seeded_parameters("net", {name: shape})[name]
    assert weights.dtype == np.float32
    assert abs(weights.std() / std - 1.0) < 0.03


def test_norms_are_one_and_zero_and_nothing_else_is():
    names = ["conv_norm_out", "x.norm1", "a.group_norm", "v.pre_layrnorm", "t.final_layer_norm"]
    for name in names:
        made = seeded_parameters("n", {f"{name}.weight": (8,), f"{name}.bias": (8,)})
        assert (made[f"{name}.weight"] == 1.0).all(), name
        assert (made[f"{name}.bias"] == 0.0).all(), name
    assert np.unique(seeded_parameters("n", {"conv1.bias": (64,)})["conv1.bias"]).size > 60


def _unet_shapes():
    return {
        "conv_in.weight": (16, 3, 3, 3),
        "conv_in.bias": (16,),
        "up_blocks.0.resnets.1.conv_shortcut.weight": (16, 40, 1, 1),
        "up_blocks.1.resnets.0.conv_shortcut.weight": (16, 36, 1, 1),
        "up_blocks.1.resnets.0.conv_shortcut.bias": (16,),
        "up_blocks.1.resnets.0.conv2.weight": (16, 16, 3, 3),
        "up_blocks.1.resnets.0.conv2.bias": (16,),
        "conv_out.weight": (3, 16, 3, 3),
        "conv_out.bias": (3,),
    }


def _carried(weights, pixel):
    """What the carriers alone make of one pixel, computed as the network would."""
    hidden = weights["conv_in.weight"][:, :, 1, 1] @ pixel + weights["conv_in.bias"]
    last = weights["up_blocks.1.resnets.0.conv_shortcut.weight"][:, :, 0, 0]
    over = last @ np.concatenate([np.zeros(20), hidden])
    grouped = over[:12].reshape(3, 4)
    normed = ((grouped - grouped.mean(1, keepdims=True)) / grouped.std(1, keepdims=True)).ravel()
    return weights["conv_out.weight"][:, :12, 1, 1] @ (normed / (1 + np.exp(-normed)))


def test_carrier_hands_the_input_through_with_the_gain():
    weights = seeded_parameters("net", _unet_shapes())
    pixel = np.array([1.0, -1.0, 1.0])
    before = _carried(weights, pixel)
    condition(weights, Conditioning(gain=0.99, level=2.0))
    np.testing.assert_allclose(_carried(weights, pixel), 0.99 * pixel, atol=1e-6)
    assert np.abs(before - 0.99 * pixel).max() > 0.1  # the control: nothing does so by itself


def test_only_the_last_resnet_carries():
    plain = seeded_parameters("net", _unet_shapes())
    changed = seeded_parameters("net", _unet_shapes())
    condition(changed)
    differing = {name for name in plain if not np.array_equal(plain[name], changed[name])}
    assert "up_blocks.0.resnets.1.conv_shortcut.weight" not in differing
    assert differing == set(plain) - {"up_blocks.0.resnets.1.conv_shortcut.weight"}


def test_the_dense_layer_inside_an_adaptive_norm_is_drawn():
    dense = ["blocks.0.norm1.linear.weight", "norm1.emb.timestep_embedder.linear_1.weight"]
    made = seeded_parameters("n", dict.fromkeys(dense, (16, 16)))
    assert all(np.unique(made[name]).size > 200 for name in dense)
    assert (seeded_parameters("n", {"norm1.weight": (16,)})["norm1.weight"] == 1.0).all()
