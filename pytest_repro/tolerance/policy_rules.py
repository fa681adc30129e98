"""Turns the parsed entries of a policy file, each with its line, into a valid `Policy`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from pytest_repro.errors import PolicyError, SettingError
from pytest_repro.model.words import Distance
from pytest_repro.tolerance.bounds import DEFAULT_FACTOR, Tolerance, did_you_mean, tolerance_from
from pytest_repro.tolerance.policy import FIELDS, FieldLine, Policy, Rule

__all__ = ["SCHEMA", "Block", "Entry", "Place", "Series", "policy_from"]

SCHEMA = 1
"""The schema of ``policy.yaml`` that this version reads."""

_DOCUMENT_KEYS = ("schema", "rules")
_RULE_KEYS = ("check", *FIELDS, "reason")


@dataclass(frozen=True, slots=True)
class Entry:
    """A key and its value, or an item of a series (key ``None``), and the line of it.

    ``value`` is text, a number, a bool, ``None``, a `Block` or a `Series`.
    """

    key: object
    value: object
    line: int


@dataclass(frozen=True, slots=True)
class Block:
    """A mapping; its keys may still be unknown or repeated."""

    entries: tuple[Entry, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Series:
    """A list."""

    entries: tuple[Entry, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Place:
    """A file and how errors and origins call it.

    Attributes:
        path: As it stands in ``where`` of an error.
        name: As it stands in an origin, e.g. ``policy.yaml``.
    """

    path: str
    name: str = "policy.yaml"

    def error(self, line: int, what: str, *facts: str, next_step: str = "") -> PolicyError:
        """A `PolicyError` that names file and line."""
        return PolicyError(
            f"{self.name} line {line}: {what}",
            facts=facts,
            where=f"{self.path}:{line}",
            next_step=next_step,
        )


def policy_from(document: object, place: Place) -> Policy:
    """The policy that a parsed file says.

    Args:
        document: A `Block` with the keys ``schema`` and ``rules``.
        place: The file, for errors and origins.

    Raises:
        PolicyError: Unknown or repeated key, wrong type or range, a number without a reason, a glob
            that no check id can match, another schema; file and line are named.
    """
    block = _block(document, 1, "the policy", place)
    entries = _entries(block, _DOCUMENT_KEYS, "the policy", place)
    if "schema" not in entries:
        raise place.error(block.line, "schema is missing", next_step=f"write schema: {SCHEMA}")
    _check_schema(entries["schema"], place)
    rules = entries.get("rules")
    if rules is None or rules.value is None:
        return Policy(source=place.name)
    if not isinstance(rules.value, Series):
        raise place.error(rules.line, f"rules must be a list, not {_kind(rules.value)}")
    found = tuple(_rule(item.value, item.line, place) for item in rules.value.entries)
    return Policy(found, source=place.name)


def _check_schema(entry: Entry, place: Place) -> None:
    schema = entry.value
    if isinstance(schema, bool) or not isinstance(schema, int) or schema < 1:
        raise place.error(entry.line, f"schema must be {SCHEMA}, not {_kind(schema)}")
    if schema > SCHEMA:
        raise place.error(
            entry.line,
            f"schema {schema} was written for a later pytest-repro; this one reads {SCHEMA}",
            next_step="pip install --upgrade pytest-repro",
        )


def _rule(value: object, line: int, place: Place) -> Rule:
    entries = _entries(_block(value, line, "a rule", place), _RULE_KEYS, "a rule", place)
    if "check" not in entries:
        raise place.error(line, "the rule names no check", _allowed(_RULE_KEYS))
    rule = Rule(
        glob=_glob(entries["check"], place),
        tolerance=_tolerance(entries.get("tolerance"), place),
        reference=_reference(entries.get("reference"), place),
        factor=_number(entries.get("factor"), place, most=math.inf),
        ceiling=_number(entries.get("ceiling"), place, most=1.0),
        reason=_reason(entries.get("reason"), place),
        line=line,
        lines=tuple(FieldLine(key, entries[key].line) for key in FIELDS if key in entries),
    )
    if not rule.lines:
        raise place.error(line, "the rule decides nothing", _allowed(FIELDS))
    _demand_reason(rule, place)
    return rule


def _demand_reason(rule: Rule, place: Place) -> None:
    """Every number that a person wrote and that can loosen a judgement needs a reason."""
    if rule.reason:
        return
    for field in FIELDS:
        if _is_loosening_number(rule, field):
            raise place.error(
                rule.line_of(field),
                f"{field} is a number written by hand, and the rule gives no reason for it",
                f"rule   {rule.glob}",
                next_step='add reason: "why a person decided this number"',
            )


def _is_loosening_number(rule: Rule, field: str) -> bool:
    if field == "factor":
        return rule.factor is not None and rule.factor > DEFAULT_FACTOR
    if field == "tolerance":
        tolerance = rule.tolerance
        return tolerance is not None and not tolerance.is_exact and not tolerance.is_measured
    return field == "ceiling" and rule.ceiling is not None


def _glob(entry: Entry, place: Place) -> str:
    glob = entry.value
    if not isinstance(glob, str) or not glob.strip():
        raise place.error(entry.line, f"check must be a glob over check ids, not {_kind(glob)}")
    fault = _glob_fault(glob)
    if fault:
        raise place.error(
            entry.line,
            f"no check id can match {glob!r}: {fault}",
            "an id is e.g. tests/models/test_ddim.py::test_ddim::image; * stands for anything",
        )
    return glob


def _glob_fault(glob: str) -> str:
    if glob != glob.strip():
        return "it begins or ends with a space"
    if glob.startswith(("/", "./", "../")):
        return "ids begin with the module's path from the root folder, without / or ./"
    return ""


def _tolerance(entry: Entry | None, place: Place) -> Tolerance | None:
    if entry is None:
        return None
    if isinstance(entry.value, Block):
        # One key at a time first, so that an error names the key's own line.
        for part in entry.value.entries:
            # Beside a bound of the array: what is refused alone is judged with the others below.
            _written({"atol": 0.0, part.key: _plain(part.value, place)}, part.line, place)
    return _written(_plain(entry.value, place), entry.line, place)


def _written(value: object, line: int, place: Place) -> Tolerance:
    try:
        return tolerance_from(value, origin=f"{place.name} line {line}")
    except SettingError as error:
        where = f"{place.path}:{line}"
        raise PolicyError(error.what, facts=error.facts, where=where) from None


def _plain(value: object, place: Place) -> object:
    if isinstance(value, Block):
        keys = tuple(str(entry.key) for entry in value.entries)
        parts = _entries(value, keys, "a tolerance", place)
        return {key: _plain(entry.value, place) for key, entry in parts.items()}
    if isinstance(value, Series):
        return [_plain(entry.value, place) for entry in value.entries]
    return value


def _reference(entry: Entry | None, place: Place) -> Distance | None:
    if entry is None:
        return None
    words = tuple(str(distance) for distance in Distance)
    if not isinstance(entry.value, str) or entry.value not in words:
        hint = did_you_mean(str(entry.value), words)
        what = f"reference cannot be {_kind(entry.value)}{hint}"
        raise place.error(entry.line, what, _allowed(words))
    return Distance(entry.value)


def _number(entry: Entry | None, place: Place, *, most: float) -> float | None:
    if entry is None:
        return None
    value = entry.value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise place.error(entry.line, f"{entry.key} must be a number, not {_kind(value)}")
    if not (0 < value <= most and math.isfinite(value)):
        limit = f" and at most {most:g}" if math.isfinite(most) else " and finite"
        raise place.error(entry.line, f"{entry.key} must be above 0{limit}, not {value!r}")
    return float(value)


def _reason(entry: Entry | None, place: Place) -> str:
    if entry is None:
        return ""
    if not isinstance(entry.value, str) or not entry.value.strip():
        raise place.error(entry.line, f"reason must be a sentence, not {_kind(entry.value)}")
    return entry.value.strip()


def _block(value: object, line: int, owner: str, place: Place) -> Block:
    if not isinstance(value, Block):
        raise place.error(line, f"{owner} must be a mapping, not {_kind(value)}")
    return value


def _entries(block: Block, allowed: Iterable[str], owner: str, place: Place) -> dict[str, Entry]:
    keys = tuple(allowed)
    entries: dict[str, Entry] = {}
    for entry in block.entries:
        if not isinstance(entry.key, str) or entry.key not in keys:
            hint = did_you_mean(str(entry.key), keys)
            raise place.error(
                entry.line, f"{owner} has no key {_key(entry.key)}{hint}", _allowed(keys)
            )
        if entry.key in entries:
            first = entries[entry.key].line
            raise place.error(entry.line, f"key {entry.key!r} stands here and on line {first}")
        entries[entry.key] = entry
    return entries


def _key(key: object) -> str:
    return repr(key) if isinstance(key, str) else _kind(key)


def _allowed(keys: Iterable[str]) -> str:
    return f"allowed: {', '.join(keys)}"


def _kind(value: object) -> str:
    if isinstance(value, Block):
        return "a mapping"
    if isinstance(value, Series):
        return "a list"
    return "nothing" if value is None else f"{type(value).__name__} {repr(value)[:60]}"
