"""Reading, seeding and writing a global generator: every bit, and the number that it keeps."""

from __future__ import annotations

import random
import sys
from types import ModuleType
from weakref import ref

import numpy as np
import pytest

from pytest_repro.guard.events import EventKind
from pytest_repro.guard.global_state import (
    OWNERS,
    LoadedModules,
    read_state,
    seed_state,
    write_state,
)


def _next_numbers():
    return [np.random.standard_normal() for _ in range(3)], [random.gauss(0, 1) for _ in range(3)]


def _seed_all(seed):
    """Seed each; returns what gives the old states back."""
    before = {kind: read_state(kind) for kind in OWNERS}
    for kind in OWNERS:
        seed_state(kind, seed)

    def restore():
        for kind, state in before.items():
            write_state(kind, state)

    return restore


@pytest.mark.parametrize("drawn", [0, 1, 2, 3, 1000])
def test_what_was_seeded_gives_back_the_next_numbers_kept_ones_included(drawn):
    np.random.seed(5)
    random.seed(5)
    for _ in range(drawn):
        np.random.standard_normal()
        random.gauss(0, 1)
    states = np.random.get_state(legacy=True), random.getstate()
    wanted = _next_numbers()
    np.random.set_state(states[0])
    random.setstate(states[1])
    restore = _seed_all(7)
    assert _next_numbers() != wanted
    restore()
    assert random.getstate() == states[1]
    assert repr(np.random.get_state(legacy=True)) == repr(states[0])
    assert _next_numbers() == wanted


def test_seeding_is_that_of_the_public_functions():
    np.random.standard_normal()  # one more is kept, which seeding forgets
    random.gauss(0, 1)
    _seed_all(7)
    got = _next_numbers()
    np.random.seed(7)
    random.seed(7)
    assert got == _next_numbers()


def test_a_single_draw_moves_what_the_guard_looks_at():
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
        before = read_state(kind)
        assert read_state(kind) == before
        draw()
        assert read_state(kind) != before


def test_a_bit_generator_that_was_exchanged_meanwhile_is_put_back():
    bits = np.random.get_bit_generator()
    np.random.seed(5)
    wanted = np.random.random(4).tolist()
    np.random.seed(5)
    restore = _seed_all(7)
    np.random.set_bit_generator(np.random.PCG64(1))
    restore()
    assert np.random.get_bit_generator() is bits
    assert np.random.random(4).tolist() == wanted


def test_another_bit_generator_is_seeded_and_given_back():
    bits = np.random.get_bit_generator()
    np.random.set_bit_generator(np.random.PCG64(1))
    try:
        np.random.standard_normal()
        before = np.random.get_state(legacy=False)
        restore = _seed_all(7)
        assert np.random.random() == np.random.RandomState(np.random.PCG64(7)).random()
        restore()
        assert np.random.get_state(legacy=False) == before
    finally:
        np.random.set_bit_generator(bits)


@pytest.mark.parametrize("make", [lambda: ModuleType("gone"), object, lambda: None])
def test_another_module_in_the_place_of_one_is_a_change(monkeypatch, make):
    loaded = LoadedModules()
    monkeypatch.setitem(sys.modules, "replaced", make())
    assert loaded.have_changed()
    assert not loaded.have_changed()
    monkeypatch.setitem(sys.modules, "replaced", ModuleType("replaced"))
    assert loaded.have_changed()
    assert not loaded.have_changed()


def test_a_dropped_module_is_kept_until_the_next_question_only():
    loaded = LoadedModules()
    sys.modules["dropped"] = ModuleType("dropped")
    assert loaded.have_changed()
    dropped = ref(sys.modules.pop("dropped"))
    assert loaded.have_changed()
    assert dropped() is None
