"""Owns the value `Tolerance`: what can be bounded, how people write it, and its short text.

`tolerance` judges with it; `tolerance_measured` makes it from an envelope or from a dtype.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from pytest_repro.errors import SettingError

DEFAULT_FACTOR = 4.0
"""Envelopes that a measured tolerance allows.

Source: between the SIMD levels of 16 recorded environments the model tests (DDIM with seeded and
trained weights, UnCLIP) were apart by at most 3.1 envelopes (of the largest difference; 2.5 of
rel_l2), so that four leaves 1.3x. What it catches and misses is counted in docs/fault_score.md,
which holds these figures, too.
"""

COUNT_NAMES = ("nan_count", "posinf_count", "neginf_count")
STATISTIC_NAMES = ("min", "max", "mean", "std", "abs_sum", "l2", *COUNT_NAMES)
_ARRAY_KEYS = ("atol", "rtol", "max_ulp", "rel_l2", "cosine", "psnr")
BOUND_KEYS = (*_ARRAY_KEYS, *STATISTIC_NAMES)
_STATISTIC_KEYS = ("atol", "rtol")
_COSINE_CEILING = 0.5
_LISTED_STATISTICS = 2
_SHOWN_CHARACTERS = 60


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
    """The rule under which a difference is accepted; every bound that is given must hold.

    With no bound at all it is `Tolerance.EXACT`. With a ``factor`` it is the form ``measured``,
    which `tolerance_measured.measured_tolerance` turns into bounds once an envelope is known.

    Attributes:
        atol, rtol: Each element: ``|o - b| <= atol + rtol * |b|``; the one not given is 0.
        max_ulp: Largest distance in units in the last place of the baseline's dtype.
        rel_l2: Largest ``||o - b||_2 / ||b||_2``.
        cosine: Largest cosine distance ``1 - <o, b> / (||o|| ||b||)``, at most 0.5.
        psnr: Smallest peak signal-to-noise ratio, in dB.
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
    statistics: tuple[StatisticBound, ...] = ()
    factor: float | None = None

    @property
    def is_exact(self) -> bool:
        """Whether it accepts equal bits only."""
        return self == Tolerance.EXACT

    @property
    def is_measured(self) -> bool:
        """Whether it is the form ``measured``, still without an envelope."""
        return self.factor is not None

    @property
    def is_elementwise(self) -> bool:
        """Whether it bounds each element by atol, rtol or both."""
        return self.atol is not None or self.rtol is not None

    def statistic(self, name: str) -> StatisticBound | None:
        """The bound on statistic ``name``, if it has one."""
        return next((bound for bound in self.statistics if bound.name == name), None)


Tolerance.EXACT = Tolerance()


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """``; did you mean 'rel_l2'?`` when ``word`` is close to an allowed one, else ``""``."""
    close = difflib.get_close_matches(word, list(allowed), n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""


def tolerance_from(value: object, *, origin: str) -> Tolerance:
    """The tolerance that a person wrote.

    Args:
        value: ``"exact"``, ``"measured"``, a mapping with keys of `BOUND_KEYS` (a statistic's value
            is ``{"atol": .., "rtol": ..}`` or a number that means rtol), or a `Tolerance`.
        origin: Where it was written, for messages, e.g. ``the marker of test_ddim``.

    Raises:
        SettingError: Unknown key or word, wrong type, a bool, a number that is negative, NaN or
            infinite, an empty mapping, counts of NaN and infinity alone (every finite value would
            pass), or a cosine above 0.5 (a similarity by mistake).
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
    parts = [
        f"{name} <= {bound:.4g}"
        for name in ("rel_l2", "max_ulp", "cosine")
        if (bound := getattr(tolerance, name)) is not None
    ]
    if tolerance.psnr is not None:
        parts.append(f"psnr >= {tolerance.psnr:.4g} dB")
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
    if all(key in COUNT_NAMES for key in mapping):
        names = " and ".join(str(key) for key in mapping)
        raise _refusal(f"{names} alone bounds no number; give a bound of the array, too", origin)
    bounds = {key: _bound(key, mapping[key], origin) for key in _ARRAY_KEYS if key in mapping}
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


def _bound(key: str, value: object, origin: str) -> float:
    number = _number(key, value, origin)
    if key == "cosine" and number > _COSINE_CEILING:
        hint = f"; for a similarity of {number:g} write {1 - number:.3g}" if number <= 1 else ""
        raise _refusal(f"cosine is a distance from 0 to {_COSINE_CEILING:g}{hint}", origin)
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
    for key in _ARRAY_KEYS:
        if (bound := getattr(tolerance, key)) is not None:
            _bound(key, bound, origin)
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
