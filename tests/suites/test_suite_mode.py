"""Suite mode: a suite in mindone's form, unedited, is recorded, exact, and its faults are named."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("mindone")
pytest.importorskip("ddt")

# A nested run forgets what it imported first, and the next one would see two mindones.
from mindone.diffusers import DDIMPipeline, DDIMScheduler, UNet2DModel  # noqa: F401

from tests.stories.project import Project

SUITE = (Path(__file__).parent / "suite_pipelines.py").read_text(encoding="utf-8")
MODULE = "tests/pipelines/test_ddim.py"
CASE = f"{MODULE}::DDIMPipelineFastTests"


@pytest.fixture
def project(pytester, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    made = Project(pytester)
    (made.folder / "pytest.ini").write_text(
        "[pytest]\nrepro_suite =\n    tests/pipelines trace=cells\n", encoding="utf-8"
    )
    write(made, SUITE)
    return made


def write(project, source):
    path = project.folder / MODULE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source, encoding="utf-8")


def test_the_suite_is_recorded_and_exact_in_both_modes(project):
    recorded = project.record("--repro-envelope=0")
    assert recorded.counts == {"passed": 4}
    names = sorted(one.partition("::")[2] for one in recorded.verdicts if recorded.verdicts[one])
    assert names == [
        "test_inference_1::DDIMPipeline-1",
        "test_inference_2::DDIMPipeline-1",
        "test_two_calls::DDIMPipeline-1",
        "test_two_calls::DDIMPipeline-2",
    ]
    again = project.run()
    assert again.counts == {"passed": 4}
    assert {verdict for verdict in again.verdicts.values() if verdict} == {"exact"}


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        (
            "rng.standard_normal(parameter.shape) * 0.2",
            "rng.standard_normal(parameter.shape) * 0.201",
            "weights",
        ),
        ("beta_end=0.02)", "beta_end=0.021)", "beta_end"),
        ("seed=0):\n        return", "seed=5):\n        return", "noise"),
        ("pipe.scheduler.config)\n", "pipe.scheduler.config, beta_end=0.03)\n", "beta_end"),
        ("default_rng(0)", "default_rng(1)", "weights"),
        (
            '        return {"unet"',
            "        attention = unet.down_blocks[0].attentions[0]\n"
            "        attention.scale *= 1.01\n"
            "        attention.scale_sqrt *= 1.01\n"
            '        return {"unet"',
            "unet.down_blocks.0.attentions.0 (Attention",
        ),
    ],
)
def test_a_fault_in_the_suite_is_a_drift_that_names_it(project, before, after, named):
    project.record("--repro-envelope=0", "-k", "two_calls")
    assert before in SUITE
    write(project, SUITE.replace(before, after))
    drifted = project.run("-k", "two_calls")
    assert drifted.exit_code == 1
    assert "drift" in drifted.verdicts.values()
    assert any(named in text for text in drifted.failures.values()), drifted.text


def test_a_missing_generator_is_refused_at_the_line_of_the_pipeline(project):
    line = '"generator": np.random.Generator(np.random.PCG64(seed)),'
    replaced = "pipeline_ddim.randn_tensor = randn_tensor_of_the_suite"
    assert line in SUITE
    assert replaced in SUITE
    write(project, SUITE.replace(line, "").replace(replaced, ""))
    refused = project.run("--repro-update", "-k", "two_calls")
    assert "DDIMPipeline draws without a generator" in refused.failure
    assert "pipeline_ddim.py:" in refused.failure
    assert not project.files()


def test_a_check_that_cannot_be_made_fails_the_test_after_its_own_assertions(project):
    write(
        project,
        SUITE.replace(
            "class DDIMPipelineFastTests",
            """class Texts(diffusers.DDIMPipeline):
    def __call__(self):
        return {"text": object()}


class DDIMPipelineFastTests""",
        ).replace(
            "    def test_two_calls",
            """    def test_text(self):
        print("the test saw", Texts(**self.get_dummy_components())())

    def test_two_calls""",
        ),
    )
    refused = project.run("-k", "test_text")
    assert "Texts-1" in refused.failure
    assert "the test saw {'text'" in refused.failure
    assert refused.exit_code == 1


def test_a_test_of_its_own_marks_is_nearer_than_the_suite(project):
    write(
        project,
        "import pytest\n"
        "@pytest.mark.repro(seed=3)\n"
        "def test_it(repro_check, repro_generator):\n"
        "    repro_check(repro_generator.standard_normal(2))\n"
        "@pytest.mark.repro()\n"
        "def test_nothing():\n"
        "    pass\n",
    )
    ran = project.run("--repro-update")
    assert "1 recorded" in ran.text
    assert "test_nothing is marked repro but checked nothing" in ran.text
