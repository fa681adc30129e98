"""The ini key ``repro_suite``: which tests a line covers, and what it may say."""

from __future__ import annotations

import pytest

from pytest_repro.plugin.suite import parse_rule


@pytest.mark.parametrize(
    ("glob", "path", "covers"),
    [
        ("tests/pipelines", "tests/pipelines/ddim/test_ddim.py", True),
        ("tests/pipelines/", "tests/pipelines/test_ddim.py", True),
        ("tests/*/test_ddim.py", "tests/pipelines/test_ddim.py", True),
        ("tests/pipe*", "tests/pipelines/test_ddim.py", True),
        ("tests/pipelines", "tests/pipelines_old/test_ddim.py", False),
        ("pipelines", "tests/pipelines/test_ddim.py", False),
    ],
)
def test_a_line_covers_what_its_glob_or_a_folder_above_matches(glob, path, covers):
    assert parse_rule(glob).covers(path) is covers


def test_arguments_of_the_marker_follow_the_glob():
    rule = parse_rule("tests trace=cells runs=3 tolerance=rel_l2:1e-5 reason='a b'")
    assert dict(rule.arguments) == {
        "trace": "cells",
        "runs": "3",
        "tolerance": {"rel_l2": 1e-5},
        "reason": "a b",
    }


def test_a_word_that_is_no_argument_is_refused_with_an_example():
    with pytest.raises(pytest.UsageError, match="for example"):
        parse_rule("tests cells")


def test_a_covered_test_that_calls_no_pipeline_passes_and_others_are_left_alone(pytester):
    pytester.makeini("[pytest]\nrepro_framework = numpy\nrepro_suite = suite\n")
    folder = pytester.mkdir("suite")
    (folder / "test_in.py").write_text("def test_in(): pass\n", encoding="utf-8")
    pytester.makepyfile(
        test_out="def test_out(request): assert not list(request.node.iter_markers())"
    )
    pytester.runpytest_inprocess("-p", "no:xdist").assert_outcomes(passed=2)
    selected = pytester.runpytest_inprocess("-p", "no:xdist", "-m", "repro")
    selected.assert_outcomes(passed=1, deselected=1)


def test_an_unknown_argument_fails_the_tests_it_covers(pytester):
    pytester.makeini("[pytest]\nrepro_framework = numpy\nrepro_suite = . traces=cells\n")
    pytester.makepyfile("def test_it(): pass")
    ran = pytester.runpytest_inprocess("-p", "no:xdist")
    ran.stdout.fnmatch_lines(["*unknown argument 'traces'*", "*did you mean 'trace'*"])
