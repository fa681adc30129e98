"""--repro-report and --repro-summary: what is left behind, what is not, and that verdicts stay."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest

from pytest_repro.plugin.reporting import Reporting
from pytest_repro.settings import Settings
from pytest_repro.store.store import Store
from pytest_repro.store.verify import verify

TWO = """
    @pytest.mark.repro
    def test_noise(repro_generator, repro_check):
        noise = repro_generator.standard_normal(4)
        repro_check(noise, name="noise")
        repro_check(noise * 2, name="twice")
"""


@pytest.fixture
def report(project):
    return project.folder / "report"


def read(report):
    return json.loads((report / "report.json").read_text())


def verdicts(report):
    return {one["check"].partition("::")[2]: one["verdict"] for one in read(report)["checks"]}


def observed(report):
    return Store(report / "observed", root=report)


def test_a_run_in_which_all_is_exact_leaves_the_document_and_the_page_only(project, report):
    project.write(TWO)
    project.record()
    ran = project.run("--repro-report=report")
    assert ran.exit_code == 0, ran.text
    assert sorted(one.name for one in report.iterdir()) == ["index.html", "report.json"]
    assert verdicts(report) == {"test_noise::noise": "exact", "test_noise::twice": "exact"}
    assert f"report: {report / 'index.html'}" in ran.text


def test_what_drifted_is_kept_whole_and_what_is_exact_is_not(project, report):
    project.write(TWO)
    project.record()
    before = project.files()
    project.write(TWO.replace("* 2", "* 3"))
    ran = project.run("--repro-report", "report")
    assert ran.exit_code == 1
    assert verdicts(report) == {"test_noise::noise": "exact", "test_noise::twice": "drift"}
    found = verify(observed(report))
    assert (found.check_count, found.tensor_count, found.findings) == (1, 1, ())
    (entry,) = (one for one in read(report)["checks"] if one["verdict"] == "drift")
    assert (entry["runs"], entry["cause"], entry["gate"]) == (2, "code", "tolerance")
    assert entry["differences"][0][1]["differing_count"] == 4
    assert entry["leaves"][0]["baseline"] != entry["leaves"][0]["observed"]
    assert set(read(report)["environments"]) == {entry["site"], entry["baseline_site"]}
    assert project.files() == before  # a report writes no baseline


def test_a_missing_check_is_repeated_so_that_it_can_be_accepted(project, report):
    project.write(TWO + '    print("ran once more")\n')
    without = project.run("-s")
    ran = project.run("-s", "--repro-report=report")
    assert (without.verdicts, without.exit_code) == (ran.verdicts, ran.exit_code)
    assert {one["runs"] for one in read(report)["checks"]} == {2}
    assert project.files() == {}


def test_a_missing_check_that_does_not_repeat_itself_is_named_for_it(project, report):
    project.write("""
        import itertools
        count = itertools.count()

        @pytest.mark.repro
        def test_count(repro_check):
            repro_check(np.full(3, next(count)))
    """)
    assert project.run().verdicts == {"test_count::value": "missing"}
    project.run("--repro-report=report")
    (entry,) = read(report)["checks"]
    assert (entry["verdict"], entry["runs"]) == ("nondeterministic", 1)


def test_a_report_turns_no_passing_check_into_a_failing_one(project, report):
    source = """
        import itertools
        count = itertools.count()

        @pytest.mark.repro(tolerance={{"atol": 100.0}})
        def test_count(repro_check):
            repro_check(np.full(3, {start} + 0.0 * next(count) + {wobble}))
    """
    project.write(source.format(start=1, wobble=0))
    project.record()
    project.write(source.format(start=2, wobble="next(count)"))
    plain, reported = project.run(), project.run("--repro-report=report")
    assert plain.verdicts == reported.verdicts == {"test_count::value": "within"}
    assert plain.exit_code == reported.exit_code == 0
    (entry,) = read(report)["checks"]
    assert entry["runs"] == 1  # so `accept` refuses it


def test_recording_is_reported_with_its_envelope(project, report):
    project.write(TWO)
    ran = project.run("--repro-update", "--repro-report=report")
    assert ran.exit_code == 0, ran.text
    assert set(verdicts(report).values()) == {"recorded"}
    store = observed(report)
    (key,) = store.keys()
    kept = store.manifest(key, "test_story.py")
    assert all(one.tensors[0].envelope is not None for one in kept)


def test_an_earlier_report_is_replaced_and_a_foreign_folder_is_not_touched(project, report):
    project.write(TWO)
    project.run("--repro-report=report")
    assert (report / "observed").is_dir()
    project.record()
    project.run("--repro-report=report")
    assert not (report / "observed").exists()
    (report / "thesis.tex").write_text("mine")
    ran = project.run("--repro-report=report")
    assert ran.exit_code == 4
    assert "holds other things" in ran.text
    assert "thesis.tex" in ran.text
    assert (report / "report.json").is_file()


def test_without_jinja2_the_document_appears_and_a_line_says_what_to_install(
    project, report, monkeypatch
):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    monkeypatch.delitem(sys.modules, "pytest_repro.report.html", raising=False)
    project.write(TWO)
    ran = project.run("--repro-report=report")
    assert "pip install 'pytest-repro[report]'" in ran.text
    assert "jinja2" in ran.text
    assert not (report / "index.html").exists()
    assert len(read(report)["checks"]) == 2


def test_names_from_tests_stay_text_in_page_and_summary(project, report):
    project.write("""
        @pytest.mark.repro
        def test_evil(repro_check):
            repro_check(np.zeros(2), name="</script><script>alert(1)</script>|x")
    """)
    project.run("--repro-report=report", "--repro-summary=summary.md")
    assert "<script>alert" not in (report / "index.html").read_text()
    text = (project.folder / "summary.md").read_text()
    assert "\\<script\\>" in text
    assert len([line for line in text.splitlines() if line.startswith("| missing")]) == 1


def test_a_summary_needs_no_report_and_keeps_nothing(project, report):
    project.write(TWO)
    ran = project.run("--repro-summary=out/summary.md")
    assert "2 checks**: 2 missing" in (project.folder / "out" / "summary.md").read_text()
    assert not report.exists()
    assert ran.failures


def test_collecting_only_leaves_an_earlier_report_alone(project, report):
    project.write(TWO)
    project.run("--repro-report=report")
    before = (report / "report.json").read_bytes()
    project.run("--repro-report=report", "--collect-only")
    assert (report / "report.json").read_bytes() == before


@pytest.mark.parametrize(
    ("broken", "arguments", "words"),
    [
        ("import no_such_module_anywhere", (), "cut short (exit code 2): errors while collecting"),
        ("def test_first(): assert False", ("-x",), "stopped before the last test: stopping after"),
        ("def test_first(): raise KeyboardInterrupt", (), "cut short (exit code 2)"),
        ("def test_fine(): assert True", (), ""),
    ],
)
def test_who_reads_the_report_alone_sees_that_not_every_test_ran(
    project, report, broken, arguments, words
):
    project.write(TWO)
    project.write(broken, name="test_a_broken.py")
    project.run_apart("-p", "no:xdist", "--repro-report=report", "--repro-summary=s.md", *arguments)
    notes = read(report)["notes"]
    summary = (project.folder / "s.md").read_text().replace("\\", "")
    if words:
        assert words in " ".join(notes)
        assert words in summary
        assert words in (report / "index.html").read_text()
    else:
        assert notes == []  # the control
        assert "cut short" not in summary


def test_two_workers_leave_the_report_of_one_process(project, report):
    for number in range(4):
        project.write(TWO, name=f"test_{number}.py")
    project.run_apart("-p", "no:xdist", "--repro-report=report")
    alone = read(report)
    assert len(alone["checks"]) == 8
    ran = project.run_apart("-n2", "--repro-report=report")
    assert "report:" in ran.text
    together = read(report)
    assert together["checks"] == alone["checks"]
    assert set(together["files"]) == set(alone["files"])
    assert verify(observed(report)).findings == ()
    assert together["notes"] == []


def node(popen):
    spec = SimpleNamespace(popen=popen)
    return SimpleNamespace(workerinput={}, gateway=SimpleNamespace(spec=spec, id="gw3"))


def test_a_worker_without_our_disk_is_told_to_keep_nothing_and_named(project, report):
    config = SimpleNamespace(
        invocation_params=SimpleNamespace(dir=project.folder), rootpath=project.folder
    )
    reporting = Reporting(config, settings(report="report"))
    near, far = node(popen=True), node(popen=None)
    reporting.tell_worker(near)
    reporting.tell_worker(far)
    assert near.workerinput == {"repro_report": str(report)}
    assert far.workerinput == {"repro_report": ""}
    reporting.prepare()
    reporting.write([], "2026-01-02T03:04:05Z")
    (note,) = read(report)["notes"]
    assert "worker gw3 does not share the disk" in note


def test_a_value_of_a_lost_worker_is_not_claimed(project, report):
    config = SimpleNamespace(
        invocation_params=SimpleNamespace(dir=project.folder), rootpath=project.folder
    )
    reporting = Reporting(config, settings(report="report"))
    reporting.prepare()
    lost = {"check": "t.py::t::v", "verdict": "drift", "key": "cpu/numpy", "runs": 2}
    reporting.take({"checks": [lost], "sites": {}})
    reporting.write([], "2026-01-02T03:04:05Z")
    assert "runs" not in read(report)["checks"][0]
    assert "1 observed values are missing" in read(report)["notes"][0]


def settings(**more) -> Settings:
    from dataclasses import replace

    from pytest_repro.settings import settings_from

    return replace(settings_from({}, {}), **more)
