"""Side by side with plugins that people use: record, compare and drift behave as they do alone."""

from __future__ import annotations

import json

import pytest

SOURCES = {
    "pytest_timeout": """
        import time

        @pytest.mark.timeout(4)
        @pytest.mark.repro
        def test_it(repro_generator, repro_check):
            time.sleep(1)
            repro_check(repro_generator.random(4) * {factor}, name="out")
    """,
    "pytest_benchmark": """
        @pytest.mark.repro
        def test_it(benchmark, repro_generator, repro_check):
            benchmark.pedantic(lambda: None, rounds=1)
            repro_check(repro_generator.random(4) * {factor}, name="out")
    """,
    "pytest_mock": """
        @pytest.mark.repro
        def test_it(mocker, repro_generator, repro_check):
            mocker.patch("os.replace")
            mocker.patch("builtins.open")
            mocker.patch("pathlib.Path.is_file", return_value=False)
            mocker.patch.dict("sys.modules", {{"yaml": None, "json": None}})
            repro_check(repro_generator.random(4) * {factor}, name="out")
    """,
    "pyfakefs": """
        @pytest.mark.repro
        def test_it(fs, repro_generator, repro_check):
            fs.create_file("/weights.bin", contents="x")
            repro_check(repro_generator.random(4) * {factor}, name="out")
    """,
    "time_machine": """
        import time_machine

        @pytest.fixture
        def frozen():
            with time_machine.travel("2999-01-01", tick=False):
                yield

        @pytest.mark.repro
        def test_it(frozen, repro_generator, repro_check):
            repro_check(repro_generator.random(4) * {factor}, name="out")
    """,
    "pytest_randomly": """
        @pytest.fixture
        def legacy():
            return np.random.randn(4) + random.random()

        @pytest.mark.repro
        def test_it(legacy, repro_check):
            repro_check(legacy * {factor}, name="out")
    """,
    "pytest_asyncio": """
        @pytest.mark.asyncio
        @pytest.mark.repro
        async def test_it(repro_generator, repro_check):
            repro_check(repro_generator.random(4) * {factor}, name="out")
    """,
    "pytest_asyncio.plugin": """
        @pytest.mark.asyncio
        @repro(name="out")
        async def test_it(repro_generator):
            return repro_generator.random(4) * {factor}
    """,
    "anyio": """
        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @pytest.mark.anyio
        @pytest.mark.repro
        async def test_it(repro_generator, repro_check):
            repro_check(repro_generator.random(4) * {factor}, name="out")
    """,
    "pytest_bdd": """
        from pytest_bdd import scenario, then

        @pytest.mark.repro
        @scenario("it.feature", "it")
        def test_it():
            pass

        @then("it is checked")
        def checked(repro_generator, repro_check):
            repro_check(repro_generator.random(4) * {factor}, name="out")
    """,
    "logging": """
        import logging

        @pytest.mark.repro
        def test_it(caplog, record_property, repro_generator, repro_check):
            logging.getLogger("model").warning("unsafe weights")
            record_property("depth", 3)
            repro_check(repro_generator.random(4) * {factor}, name="out")
            assert caplog.messages == ["unsafe weights"]
    """,
}
FEATURE = "Feature: it\n  Scenario: it\n    Then it is checked\n"


@pytest.mark.parametrize("plugin", SOURCES)
def test_record_compare_and_drift(project, plugin):
    pytest.importorskip(plugin)
    (project.folder / "it.feature").write_text(FEATURE, encoding="utf-8")
    project.write(SOURCES[plugin].format(factor=1))
    assert list(project.record().verdicts.values()) == ["recorded"]
    assert "2999" not in project.manifest.read_text(encoding="utf-8")
    compared = project.run()
    assert list(compared.verdicts.values()) == ["exact"], compared.text
    assert compared.exit_code == 0
    before = project.files()
    project.write(SOURCES[plugin].format(factor=2))
    drifted = project.run()
    assert list(drifted.verdicts.values()) == ["drift"], drifted.text
    assert drifted.exit_code == 1
    assert project.files() == before


def test_the_benchmark_table_has_the_first_run_only(project):
    pytest.importorskip("pytest_benchmark")
    project.write(SOURCES["pytest_benchmark"].format(factor=1))
    project.record("--benchmark-json=table.json")
    table = json.loads((project.folder / "table.json").read_text(encoding="utf-8"))
    assert len(table["benchmarks"]) == 1


def test_properties_and_output_are_those_of_the_first_run(project):
    project.write("""
        @pytest.mark.repro
        def test_it(record_property, repro_generator, repro_check):
            print("computing")
            record_property("depth", 3)
            repro_check(repro_generator.random(4), name="out")
    """)
    ran = project.record("--junitxml=junit.xml", "-rP")
    text = (project.folder / "junit.xml").read_text(encoding="utf-8")
    assert text.count('name="depth"') == 1
    assert ran.text.count("computing") == 1


def test_a_test_that_pytest_check_fails_after_its_body_is_not_recorded(project):
    pytest.importorskip("pytest_check")
    project.write("""
        from pytest_check import check

        @pytest.mark.repro
        def test_it(repro_generator, repro_check):
            check.equal(1, 2)
            repro_check(repro_generator.random(4), name="out")
    """)
    ran = project.run("--repro-update")
    assert ran.exit_code == 1
    assert project.files() == {}


def test_repeats_have_the_baseline_of_their_test(project):
    pytest.importorskip("pytest_repeat")
    project.write("""
        @pytest.mark.repro
        @pytest.mark.parametrize("count", [4])
        def test_it(repro_generator, repro_check, count):
            repro_check(repro_generator.random(count), name="out")
    """)
    project.record()
    ran = project.run("--count=3")
    assert ran.exit_code == 0, ran.text
    assert [row["verdict"] for row in ran.rows] == ["exact"] * 3
    assert {row["check"] for row in ran.rows} == {"test_story.py::test_it[4]::out"}


@pytest.mark.parametrize(
    ("plugin", "options"),
    [("xdist", ("-n", "2")), ("pytest_rerunfailures", ("--reruns", "1"))],
)
def test_a_drift_is_red_under_plugins_that_run_tests_themselves(project, plugin, options):
    pytest.importorskip(plugin)
    source = """
        @pytest.mark.repro
        def test_it(repro_generator, repro_check):
            repro_check(repro_generator.random(4) * {factor}, name="out")
    """
    project.write(source.format(factor=1))
    assert project.run_apart("--repro-update", *options).exit_code == 0
    assert project.run_apart(*options).exit_code == 0
    project.write(source.format(factor=2))
    assert project.run_apart(*options).exit_code == 1


def test_hypothesis_runs_a_checked_example_once(project):
    pytest.importorskip("hypothesis")
    project.write("""
        from hypothesis import HealthCheck, given, settings, strategies

        @pytest.mark.repro
        @settings(max_examples=1, suppress_health_check=list(HealthCheck))
        @given(strategies.just(4))
        def test_it(repro_generator, repro_check, count):
            repro_check(repro_generator.random(count), name="out")
    """)
    assert project.run_apart("--repro-update").exit_code == 0
    assert project.run_apart().exit_code == 0
