"""How far a tensor moves when its noise is disturbed, from the disturbed runs' differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from pytest_repro.core.model import Difference, Envelope
from pytest_repro.core.settings import DISTURBANCE_SEED

__all__ = ["DISTURBANCE_SEED", "envelope_from"]


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
    rel_l2 = [one.rel_l2 for one in differences]
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
