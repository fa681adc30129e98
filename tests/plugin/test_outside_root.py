"""Tests outside of pytest's root folder are known by path: none takes another's baseline."""

from __future__ import annotations

import pytest

TEST = """
    @pytest.mark.repro
    def test_a(repro_generator, repro_check):
        repro_check(repro_generator.random(4) * {factor}, name="out")
"""


@pytest.fixture
def inner(project, monkeypatch):
    """The root folder is `inner`; two folders beside it have a test of one name."""
    (project.folder / "inner").mkdir()
    (project.folder / "pytest.ini").rename(project.folder / "inner" / "pytest.ini")
    for factor, folder in enumerate(("one", "two"), start=1):
        project.write(TEST.format(factor=factor), f"{folder}/test_x.py")
    project.write(TEST.format(factor=3), "inner/test_x.py")
    project.baselines = project.folder / "inner" / "baselines"
    return ("-c", "inner/pytest.ini", "--rootdir=inner")


def test_each_has_a_baseline_of_its_own(project, inner):
    for folder in ("one", "two", "inner"):
        ran = project.run(*inner, folder, "--repro-update")
        assert ran.exit_code == 0, ran.text
        assert [row["verdict"] for row in ran.rows] == ["recorded"], ran.text
    for folder, module in (("one", "../one/test_x.py"), ("two", "../two/test_x.py")):
        ran = project.run(*inner, folder)
        assert ran.exit_code == 0, ran.text
        assert [row["check"] for row in ran.rows] == [f"{module}::test_a::out"]
        assert [row["verdict"] for row in ran.rows] == ["exact"]
    assert len([one for one in project.files() if one.endswith(".yaml")]) == 3
    assert all((project.baselines / one).is_file() for one in project.files())


def test_a_drift_is_named_by_a_path_that_can_be_run(project, inner):
    project.run(*inner, "one", "--repro-update")
    project.write(TEST.format(factor=2), "one/test_x.py")
    ran = project.run(*inner, "one")
    assert ran.exit_code == 1
    (command,) = [line for line in ran.failure.splitlines() if line.startswith("  next")]
    assert "'one/test_x.py::test_a'" in command, command


def test_one_that_checks_nothing_is_not_taken_for_one_of_the_same_name(project, inner):
    project.run(*inner, "inner", "--repro-update")
    project.run(*inner, "one", "--repro-update")
    project.write(
        """
        def test_a(repro_generator):
            repro_generator.random(4)
        """,
        "one/test_x.py",
    )
    ran = project.run(*inner, "one")
    assert ran.exit_code == 1
    assert "../one/test_x.py::test_a::out" in ran.text
    assert " test_x.py::test_a" not in ran.text
