"""Feeds of noise: the bits of the signs, what a replay gives and refuses, sizes of nothing."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_repro.errors import UsageError
from pytest_repro.model.ids import Draw
from pytest_repro.noise.draw_log import make_draw_log
from pytest_repro.noise.sources import Disturbed, Fresh, Replay, SignStream, open_feed
from pytest_repro.tensors.record import digest_array

ARRAY = np.arange(6.0).reshape(2, 3)


def draw_of(array, method="standard_normal"):
    return Draw(0, method, array.shape, str(array.dtype), "", digest_array(str(array.dtype), array))


def replay(array, recorded=ARRAY):
    return open_feed(Replay(make_draw_log(("PCG64(0)",), (draw_of(recorded),)), (array,)))


@pytest.mark.parametrize(
    ("counts", "words"), [((64, 64), 2), ((1, 63, 64), 3), ((65, 64), 3), ((0, 64), 1), ((200,), 4)]
)
def test_signs_are_the_bits_of_raw_words_and_a_call_takes_whole_words(counts, words):
    stream = SignStream(7)
    bits = np.unpackbits(np.random.PCG64(7).random_raw(words).astype("<u8").view(np.uint8))
    start = 0
    for count in counts:
        rises = stream.rises((count,))
        assert rises.dtype == np.bool_
        assert rises.tolist() == bits[start : start + count].astype(bool).tolist()
        start += -(-count // 64) * 64
    assert start == 64 * words


@pytest.mark.parametrize("source", [Fresh(), Disturbed(0)])
def test_before_any_draw_nothing_was_disturbed(source):
    assert open_feed(source).input_rel_l2 == 0.0


def test_a_replay_disturbs_nothing_and_gives_the_recorded_numbers():
    feed = replay(ARRAY)
    fed = feed.feed(0, draw_of(ARRAY + 1), ARRAY + 1)
    assert fed.array is ARRAY
    assert fed.draw == draw_of(ARRAY)
    assert feed.input_rel_l2 == 0.0


def test_a_draw_without_recorded_numbers_is_drawn_again():
    drawn = draw_of(ARRAY + 1)
    fed = replay(None).feed(0, drawn, None)
    assert (fed.draw, fed.array) == (drawn, None)


@pytest.mark.parametrize("wrong", [ARRAY.ravel(), ARRAY.astype("<f4"), ARRAY.astype("<f4").ravel()])
def test_recorded_numbers_that_do_not_match_their_draw_log_are_refused(wrong):
    with pytest.raises(
        UsageError, match="the array of draw 1 does not match the draw log"
    ) as caught:
        replay(wrong).feed(0, draw_of(ARRAY), ARRAY)
    assert f"array     {wrong.shape} {wrong.dtype}" in str(caught.value)
