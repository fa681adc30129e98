"""A numpy whose stream has changed is said before a test runs, and judges nothing by itself."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_repro.noise import canary
from tests.stories.project import MODULE

SUITE = """
    @pytest.fixture
    def model():
        print("the model is built")

    @pytest.mark.repro
    def test_normal(model, repro_generator, repro_check):
        repro_check(repro_generator.standard_normal((2, 3)), name="noise")

    @pytest.mark.repro
    def test_again(repro_generators, repro_check):
        repro_check(repro_generators(1)[0].standard_normal(4), name="noise")

    @pytest.mark.repro
    def test_draws_nothing(repro_check):
        repro_check(np.zeros(2), name="zeros")
"""
SAID = "repro: numpy draws different bits here than those recorded in"


@pytest.fixture
def recorded(project):
    project.write(SUITE)
    project.record("--repro-noise=store")
    return project


@pytest.fixture
def other_normal(monkeypatch):
    """A canary whose normal draws have changed, and nothing else."""

    class Changed(np.random.Generator):
        def standard_normal(self, *args, **kwargs):
            return -super().standard_normal(*args, **kwargs)

    monkeypatch.setattr(canary, "_generator", lambda: Changed(np.random.PCG64(0)))


def test_the_recorded_stream_is_not_worth_a_word(recorded):
    ran = recorded.run()
    assert ran.exit_code == 0
    assert "numpy draws" not in ran.text


def test_another_stream_is_said_before_the_first_test_and_at_the_end(recorded, other_normal):
    ran = recorded.run()
    place = f"baselines/{recorded.manifest.relative_to(recorded.baselines).as_posix()}"
    names = "canary.normal, canary.normal.float32"
    because = f"(both have numpy {np.__version__}: another build or another libm)"
    sentence = f"{place}: {names} {because}"
    assert f"{SAID} {sentence}" in ran.text
    # Once when the run begins, though two tests draw, and once among the closing lines.
    assert ran.text.count(sentence) == 2
    assert sum(sentence in line for line in ran.closing) == 1
    # It judges nothing: these draws are bitwise the recorded ones.
    assert set(ran.verdicts.values()) == {"exact"}
    assert ran.exit_code == 0


def test_it_is_said_before_the_fixtures_of_the_test(recorded, other_normal):
    ran = recorded.run("-s")
    assert ran.text.index(SAID) < ran.text.index("the model is built")


def test_another_numpy_is_named(recorded, other_normal):
    text = recorded.manifest.read_text("utf-8")
    assert f"numpy.version: {np.__version__}" in text
    changed = text.replace(f"numpy.version: {np.__version__}", "numpy.version: 1.99.0")
    recorded.manifest.write_text(changed, "utf-8")
    assert f"(numpy 1.99.0 -> {np.__version__})" in recorded.run().text


def test_nothing_is_said_where_noise_is_replayed_or_not_drawn(recorded, other_normal):
    assert "numpy draws" not in recorded.run("--repro-noise=replay").text
    assert "numpy draws" not in recorded.run("-k", "draws_nothing").text
    assert "numpy draws" in recorded.run("-k", "again").text


def test_nothing_is_said_of_a_module_without_baselines(project, other_normal):
    project.write(SUITE)
    assert "numpy draws" not in project.run().text


def test_workers_say_it_once_at_the_end(recorded):
    pytest.importorskip("xdist")
    recorded.conftest("""
        import numpy as np
        from pytest_repro.noise import canary as canary
        canary._generator = lambda: np.random.Generator(np.random.Philox(0))
    """)
    ran = recorded.run_apart("-n", "2")
    assert ran.exit_code == 0
    assert ran.text.count("numpy draws different bits here") == 1
    assert MODULE.removesuffix(".py") + ".yaml" in "".join(ran.closing)
