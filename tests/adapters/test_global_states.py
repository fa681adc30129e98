"""Seeding a global generator and giving it back: every bit, and the number that it keeps."""

from __future__ import annotations

import random

import numpy as np
import pytest

from pytest_repro.adapters import global_states
from pytest_repro.adapters.global_states import SEEDINGS, STATES
from pytest_repro.adapters.randomness_event import EventKind


def _next_numbers():
    return [np.random.standard_normal() for _ in range(3)], [random.gauss(0, 1) for _ in range(3)]


@pytest.fixture(params=[True, False], ids=["memory", "public"])
def way(request, monkeypatch):
    if not request.param:
        monkeypatch.setattr(global_states, "_random_address", lambda: None)


@pytest.mark.parametrize("drawn", [0, 1, 2, 3, 1000])
def test_what_was_seeded_gives_back_the_next_numbers_kept_ones_included(way, drawn):
    np.random.seed(5)
    random.seed(5)
    for _ in range(drawn):
        np.random.standard_normal()
        random.gauss(0, 1)
    states = np.random.get_state(legacy=True), random.getstate()
    wanted = _next_numbers()
    np.random.set_state(states[0])
    random.setstate(states[1])
    restore = [seeding(7) for seeding in SEEDINGS.values()]
    assert _next_numbers() != wanted
    for one in restore:
        one()
    assert random.getstate() == states[1]
    assert repr(np.random.get_state(legacy=True)) == repr(states[0])
    assert _next_numbers() == wanted


def test_seeding_is_that_of_the_public_functions(way):
    for seeding in SEEDINGS.values():
        seeding(7)
    got = _next_numbers()
    np.random.seed(7)
    random.seed(7)
    assert got == _next_numbers()


def test_a_single_draw_moves_what_the_guard_looks_at(way):
    for kind, draw in (
        (EventKind.NUMPY_GLOBAL, np.random.random),
        (EventKind.RANDOM_GLOBAL, random.random),
    ):
        before = STATES[kind]()
        assert STATES[kind]() == before
        draw()
        assert STATES[kind]() != before


def test_a_bit_generator_that_was_exchanged_meanwhile_is_put_back():
    bits = np.random.get_bit_generator()
    np.random.seed(5)
    wanted = np.random.random(4).tolist()
    np.random.seed(5)
    restore = SEEDINGS[EventKind.NUMPY_GLOBAL](7)
    np.random.set_bit_generator(np.random.PCG64(1))
    restore()
    assert np.random.get_bit_generator() is bits
    assert np.random.random(4).tolist() == wanted


def test_another_bit_generator_is_given_back_through_its_public_state():
    bits = np.random.get_bit_generator()
    np.random.set_bit_generator(np.random.PCG64(1))
    try:
        np.random.standard_normal()
        before = np.random.get_state(legacy=False)
        restore = SEEDINGS[EventKind.NUMPY_GLOBAL](7)
        assert np.random.random() == np.random.RandomState(np.random.PCG64(7)).random()
        restore()
        assert np.random.get_state(legacy=False) == before
    finally:
        np.random.set_bit_generator(bits)
