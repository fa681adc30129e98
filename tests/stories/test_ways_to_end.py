"""A check that was made is judged however its test ends: a table of endings.

Each ending runs with a drifted check, against the own key and against a fallback, comparing and
updating. The table says the exit code; the verdict is always named, and nothing is ever recorded.
"""

from __future__ import annotations

import pytest

SOURCE = """
    import asyncio
    import sys
    import unittest

    {fixture}

    {mark}
    @pytest.mark.repro
    def test_image(repro_generator, repro_check):
        noise = repro_generator.standard_normal((8, 8)).astype("float32")
        repro_check(noise * np.float32({factor}), name="image")
        {ending}
"""
CASE = """
    import unittest

    @pytest.mark.repro
    class TestImage(unittest.TestCase):
        {mark}
        def test_image(self):
            noise = self.repro_generator.standard_normal((8, 8)).astype("float32")
            self.repro_check(noise * np.float32({factor}), name="image")
            {ending}
"""
FAILED, INTERRUPTED = 1, 2

ENDINGS = {
    "passes": ("pass", FAILED),
    "fails": ("pytest.fail('x')", FAILED),
    "raises": ("raise ValueError('x')", FAILED),
    "skips": ("pytest.skip('x')", FAILED),
    "skips as unittest does": ("raise unittest.SkipTest('x')", FAILED),
    "misses an import": ("pytest.importorskip('no_such_module')", FAILED),
    "xfails itself": ("pytest.xfail('x')", FAILED),
    "exits Python": ("sys.exit(0)", FAILED),
    "is cancelled": ("raise asyncio.CancelledError", FAILED),
    "is closed": ("raise GeneratorExit", FAILED),
    "exits pytest": ("pytest.exit('x', returncode=0)", FAILED),
}
CASE_ENDINGS = {
    "passes": ("pass", ""),
    "fails": ("self.fail('x')", ""),
    "skips": ("self.skipTest('x')", ""),
    "skips in a subtest": ("with self.subTest(i=1): self.skipTest('x')", ""),
    "fails in a subtest": ("with self.subTest(i=1): self.fail('x')", ""),
}
MARKS = {
    "xfail": ("@pytest.mark.xfail", "pass", 0),
    "xfail strict": ("@pytest.mark.xfail(strict=True)", "pass", 0),
    "xfail raises another": ("@pytest.mark.xfail(raises=KeyError)", "pass", FAILED),
    "xfail and raises": ("@pytest.mark.xfail", "raise ValueError('x')", 0),
    "xfail and skips": ("@pytest.mark.xfail", "pytest.skip('x')", 0),
}
TEARDOWNS = {
    "raises": "raise RuntimeError('late')",
    "skips": "pytest.skip('late')",
}
FALLBACKS = pytest.mark.parametrize("fallback", [False, True], ids=["own", "fallback"])
UPDATES = pytest.mark.parametrize("options", [(), ("--repro-update",)], ids=["compare", "update"])


def write(project, *, factor=1, ending="pass", mark="", fixture="", source=SOURCE):
    project.write(source.format(factor=factor, ending=ending, mark=mark, fixture=fixture))


def record(project, fallback, source=SOURCE):
    write(project, source=source)
    project.record()
    if fallback:
        stem, _, _ = project.manifest.parent.parent.name.partition("-l2_")
        before, _, _ = stem.rpartition("-")
        project.rename_hardware(f"{before}-77c")


def demand_drift(ran, exit_code):
    assert ran.exit_code == exit_code, ran.text
    assert "image" in ran.text
    assert "1 drift" in ran.text
    assert "INTERNALERROR" not in ran.text


@FALLBACKS
@pytest.mark.parametrize("name", ENDINGS)
def test_a_drift_is_judged_however_the_body_ends(project, name, fallback):
    ending, exit_code = ENDINGS[name]
    record(project, fallback)
    before = project.files()
    write(project, factor=3, ending=ending)
    demand_drift(project.run(), exit_code)
    assert project.files() == before


@pytest.mark.parametrize("name", [one for one in ENDINGS if one != "passes"])
def test_nothing_is_recorded_of_a_body_that_did_not_end_well(project, name):
    write(project, ending=ENDINGS[name][0])
    project.run("--repro-update")
    assert project.files() == {}
    record(project, fallback=False)
    before = project.files()
    write(project, factor=3, ending=ENDINGS[name][0])
    demand_drift(project.run("--repro-update"), ENDINGS[name][1])
    assert project.files() == before


def test_the_control_a_body_that_ends_well_is_updated(project):
    record(project, fallback=False)
    before = project.files()
    write(project, factor=3)
    ran = project.run("--repro-update")
    assert ran.exit_code == 0, ran.text
    assert list(ran.verdicts.values()) == ["updated"]
    assert project.files() != before


@UPDATES
@pytest.mark.parametrize("name", [one for one in CASE_ENDINGS if one != "passes"])
def test_a_test_case_is_judged_however_it_ends(project, name, options):
    record(project, fallback=False, source=CASE)
    before = project.files()
    ending, mark = CASE_ENDINGS[name]
    write(project, factor=3, ending=ending, mark=mark, source=CASE)
    ran = project.run(*options)
    if options and name == "skips in a subtest":  # the body itself came to its end
        assert list(ran.verdicts.values()) == ["updated"], ran.text
        return
    demand_drift(ran, FAILED)
    assert project.files() == before


@UPDATES
@FALLBACKS
@pytest.mark.parametrize("name", MARKS)
def test_a_marked_xfail_reports_its_drift_and_records_nothing(project, name, fallback, options):
    mark, ending, exit_code = MARKS[name]
    record(project, fallback)
    before = project.files()
    write(project, factor=3, mark=mark, ending=ending)
    demand_drift(project.run(*options), exit_code)
    assert project.files() == before


@UPDATES
def test_an_xfail_mark_does_not_excuse_a_missing_baseline(project, options):
    write(project, mark="@pytest.mark.xfail")
    ran = project.run(*options)
    assert ran.exit_code == FAILED, ran.text
    assert "a test marked xfail has no baseline" in ran.text
    assert project.files() == {}


@UPDATES
def test_with_runxfail_the_mark_is_ignored(project, options):
    write(project, mark="@pytest.mark.xfail")
    ran = project.run("--runxfail", *options)
    assert list(ran.verdicts.values()) == (["recorded"] if options else ["missing"]), ran.text


@pytest.mark.parametrize("name", TEARDOWNS)
def test_nothing_is_recorded_of_a_test_whose_teardown_fails(project, name):
    fixture = f"""
    @pytest.fixture(autouse=True)
    def late(request):
        yield
        {TEARDOWNS[name]}
    """
    write(project, fixture=fixture)
    project.run("--repro-update")
    assert project.files() == {}


@FALLBACKS
@pytest.mark.parametrize("name", TEARDOWNS)
def test_a_drift_is_judged_where_the_teardown_fails(project, name, fallback):
    """Every run ends so, which is no difference between them."""
    fixture = f"""
    @pytest.fixture(autouse=True)
    def late(request):
        yield
        {TEARDOWNS[name]}
    """
    record(project, fallback)
    before = project.files()
    write(project, factor=3, fixture=fixture)
    demand_drift(project.run(), FAILED)
    assert project.files() == before


SETUPS = {
    "skips": "pytest.skip('x')",
    "xfails": "pytest.xfail('x')",
    "raises": "raise ValueError('x')",
    "exits pytest": "pytest.exit('x', returncode=0)",
}
CHECKED_BY_A_FIXTURE = """
    @pytest.fixture
    def checked(repro_generator, repro_check):
        repro_check(repro_generator.standard_normal(8) * {factor}, name="image")
        {ending}

    @pytest.mark.repro
    def test_image(checked):
        pass
"""


@UPDATES
@FALLBACKS
@pytest.mark.parametrize("name", SETUPS)
def test_a_drift_in_a_fixture_is_judged_although_the_body_never_runs(
    project, name, fallback, options
):
    record(project, fallback, source=CHECKED_BY_A_FIXTURE)
    before = project.files()
    write(project, factor=3, ending=SETUPS[name], source=CHECKED_BY_A_FIXTURE)
    demand_drift(project.run(*options), FAILED)
    assert project.files() == before


def test_the_control_an_exact_check_in_a_fixture_that_skips_is_green(project):
    record(project, fallback=False, source=CHECKED_BY_A_FIXTURE)
    write(project, ending=SETUPS["skips"], source=CHECKED_BY_A_FIXTURE)
    ran = project.run()
    assert ran.exit_code == 0, ran.text
    assert list(ran.verdicts.values()) == ["exact"]
    assert ran.counts == {"skipped": 1}


HOOK = """
    import pytest

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(item, call):
        report = yield
        if report.when == "call" and report.failed:
            report.outcome, report.longrepr = "skipped", ("x.py", 1, "Skipped: network")
        return report
"""


@FALLBACKS
@pytest.mark.parametrize("by", ["a group of skips", "a hook"])
def test_a_report_that_becomes_a_skip_clears_no_drift(project, by, fallback):
    record(project, fallback)
    before = project.files()
    skips = "raise BaseExceptionGroup('x', [pytest.skip.Exception('x')])"
    write(project, factor=3, ending=skips if by == "a group of skips" else "pass")
    if by == "a hook":
        project.conftest(HOOK)
    ran = project.run()
    demand_drift(ran, FAILED)
    assert "reported as skipped. A skip clears no check." in ran.text
    assert ran.counts["skipped"] == 1
    assert project.files() == before


ENDED_BY_A_PLUGIN = """
    import pytest

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(item):
        if {condition}:
            pytest.skip("not today")
        yield
"""


def test_a_plugin_that_skips_before_the_call_hides_no_drift_of_a_fixture(project):
    record(project, fallback=False, source=CHECKED_BY_A_FIXTURE)
    write(project, factor=3, source=CHECKED_BY_A_FIXTURE)
    project.conftest(ENDED_BY_A_PLUGIN.format(condition=True))
    ran = project.run()
    assert ran.exit_code == FAILED, ran.text
    assert "test_image: a plugin ended it before its checks were judged" in ran.text
    project.conftest(ENDED_BY_A_PLUGIN.format(condition=False))  # the control
    ran = project.run()
    demand_drift(ran, FAILED)
    assert "a plugin ended it" not in ran.text


LATE = """
    @pytest.fixture
    def late(repro_check):
        yield
        try:
            repro_check(np.arange(3.0), name="late")
        except Exception:
            pass

    @pytest.mark.repro
    def test_image({late}repro_generator, repro_check):
        repro_check(repro_generator.standard_normal(8), name="image")
"""


def test_a_check_in_a_teardown_that_catches_its_error_is_red(project):
    project.write(LATE.format(late=""))
    project.record()
    assert project.run().exit_code == 0  # the control
    project.write(LATE.format(late="late, "))
    ran = project.run()
    assert ran.exit_code == FAILED, ran.text
    assert list(ran.verdicts.values()) == ["exact"]
    assert "a check after the end of the test would be compared with nothing" in ran.text


def test_nothing_is_recorded_of_a_test_that_another_plugin_fails(project):
    project.conftest(
        """
        import pytest

        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_makereport(item, call):
            report = yield
            if report.when == "call":
                report.outcome, report.longrepr = "failed", "a soft assertion failed"
            return report
        """
    )
    write(project)
    ran = project.run("--repro-update")
    assert ran.exit_code == FAILED
    assert "1 missing" in ran.text
    assert project.files() == {}


def test_a_check_whose_value_raises_is_not_green_when_the_test_catches_it(project):
    project.write(
        """
        class Lost:
            def __array__(self, dtype=None, copy=None):
                raise RuntimeError("device lost")

        @pytest.mark.repro
        def test_image(repro_check):
            try:
                repro_check(Lost(), name="image")
            except RuntimeError:
                pass
        """
    )
    ran = project.run()
    assert ran.exit_code == FAILED, ran.text
    assert "device lost" in ran.text


def test_a_keyboard_interrupt_still_names_the_drift(project):
    record(project, fallback=False)
    write(project, factor=3, ending="raise KeyboardInterrupt")
    ran = project.run_apart()
    assert ran.exit_code == INTERRUPTED, ran.text
    assert "drift: test_story.py::test_image::image" in ran.text
