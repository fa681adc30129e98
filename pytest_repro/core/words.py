"""The closed sets of words of the glossary; imports nothing heavy, so the plugin may read it."""

from __future__ import annotations

from enum import Enum

__all__ = ["Cause", "Distance", "Gate", "Verdict", "Word"]


class Word(str, Enum):
    """An enum whose text is its value, so that files, messages and code use one word."""

    def __str__(self) -> str:
        return str(self.value)


class Verdict(Word):
    """What a check came to; every check has exactly one."""

    EXACT = "exact"
    WITHIN = "within"
    DRIFT = "drift"
    MISSING = "missing"
    CORRUPT = "corrupt"
    NONDETERMINISTIC = "nondeterministic"
    RECORDED = "recorded"
    UPDATED = "updated"
    UNCHANGED = "unchanged"

    @property
    def passes(self) -> bool:
        """Whether a test with this verdict is green."""
        return self not in _FAILING


_FAILING = frozenset({Verdict.DRIFT, Verdict.MISSING, Verdict.CORRUPT, Verdict.NONDETERMINISTIC})


class Gate(Word):
    """The gates in the order in which a check passes them; a failure names its gate."""

    VALUE = "value"
    NOISE = "noise"
    EXACT = "exact"
    REPEATABLE = "repeatable"
    TOLERANCE = "tolerance"


class Distance(Word):
    """How far the environment of a reference is from ours."""

    OWN = "own"
    RELEASE = "release"
    ANY = "any"


class Cause(Word):
    """Why a check drifted."""

    NOISE = "noise"
    WEIGHTS = "weights"
    ENVIRONMENT = "environment"
    CODE = "code"
    NONDETERMINISM = "nondeterminism"
