"""From missing over recorded and exact to drift and updated, as a user meets them."""

from __future__ import annotations

import pytest

SEEDED = """
    @pytest.mark.repro(seed={seed})
    def test_image(repro_generator, repro_check):
        noise = repro_generator.standard_normal((4, 4))
        repro_check(np.tanh(noise).astype("float32"), name="image")
"""
COMPUTED = """
    @pytest.mark.repro
    def test_image(repro_generator, repro_check):
        noise = repro_generator.standard_normal((4, 4)).astype("float32")
        noise[2, 1] = {value}
        repro_check(noise, name="image")
"""


def test_a_check_goes_from_missing_to_recorded_to_exact_to_drift_to_updated(project):
    project.write(SEEDED.format(seed=0))
    missing = project.run()
    assert (missing.exit_code, missing.verdicts) == (1, {"test_image::image": "missing"})
    assert "no baseline has been recorded" in missing.failure
    assert f"there are no baselines in {project.baselines}" in missing.failure
    assert "--repro-update" in missing.failure
    assert project.files() == {}

    recorded = project.run("--repro-update")
    assert (recorded.exit_code, recorded.verdicts) == (0, {"test_image::image": "recorded"})
    exact = project.run()
    assert (exact.exit_code, exact.verdicts) == (0, {"test_image::image": "exact"})
    assert exact.closing == ["1 check: 1 exact"]

    before = project.files()
    project.write(SEEDED.format(seed=1))
    drift = project.run()
    assert (drift.exit_code, drift.verdicts) == (1, {"test_image::image": "drift"})
    assert "gate inputs, cause noise" in drift.failure
    assert "seed 0 became 1" in drift.failure
    assert project.files() == before

    updated = project.run("--repro-update")
    assert (updated.exit_code, updated.verdicts) == (0, {"test_image::image": "updated"})
    assert project.files() != before
    assert project.run().verdicts == {"test_image::image": "exact"}


@pytest.mark.parametrize("mode", ["--repro-update", "--repro-update=all", "--repro-update=missing"])
def test_a_second_update_leaves_every_byte(project, mode):
    project.write(SEEDED.format(seed=0))
    project.record()
    before = {path: path.stat().st_mtime_ns for path in project.baselines.rglob("*.*")}
    files = project.files()
    again = project.run(mode)
    word = "exact" if mode.endswith("missing") else "unchanged"
    assert again.verdicts == {"test_image::image": word}
    assert project.files() == files
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_update_missing_records_the_new_check_and_leaves_the_drifted_one(project):
    project.write(SEEDED.format(seed=0))
    project.record()
    new = SEEDED.format(seed=0).replace("test_image", "test_new")
    project.write(SEEDED.format(seed=1) + new)
    ran = project.run("--repro-update=missing")
    assert ran.verdicts == {"test_image::image": "drift", "test_new::image": "recorded"}
    project.write(SEEDED.format(seed=0))
    assert project.run().verdicts == {"test_image::image": "exact"}


def test_recording_one_test_keeps_what_the_others_have(project):
    both = SEEDED.format(seed=0) + SEEDED.format(seed=0).replace("test_image", "test_new")
    project.write(both)
    project.record("-k", "test_new")
    project.record("-k", "test_image")
    assert project.run().verdicts == {"test_image::image": "exact", "test_new::image": "exact"}


def test_value_drift_names_the_worst_element(project):
    project.write(COMPUTED.format(value=1.0))
    project.record()
    project.write(COMPUTED.format(value=1.5))
    ran = project.run()
    assert ran.verdicts == {"test_image::image": "drift"}
    assert "worst abs   0.5 at (2, 1): baseline 1.0, observed 1.5" in ran.failure
    assert "1 of 16 elements differ" in ran.failure
    assert "cause code" in ran.failure
    assert "exact, from the default for this machine's key" in ran.failure


def test_two_drifted_checks_of_one_test_are_both_named(project):
    source = """
        @pytest.mark.repro
        def test_two(repro_check):
            repro_check(np.full(3, {a}), name="latents")
            repro_check(np.full(5, {b}), name="image")
            repro_check(np.zeros(2), name="still")
    """
    project.write(source.format(a=1.0, b=2.0))
    project.record()
    project.write(source.format(a=1.5, b=2.5))
    ran = project.run()
    assert ran.verdicts == {
        "test_two::latents": "drift",
        "test_two::image": "drift",
        "test_two::still": "exact",
    }
    assert "'latents': drift" in ran.failure
    assert "'image': drift" in ran.failure
    assert "'still'" not in ran.failure


def test_a_marked_test_that_checks_nothing_fails_and_is_named(project):
    project.write("""
        @pytest.mark.repro
        def test_idle(repro_generator):
            repro_generator.standard_normal(3)

        def test_unmarked():
            pass
    """)
    for arguments in ((), ("--repro-update",)):
        ran = project.run(*arguments)
        assert ran.exit_code == 1
        assert ran.counts == {"failed": 1, "passed": 1}
        assert "test_story.py::test_idle is marked repro but checked nothing" in ran.failure
        assert any("checked nothing" in line and "test_idle" in line for line in ran.closing)


def test_skip_and_xfail_are_left_alone(project):
    project.write("""
        @pytest.mark.repro
        def test_skipped_inside(repro_check):
            pytest.skip("not here")

        @pytest.mark.repro
        @pytest.mark.skip
        def test_skipped_outside(repro_check):
            repro_check(np.zeros(2))

        @pytest.mark.repro
        @pytest.mark.xfail(strict=True)
        def test_known_failure(repro_check):
            assert False
    """)
    ran = project.run()
    assert ran.exit_code == 0, ran.text
    assert ran.counts == {"skipped": 2, "xfailed": 1}
    assert "checked nothing" not in ran.text


def test_xfail_that_passes_is_reported_by_pytest(project):
    source = """
        @pytest.mark.repro
        {mark}
        def test_known(repro_check):
            repro_check(np.zeros(2))
    """
    project.write(source.format(mark=""))
    project.record()
    project.write(source.format(mark="@pytest.mark.xfail(strict=True)"))
    ran = project.run()
    assert ran.exit_code == 1
    assert "XPASS(strict)" in ran.failure


def test_a_failing_assertion_after_a_drift_shows_both_and_records_nothing(project):
    source = """
        @pytest.mark.repro
        def test_both(repro_check):
            repro_check(np.full(3, {value}), name="image")
            assert {value} == 1.0, "the user's own words"
    """
    project.write(source.format(value=1.0))
    project.record()
    before = project.files()
    project.write(source.format(value=2.0))
    for arguments in ((), ("--repro-update",)):
        ran = project.run(*arguments)
        assert ran.exit_code == 1
        assert "the user's own words" in ran.failure
        assert "'image': drift" in ran.failure
        assert project.files() == before


def test_a_passing_run_writes_nothing(project):
    project.write(SEEDED.format(seed=0))
    project.record()
    folders = (project.baselines, project.manifest.parent, project.tensor.parent)
    before = [folder.stat().st_mtime_ns for folder in folders]
    assert project.run().exit_code == 0
    assert [folder.stat().st_mtime_ns for folder in folders] == before


def test_an_exact_check_runs_its_test_once(project):
    project.write(
        SEEDED.format(seed=0)
        + """
        print("ran")
    """
    )
    recording = project.record("-s")
    # First, repeat, and sixteen disturbed: few numbers move by unlike amounts.
    assert recording.text.count("ran\n") == 18
    assert project.run("-s").text.count("ran\n") == 1


def test_a_new_check_beside_recorded_ones_is_not_said_to_lack_all_baselines(project):
    project.write(SEEDED.format(seed=0))
    project.record()
    project.write(SEEDED.format(seed=0).replace("test_image", "test_other"))
    ran = project.run()
    assert ran.verdicts == {"test_other::image": "missing"}
    assert "there are no baselines" not in ran.failure


def test_a_policy_called_policy_yml_stops_the_run(project):
    project.write(SEEDED.format(seed=0))
    project.record()
    project.policy("schema: 1\n")
    (project.baselines / "policy.yaml").rename(project.baselines / "policy.yml")
    ran = project.run()
    assert ran.exit_code == 1
    assert "policy.yml has no effect" in ran.text
