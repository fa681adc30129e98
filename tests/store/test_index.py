"""The index that a baseline's own tensors and draws give."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pytest_repro.model.ids import Draw
from pytest_repro.noise.draw_log import make_draw_log
from pytest_repro.store.manifest import index_of
from pytest_repro.tensors.record import digest_leaves, digest_text
from tests.store.stored import baseline_of

DRAW = Draw(0, "standard_normal", (4,), "float64", "", digest_text("the numbers"))


def baseline(*, array=(1.0, 2.0), draws=(DRAW,)):
    made, _ = baseline_of(np.asarray(array))
    return replace(made, draw_log=make_draw_log(("seed 0",), draws))


def test_the_index_holds_the_digest_of_the_value_and_that_of_the_noise():
    whole = baseline()
    found = index_of(whole)
    assert found.value == whole.tensors[0].digest
    assert found.noise == whole.draw_log.digest


def test_a_value_of_several_tensors_has_the_digest_of_its_leaves():
    one, other = baseline(), baseline(array=(3.0,))
    tensors = (replace(one.tensors[0], path="a"), replace(other.tensors[0], path="b"))
    leaves = [(tensor.path, tensor.digest) for tensor in tensors]
    assert index_of(replace(one, tensors=tensors)).value == digest_leaves(leaves)


def test_what_the_manifest_claims_does_not_count():
    whole = baseline()
    wrong = digest_text("wrong")
    claimed = replace(
        whole,
        index=whole.index._replace(value=wrong),
        draw_log=replace(whole.draw_log, digest=wrong),
    )
    assert index_of(claimed) == index_of(whole)


def test_another_value_moves_only_the_value_and_another_draw_only_the_noise():
    before = index_of(baseline())
    value = index_of(baseline(array=(1.0, 2.5)))
    noise = index_of(baseline(draws=(DRAW, DRAW)))
    assert (value.value != before.value, value.noise == before.noise) == (True, True)
    assert (noise.value == before.value, noise.noise != before.noise) == (True, True)
