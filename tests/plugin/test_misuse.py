"""What mindone says of a wrong generator is explained beside its own error."""

from __future__ import annotations

PROJECT = """
import numpy as np, pytest

class RandnCaller:
    def __call__(self, batch_size, generator):
        if isinstance(generator, list) and len(generator) != batch_size:
            raise ValueError(
                f"You have passed a list of generators of length {len(generator)}, but requested "
                f"an effective batch size of {batch_size}. Make sure the batch size matches the "
                "length of the generators."
            )

@pytest.mark.repro
def test_batch(repro_generators, repro_check):
    RandnCaller()(4, repro_generators(COUNT))
    repro_check(np.zeros(1))
"""


def test_too_few_generators_are_explained(pytester):
    pytester.makeini("[pytest]\nrepro_framework = numpy\n")
    pytester.makepyfile(PROJECT.replace("COUNT", "3"))
    result = pytester.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*ValueError*", "*repro*", "*generator*image*"])


def test_the_right_number_needs_no_explanation(pytester):
    pytester.makeini("[pytest]\nrepro_framework = numpy\n")
    pytester.makepyfile(PROJECT.replace("COUNT", "4"))
    result = pytester.runpytest("--repro-update")
    result.assert_outcomes(passed=1)
