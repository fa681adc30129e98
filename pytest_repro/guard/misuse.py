"""Wrong generators passed to a pipeline, and the meaning of mindone's errors about them."""

from __future__ import annotations

import re

import numpy as np

from pytest_repro.errors import RandomnessError


def wrongly_handed(generator: object, count: int | None) -> str:
    """What is wrong with a generator passed to mindone; ``""`` if nothing is."""
    if isinstance(generator, list):
        wrong = next((one for one in generator if not isinstance(one, np.random.Generator)), None)
        if wrong is not None:
            return _not_a_generator(wrong)
        if count is not None and len(generator) not in (1, count):
            return _miscounted(len(generator), count)
        own = len({id(one) for one in generator})
        return "" if own == len(generator) else _shared(own, len(generator))
    fine = generator is None or isinstance(generator, np.random.Generator)
    return "" if fine else _not_a_generator(generator)


def _not_a_generator(value: object) -> str:
    kind = type(value).__name__
    if kind == "Generator":  # e.g. of MindSpore
        kind = f"{type(value).__module__.partition('.')[0]}.{kind}"
    article = "an" if kind[0] in "aeiouAEIOU" else "a"
    return f"{article} {kind} was passed to a pipeline as generator: its draws cannot be compared"


def _miscounted(generators: int, images: int) -> str:
    were = "1 generator was" if generators == 1 else f"{generators} generators were"
    return f"{were} passed for a batch of {images} images: {_ONE_EACH}"


_ONE_EACH = "each image needs its own generator, so that it can be made alone"


def _shared(own: int, images: int) -> str:
    only = "1 generator" if own == 1 else f"{own} generators"
    return f"a list of {images} holds only {only}: {_ONE_EACH}"


_NOT_A_GENERATOR = re.compile(r"'(\w+)' object has no attribute 'standard_normal'")
_MINDONE_COUNT = re.compile(
    r"list of generators of length (\d+), but requested an effective batch size of (\d+)"
)


def explain_misuse(error: BaseException) -> RandomnessError | None:
    """The meaning of a pipeline's own error about its generators, or ``None`` for other errors.

    mindone's pipelines refuse a list of another length than the batch with a ValueError, and an int
    with an AttributeError.
    """
    counts = _MINDONE_COUNT.search(str(error))
    if isinstance(error, ValueError) and counts is not None:
        what = _miscounted(int(counts[1]), int(counts[2]))
        return RandomnessError(
            what, facts=(f"pipeline  {error}",), next_step=f"repro_generators({counts[2]})"
        )
    kind = _NOT_A_GENERATOR.search(str(error))
    if isinstance(error, AttributeError) and kind is not None:
        return RandomnessError(
            f"a pipeline got generator={kind[1]}(...), which is not a numpy.random.Generator",
            facts=(f"pipeline  {error}",),
            next_step="pass repro_generator",
        )
    return None
