"""What a run costs in further runs: drifts in masses, envelopes that are adopted or added."""

from __future__ import annotations

import re

import pytest
import yaml

COUNTED = """
    from pathlib import Path

    @pytest.mark.parametrize("number", range(6))
    @pytest.mark.repro(seed=0)
    def test_it(number, repro_generator, repro_check):
        with Path("runs.txt").open("a") as file:
            file.write(f"{number} ")
        repro_check(repro_generator.standard_normal(50) * FACTOR)
"""


def run(project, source, *arguments):
    project.write(source)
    return project.run(*arguments)


def to_other_hardware(project):
    """Make what is stored that of a machine with seven cores."""
    own = project.manifest.parent.parent.name
    project.rename_hardware(re.sub(r"-\d+c", "-7c", own))


def counted(project, factor, *arguments):
    """Run six tests that note each execution; gives the run and how often each test ran."""
    notes = project.folder / "runs.txt"
    notes.write_text("")
    ran = run(project, COUNTED.replace("FACTOR", factor), *arguments)
    return ran, [notes.read_text().split().count(str(number)) for number in range(6)]


def test_a_mass_drift_repeats_the_first_few_of_a_module(project):
    counted(project, "1.0", "--repro-update")
    ran, times = counted(project, "2.0")
    assert times == [2, 2, 2, 1, 1, 1]
    assert set(ran.verdicts.values()) == {"drift"}
    said = [("not repeated" in text) for text in ran.failures.values()]
    assert said == [False] * 3 + [True] * 3
    _, times = counted(project, "2.0", "--repro-repeat=all")
    assert times == [2] * 6
    _, times = counted(project, "2.0", "--repro-repeat=off")
    assert times == [1] * 6


def test_what_is_recorded_runs_again_whatever_repeats(project):
    ran, times = counted(project, "1.0", "--repro-update", "--repro-repeat=off")
    assert min(times) >= 2
    assert set(ran.verdicts.values()) == {"recorded"}
    _, times = counted(project, "2.0", "--repro-update", "--repro-repeat=off")
    assert min(times) >= 2
    ran, _ = counted(project, "2.0")
    assert set(ran.verdicts.values()) == {"exact"}


def test_a_flaky_test_is_never_recorded_whatever_repeats(project):
    source = """
        import itertools
        COUNT = itertools.count()

        @pytest.mark.repro(seed=0)
        def test_it(repro_generator, repro_check):
            repro_check(repro_generator.standard_normal(5) + next(COUNT))
    """
    ran = run(project, source, "--repro-update", "--repro-repeat=off")
    assert set(ran.verdicts.values()) == {"nondeterministic"}


def block(path):
    _, blocks = yaml.safe_load_all(path.read_text())
    (found,) = blocks["checks"].values()
    return found


ONE = """
    @pytest.mark.repro(seed=0)
    def test_it(repro_generator, repro_check):
        repro_check(repro_generator.standard_normal(50) / 3.0)
"""


def test_an_envelope_is_added_and_no_value_is_touched(project):
    run(project, ONE, "--repro-update", "--repro-envelope=0")
    before = block(project.manifest)
    assert "envelope" not in before["tensors"][0]
    ran = run(project, ONE, "--repro-update=envelope")
    assert set(ran.verdicts.values()) == {"updated"}
    after = block(project.manifest)
    assert after["tensors"][0]["envelope"]["runs"] >= 4
    for name in ("digest", "dtype", "shape", "statistics"):
        assert after["tensors"][0][name] == before["tensors"][0][name]
    assert run(project, ONE).exit_code == 0


def test_an_envelope_update_records_no_other_value(project):
    run(project, ONE, "--repro-update", "--repro-envelope=0")
    before = project.manifest.read_bytes()
    ran = run(project, ONE.replace("3.0", "7.0"), "--repro-update=envelope")
    assert set(ran.verdicts.values()) == {"drift"}
    assert project.manifest.read_bytes() == before


def test_an_envelope_update_records_no_new_check(project):
    ran = run(project, ONE, "--repro-update=envelope")
    assert set(ran.verdicts.values()) == {"missing"}
    assert project.files() == {}


@pytest.mark.parametrize(("envelope", "runs"), [("auto", 2), ("4", 6)])
def test_another_key_of_equal_inputs_lends_its_envelope(project, envelope, runs):
    """Recorded under one key, the file of which becomes that of another."""
    source = COUNTED.replace("range(6)", "range(1)")
    notes = project.folder / "runs.txt"
    run(project, source.replace("FACTOR", "1.0"), "--repro-update")
    to_other_hardware(project)
    notes.write_text("")
    # Other bits of equal inputs, as on other hardware.
    ran = run(
        project,
        source.replace("FACTOR", "(1.0 + 1e-13)"),
        "--repro-update",
        f"--repro-envelope={envelope}",
    )
    assert set(ran.verdicts.values()) == {"recorded"}
    assert notes.read_text().split().count("0") == runs
    (own,) = (p for p in project.baselines.rglob("*.yaml") if "-7c" not in str(p))
    found = block(own)["tensors"][0]["envelope"]
    assert ("measured under" in found["method"]) is (envelope == "auto")


def test_other_weights_or_draws_lend_no_envelope(project):
    source = COUNTED.replace("range(6)", "range(1)").replace("FACTOR", "1.0")
    run(project, source, "--repro-update")
    to_other_hardware(project)
    (project.folder / "runs.txt").write_text("")
    run(project, source.replace("seed=0", "seed=1"), "--repro-update")
    assert (project.folder / "runs.txt").read_text().split().count("0") >= 6


def test_a_plan_says_what_would_run_and_runs_nothing(project):
    ran, times = counted(project, "1.0", "--repro-update", "--repro-plan")
    assert times == [0] * 6
    assert not project.baselines.exists()
    text = ran.text
    assert "6 runs (2 that must agree, 4 for the envelope), duration unknown" in text
    assert "6 tests, 36 runs, about 0.0 s; 6 without a known duration; nothing ran" in text


def test_a_plan_knows_what_is_stored_and_how_long_it_took(project):
    counted(project, "1.0", "--repro-update")
    ran, times = counted(project, "1.0", "--repro-update", "--repro-plan")
    assert times == [0] * 6
    text = ran.text
    assert text.count("1 run (recorded already; more if it drifts), about 0.") == 6
    to_other_hardware(project)
    ran, _ = counted(project, "1.0", "--repro-update", "--repro-plan")
    assert ran.text.count("2 runs (2 that must agree, envelope of another key") == 6
    ran, _ = counted(project, "1.0", "--repro-update=all", "--repro-plan")
    assert "6 tests, 36 runs" in ran.text


def test_a_recorded_test_has_a_line_of_its_own_in_verbose_output(project):
    ran, _ = counted(project, "1.0", "--repro-update", "-v")
    lines = [
        line for line in ran.text.splitlines() if "6 runs, " in line and "the first one" in line
    ]
    assert len(lines) == 6
    ran, _ = counted(project, "1.0", "--repro-update", "-v")
    assert not [line for line in ran.text.splitlines() if "the first one" in line]


NOISY = """
    @pytest.mark.repro(seed=0)
    def test_NAME(repro_generator, repro_check):
        repro_check(repro_generator.standard_normal(50) / 3.0)
"""
ON_A_TERMINAL = """
    import pytest

    @pytest.hookimpl(trylast=True)
    def pytest_configure(config):
        terminal = config.pluginmanager.getplugin("terminalreporter")
        terminal.isatty = type(terminal.isatty)(True)  # a bool, or one that can be called
"""
EVERY_SECOND_COUNTS = """
    from pytest_repro.checking import repeat

    repeat._WORTH_SAYING_S = 0.0
"""


def test_a_terminal_shows_which_run_starts_and_what_is_left(project):
    project.conftest(ON_A_TERMINAL)
    ran = run(project, NOISY.replace("NAME", "it"), "--repro-update")
    shown = re.findall(r"run (\d+) of (\d+), \d+ s, about \d+ s left \((\w+ \w+)", ran.text)
    of_envelope = [(str(number), "6", "for its") for number in range(3, 7)]
    assert shown == [("2", "6", "to check"), *of_envelope]
    assert "run 2 of" not in run(project, NOISY.replace("NAME", "it")).text


def test_workers_are_added_up_at_the_end(project):
    project.conftest(EVERY_SECOND_COUNTS)
    project.write(NOISY.replace("NAME", "one"), "test_one.py")
    project.write(NOISY.replace("NAME", "other"), "test_other.py")
    ran = project.run_apart("--repro-update", "-n2")
    said = re.findall(r"(\d+) further runs took [\d.]+ s; (\d+) of them", ran.text)
    assert said == [("10", "8")]


def test_the_marker_says_how_many_perturbed_runs_a_test_makes(project):
    project.write(
        """
        @pytest.mark.repro(envelope=0)
        def test_without(repro_generator, repro_check):
            repro_check(repro_generator.standard_normal(4))

        @pytest.mark.repro(envelope="auto")
        def test_with(repro_generator, repro_check):
            repro_check(repro_generator.standard_normal(4))
        """
    )
    recorded = project.record("--repro-envelope=0")
    (without,) = (one for one in recorded.closing if "without an envelope" in one)
    assert "test_without" in without
    assert "test_with::" not in without
    assert "4 for the envelope" in project.run("--repro-plan", "--repro-update=all").text


@pytest.mark.parametrize("wrong", [-1, "some", True])
def test_a_wrong_number_of_perturbed_runs_in_a_marker_is_refused(project, wrong):
    project.write(f"""
        @pytest.mark.repro(envelope={wrong!r})
        def test_it(repro_check):
            repro_check(1.0)
        """)
    assert "@pytest.mark.repro envelope: " in project.run().failure
