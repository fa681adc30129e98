"""Baselines that a test which passed did not ask for: a run that compared less must say so."""

from __future__ import annotations

import pytest

LOOP = """
    @pytest.mark.repro
    def test_images(repro_generator, repro_check):
        for number in range(COUNT):
            repro_check(repro_generator.standard_normal(2), name=f"image{number}")

    @pytest.fixture
    def check(repro_check):
        return repro_check

    def test_unmarked(repro_generator, check):
        for number in range(COUNT):
            check(repro_generator.standard_normal(2), name=f"image{number}")

    @pytest.mark.repro
    def test_whole(repro_generator, repro_check):
        repro_check(repro_generator.standard_normal(2), name="image")
"""
SAID = "passed without making"


def with_count(count, source=LOOP):
    return source.replace("COUNT", str(count))


@pytest.fixture
def recorded(project):
    project.write(with_count(3))
    project.record()
    whole = project.run()
    assert whole.exit_code == 0
    assert SAID not in whole.text
    return project


def test_a_test_that_makes_fewer_checks_turns_the_run_red(recorded):
    recorded.write(with_count(2))
    ran = recorded.run()
    assert ran.exit_code == 1
    assert set(ran.verdicts.values()) == {"exact"}
    assert (
        f"2 baselines were compared with nothing: their tests {SAID} these checks" in ran.closing[0]
    )
    assert ran.closing[1:4] == [
        "  test_story.py::test_images::image2",
        "  test_story.py::test_unmarked::image2",
        "  next   check it again, or delete it: "
        "pytest-repro prune --check 'test_story.py::test_images::image2'",
    ]


def test_an_unmarked_test_that_makes_no_check_any_more_is_seen(recorded):
    recorded.write(with_count(0))
    ran = recorded.run("-k", "test_unmarked")
    assert ran.exit_code == 1
    assert ran.verdicts == {}
    assert all(f"test_story.py::test_unmarked::image{number}" in ran.text for number in range(3))


@pytest.mark.parametrize("source", [with_count(2), with_count(0)])
def test_with_workers_too(recorded, source):
    recorded.write(source)
    ran = recorded.run_apart("-n", "2", "-k", "test_unmarked or test_whole")
    assert ran.exit_code == 1
    assert "  test_story.py::test_unmarked::image2" in ran.text
    assert "test_images" not in ran.text  # it did not run


def test_what_did_not_run_to_its_end_or_was_not_selected_is_not_said(recorded):
    assert SAID not in recorded.run("-k", "test_whole").text
    for last in ('pytest.skip("no")', "assert number", 'pytest.xfail("no")'):
        stopped = f'name=f"image{{number}}")\n            {last}'
        recorded.write(with_count(3).replace('name=f"image{number}")', stopped))
        assert SAID not in recorded.run().text


def test_what_a_fallback_holds_is_named_as_well(recorded):
    recorded.rename_framework("numpy-1.0.0")
    assert SAID not in recorded.run().text
    recorded.write(with_count(2))
    ran = recorded.run()
    assert ran.exit_code == 1, ran.text
    assert "  test_story.py::test_images::image2" in ran.closing


def test_a_recording_says_it_and_deletes_nothing(recorded):
    before = recorded.files()
    recorded.write(with_count(2))
    ran = recorded.record()
    assert SAID in ran.text
    assert recorded.files() == before


def test_the_report_and_the_summary_say_it(recorded):
    recorded.write(with_count(2))
    recorded.run("--repro-report=report", "--repro-summary=summary.md")
    assert SAID in (recorded.folder / "report" / "report.json").read_text(encoding="utf-8")
    assert SAID in (recorded.folder / "summary.md").read_text(encoding="utf-8")
