"""Options and ini keys: the help, who wins, and what is said about a wrong value."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

GOLDEN = Path(__file__).with_name("golden")
SEEDED = """
    @pytest.mark.repro
    def test_noise(repro_generator, repro_check):
        repro_check(repro_generator.standard_normal(3), name="noise")
"""


def test_the_help_group_is_as_written(project, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    text = project.run("--help").text
    group = re.search(r"\npytest-repro: .*?\n\n", text, re.DOTALL)
    assert group is not None
    # Where lines break is pytest's: before 9 also at hyphens.
    golden = (GOLDEN / "help.txt").read_text(encoding="utf-8")
    assert "".join(group[0].split()) == "".join(golden.split())


def test_every_setting_is_in_the_help_and_every_ini_key_too(project):
    from pytest_repro.settings import TABLE

    text = project.run("--help").text
    assert all(re.search(rf"{setting.option}\b", text) for setting in TABLE)
    assert all(setting.ini_key in text for setting in TABLE if setting.ini)


def recorded_seed(project, *arguments):
    project.record("--repro-update=all", *arguments)
    return re.search(r"PCG64\((\d+)\)", project.manifest.read_text(encoding="utf-8"))[1]


def test_the_command_line_wins_over_the_ini_file_and_that_over_the_default(project):
    project.write(SEEDED)
    assert recorded_seed(project) == "0"
    project.ini("repro_seed = 7")
    assert recorded_seed(project) == "7"
    assert recorded_seed(project, "--repro-seed=8") == "8"
    project.write(SEEDED.replace("repro\n", "repro(seed=9)\n", 1))
    assert recorded_seed(project, "--repro-seed=8") == "9"


def test_the_folder_of_the_baselines_can_be_elsewhere(project):
    project.write(SEEDED)
    project.ini("repro_baselines = store/here")
    project.record()
    assert project.files() == {}
    assert list((project.folder / "store" / "here").rglob("test_story.yaml"))
    assert project.run().verdicts == {"test_noise::noise": "exact"}
    assert project.run("--repro-baselines=other").verdicts == {"test_noise::noise": "missing"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--repro-seed=x",), "--repro-seed: 'x' is not a whole number"),
        (("--repro-seed=-1",), "--repro-seed: -1 is too small, the least is 0"),
        (("--repro-runs=1",), "--repro-runs: 1 is too small, the least is 2"),
        (("--repro-reference=near",), "'near' is not one of own, variant, release, any, port"),
        (("--repro-rng=loud",), "'loud' is not one of error, warn, off"),
        (("--repro-trace=all",), "'all' is not one of off, steps, cells"),
        (("--repro-framework=jax",), "'jax' is not one of auto, mindspore, numpy, torch"),
        (("--repro-noise=store",), "stores nothing without --repro-update"),
        (("--repro-envelope=-1",), "--repro-envelope: -1 is too small, the least is 0"),
        (("--repro-envelope-seed=x",), "--repro-envelope-seed: 'x' is not a whole number"),
        (("--repro-update=some",), "--repro-update"),
        (("--repro-baselines=",), "--repro-baselines: '' is not a folder name"),
        (("--repro-sed=1",), "--repro-sed"),
        (("-o", "repro_mint_cpu=x"), "repro_mint_cpu: 'x' is not one of on, off"),
        (("-o", "repro_seed=x"), "ini key repro_seed: 'x' is not a whole number"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_wrong_value_ends_the_run_before_any_test(project, arguments, words):
    project.write(SEEDED)
    ran = project.run(*arguments)
    assert ran.exit_code == 4
    assert words in ran.text
    assert "Traceback" not in ran.text
    assert ran.verdicts == {}


def test_update_does_not_take_the_path_for_its_mode(project):
    project.write(SEEDED)
    ran = project.run("--repro-update", "test_story.py")
    assert ran.verdicts == {"test_noise::noise": "recorded"}


def test_a_misspelt_ini_key_is_refused_under_strict_config(project):
    project.write(SEEDED)
    project.ini("repro_sed = 1")
    ran = project.run("--strict-config")
    assert ran.exit_code == 4
    assert "repro_sed" in ran.text
