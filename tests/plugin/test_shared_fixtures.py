"""Fixtures that tests share hold the same numbers, whichever test comes first."""

from __future__ import annotations

import pytest

PLAIN_FIRST = """
import random
import numpy as np
import pytest

@pytest.fixture(scope="module")
def embedding():
    return np.random.standard_normal(8) + random.random()

@pytest.fixture(scope="module")
def other():
    return np.random.standard_normal(8) + random.random()

def test_plain(embedding, other):
    assert embedding.shape == (8,)

@pytest.mark.repro
def test_ours(embedding, other, repro_generator, repro_check):
    assert not np.array_equal(embedding, other)
    repro_check(embedding + other + repro_generator.standard_normal(8))
"""
SET_UP = """
import unittest
import numpy as np
import pytest

class TestPlain:
    @classmethod
    def setup_class(cls):
        cls.shared = np.random.rand(3)
    def test_plain(self):
        assert self.shared.shape == (3,)
    @pytest.mark.repro
    def test_ours(self, repro_check):
        repro_check(self.shared)

class TestCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.shared = np.random.rand(3)
    def setUp(self):
        self.own = np.random.rand(3)
    def test_plain(self):
        assert self.shared.shape == (3,)
    @pytest.mark.repro
    def test_ours(self):
        self.repro_check(self.shared + self.own)

class TestMethod:
    def setup_method(self):
        self.own = np.random.rand(3)
    @pytest.mark.repro
    def test_ours(self, repro_check):
        repro_check(self.own)
"""


@pytest.fixture
def run(pytester):
    pytester.makeini("[pytest]\nrepro_framework = numpy\n")
    return lambda *arguments: pytester.runpytest_subprocess("-p", "no:cacheprovider", *arguments)


@pytest.mark.parametrize(("source", "ours"), [(PLAIN_FIRST, 1), (SET_UP, 3)])
def test_a_plain_test_that_comes_first_changes_nothing(pytester, run, source, ours):
    pytester.makepyfile(test_a=source)
    recorded = run("--repro-update")
    recorded.stdout.fnmatch_lines([f"*{ours} recorded*"])
    run().stdout.fnmatch_lines([f"*{ours} exact*"])
    run("-k", "ours").stdout.fnmatch_lines([f"*{ours} exact*"])


def test_a_shared_fixture_without_a_seed_stops_the_test_that_uses_it(pytester, run):
    pytester.makepyfile(
        test_a=PLAIN_FIRST.replace(
            "np.random.standard_normal(8) + random.random()", "np.random.default_rng().random(8)"
        )
    )
    both = run("--repro-update")
    both.assert_outcomes(passed=1, errors=1)
    both.stdout.fnmatch_lines(["*a numpy generator was made without a seed*", "*test_a.py:7*"])
    run("-k", "ours", "--repro-update").assert_outcomes(errors=1, deselected=1)


def test_a_project_without_repro_tests_keeps_its_random_fixtures(pytester, run):
    pytester.makepyfile(
        test_a="""
        import random
        import pytest

        @pytest.fixture(scope="module")
        def number():
            return random.random()

        def test_plain(number):
            print("number", number)
        """
    )
    said = {line for _ in range(2) for line in run("-s").stdout.lines if " number 0." in line}
    assert len(said) == 2
