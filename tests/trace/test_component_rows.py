"""Weights and configurations as rows: nothing is lost, and what are no such rows is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pytest_repro.errors import CorruptBaseline
from pytest_repro.tensors.record import digest_text, make_record
from pytest_repro.trace.components import (
    ComponentWeights,
    Configuration,
    configurations_from_rows,
    configurations_rows,
    digest_settings,
    weights_from_rows,
    weights_rows,
)
from pytest_repro.trace.records import measure_signal


def parameter(array):
    return measure_signal(make_record(np.asarray(array, np.float32)), sketched=False)


BROKEN = parameter([[1.0, np.nan, np.inf], [-2.0, -np.inf, np.inf]])
UNET = ComponentWeights(
    "unet", (("conv.bias", parameter(0.5)), ("conv.weight", parameter([[1, 2]])), ("x", BROKEN))
)
CONFIGURATIONS = (
    Configuration("scheduler", "DDIMScheduler", (("beta_end", "0.02"), ("clip_sample", "True"))),
    Configuration("unet", "UNet2DModel", (("sample_size", "8"),)),
)


def test_weights_survive_rows_and_json():
    rows = weights_rows(UNET)
    assert weights_from_rows("unet", rows) == UNET
    assert weights_from_rows("unet", json.loads(json.dumps(rows))) == UNET


def test_a_parameter_is_the_row_that_the_store_documents():
    (row,) = weights_rows(ComponentWeights("unet", (("x", BROKEN),)))
    one = BROKEN
    assert row == (
        *("x", "float32", [2, 3], str(one.digest)),
        *(one.min, one.max, one.mean, one.std, one.l2, 1, 3),
    )
    assert (one.min, one.max, one.mean) == (-2.0, 1.0, -0.5)


@pytest.mark.parametrize(
    "harm",
    [
        lambda row: row[:-1],
        lambda row: [*row, 1.0],
        lambda row: [*row[:2], ["wide"], *row[3:]],
        lambda row: [*row[:2], None, *row[3:]],
        lambda row: [*row[:4], "least", *row[5:]],
        lambda row: [*row[:-1], float("inf")],
        lambda row: None,
    ],
)
def test_what_are_no_rows_of_weights_is_refused(harm):
    row = weights_rows(UNET)[0]
    assert weights_from_rows("unet", [row]).tensors == UNET.tensors[:1]
    with pytest.raises(CorruptBaseline, match="table of weights cannot be read") as error:
        weights_from_rows("unet", [harm(list(row))])
    assert error.value.facts


def test_configurations_survive_rows_and_json():
    rows = configurations_rows(CONFIGURATIONS)
    assert rows[0] == ("scheduler", "DDIMScheduler", "beta_end", "0.02")
    assert configurations_from_rows(rows) == CONFIGURATIONS
    assert configurations_from_rows(json.loads(json.dumps(rows))) == CONFIGURATIONS


def test_a_component_without_entries_is_lost():
    assert configurations_from_rows(configurations_rows([Configuration("vae", "VAE", ())])) == ()


@pytest.mark.parametrize("rows", [[("unet", "UNet", "size")], [None], None, [("a",) * 5], 3])
def test_what_are_no_rows_of_a_configuration_is_refused(rows):
    with pytest.raises(CorruptBaseline, match="configuration cannot be read") as error:
        configurations_from_rows(rows)
    assert error.value.facts


def test_the_digest_of_configurations_is_that_of_their_rows():
    text = "('unet', 'UNet', 'a', '1')\n('unet', 'UNet', 'b', '2')"
    made = Configuration("unet", "UNet", (("a", "1"), ("b", "2")))
    assert digest_settings([made]) == digest_text(text)


def test_the_digest_sees_every_part_of_a_configuration():
    def one(component="unet", class_name="UNet", name="a", value="1"):
        return digest_settings([Configuration(component, class_name, ((name, value),))])

    others = {one("vae"), one(class_name="VAE"), one(name="b"), one(value="2")}
    assert one() == one()
    assert len(others | {one()}) == 5
