"""Seeding a global generator and giving it back: every bit, and the number that it keeps."""

from __future__ import annotations

import random

import numpy as np
import pytest

from pytest_repro.guard.events import EventKind
from pytest_repro.guard.global_state import GENERATORS, NumpyGenerator, RandomGenerator

IN_MEMORY = dict(GENERATORS)
PUBLIC = {
    EventKind.RANDOM_GLOBAL: RandomGenerator(None),
    EventKind.NUMPY_GLOBAL: NumpyGenerator(None),
}


def _next_numbers():
    return [np.random.standard_normal() for _ in range(3)], [random.gauss(0, 1) for _ in range(3)]


def _seed_all(generators, seed):
    """Seed each; returns what gives the old states back."""
    before = [one.read() for one in generators.values()]
    for one in generators.values():
        one.write(one.seeded(seed))

    def restore():
        for one, state in zip(generators.values(), before, strict=True):
            one.write(state)

    return restore


@pytest.fixture(params=[IN_MEMORY, PUBLIC], ids=["memory", "public"])
def generators(request):
    return request.param


def test_both_generators_are_reached_in_memory_here():
    assert IN_MEMORY[EventKind.NUMPY_GLOBAL]._kept is not None
    assert IN_MEMORY[EventKind.RANDOM_GLOBAL]._words is not None


@pytest.mark.parametrize("drawn", [0, 1, 2, 3, 1000])
def test_what_was_seeded_gives_back_the_next_numbers_kept_ones_included(generators, drawn):
    np.random.seed(5)
    random.seed(5)
    for _ in range(drawn):
        np.random.standard_normal()
        random.gauss(0, 1)
    states = np.random.get_state(legacy=True), random.getstate()
    wanted = _next_numbers()
    np.random.set_state(states[0])
    random.setstate(states[1])
    restore = _seed_all(generators, 7)
    assert _next_numbers() != wanted
    restore()
    assert random.getstate() == states[1]
    assert repr(np.random.get_state(legacy=True)) == repr(states[0])
    assert _next_numbers() == wanted


def test_seeding_is_that_of_the_public_functions(generators):
    np.random.standard_normal()  # one more is kept, which seeding forgets
    random.gauss(0, 1)
    _seed_all(generators, 7)
    got = _next_numbers()
    np.random.seed(7)
    random.seed(7)
    assert got == _next_numbers()


def test_a_single_draw_moves_what_the_guard_looks_at(generators):
    np.random.seed(5)
    random.seed(5)
    for kind, draw in (
        (EventKind.NUMPY_GLOBAL, np.random.random),
        (EventKind.RANDOM_GLOBAL, random.random),
        # Twice: the second gives out the number that the first one kept, and draws nothing.
        (EventKind.NUMPY_GLOBAL, np.random.standard_normal),
        (EventKind.NUMPY_GLOBAL, np.random.standard_normal),
        (EventKind.RANDOM_GLOBAL, lambda: random.gauss(0, 1)),
        (EventKind.RANDOM_GLOBAL, lambda: random.gauss(0, 1)),
    ):
        before = generators[kind].read()
        assert generators[kind].read() == before
        draw()
        assert generators[kind].read() != before


def test_to_ask_for_a_seeded_state_moves_nothing(generators):
    np.random.seed(5)
    random.seed(5)
    wanted = _next_numbers()
    np.random.seed(5)
    random.seed(5)
    states = {kind: one.seeded(7) for kind, one in generators.items()}
    assert _next_numbers() == wanted
    assert {kind: one.seeded(7) for kind, one in generators.items()} == states
    assert all(one.seeded(8) != states[kind] for kind, one in generators.items())


def test_a_bit_generator_that_was_exchanged_meanwhile_is_put_back(generators):
    bits = np.random.get_bit_generator()
    np.random.seed(5)
    wanted = np.random.random(4).tolist()
    np.random.seed(5)
    restore = _seed_all(generators, 7)
    np.random.set_bit_generator(np.random.PCG64(1))
    restore()
    assert np.random.get_bit_generator() is bits
    assert np.random.random(4).tolist() == wanted


def test_another_bit_generator_is_given_back_through_its_public_state(generators):
    bits = np.random.get_bit_generator()
    np.random.set_bit_generator(np.random.PCG64(1))
    try:
        np.random.standard_normal()
        before = np.random.get_state(legacy=False)
        restore = _seed_all(generators, 7)
        assert np.random.random() == np.random.RandomState(np.random.PCG64(7)).random()
        restore()
        assert np.random.get_state(legacy=False) == before
    finally:
        np.random.set_bit_generator(bits)
