"""Stored noise feeds a test whose own stream has changed; what cannot be fed is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from pytest_repro.noise.generator import LoggedGenerator, NoiseBook
from pytest_repro.store.store import Store
from pytest_repro.tensors.record import digest_array

SUITE = """
    @pytest.mark.repro(seed=0)
    def test_pipeline(repro_generator, repro_check):
        latents = repro_generator.standard_normal((1, 3, 4))
        scale = repro_generator.random(2)
        repro_check((latents * scale[0]).astype("float32"), name="image")
"""
RECORDED = Path(__file__).with_name("recorded_by_numpy_1_26")
"""The baselines of `WALD`, recorded with --repro-noise=store by numpy 1.26.4."""
WALD = """
    @pytest.mark.repro
    def test_wald(repro_generator, repro_check):
        latents = repro_generator.standard_normal((2, 3))
        repro_check(latents * repro_generator.wald(1.0, 1.0, 3), name="image")
"""


@pytest.fixture
def stored(project):
    project.write(SUITE)
    project.record("--repro-noise=store")
    return project


@pytest.fixture
def other_stream(monkeypatch):
    """A numpy whose stream has changed: the same seed says the same and gives different bits."""

    def generator(book, seed):
        return LoggedGenerator(np.random.Philox(seed), book, f"PCG64({seed})")

    monkeypatch.setattr(NoiseBook, "generator", generator)


def _draw_file(project, number):
    store = Store(project.baselines, root=project.folder)
    (key,) = store.keys()
    (baseline,) = store.manifest(key, "test_story.py")
    return store.tensor_path(baseline.draw_log.draws[number].digest)


def test_another_stream_is_noise_when_it_draws_and_exact_when_it_replays(stored, other_stream):
    drawn = stored.run()
    assert drawn.verdicts == {"test_pipeline::image": "drift"}
    assert "cause noise" in drawn.failure
    assert "same calls, different bits" in drawn.failure
    before = stored.files()
    assert stored.run("--repro-noise=replay").verdicts == {"test_pipeline::image": "exact"}
    assert stored.files() == before


def test_numpys_own_changed_stream_is_named_and_replayed(project):
    """numpy 2.4.6 draws different bits from `wald` than numpy 1.26.4 does: the real case."""
    shutil.copytree(RECORDED, project.baselines)
    store = Store(project.baselines, root=project.folder)
    (key,) = store.keys()
    (baseline,) = store.manifest(key, "test_story.py")
    drawn = np.random.Generator(np.random.PCG64(0))
    drawn.standard_normal((2, 3))
    again = digest_array("float64", drawn.wald(1.0, 1.0, 3)) == baseline.draw_log.draws[1].digest
    assert again is {"1.26.4": True, "2.4.6": False}.get(np.__version__, again)
    project.write(WALD)
    ran = project.run()
    assert ran.verdicts == {"test_wald::image": "exact" if again else "drift"}
    if not again:
        assert "gate inputs, cause noise" in ran.failure
        assert f"same calls, different bits: numpy 1.26.4 -> {np.__version__}" in ran.failure
        assert "baseline  wald (3,) float64" in ran.failure
    assert project.run("--repro-noise=replay").verdicts == {"test_wald::image": "exact"}


def test_another_seed_replays_too(stored):
    stored.write(SUITE.replace("seed=0", "seed=1"))
    assert "seed 0 became 1" in stored.run().failure
    assert stored.run("--repro-noise=replay").verdicts == {"test_pipeline::image": "exact"}


def test_under_replay_a_drift_is_the_computations(stored, other_stream):
    stored.write(SUITE.replace("latents * scale[0]", "latents * scale[1]"))
    ran = stored.run("--repro-noise=replay")
    assert ran.verdicts == {"test_pipeline::image": "drift"}
    assert "cause code" in ran.failure


@pytest.mark.parametrize(
    ("clean", "changed", "said"),
    [
        (
            "standard_normal((1, 3, 4))",
            "standard_normal((1, 3, 5))[..., :4]",
            ("replay: draw 1 of 2 is not the recorded one", "recorded  standard_normal (1, 3, 4)",
             "observed  standard_normal (1, 3, 5)"),
        ),
        (
            "scale = repro_generator.random(2)",
            "scale = repro_generator.uniform(size=2)",
            ("replay: draw 2 of 2 is not the recorded one", "observed  uniform (2,)"),
        ),
        (
            "repro_check(",
            "repro_generator.random(); repro_check(",
            ("replay: draw 3 was not recorded; the recording has 2", "observed  random ()"),
        ),
        (
            "scale = repro_generator.random(2)",
            "scale = [0.5]",
            ("cause noise", "one draw fewer after draw 1"),
        ),
    ],
    ids=["shape", "method", "one more", "one fewer"],
)  # fmt: skip
def test_a_test_that_asks_for_other_draws_is_told_which(stored, clean, changed, said):
    stored.write(SUITE.replace(clean, changed))
    ran = stored.run("--repro-noise=replay")
    assert ran.exit_code == 1
    assert all(words in ran.failure for words in said), ran.failure


def test_noise_that_is_not_there_is_named(stored):
    path = _draw_file(stored, 1)
    path.unlink()
    ran = stored.run("--repro-noise=replay")
    assert ran.exit_code == 1
    assert "draw 2 of 2, random (2,) of generator 0, was not stored" in ran.failure
    assert "pytest --repro-update=all --repro-noise=store" in ran.failure
    assert stored.run().verdicts == {"test_pipeline::image": "exact"}


def test_noise_that_was_tampered_with_is_refused(stored):
    path = _draw_file(stored, 0)
    tampered = safetensors.numpy.load_file(path)
    (name, array), = tampered.items()  # fmt: skip
    changed = array.copy()
    changed.flat[5] = np.nextafter(changed.flat[5], np.inf)
    path.write_bytes(path.read_bytes().replace(array.tobytes(), changed.tobytes()))
    assert safetensors.numpy.load_file(path)[name].flat[5] != array.flat[5]
    ran = stored.run("--repro-noise=replay")
    assert ran.exit_code == 1
    assert path.name[:12] in ran.failure
    assert "digest" in ran.failure


def test_a_test_without_a_baseline_has_nothing_to_replay(project):
    project.write(SUITE)
    ran = project.run("--repro-noise=replay")
    assert ran.exit_code == 1
    assert "has no baseline whose noise could be replayed" in ran.failure
