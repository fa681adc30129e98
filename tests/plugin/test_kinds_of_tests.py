"""Every way to write a test: functions, parameters, classes, unittest, ddt, the decorator."""

from __future__ import annotations

import re

import pytest


def recorded_then_exact(project, *checks):
    """Record, run again, and demand these checks and no others."""
    assert set(project.record().verdicts.items()) == {(check, "recorded") for check in checks}
    again = project.run()
    assert again.exit_code == 0, again.text
    assert set(again.verdicts.items()) == {(check, "exact") for check in checks}


def drifts(project, source, old, new):
    """Write the source with a planted change and demand that each check is caught."""
    project.write(source.replace(old, new))
    ran = project.run()
    assert ran.exit_code == 1
    assert set(ran.verdicts.values()) == {"drift"}, ran.text
    return ran


UNITTEST = """
    import unittest

    @pytest.mark.repro(seed=3)
    class TestPipeline(unittest.TestCase):
        @classmethod
        def setUpClass(cls):
            print("set up class")

        def setUp(self):
            print("set up")
            self.noise = self.repro_generator.standard_normal(4)

        def tearDown(self):
            print("tear down")

        def test_noise(self):
            self.repro_check(self.noise * 1.0, name="noise")

        def test_batch(self):
            first, second = self.repro_generators(2)
            self.repro_check({"first": first.random(2), "second": second.random(2) * 1.0})
"""


def test_unittest_methods_have_the_fixtures_as_attributes(project):
    project.write(UNITTEST)
    recorded_then_exact(
        project, "TestPipeline::test_noise::noise", "TestPipeline::test_batch::value"
    )
    drifts(project, UNITTEST, "* 1.0", "* 1.5")


def test_the_repeat_of_a_unittest_method_sets_up_and_tears_down_again(project):
    project.write(UNITTEST)
    ran = project.record("-s", "-k", "test_noise", "--repro-envelope=0")
    words = re.findall(r"set up class|set up|tear down", ran.text)
    assert words == ["set up class", "set up", "tear down", "set up", "tear down"]


def test_an_assertion_of_unittest_shows_beside_the_drift(project):
    project.write(UNITTEST)
    project.record()
    changed = UNITTEST.replace(
        'self.repro_check(self.noise * 1.0, name="noise")',
        'self.repro_check(self.noise * 2.0, name="noise"); self.assertEqual(1, 2, "by hand")',
    )
    project.write(changed)
    ran = project.run("-k", "test_noise")
    assert ran.exit_code == 1
    failure = ran.failure
    assert "by hand" in failure
    assert "'noise': drift" in failure


def test_unittest_skips_and_expected_failures_are_left_alone(project):
    project.write("""
        import unittest

        @pytest.mark.repro
        class TestPipeline(unittest.TestCase):
            def test_skipped(self):
                self.skipTest("not here")

            @unittest.skip("nowhere")
            def test_never(self):
                raise AssertionError

            @unittest.expectedFailure
            def test_known(self):
                self.fail("known")
    """)
    ran = project.run()
    assert ran.exit_code == 0, ran.text
    assert ran.counts == {"skipped": 2, "xfailed": 1}


def test_a_unittest_method_that_checks_nothing_fails(project):
    project.write("""
        import unittest

        @pytest.mark.repro
        class TestPipeline(unittest.TestCase):
            def test_idle(self):
                self.assertTrue(True)
    """)
    ran = project.run()
    assert ran.exit_code == 1
    assert "TestPipeline::test_idle is marked repro but checked nothing" in ran.failure


DDT = """
    import unittest
    from ddt import data, ddt, unpack

    @ddt
    @pytest.mark.repro
    class TestFamily(unittest.TestCase):
        @data(*[("float32", 1), ("float16", 2)])
        @unpack
        def test_dtype(self, dtype, count):
            noise = self.repro_generator.standard_normal(count)
            self.repro_check((noise * 1.0).astype(dtype), name="noise")
"""


def test_ddt_classes_give_a_check_a_case(project):
    pytest.importorskip("ddt")
    project.write(DDT)
    checks = project.record().verdicts
    assert len(checks) == 2
    assert all(check.startswith("TestFamily::test_dtype_") for check in checks)
    assert set(project.run().verdicts.values()) == {"exact"}
    drifts(project, DDT, "* 1.0", "* 3.0")


CLASS = """
    class TestPipeline:
        pytestmark = pytest.mark.repro(seed=5)

        def setup_method(self):
            self.count = 0

        def test_noise(self, repro_generator, repro_check):
            self.count += 1
            repro_check(repro_generator.standard_normal(3) * self.count, name="noise")

        @pytest.mark.repro(seed=6)
        def test_other_seed(self, repro_generator, repro_check):
            repro_check(repro_generator.standard_normal(3) * 1, name="noise")
"""


def test_classes_of_pytest_get_a_fresh_instance_in_the_repeat(project):
    project.write(CLASS)
    checks = ("TestPipeline::test_noise::noise", "TestPipeline::test_other_seed::noise")
    recorded_then_exact(project, *checks)
    text = project.manifest.read_text(encoding="utf-8")
    assert "PCG64(5)" in text
    assert "PCG64(6)" in text


def test_an_instance_that_is_kept_between_runs_is_caught(project):
    project.write(
        CLASS.replace("def setup_method(self):\n            self.count = 0", "count = 0").replace(
            "self.count", "TestPipeline.count"
        )
    )
    ran = project.run("--repro-update", "-k", "test_noise")
    assert ran.verdicts == {"TestPipeline::test_noise::noise": "nondeterministic"}
    assert project.files() == {}


PARAMETERS = """
    @pytest.mark.repro
    @pytest.mark.parametrize(
        "value",
        [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        ids=["a[b]", "a/b", "../up", "größe", "a::b", "x: y # {z}"],
    )
    def test_value(value, repro_check):
        repro_check(np.full(2, value), name="image")
"""


def test_parametrised_ids_of_any_text_are_checks_of_their_own(project):
    project.write(PARAMETERS)
    recorded = project.record()
    assert len(recorded.verdicts) == 6
    again = project.run()
    assert again.verdicts == dict.fromkeys(recorded.verdicts, "exact")
    names = {name for name in project.files() if not name.startswith(("tensors/", "records/"))}
    assert len(names) == 1
    swapped = PARAMETERS.replace('"a[b]", "a/b"', '"a/b", "a[b]"')
    project.write(swapped)
    verdicts = project.run().verdicts
    assert verdicts["test_value[a/b]::image"] == verdicts["test_value[a[b]]::image"] == "drift"
    assert verdicts["test_value[../up]::image"] == "exact"


DECORATED = """
    import unittest

    @repro(seed=1, name="noise")
    def test_function(repro_generator):
        return repro_generator.standard_normal(3) * 1.0

    @repro(seed=2)
    @pytest.mark.parametrize("count", [1, 2])
    def test_parametrised(repro_generator, count):
        return repro_generator.standard_normal(count) * 1.0

    @repro(seed=3)
    class TestClass:
        def test_method(self, repro_generator):
            return {"noise": repro_generator.standard_normal(3) * 1.0}

        def helper(self):
            return None

    class TestCase(unittest.TestCase):
        @repro(seed=4, name="noise")
        def test_method(self):
            return self.repro_generator.standard_normal(3) * 1.0

    @repro(seed=5)
    class TestWholeCase(unittest.TestCase):
        def setUp(self):
            self.noise = self.repro_generator.standard_normal(3)

        def test_method(self):
            return self.noise * 1.0
"""


def test_the_decorator_checks_what_a_test_returns(project):
    project.write(DECORATED)
    recorded_then_exact(
        project,
        "test_function::noise",
        "test_parametrised[1]::value",
        "test_parametrised[2]::value",
        "TestClass::test_method::value",
        "TestCase::test_method::noise",
        "TestWholeCase::test_method::value",
    )
    drifts(project, DECORATED, "* 1.0", "* 1.25")


INHERITED = """
    class Mixin:
        def test_inherited(self, repro_generator):
            return repro_generator.standard_normal(3) * 1.0

        @staticmethod
        def test_static(repro_generator):
            return repro_generator.standard_normal(3) * 1.0

        @classmethod
        def test_of_class(cls, repro_generator):
            return repro_generator.standard_normal(3) * 1.0

    @repro(seed=1, name="noise")
    class TestBase(Mixin):
        pass

    @repro(seed=2, name="again")
    class TestDerived(TestBase):
        pass
"""


def test_the_decorator_of_a_class_checks_inherited_and_static_methods(project):
    project.write(INHERITED)
    methods = ("test_inherited", "test_static", "test_of_class")
    recorded_then_exact(
        project,
        *(f"TestBase::{method}::noise" for method in methods),
        *(f"TestDerived::{method}::again" for method in methods),
    )
    drifts(project, INHERITED, "* 1.0", "* 1.25")
    # The derived class's seed is its own, though its methods are those of the base.
    project.write(INHERITED.replace("seed=2", "seed=3"))
    ran = project.run()
    assert {one for one, word in ran.verdicts.items() if word == "drift"} == {
        f"TestDerived::{method}::again" for method in methods
    }


def test_what_else_a_decorated_class_collects_must_check_something(project):
    project.write("""
        @repro()
        class TestClass:
            def check_noise(self, repro_generator):
                return repro_generator.standard_normal(3)
    """)
    ran = project.run("-o", "python_functions=check_*")
    assert ran.exit_code == 1
    assert "check_noise is marked repro but checked nothing" in ran.text


def test_the_decorator_refuses_a_test_that_returns_nothing(project):
    project.write("""
        @repro()
        def test_function(repro_generator):
            repro_generator.standard_normal(3)
    """)
    ran = project.run("--repro-update")
    assert ran.exit_code == 1
    assert "test_story.py::test_function::value" in ran.failure
    assert "NoneType" in ran.failure
    assert len(ran.failure.splitlines()) == 2, ran.failure  # no frame of ours buries the message
    assert project.files() == {}


def test_the_decorator_without_parentheses_says_so(project):
    project.write("""
        @repro
        def test_function(repro_generator):
            return repro_generator.standard_normal(3)
    """)
    ran = project.run()
    assert ran.exit_code == 2
    assert "write @repro() with parentheses" in ran.text


SEEDS = """
    @pytest.mark.repro(seed=1)
    @pytest.mark.parametrize(
        "case", ["own", pytest.param("param", marks=pytest.mark.repro(seed=2))]
    )
    def test_function(repro_generator, repro_check, case):
        print(case, "seed", repro_generator.bit_generator.seed_seq.entropy)
        repro_check(repro_generator.random(2))

    @pytest.mark.repro(seed=3, runs=3)
    class TestBase:
        def test_method(self, repro_generator, repro_check):
            name = type(self).__name__
            print(name, "seed", repro_generator.bit_generator.seed_seq.entropy)
            repro_check(repro_generator.random(2))

    @pytest.mark.repro(seed=4)
    class TestDerived(TestBase):
        pass
"""


def test_the_nearest_mark_wins(project):
    project.write(SEEDS)
    text = project.record("-s").text
    for words in ("own seed 1", "param seed 2", "TestBase seed 3", "TestDerived seed 4"):
        assert words in text
    assert "param seed 1" not in text
    assert "TestDerived seed 3" not in text


def test_an_unmarked_test_that_names_the_assertion_must_call_it(project):
    project.write("""
        @pytest.fixture
        def check_later(repro_check):
            return repro_check

        def test_idle(repro_generator, repro_check):
            for image in ():
                repro_check(image)

        def test_through_a_fixture(check_later):
            pass
    """)
    ran = project.run()
    assert ran.counts == {"failed": 1, "passed": 1}
    assert "test_idle asks for repro_check but checked nothing" in ran.failure


def test_a_test_case_can_watch(project):
    project.write("""
        import unittest

        @pytest.mark.repro
        class TestCase(unittest.TestCase):
            def test_watch(self):
                assert callable(self.repro_watch)
                self.repro_check(self.repro_generator.random(2))
    """)
    assert project.record().counts == {"passed": 1}


AFTER_THE_END = """
    @pytest.fixture
    def late(repro_check, repro_generator):
        yield
        repro_check(repro_generator.random(3), name="late")

    @pytest.mark.repro
    def test_fixture(late, repro_generator, repro_check):
        repro_check(repro_generator.random(3), name="early")

    class TestMethod:
        def teardown_method(self):
            self.check(np.ones(3), name="late")

        @pytest.mark.repro
        def test_method(self, repro_generator, repro_check):
            self.check = repro_check
            repro_check(repro_generator.random(3), name="early")
"""


def test_a_check_after_the_end_of_the_test_is_refused(project):
    project.write(AFTER_THE_END)
    ran = project.run("--repro-update")
    assert ran.exit_code == 1
    assert ran.text.count("a check after the end of the test would be compared with nothing") >= 2
    # In an ordinary run, too, where nothing runs again.
    early = AFTER_THE_END.replace('repro_check(repro_generator.random(3), name="late")', "pass")
    project.write(early.replace('self.check(np.ones(3), name="late")', "pass"))
    project.record()
    project.write(AFTER_THE_END)
    ran = project.run()
    assert ran.counts == {"passed": 2, "errors": 2}
    assert set(ran.verdicts.values()) == {"exact"}
