"""The bounds of a tolerance, how people write them, and their short text.

A bound of the array is a field of `Tolerance` and a row of `BOUNDS`; reading, judging, wording and
the reference page come from the row.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from pytest_repro.errors import SettingError
from pytest_repro.model.baseline import Difference, ElementDifference

DEFAULT_FACTOR = 4.0
"""Envelopes that a measured tolerance allows.

Source: the model tests (DDIM with seeded and trained weights, UnCLIP) on the SIMD levels of 16
recorded environments differ by at most 3.1 envelopes (largest difference; rel_l2: 2.5), so four
leaves 1.3x. docs/evidence/fault_score.md has the figures, and what this catches and misses.
"""

PORT_FACTOR = 18.0
"""Envelopes of noise alone that a port may be from its original on PyTorch.

Source: docs/evidence/parity.md: correct ports need 14 of them, because two frameworks also round
where noise does not reach. It leaves 1.3x, as `DEFAULT_FACTOR` does; so does the next one.
"""
MODULES_FACTOR = 6.0
"""The same where the modules of the original move as well: correct ports need 4.5 of them."""

COUNT_NAMES = ("nan_count", "posinf_count", "neginf_count")
STATISTIC_NAMES = ("min", "max", "mean", "std", "abs_sum", "l2", *COUNT_NAMES)
_STATISTIC_KEYS = ("atol", "rtol")
_COSINE_CEILING = 0.5
_LISTED_STATISTICS = 2
_SHOWN_CHARACTERS = 60


def _amount(place: ElementDifference | None) -> float:
    return 0.0 if place is None else place.amount


def _share_differing(difference: Difference) -> float:
    return difference.differing_count / max(1, difference.element_count)


def _beyond_cosine(number: float) -> str:
    if number <= _COSINE_CEILING:
        return ""
    hint = f"; for a similarity of {number:g} write {1 - number:.3g}" if number <= 1 else ""
    return f"cosine is a distance from 0 to {_COSINE_CEILING:g}{hint}"


def _beyond_one(number: float) -> str:
    return "" if number <= 1 else f"differing is a share from 0 to 1, not {number:g}"


@dataclass(frozen=True, slots=True)
class Bound:
    """One bound of the array.

    Attributes:
        name: The key that people write, and the field of `Tolerance`.
        meaning: The line of the reference page; ``o`` is observed, ``b`` the baseline.
        measure: What is compared with the bound.
        needs_elements: Whether it needs the baseline's tensor.
        needs_floats: Whether integers and bool have no such measure.
        is_least: Whether the measure must be at least the bound, in dB; otherwise at most.
        refusal: Why a number cannot be the bound; ``""`` if it can.
    """

    name: str
    meaning: str
    measure: Callable[[Difference], float]
    needs_elements: bool = False
    needs_floats: bool = False
    is_least: bool = False
    refusal: Callable[[float], str] = lambda _: ""

    def text(self, number: float) -> str:
        """The bound in short, e.g. ``rel_l2 <= 1e-05``."""
        return (
            f"{self.name} >= {number:.4g} dB" if self.is_least else f"{self.name} <= {number:.4g}"
        )


BOUNDS = (
    Bound(
        "atol",
        "each element: `abs(o - b) <= atol + rtol * abs(b)`; the one not given is 0",
        lambda one: _amount(one.worst_abs),
        needs_elements=True,
    ),
    Bound("rtol", "see `atol`", lambda one: _amount(one.worst_rel), needs_elements=True),
    Bound("rel_l2", "`norm(o - b) / norm(b)` over the whole array", lambda one: one.rel_l2),
    Bound(
        "max_ulp",
        "distance of an element in units in the last place of the dtype; floats only",
        lambda one: _amount(one.worst_ulp),
        needs_elements=True,
        needs_floats=True,
    ),
    Bound(
        "cosine",
        "cosine distance over the whole array, from 0 (equal) to 0.5",
        lambda one: one.cosine,
        refusal=_beyond_cosine,
    ),
    Bound(
        "psnr",
        "peak signal-to-noise ratio, in dB; the only bound that is a minimum",
        lambda one: one.psnr_db,
        is_least=True,
    ),
    Bound(
        "differing",
        "share of the elements that differ at all, from 0 to 1",
        _share_differing,
        needs_elements=True,
        refusal=_beyond_one,
    ),
)
_ELEMENTWISE = ("atol", "rtol")
_COUNTING = (*COUNT_NAMES, "differing")
_ARRAY_KEYS = tuple(bound.name for bound in BOUNDS)
BOUND_KEYS = (*_ARRAY_KEYS, *STATISTIC_NAMES)


@dataclass(frozen=True, slots=True)
class StatisticBound:
    """``|observed - baseline| <= atol + rtol * |baseline|`` for one statistic of the array.

    Attributes:
        name: One of `STATISTIC_NAMES`.
        atol: In the statistic's own unit, >= 0.
        rtol: Relative to the baseline's value of it, >= 0.
    """

    name: str
    atol: float = 0.0
    rtol: float = 0.0


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The rule under which a difference is accepted; every given bound must hold.

    Without bounds it is `Tolerance.EXACT`. With a ``factor`` it is the form ``measured``, which
    `measured.measured_tolerance` turns into bounds with an envelope.

    Attributes:
        atol, rtol, max_ulp, rel_l2, cosine, psnr, differing: The rows of `BOUNDS`.
        statistics: Bounds on statistics, each name at most once.
        factor: Envelopes allowed, in the form ``measured``.
    """

    EXACT: ClassVar[Tolerance]

    atol: float | None = None
    rtol: float | None = None
    max_ulp: float | None = None
    rel_l2: float | None = None
    cosine: float | None = None
    psnr: float | None = None
    differing: float | None = None
    statistics: tuple[StatisticBound, ...] = ()
    factor: float | None = None

    @property
    def is_exact(self) -> bool:
        """Whether it accepts equal bits only."""
        return self == Tolerance.EXACT

    @property
    def is_measured(self) -> bool:
        """Whether it is the form ``measured``, without bounds yet."""
        return self.factor is not None

    def bounds(self) -> list[tuple[Bound, float]]:
        """The given bounds and their numbers, except atol and rtol."""
        numbers = (
            (bound, getattr(self, bound.name)) for bound in BOUNDS if bound.name not in _ELEMENTWISE
        )
        return [(bound, number) for bound, number in numbers if number is not None]

    @property
    def is_elementwise(self) -> bool:
        """Whether it bounds each element by atol, rtol or both."""
        return self.atol is not None or self.rtol is not None

    def statistic(self, name: str) -> StatisticBound | None:
        """The bound on statistic ``name``, if it has one."""
        return next((bound for bound in self.statistics if bound.name == name), None)


Tolerance.EXACT = Tolerance()


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """``; did you mean 'rel_l2'?`` if ``word`` is close to an allowed one, else ``""``."""
    close = difflib.get_close_matches(word, list(allowed), n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""


def tolerance_from(value: object, *, origin: str) -> Tolerance:
    """The tolerance that a person wrote.

    Args:
        value: ``"exact"``, ``"measured"``, a mapping with keys of `BOUND_KEYS` (a statistic's value
            is ``{"atol": .., "rtol": ..}`` or a number that means rtol), or a `Tolerance`.
        origin: Where it was written, for messages, e.g. ``the marker of test_ddim``.

    Raises:
        SettingError: Unknown key or word, wrong type, a bool, a negative, NaN or infinite number,
            an empty mapping, counts alone (they bound no number), or a cosine above 0.5 (a
            similarity by mistake).
    """
    if isinstance(value, Tolerance):
        return _checked(value, origin)
    if isinstance(value, str):
        return _from_word(value, origin)
    if isinstance(value, Mapping):
        return _from_mapping(value, origin)
    raise _refusal(f"a tolerance cannot be {_kind(value)}", origin)


def describe(tolerance: Tolerance) -> str:
    """The tolerance as short text, e.g. ``rel_l2 <= 1e-05, max_ulp <= 4``."""
    if tolerance.is_exact:
        return "exact"
    if tolerance.factor is not None:
        return f"measured x {tolerance.factor:g}"
    parts = [bound.text(number) for bound, number in tolerance.bounds()]
    if tolerance.is_elementwise:
        parts.append(f"|o-b| <= {_affine(tolerance.atol, tolerance.rtol)}")
    return ", ".join([*parts, *_described_statistics(tolerance.statistics)])


def _described_statistics(bounds: tuple[StatisticBound, ...]) -> list[str]:
    if len(bounds) > _LISTED_STATISTICS:
        return [f"{len(bounds)} statistics"]
    return [f"{bound.name} +- {_affine(bound.atol, bound.rtol)}" for bound in bounds]


def _affine(atol: float | None, rtol: float | None) -> str:
    if not rtol:
        return f"{atol or 0.0:.4g}"
    relative = f"{rtol:.4g}*|b|"
    return f"{atol:.4g} + {relative}" if atol else relative


def _from_word(word: str, origin: str) -> Tolerance:
    if word == "exact":
        return Tolerance.EXACT
    if word == "measured":
        return Tolerance(factor=DEFAULT_FACTOR)
    hint = did_you_mean(word, ("exact", "measured"))
    raise _refusal(f"no tolerance is called {word!r}{hint}", origin)


def _from_mapping(mapping: Mapping[Any, object], origin: str) -> Tolerance:
    if not mapping:
        raise _refusal("an empty tolerance bounds nothing", origin)
    for key in mapping:
        if key not in BOUND_KEYS:
            hint = did_you_mean(str(key), BOUND_KEYS)
            raise _refusal(f"a tolerance has no key {key!r}{hint}", origin)
    if all(key in _COUNTING for key in mapping):
        names = " and ".join(str(key) for key in mapping)
        raise _refusal(
            f"{names} alone bounds no number; give another bound of the array as well", origin
        )
    bounds = {
        one.name: _bound(one, mapping[one.name], origin) for one in BOUNDS if one.name in mapping
    }
    statistics = tuple(
        _statistic_bound(name, mapping[name], origin) for name in STATISTIC_NAMES if name in mapping
    )
    return replace(Tolerance.EXACT, statistics=statistics, **bounds)


def _statistic_bound(name: str, value: object, origin: str) -> StatisticBound:
    if not isinstance(value, Mapping):
        return StatisticBound(name, rtol=_number(name, value, origin))
    if not value:
        raise _refusal(f"{name} is empty", origin)
    for key in value:
        if key not in _STATISTIC_KEYS:
            hint = did_you_mean(str(key), _STATISTIC_KEYS)
            raise _refusal(f"{name} has no key {key!r}{hint}", origin)
    numbers = {key: _number(f"{name}.{key}", value[key], origin) for key in value}
    return StatisticBound(name, **numbers)


def _bound(bound: Bound, value: object, origin: str) -> float:
    number = _number(bound.name, value, origin)
    if refusal := bound.refusal(number):
        raise _refusal(refusal, origin)
    return number


def _number(key: str, value: object, origin: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise _refusal(f"{key} must be a number, not {_kind(value)}", origin)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number) or number < 0:
        raise _refusal(f"{key} must be a finite number >= 0, not {_kind(value)}", origin)
    return number


def _checked(tolerance: Tolerance, origin: str) -> Tolerance:
    for bound in BOUNDS:
        if (number := getattr(tolerance, bound.name)) is not None:
            _bound(bound, number, origin)
    for statistic in tolerance.statistics:
        if statistic.name not in STATISTIC_NAMES:
            hint = did_you_mean(statistic.name, STATISTIC_NAMES)
            raise _refusal(f"there is no statistic {statistic.name!r}{hint}", origin)
        _number(f"{statistic.name}.atol", statistic.atol, origin)
        _number(f"{statistic.name}.rtol", statistic.rtol, origin)
    if tolerance.factor is not None and _number("factor", tolerance.factor, origin) == 0.0:
        raise _refusal("factor must be above 0", origin)
    return tolerance


def _kind(value: object) -> str:
    text = repr(value)
    shown = text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
    return f"{type(value).__name__} {shown}"


def _refusal(what: str, origin: str) -> SettingError:
    return SettingError(
        f"tolerance of {origin}: {what}",
        facts=(
            'allowed: "exact", "measured", or a mapping of',
            f"  of the array: {', '.join(_ARRAY_KEYS)}",
            f"  statistics: {', '.join(STATISTIC_NAMES)} ({{atol, rtol}}, or a number: rtol)",
        ),
        where=origin,
    )
