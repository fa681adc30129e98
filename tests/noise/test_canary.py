"""The canary: reference figures, what it notices, and what it costs."""

from __future__ import annotations

import hashlib
import time

import numpy as np
import pytest

from pytest_repro.noise import canary
from pytest_repro.noise.canary import noise_canary

# Measured with numpy 1.26.4 and 2.4.6 on x86_64; equal in both.
REFERENCE = {
    "canary.integers": "2964b4e240bce4ee",
    "canary.normal": "73909d2549cb824f",
    "canary.normal.float32": "ea468a3034420c59",
    "canary.raw": "4cb17211accf1791",
    "canary.uniform": "46166225a8115db1",
}


def values():
    return {fact.name: fact.value for fact in noise_canary()}


def test_the_canary_has_its_reference_figures():
    assert values() == REFERENCE


def test_the_stream_has_the_figures_of_the_research_notes():
    draws = np.random.Generator(np.random.PCG64(0)).standard_normal((1, 3, 8, 8))
    assert hashlib.sha256(draws.tobytes()).hexdigest()[:12] == "4b175d5f3f75"
    cast = draws.astype(np.float32)
    assert hashlib.sha256(cast.tobytes()).hexdigest()[:12] == "f474591c78df"


def test_the_normal_draw_reaches_the_tail_that_libm_computes():
    draws = np.random.Generator(np.random.PCG64(0)).standard_normal(canary._NORMAL_COUNT)
    assert np.count_nonzero(np.abs(draws) > 3.6541528853610088) == 5


def changed(method, change):
    class Changed(np.random.Generator):
        pass

    plain = getattr(np.random.Generator, method)
    setattr(Changed, method, lambda self, *args, **kwargs: change(plain(self, *args, **kwargs)))
    return lambda: Changed(np.random.PCG64(0))


def one_ulp(draws):
    draws[np.abs(draws).argmax()] = np.nextafter(draws[np.abs(draws).argmax()], 0.0)
    return draws


@pytest.mark.parametrize(
    ("method", "change", "names"),
    [
        ("standard_normal", one_ulp, {"canary.normal"}),
        ("standard_normal", lambda x: -x, {"canary.normal", "canary.normal.float32"}),
        ("integers", lambda x: x[::-1].copy(), {"canary.integers"}),
        ("uniform", one_ulp, {"canary.uniform"}),
    ],
)
def test_a_changed_stream_is_named(monkeypatch, method, change, names):
    clean = values()
    monkeypatch.setattr(canary, "_generator", changed(method, change))
    now = values()
    assert {name for name in clean if clean[name] != now[name]} == names


def test_another_bit_stream_changes_everything(monkeypatch):
    clean = values()
    monkeypatch.setattr(canary, "_SEED", 1)
    assert all(clean[name] != value for name, value in values().items())


def test_the_facts_are_sorted_and_change_bits():
    facts = noise_canary()
    assert [fact.name for fact in facts] == sorted(fact.name for fact in facts)
    assert all(fact.changes_bits for fact in facts)


def test_the_canary_is_cheap():
    costs_s = []
    for _ in range(10):
        began = time.perf_counter()
        noise_canary()
        costs_s.append(time.perf_counter() - began)
    assert min(costs_s) < 0.005
