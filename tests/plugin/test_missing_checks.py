"""Checks that a reference has and a test no longer makes are named under a fallback, too."""

from __future__ import annotations

import shlex

import pytest

from pytest_repro.plugin.closing import missing_checks_text
from tests.stories.other_hardware import other_cores

LOOP = """
    @pytest.mark.repro
    def test_images(repro_generator, repro_check):
        for number in range({count}):
            repro_check(repro_generator.standard_normal(2), name=f"image{{number}}")
"""


@pytest.fixture
def fallback(project):
    project.write(LOOP.format(count=3))
    project.record()
    other_cores(project)
    return project


def test_a_fallback_names_the_checks_that_were_not_made(fallback):
    fallback.write(LOOP.format(count=1))
    ran = fallback.run()
    assert ran.exit_code == 1
    assert "2 baselines were compared with nothing" in ran.text
    assert "test_story.py::test_images::image1" in ran.text
    assert "test_story.py::test_images::image2" in ran.text


def test_the_control_all_checks_are_made(fallback):
    ran = fallback.run()
    assert ran.exit_code == 0, ran.text
    assert "compared with nothing" not in ran.text


def test_what_the_own_key_has_of_a_test_is_all_that_it_must_check(fallback):
    """The manifest of other hardware may be older than the test."""
    fallback.write(LOOP.format(count=1))
    fallback.run("--repro-update")
    assert fallback.run().exit_code == 0


def test_the_printed_command_is_one_word_for_a_shell_whatever_the_name_holds():
    for check in ("test_x.py::test_a::image", "test_x.py::test_a[it's $(here)]::image"):
        *_, last = missing_checks_text([check]).splitlines()
        assert shlex.split(last.partition("delete it: ")[2])[-1] == check
        assert last.endswith("'")
