"""A generator that a pipeline was given wrongly, and what mindone's own errors about it mean."""

from __future__ import annotations

import re

import numpy as np

from pytest_repro.errors import RandomnessError


def wrongly_handed(generator: object, count: int | None) -> str:
    """What is wrong with a generator that was handed to mindone; ``""`` when nothing is."""
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
    if kind == "Generator":  # of MindSpore, say
        kind = f"{type(value).__module__.partition('.')[0]}.{kind}"
    article = "an" if kind[0] in "aeiouAEIOU" else "a"
    return f"{article} {kind} was handed to a pipeline as generator: its draws cannot be compared"


def _miscounted(generators: int, images: int) -> str:
    were = "1 generator was" if generators == 1 else f"{generators} generators were"
    return f"{were} handed to a batch of {images} images: {_ONE_EACH}"


_ONE_EACH = "each image needs one of its own, so that it can be made again alone"


def _shared(own: int, images: int) -> str:
    only = "1 generator" if own == 1 else f"{own} generators"
    return f"a list of {images} holds only {only}: {_ONE_EACH}"


_NOT_A_GENERATOR = re.compile(r"'(\w+)' object has no attribute 'standard_normal'")
_MINDONE_COUNT = re.compile(
    r"list of generators of length (\d+), but requested an effective batch size of (\d+)"
)


def explain_misuse(error: BaseException) -> RandomnessError | None:
    """What a pipeline's own error about its generators means, or ``None`` when it is another one.

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
            f"a pipeline got generator={kind[1]}(...): it is no numpy.random.Generator",
            facts=(f"pipeline  {error}",),
            next_step="pass repro_generator",
        )
    return None
