"""The measurement behind docs/evidence/sensitivity.md, on pipelines whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from docs.measure import sensitivity
from docs.measure.sensitivity import Case, execute_all, free_psnr_db, is_kept, load_kept
from pytest_repro.tolerance.measured import FEWEST_RUNS

_CASE = Case("DDIM, seeded", "float32", 2)


def _execution(answer):
    def execute(book):
        drawn = book.generator(0).standard_normal((1, 8, 8, 1)).astype(np.float32)
        return {"image": answer(drawn), "prediction": drawn}

    return execute


@pytest.fixture
def found(tmp_path):
    """Measures a pipeline that answers its noise so."""

    def measure(answer):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        execute_all(_CASE, _execution(answer), folder)
        return sensitivity.sensitivity(_CASE, load_kept(folder, _CASE), "image")

    return measure


def test_a_pipeline_that_gives_its_noise_back_amplifies_nothing(found):
    same = found(lambda drawn: drawn)
    assert same.amplification == pytest.approx(1.0)
    assert same.digits == pytest.approx(-math.log10(same.input_rel_l2), abs=0.1)


def test_an_amplifier_is_measured_and_chaos_leaves_no_digit(found):
    # Uniform within 0.005, so that a unit of noise is 1 / 0.0029 = 346 of what remains.
    cancelling = found(lambda drawn: drawn - np.round(drawn, 2))
    assert cancelling.amplification == pytest.approx(346, rel=0.3)
    chaotic = found(lambda drawn: np.sin(drawn.astype(np.float64) * 1e9))
    assert chaotic.digits < 0.2
    assert chaotic.amplification > 1e6


def test_psnr_looks_only_where_the_clean_image_could_move():
    clean = np.array([0.0, 0.0, 0.5, 0.25, 1.0, 1.0])
    moved = clean + np.array([9.0, 9.0, 1e-3, -1e-3, 9.0, 9.0])
    assert free_psnr_db(clean, moved) == pytest.approx(60.0)
    assert math.isinf(free_psnr_db(clean, clean))
    assert math.isnan(free_psnr_db(np.array([0.0, 1.0]), np.array([0.5, 0.5])))


def test_an_interrupted_case_goes_on_and_becomes_a_row(tmp_path):
    def stops(_):
        raise KeyboardInterrupt

    clipping = _execution(lambda drawn: np.clip(0.5 + 10.0 * drawn, 0.0, 1.0))
    execute_all(_CASE, clipping, tmp_path)
    (tmp_path / f"{_CASE.name}-4.npz").unlink()
    assert not is_kept(tmp_path, _CASE)
    with pytest.raises(KeyboardInterrupt):
        execute_all(_CASE, stops, tmp_path)
    execute_all(_CASE, clipping, tmp_path)
    execute_all(_CASE, stops, tmp_path)
    assert len(list(tmp_path.iterdir())) == FEWEST_RUNS + 1
    text = sensitivity.lines({_CASE: load_kept(tmp_path, _CASE)}, "h/f-1")
    row = next(line for line in text if line.startswith("| DDIM, seeded | float32 | 2 | "))
    head = next(line for line in text if line.startswith("| network |"))
    assert row.count("|") == head.count("|")
    assert any("Not measured: " in line for line in text)


def test_every_case_is_kept_under_a_name_of_its_own():
    files = [case.name for case in sensitivity.CASES]
    assert len(set(files)) == len(files)
