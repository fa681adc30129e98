"""How far a tensor moves when its noise is disturbed, from the disturbed runs' differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict

from pytest_repro.model.baseline import Difference, Envelope
from pytest_repro.settings_table import DISTURBANCE_SEED

__all__ = [
    "ALIKE",
    "DISTURBANCE_SEED",
    "FEWEST_RUNS",
    "MOST_RUNS",
    "envelope_from",
    "runs_wanted",
]

FEWEST_RUNS = 4
"""Fewer disturbed runs cannot show whether they move a tensor by like amounts."""

MOST_RUNS = 16
"""Runs after which the largest movement is trusted even where it has one degree of freedom."""

ALIKE = 1.25
"""Largest over smallest movement up to which runs count as alike."""


def runs_wanted(moved_rel_l2: Sequence[Sequence[float]], asked: int) -> int:
    """How many disturbed runs an envelope takes, by those that were made.

    ``asked`` and at least `FEWEST_RUNS` where every tensor moved by like amounts in all of them;
    else at least `MOST_RUNS`. What was unlike once stays so, hence the answer never falls.

    Why: rounding moves a tensor linearly, so that a movement is the norm of a random vector, whose
    spread depends on how many directions it has: the degrees of freedom of the chi-square with the
    mean and variance of its squares (Satterthwaite, "An approximate distribution of estimates of
    variance components", Biometrics Bulletin 2(6), 1946). With thousands (DDIM) all runs move it
    alike. With a few (UnCLIP: 1.6 to 4.7, all of it in two directions) the largest of four runs may
    be small by chance: with one, a result that moves as the runs do is beyond four times the
    largest in 0.4 % of recordings, by this rule in 0.003 %. ``docs/measure/envelope_choice.py``
    measures and computes these figures; they stand in docs/envelope.md.

    Args:
        moved_rel_l2: A sequence a tensor: its movement in each run, in any order.
        asked: The least number of runs, above 0.
    """
    # Every pair, because max and min overlook a NaN.
    alike = all(a <= ALIKE * b for one in moved_rel_l2 for a in one for b in one)
    return max(asked, FEWEST_RUNS if alike else MOST_RUNS)


def envelope_from(
    differences: Sequence[Difference],
    *,
    method: str,
    seed: int,
    input_rel_l2: float,
) -> Envelope:
    """The envelope of one tensor.

    Args:
        differences: Clean run (as baseline) against each disturbed run (as observed); at least one.
        method: How the noise was disturbed, in words.
        seed: Seed of the signs of the first run; run ``i`` used this number plus ``i``.
        input_rel_l2: Mean relative size of the disturbance, dimensionless.
    """
    worst_abs = [_amount(one.worst_abs) for one in differences]
    worst_ulp = [_amount(one.worst_ulp) for one in differences]
    # NaN or infinity elsewhere is no distance: nothing bounds how far such a result may move.
    rel_l2 = [one.rel_l2 if one.non_finite is None else math.inf for one in differences]
    return Envelope(
        method=method,
        runs=len(differences),
        seed=seed,
        max_abs_max=max(worst_abs),
        max_abs_mean=_mean(worst_abs),
        rel_l2_max=max(rel_l2),
        rel_l2_mean=_mean(rel_l2),
        ulp_max=max(worst_ulp),
        ulp_mean=_mean(worst_ulp),
        mean_abs_max=max(one.mean_abs for one in differences),
        input_rel_l2=input_rel_l2,
        statistics=_movements(differences),
    )


def _amount(place: object) -> float:
    return float(getattr(place, "amount", 0.0))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _movements(differences: Sequence[Difference]) -> tuple[tuple[str, float], ...]:
    moved: dict[str, float] = {}
    for one in differences:
        before, after = asdict(one.baseline_statistics), asdict(one.observed_statistics)
        for name, value in after.items():
            moved[name] = max(moved.get(name, 0.0), abs(float(value) - float(before[name])))
    return tuple(sorted(moved.items()))
