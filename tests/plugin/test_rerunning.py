"""The repeat inside the call phase: which fixtures are set up again, and what pytest still sees."""

from __future__ import annotations

import random

import numpy as np

SCOPES = """
    def made(scope):
        @pytest.fixture(scope=scope)
        def fixture():
            print("make", scope)
            yield scope
            print("drop", scope)
        return fixture

    of_session, of_module, of_class, of_function = map(
        made, ["session", "module", "class", "function"]
    )

    @pytest.fixture(params=["p"])
    def of_parameter(request, tmp_path):
        print("make parameter", request.param, tmp_path.is_dir())
        return request.param

    class TestScopes:
        @pytest.mark.repro
        def test_scopes(
            self, of_session, of_module, of_class, of_function, of_parameter, repro_generator,
            repro_check, monkeypatch, capsys,
        ):
            repro_check(repro_generator.standard_normal(2))
"""


def test_fixtures_of_functions_are_made_anew_and_wider_ones_stay(project):
    project.write(SCOPES)
    ran = project.record("-s", "--repro-runs=3", "--repro-envelope=0")
    counts = {
        scope: (ran.text.count(f"make {scope}\n"), ran.text.count(f"drop {scope}\n"))
        for scope in ("session", "module", "class", "function")
    }
    once, thrice = (1, 1), (3, 3)
    assert counts == {"session": once, "module": once, "class": once, "function": thrice}
    assert ran.text.count("make parameter p True\n") == 3
    assert ran.counts == {"passed": 1}


def test_a_fixture_that_fails_in_the_repeat_is_named_and_nothing_is_recorded(project):
    project.write("""
        made = []

        @pytest.fixture
        def fragile():
            made.append(1)
            if len(made) > 1:
                raise RuntimeError("only once")

        @pytest.mark.repro
        def test_fragile(fragile, repro_check):
            repro_check(np.zeros(2))

        def test_next(tmp_path):
            assert tmp_path.is_dir()
    """)
    ran = project.run("--repro-update")
    assert ran.verdicts == {"test_fragile::value": "nondeterministic"}
    assert "run 2 raised RuntimeError('only once')" in ran.failures["test_fragile"]
    assert ran.counts == {"failed": 1, "passed": 1}
    assert project.files() == {}


def test_a_teardown_that_fails_in_the_repeat_does_not_hide(project):
    project.write("""
        @pytest.fixture
        def fragile():
            yield
            raise RuntimeError("cannot clean up")

        @pytest.mark.repro
        def test_fragile(fragile, repro_check):
            repro_check(np.zeros(2))
    """)
    ran = project.run("--repro-update")
    assert ran.exit_code == 1
    assert "cannot clean up" in ran.text
    assert project.files() == {}


def test_a_repeat_that_skips_or_fails_is_not_a_success(project):
    for action in ('pytest.skip("later")', "assert False", "raise ValueError('x')"):
        project.write(f"""
            runs = []

            @pytest.mark.repro
            def test_once(repro_check):
                repro_check(np.zeros(2))
                runs.append(1)
                if len(runs) > 1:
                    {action}
        """)
        ran = project.run("--repro-update")
        assert ran.verdicts == {"test_once::value": "nondeterministic"}, ran.text
        assert "run 2 raised" in ran.failure
        assert project.files() == {}


def test_global_random_states_are_given_back(project):
    project.write("""
        def states():
            return random.getstate(), np.random.get_state()[1].tolist()

        before = states()

        @pytest.mark.repro
        def test_noise(repro_generator, repro_check):
            repro_check(repro_generator.standard_normal(2))

        def test_states():
            assert states() == before
    """)
    assert project.record().counts == {"passed": 2}


def test_functions_that_draw_are_their_own_again_in_tests_that_are_not_ours(project):
    project.write("""
        own = np.random.randn, random.random

        def functions():
            return np.random.randn, random.random

        @pytest.mark.repro
        def test_noise(repro_generator, repro_check):
            assert functions() != own
            repro_check(repro_generator.standard_normal(2))

        @pytest.mark.repro
        def test_more(repro_generator, repro_check):
            repro_check(repro_generator.standard_normal(3))

        def test_functions():
            assert functions() == own
            assert np.random.randn().is_integer() is False

        @pytest.mark.repro
        def test_last(repro_check):
            assert functions() != own
            repro_check(np.zeros(2))
    """)
    own = np.random.randn, random.random
    assert project.record().counts == {"passed": 4}
    assert (np.random.randn, random.random) == own


def test_a_fixture_of_ours_that_somebody_overrides_is_theirs(project):
    project.write("""
        @pytest.fixture
        def repro_check(repro_check):
            return lambda value, name: repro_check(value, name=f"mine {name}")

        def test_value(repro_check):
            repro_check(np.zeros(2), "zeros")
    """)
    ran = project.record()
    assert ran.verdicts == {"test_value::mine zeros": "recorded"}


def test_a_fixture_that_asks_for_ours_while_it_is_made_gets_the_same_test(project):
    project.write("""
        @pytest.fixture
        def early(request):
            return request.getfixturevalue("repro_check")

        def test_value(early, repro_check):
            early(np.zeros(2), name="early")
            repro_check(np.ones(2), name="late")
    """)
    ran = project.record()
    assert ran.verdicts == {"test_value::early": "recorded", "test_value::late": "recorded"}


def test_the_guarded_test_starts_from_the_same_global_states(project):
    project.write("""
        @pytest.fixture
        def legacy():
            return np.random.standard_normal(3) + random.random()

        @pytest.mark.repro
        def test_noise(legacy, repro_check):
            repro_check(legacy)
    """)
    project.record()
    assert project.run().verdicts == {"test_noise::value": "exact"}


RESEEDING = """
    import itertools, random
    import numpy as np
    import pytest

    SEEDS = itertools.count(1000 * {run})

    def reseed():
        seed = next(SEEDS)
        random.seed(seed)
        np.random.seed(seed)

    def pytest_runtest_setup(item):
        reseed()

    def pytest_runtest_call(item):
        reseed()

    def pytest_runtest_teardown(item):
        reseed()
"""


def test_plugins_that_seed_global_states_in_their_hooks_change_nothing(project):
    """As pytest-randomly does, with another seed in every run."""
    project.write("""
        @pytest.fixture
        def legacy():
            return np.random.randn(3) + random.random()

        @pytest.mark.repro
        def test_fixture(legacy, repro_check):
            repro_check(legacy)

        @pytest.mark.repro(rng="off", reason="as the initialising of weights draws")
        def test_body(legacy, repro_check):
            repro_check(np.random.randn(2) + random.random())

        class TestCase(__import__("unittest").TestCase):
            @pytest.mark.repro(rng="off", reason="as above")
            def test_method(self):
                self.repro_check(np.random.randn(2))

        def test_unmarked():
            print("unmarked", random.random())
    """)
    said = set()
    for run in range(3):
        project.conftest(RESEEDING.format(run=run))
        ran = project.run("-s", "--repro-update=missing" if run == 0 else "--repro-runs=2")
        assert ran.exit_code == 0, ran.text
        assert set(ran.verdicts.values()) == {"exact" if run else "recorded"}
        said.add(next(line for line in ran.text.splitlines() if "unmarked" in line))
    assert len(said) == 3  # the hooks were heard where we have no say


def test_an_items_own_steps_are_what_runs_and_stays(project):
    project.conftest("""
        def pytest_collection_modifyitems(items):
            for item in items:
                item.runtest = lambda item=item, plain=item.runtest: (print("theirs"), plain())

        def pytest_runtest_teardown(item):
            assert vars(item)["runtest"].__name__ == "<lambda>"
            print("stays")
    """)
    project.write("""
        @pytest.mark.repro
        def test_it(repro_check):
            repro_check(np.zeros(2))
    """)
    assert project.record("-s").text.count("theirs") == 2  # the first run and the repeated one
    assert "stays" in project.run("-s").text


def test_the_order_and_number_of_reports_stay_pytests_own(project):
    project.write(SCOPES)
    ran = project.run("--repro-update", "-v", "--setup-show")
    assert ran.counts == {"passed": 1}
    assert ran.text.count("PASSED") == 1


def test_a_fixture_asked_for_in_the_middle_of_an_unmarked_test_is_refused(project):
    project.write("""
        def test_dynamic(request):
            request.getfixturevalue("repro_check")(np.zeros(2))

        @pytest.mark.repro
        def test_marked(request):
            request.getfixturevalue("repro_check")(np.zeros(2))
    """)
    ran = project.run("--repro-update")
    assert ran.verdicts == {"test_marked::value": "recorded"}
    assert "test_story.py::test_dynamic: a repro fixture was asked for" in ran.failure
    assert "mark the test" in ran.failure
