"""Whose noise an image of a batch got: every order that is right, and every one that is not."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_repro.checking.batch import compare_batch_noise
from pytest_repro.model.ids import Digest, Draw
from pytest_repro.noise.generator import NoiseBook

COUNT = 3
SEEDS = tuple(range(COUNT))


def draw_logs(generators=(0, 1, 2), rounds=2, *, shape=(1, 4), by_image=False, before=0):
    """A batch's draw log, and what its images drew alone."""
    book = NoiseBook()
    made = {seed: book.generator(seed) for seed in sorted(set(generators))}
    if before:
        book.generator(9).random(before)
    order = [seed for seed in generators for _ in range(rounds)]
    for seed in order if by_image else list(generators) * rounds:
        made[seed].standard_normal(shape)
    return book.draw_log(), [alone(seed, rounds) for seed in SEEDS]


def alone(seed, rounds):
    book = NoiseBook()
    generator = book.generator(seed)
    for _ in range(rounds):
        generator.standard_normal((1, 4))
    return book.draw_log().draws


def compared(batch, draws):
    return compare_batch_noise(batch.draws, draws, batch.generators, SEEDS)


@pytest.mark.parametrize("by_image", [False, True])
@pytest.mark.parametrize("rounds", [1, 3])
@pytest.mark.parametrize("before", [0, 5])
def test_the_images_own_draws_are_found_in_either_order(by_image, rounds, before):
    assert compared(*draw_logs(rounds=rounds, by_image=by_image, before=before)) is None


@pytest.mark.parametrize(
    ("generators", "image", "sentence"),
    [
        ((2, 1, 0), 0, "image 0, draw 1 of 2: different bits: drawn in the batch from PCG64(2), "
         "alone from seed 0"),
        ((0, 0, 2), 1, "image 1, draw 1 of 2: drawn in the batch from the generator of image 0, "
         "PCG64(0); alone from seed 1"),
        ((1, 2, 3), 0, "image 0, draw 1 of 2: different bits: drawn in the batch from PCG64(1), "
         "alone from seed 0"),
        ((0, 2, 1), 1, "image 1, draw 1 of 2: different bits: drawn in the batch from PCG64(2), "
         "alone from seed 1"),
    ],
    ids=["another order", "one generator for two", "off by one", "two swapped"],
)  # fmt: skip
def test_the_first_image_with_other_noise_is_named(generators, image, sentence):
    found = compared(*draw_logs(generators))
    assert (found.image, found.draw, found.sentence) == (image, 0, sentence)


def test_a_later_draw_is_named():
    book = NoiseBook()
    made = [book.generator(seed) for seed in SEEDS]
    for one in made:
        one.standard_normal((1, 4))
    for one in (made[0], made[2], made[1]):
        one.standard_normal((1, 4))
    found = compared(book.draw_log(), [alone(seed, 2) for seed in SEEDS])
    assert (found.image, found.draw) == (1, 1)


def test_one_draw_for_the_whole_batch_is_named():
    book = NoiseBook()
    book.generator(0).standard_normal((COUNT, 4))
    found = compared(book.draw_log(), [alone(seed, 1) for seed in SEEDS])
    assert found.image is None
    assert "one generator drew (3, 4) for all 3 images together" in found.sentence


def test_too_few_draws_are_counted():
    batch, _ = draw_logs(rounds=1)
    found = compared(batch, [alone(seed, 2) for seed in SEEDS])
    assert found.sentence == "the batch of 3 drew 3 times, its images alone 6 times"


def test_an_image_that_draws_nothing_alone_proves_nothing():
    batch, _ = draw_logs()
    assert "drew nothing" in compared(batch, [()] * COUNT).sentence


def test_images_that_draw_unequally_often_are_named():
    batch, draws = draw_logs()
    draws[2] = draws[2][:1]
    assert compared(batch, draws).sentence == "image 0 alone drew 2 times, image 2 1 times"


def test_another_dtype_alone_is_named():
    book = NoiseBook()
    for seed in SEEDS:
        book.generator(seed).standard_normal((1, 4), dtype=np.float32)
    found = compared(book.draw_log(), [alone(seed, 1) for seed in SEEDS])
    assert "standard_normal (1, 4) float32 in the batch" in found.sentence


def draw_by(generator, shape=(2,), bits="a"):
    return Draw(generator, "standard_normal", shape, "float64", "", Digest(bits * 64))


@pytest.mark.parametrize(
    ("drawn", "alone", "place", "said"),
    [
        ([], [[draw_by(0)], []], (1, 0), "image 0 alone drew 1 times, image 1 0 times"),
        ([], [[], []], (0, 0), "image 0 alone drew nothing"),
        (
            [draw_by(0, (2, 4))],
            [[draw_by(0)], [draw_by(0)]],
            (None, 0),
            "one generator drew (2, 4) for all 2 images together",
        ),
        (
            [draw_by(0, (3, 4))],
            [[draw_by(0)], [draw_by(0)]],
            (None, 0),
            "the batch of 2 drew 1 times, its images alone 2 times",
        ),
        (
            [draw_by(0, (3,)), draw_by(1, (3,))],
            [[draw_by(0)]] * 3,
            (None, 0),
            "the batch of 3 drew 2 times, its images alone 3 times",
        ),
    ],
)
def test_what_cannot_be_compared_is_said_of_its_place(drawn, alone, place, said):
    found = compare_batch_noise(drawn, alone, ["PCG64(0)"] * 3, [0, 1, 2])
    assert (found.image, found.draw) == place
    assert said in found.sentence
