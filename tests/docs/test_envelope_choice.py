"""The page behind docs/evidence/envelope.md, on made-up measurements whose answer is known."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

# The script names the MindSpore that it measures.
pytest.importorskip("mindspore")
pytest.importorskip("mindone")

from docs.measure import envelope_choice
from docs.measure.envelope_choice import ASKED, CALLS, COUNTS, LEVELS, SEEDS, Judged, Moved

_UNCLIP = "UnCLIP from text"


def _judged(drifts):
    """Every comparison; ``drifts`` says of which (test, number of runs, seed) it is drift."""
    return [
        Judged(
            test=test,
            name="image",
            recorded=recorded,
            judged=judged,
            count=count,
            seed=seed,
            verdict="exact" if recorded == judged else _verdict(drifts(test, count, seed)),
            share=1.5 if drifts(test, count, seed) else 0.5,
            measure="rel_l2",
            rel_l2=1e-6,
            envelope=5e-7,
            worst_step=1.0,
            steps_outside=False,
        )
        for test, recorded, judged, count, seed in product(CALLS, LEVELS, LEVELS, COUNTS, SEEDS)
    ]


def _verdict(is_drift):
    return "drift" if is_drift else "within"


def _moved():
    """UnCLIP moves by unlike amounts and is recorded by 16 runs, the others by what is asked."""
    found = []
    for level, test in product(LEVELS, CALLS):
        unlike = test == _UNCLIP
        made = {(seed, asked): max(asked, 16 if unlike else 4) for seed in SEEDS for asked in ASKED}
        sizes = np.array([1.0, 9.0, 2.0, 5.0] if unlike else [5.0, 5.1, 5.0, 4.9])
        found.append(Moved(level, test, sizes, sizes * 1.5, 1.0 if unlike else 0.5, made))
    return found


def _text(drifts):
    return envelope_choice.page(_judged(drifts), _moved())


def test_a_verdict_of_runs_that_no_recording_makes_counts_apart():
    text = _text(lambda test, count, seed: test == _UNCLIP and count == 4 and seed == SEEDS[2])
    assert "216 within. Another K or seed changes the verdict of\n  0 of 18 checks." in text
    assert "n = 4 48 of 54 within" in text
    assert f"AVX2 judged under AVX: n = 4 with seed {SEEDS[2]} (drift, used 1.50" in text


@pytest.mark.parametrize(("test", "count", "changed"), [(_UNCLIP, 16, 6), ("DDIM, 2 steps", 4, 6)])
def test_a_changed_verdict_of_what_a_recording_makes_is_counted(test, count, changed):
    text = _text(lambda *place: place == (test, count, SEEDS[1]))
    assert f"changes the verdict of\n  {changed} of 18 checks." in text


def test_degrees_of_freedom_tell_few_directions_from_many():
    rows = [line for line in _text(lambda *_: False).splitlines() if line.startswith("| UnCLIP")]
    assert any(" | 9.00 | " in row and row.endswith("| 100% | 16 |") for row in rows)
    generator = np.random.Generator(np.random.PCG64(0))
    for freedom in (2, 50):
        sizes = np.sqrt(generator.chisquare(freedom, 20_000))
        one = Moved("AVX2", _UNCLIP, sizes, sizes, 1.0, {})
        assert one.freedom == pytest.approx(freedom, rel=0.1)
