"""Subtests: a failing one keeps the test from being recorded, a repeated one is not reported."""

from __future__ import annotations

import pytest

# pytest reports subtests itself from 9.0 on; before, a failing subTest fails its test.
needs_reports = pytest.mark.skipif(
    pytest.version_tuple < (9,), reason="pytest 9 brought reports of subtests"
)

UNITTEST = """
    import unittest

    @pytest.mark.repro
    class TestCase(unittest.TestCase):
        def test_noise(self):
            noise = self.repro_generator.standard_normal(3)
            with self.subTest("sign", place=0):
                assert CONDITION
            self.repro_check(noise, name="noise")
"""
FIXTURE = """
    @pytest.mark.repro
    def test_noise(subtests, repro_generator, repro_check):
        noise = repro_generator.standard_normal(3)
        with subtests.test("sign", place=0):
            assert CONDITION
        repro_check(noise, name="noise")
"""
BOTH = pytest.mark.parametrize(
    "source", [UNITTEST, pytest.param(FIXTURE, marks=needs_reports)], ids=["unittest", "fixture"]
)
UNDISTURBED = "noise[0] == np.random.Generator(np.random.PCG64(0)).standard_normal()"


def reported(ran):
    return [one for one in ran.failures if "test_noise" in one]


@needs_reports
@BOTH
def test_a_test_with_a_failing_subtest_is_not_recorded(project, source):
    project.write(source.replace("CONDITION", "noise is None"))
    ran = project.run("--repro-update")
    assert ran.exit_code == 1
    assert set(ran.verdicts.values()) == {"missing"}, ran.text
    assert project.files() == {}
    # The next attempt has forgotten the failure of this one.
    project.write(source.replace("CONDITION", "noise is not None"))
    assert set(project.record().verdicts.values()) == {"recorded"}


@needs_reports
@BOTH
def test_a_subtest_that_fails_under_disturbed_noise_alone_fails_nothing(project, source):
    project.write(source.replace("CONDITION", UNDISTURBED))
    ran = project.record()
    assert set(ran.verdicts.values()) == {"recorded"}
    assert "without an envelope" not in ran.text  # the body went on to the check
    assert reported(ran) == []
    # The control: it is the disturbance that the subtest sees.
    project.write(source.replace("CONDITION", UNDISTURBED.replace("==", "!=")))
    assert project.run("--repro-update=all").exit_code == 1


@BOTH
def test_a_subtest_that_fails_in_the_repeated_run_is_a_parting(project, source):
    begin = "RUNS = []\n    def first():\n        RUNS.append(1)\n        return len(RUNS) == 1\n"
    project.write(f"\n    {begin}{source.replace('CONDITION', 'first()')}")
    ran = project.run("--repro-update")
    assert set(ran.verdicts.values()) == {"nondeterministic"}, ran.text
    assert "run 2 raised AssertionError" in ran.text


@needs_reports
@BOTH
def test_the_subtests_of_further_runs_are_not_reported_again(project, source):
    project.write(source.replace("CONDITION", "noise is not None"))
    assert project.record("--repro-runs=3", "-v").counts == {"passed": 1, "subtests": 1}
    project.write(source.replace("CONDITION", "noise is None").replace(", name", " * 2, name"))
    ran = project.run("--repro-runs=3")
    assert set(ran.verdicts.values()) == {"drift"}
    assert ran.text.count("SUBFAILED") == 1


@BOTH
def test_a_subtest_that_skips_or_xfails_is_no_failure(project, source):
    for word in ("skip", "xfail"):
        project.write(source.replace("assert CONDITION", f'pytest.{word}("not here")'))
        assert set(project.run("--repro-update=all").verdicts.values()) <= {
            "recorded",
            "unchanged",
        }


@needs_reports
@pytest.mark.parametrize("raised", ["SystemExit(0)", "GeneratorExit"])
def test_a_subtest_that_leaves_python_ends_alone_in_every_run(project, raised):
    project.write(FIXTURE.replace("CONDITION", "True"))
    project.record()
    leaves = FIXTURE.replace("assert CONDITION", f"raise {raised}")
    project.write(leaves.replace("(noise, name", "(noise * 2, name"))
    ran = project.run()
    assert set(ran.verdicts.values()) == {"drift"}, ran.text


@needs_reports
def test_a_subtest_that_skips_is_compared_with_a_fresh_process(project):
    skips = FIXTURE.replace("assert CONDITION", 'pytest.skip("not here")')
    project.write(skips)
    ran = project.run_apart("--repro-update", "--repro-isolate")
    assert ran.exit_code == 0, ran.text
    assert "1 recorded" in ran.text
    # The control: what another process would give is still seen.
    project.write("\n    import os\n" + skips.replace("(noise, name", "(noise + os.getpid(), name"))
    ran = project.run_apart("--repro-update", "--repro-isolate")
    assert "in a fresh process, drew the same noise" in ran.text, ran.text


@needs_reports
@BOTH
def test_a_drift_is_shown_beside_a_failing_subtest(project, source):
    project.write(source.replace("CONDITION", "noise is not None"))
    project.record()
    project.write(source.replace("CONDITION", "noise is None").replace(", name", " * 2, name"))
    ran = project.run()
    assert set(ran.verdicts.values()) == {"drift"}
    assert "would pass" in ran.text
