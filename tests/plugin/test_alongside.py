"""Beside other plugins and options of pytest: xdist, rerunfailures, -x, -k, import modes."""

from __future__ import annotations

import re

import pytest

SUITE = """
    @pytest.mark.repro
    @pytest.mark.parametrize("count", range(6))
    def test_noise(repro_generator, repro_check, count):
        repro_check(repro_generator.standard_normal(count + 1), name="noise")

    @pytest.mark.repro(seed=4)
    def test_other(repro_generator, repro_check):
        repro_check(repro_generator.standard_normal(2), name="noise")
"""


def recorded_with(project, *arguments):
    for path in sorted(project.baselines.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    ran = project.run_apart("--repro-update", *arguments)
    assert ran.exit_code == 0, ran.text
    assert any("14 checks: 14 recorded" in line for line in ran.closing)
    return project.files_without_times()


def test_recording_with_workers_gives_the_bytes_of_one_process(project):
    pytest.importorskip("xdist")
    project.write(SUITE)
    project.write(SUITE, "sub/test_sub.py")
    serial = recorded_with(project)
    assert len([name for name in serial if name.endswith(".yaml")]) == 2
    for count in (2, 4):
        assert recorded_with(project, "-n", str(count)) == serial


def test_a_group_of_workers_is_no_part_of_a_check(project):
    pytest.importorskip("xdist")
    project.write("""
        @pytest.mark.repro
        @pytest.mark.xdist_group("one")
        @pytest.mark.parametrize("text", ["plain", "at@one"])
        def test_noise(repro_generator, repro_check, text):
            repro_check(repro_generator.standard_normal(2), name="noise")
    """)
    project.record()
    for distribution in ("loadgroup", "load"):
        ran = project.run_apart("-n", "1", "--dist", distribution)
        assert ran.closing == ["2 checks: 2 exact"]
    ran = project.run_apart("-n", "1", "--dist", "loadgroup", "--repro-update=all",
                            "--repro-isolate", "--repro-envelope=0")  # fmt: skip
    assert ran.exit_code == 0, ran.text
    entry = "test_noise[plain]::noise"
    assert f"{entry}:" in project.manifest.read_text(encoding="utf-8").replace("'", "")


def test_the_controller_prints_the_closing_lines_of_all_workers(project):
    pytest.importorskip("xdist")
    project.write(SUITE)
    project.record()
    project.write(SUITE.replace("seed=4", "seed=5"))
    ran = project.run_apart("-n", "2")
    assert ran.exit_code == 1
    assert ran.closing == [
        "7 checks: 6 exact, 1 drift",
        "drift: test_story.py::test_other::noise",
    ]


def test_a_worker_that_cannot_write_fails_the_run(project):
    pytest.importorskip("xdist")
    project.write(SUITE)
    project.baselines.write_text("a file", encoding="utf-8")
    ran = project.run_apart("-n", "2", "--repro-update")
    assert ran.exit_code == 1
    assert "NotADirectoryError" in ran.text


FLAKY = """
    runs = []

    @pytest.mark.repro
    def test_flaky(repro_generator, repro_check):
        runs.append(1)
        repro_check(repro_generator.standard_normal(3), name="noise")
        assert len(runs) > {failing}, "flaky"
"""


def test_reruns_do_not_turn_missing_green(project):
    pytest.importorskip("pytest_rerunfailures")
    project.write(FLAKY.format(failing=0))
    ran = project.run_apart("--reruns", "1")
    assert ran.exit_code == 1
    assert ran.counts == {"failed": 1, "rerun": 1}
    assert "no baseline has been recorded" in ran.text
    assert project.files() == {}


def test_a_rerun_never_records(project):
    pytest.importorskip("pytest_rerunfailures")
    project.write(FLAKY.format(failing=1))
    for _ in range(2):
        ran = project.run_apart("--reruns", "3", "--repro-update")
        assert ran.exit_code == 1
        assert project.files() == {}
    project.write(FLAKY.format(failing=0))
    ran = project.run_apart("--reruns", "3", "--repro-update")
    assert ran.exit_code == 0
    assert project.files() != {}


FIRST_FIXTURE_FAILS = """
    runs = []

    @pytest.fixture
    def fragile():
        runs.append(1)
        assert len(runs) > {failing}, "not up yet"

    @pytest.mark.repro
    def test_fragile(fragile, repro_generator, repro_check):
        repro_check(repro_generator.standard_normal(3), name="noise")
"""


def test_a_rerun_after_a_fixture_failed_never_records(project):
    pytest.importorskip("pytest_rerunfailures")
    project.write(FIRST_FIXTURE_FAILS.format(failing=1))
    ran = project.run_apart("--reruns", "3", "--repro-update")
    assert ran.exit_code == 1
    assert "not recorded: this is a rerun of the test" in ran.text
    assert project.files() == {}
    project.write(FIRST_FIXTURE_FAILS.format(failing=0))
    assert project.run_apart("--reruns", "3", "--repro-update").exit_code == 0
    assert project.files() != {}


def test_a_test_that_fails_itself_says_why_nothing_was_recorded(project):
    project.write(FLAKY.format(failing=1))
    ran = project.run("--repro-update")
    assert "not recorded: the test itself failed" in ran.failure
    assert "not recorded" not in project.run().failure
    assert project.files() == {}


def test_a_plugin_that_runs_tests_again_by_itself_never_records(project):
    # As `flaky` does it: the phases of one item again and again, in one process.
    project.conftest("""
        import pytest
        from _pytest.runner import runtestprotocol

        def pytest_runtest_protocol(item, nextitem):
            item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
            for _ in range(3):
                reports = runtestprotocol(item, nextitem=nextitem, log=False)
                if not any(one.failed for one in reports):
                    break
            for one in reports:
                item.ihook.pytest_runtest_logreport(report=one)
            return True
    """)
    project.write(FLAKY.format(failing=1))
    ran = project.run("--repro-update")
    assert ran.verdicts == {"test_flaky::noise": "missing"}
    assert "not recorded: this is a rerun of the test" in ran.failure
    assert project.files() == {}
    project.write(FLAKY.format(failing=0))
    assert project.run("--repro-update").exit_code == 0
    assert project.files() != {}


def test_a_rerun_of_a_recorded_test_is_judged(project):
    pytest.importorskip("pytest_rerunfailures")
    project.write(FLAKY.format(failing=0))
    project.record()
    project.write(FLAKY.format(failing=1))
    ran = project.run_apart("--reruns", "2")
    assert ran.exit_code == 0, ran.text
    assert ran.counts == {"passed": 1, "rerun": 1}


@pytest.mark.parametrize(
    "arguments",
    [
        ("-p", "no:cacheprovider"),
        ("-x",),
        ("-k", "noise"),
        ("--import-mode=importlib",),
        ("--import-mode=prepend",),
        ("--import-mode=append",),
        ("-p", "no:terminal"),
        ("--tb=native",),
        ("-q",),
        ("--setup-show",),
        ("--runxfail",),
        ("-o", "console_output_style=times"),
    ],
    ids=" ".join,
)
def test_options_of_pytest_change_no_verdict(project, arguments):
    project.write(SUITE)
    project.write(SUITE, "sub/test_sub.py")
    quiet = {} if "no:terminal" in arguments else None
    recorded = project.run("--repro-update", *arguments)
    assert recorded.exit_code == 0
    assert set(recorded.verdicts.values()) == {"recorded"}
    exact = project.run(*arguments)
    assert exact.exit_code == 0
    assert set(exact.verdicts.values()) == {"exact"}
    assert recorded.verdicts.keys() == exact.verdicts.keys()
    project.write(SUITE.replace("count + 1", "count + 2"))
    drift = project.run(*arguments)
    assert drift.exit_code == 1
    assert "drift" in drift.verdicts.values()
    assert quiet is None or not drift.text.strip()


def test_stopping_at_the_first_failure_judges_no_further_test(project):
    project.write(SUITE)
    ran = project.run("-x")
    assert ran.verdicts == {"test_noise[0]::noise": "missing"}
    assert ran.closing[0] == "1 check: 1 missing"


def test_deselected_baselines_stay(project):
    project.write(SUITE)
    project.record()
    before = project.files()
    assert project.run("--repro-update=all", "-k", "other").verdicts == {
        "test_other::noise": "unchanged"
    }
    assert project.files() == before


def test_without_the_plugin_the_fixture_is_unknown(project):
    project.ini("markers = repro: not here")
    (project.folder / "pytest.ini").write_text("[pytest]\nmarkers = repro\n", encoding="utf-8")
    project.write(SUITE)
    ran = project.run("-p", "no:repro")
    assert ran.exit_code == 1
    assert "fixture 'repro_generator' not found" in ran.text


def test_without_the_plugin_the_decorator_says_that_nothing_would_be_compared(project):
    (project.folder / "pytest.ini").write_text("[pytest]\nmarkers = repro\n", encoding="utf-8")
    project.write("""
        @repro()
        def test_plain():
            return np.zeros(2)
    """)
    ran = project.run("-p", "no:repro")
    assert ran.exit_code == 1
    assert "pytest-repro is not active here" in ran.failure


def test_the_run_works_without_xdist_and_rerunfailures(project):
    project.write(SUITE)
    ran = project.run_apart(
        "-p", "no:xdist", "-p", "no:xdist.looponfail", "-p", "no:rerunfailures", "--repro-update"
    )
    assert ran.exit_code == 0, ran.text


def test_collecting_alone_computes_and_writes_nothing(project):
    project.write(SUITE)
    ran = project.run("--collect-only", "--repro-update")
    assert ran.exit_code == 0
    assert re.search(r"-+ repro -+", ran.text) is None
    assert project.files() == {}


LAUNDERED = """
    runs = []

    @pytest.mark.repro
    def test_value(repro_generator, repro_check):
        runs.append(1)
        repro_check(repro_generator.standard_normal(3) + (len(runs) <= {bad}), name="noise")
"""


@pytest.mark.parametrize(("bad", "verdict"), [(1, "nondeterministic"), (2, "drift")])
def test_an_attempt_that_passes_does_not_undo_one_that_did_not(project, bad, verdict):
    pytest.importorskip("pytest_rerunfailures")
    project.write(LAUNDERED.format(bad=0))
    project.record()
    assert project.run_apart("--reruns", "2").exit_code == 0
    project.write(LAUNDERED.format(bad=bad))
    for arguments in ((), ("-n", "2")):
        ran = project.run_apart("--reruns", "2", *arguments)
        assert ran.counts == {"passed": 1, "rerun": 1}
        assert ran.exit_code == 1, ran.text
        assert "These checks failed before a rerun passed." in ran.text
        assert f"{verdict}: test_story.py::test_value::noise" in ran.text
