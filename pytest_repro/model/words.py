"""The enums of the glossary; imports nothing heavy, because the plugin imports it."""

from __future__ import annotations

from enum import Enum


class Word(str, Enum):
    """An enum whose text is its value, so that files, messages and code use one word."""

    # As fast as str; Enum's own methods run in Python.
    __str__ = str.__str__
    __hash__ = str.__hash__


class Verdict(Word):
    """The result of a check; every check has exactly one."""

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
    """The gates, in order; a failure names its gate."""

    VALUE = "value"
    INPUTS = "inputs"
    EXACT = "exact"
    REPEATABLE = "repeatable"
    TOLERANCE = "tolerance"


class Distance(Word):
    """How far the environment of a reference is from this one."""

    OWN = "own"
    VARIANT = "variant"
    RELEASE = "release"
    ANY = "any"
    PORT = "port"


class Cause(Word):
    """Why a check drifted."""

    NOISE = "noise"
    WEIGHTS = "weights"
    SETTINGS = "settings"
    ENVIRONMENT = "environment"
    CODE = "code"
    NONDETERMINISM = "nondeterminism"


class UpdateMode(Word):
    """Which baselines a run may write."""

    NONE = "none"
    MISSING = "missing"
    DRIFTED = "drifted"
    ALL = "all"
    ASK = "ask"
    ENVELOPE = "envelope"


class Repeat(Word):
    """Which drifted tests run again, to check that they are deterministic."""

    ALL = "all"
    FEW = "few"
    OFF = "off"


class RngMode(Word):
    """What happens when a marked test uses unseeded randomness."""

    ERROR = "error"
    WARN = "warn"
    OFF = "off"


class NoiseMode(Word):
    """Where the generators' numbers come from, and whether they are stored."""

    DRAW = "draw"
    STORE = "store"
    REPLAY = "replay"


class Isolate(Word):
    """Which tests also run in a fresh process."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


class Switch(Word):
    """Whether something is done."""

    ON = "on"
    OFF = "off"


class TraceLevel(Word):
    """How much of a watched pipeline is recorded."""

    OFF = "off"
    STEPS = "steps"
    CELLS = "cells"


class Framework(Word):
    """Which framework the key names."""

    AUTO = "auto"
    MINDSPORE = "mindspore"
    NUMPY = "numpy"
    TORCH = "torch"

    @property
    def may_be_mindspore(self) -> bool:
        """Whether the key may name MindSpore."""
        return self in (Framework.AUTO, Framework.MINDSPORE)
