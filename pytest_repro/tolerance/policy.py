"""The policy: which rule of ``policy.yaml`` decides what about a check, and why.

Of all rules whose glob matches a check, the LAST one in the file that sets a field decides that
field. So general rules come first and exceptions below them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from pytest_repro.errors import PolicyError, SettingError
from pytest_repro.model.words import Distance
from pytest_repro.tolerance.bounds import (
    DEFAULT_FACTOR,
    Tolerance,
    describe,
    did_you_mean,
    tolerance_from,
)

FIELDS = ("tolerance", "reference", "factor", "ceiling", "inputs")
"""What a rule can decide, in the order of explanations."""
INPUTS = ("noise", "weights", "settings")
"""What the inputs gate compares."""


@dataclass(frozen=True, slots=True)
class FieldLine:
    """The line on which a rule sets a field."""

    field: str
    line: int


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of ``rules:``; a field that is ``None`` is left to other rules.

    Attributes:
        glob: Pattern over check ids, see `matches`.
        tolerance: Replaces the defaults.
        reference: How far away a reference may be.
        factor: Envelopes that a measured tolerance allows, above 0.
        ceiling: rel_l2 above which a measured tolerance proves nothing, above 0 and at most 1.
        inputs: The inputs that may differ, of `INPUTS`; a difference is named, and not a drift.
        reason: Why a person decided it.
        line: Line of the rule in its file, from 1.
        lines: Lines of its fields, where known.
    """

    glob: str
    tolerance: Tolerance | None = None
    reference: Distance | None = None
    factor: float | None = None
    ceiling: float | None = None
    inputs: tuple[str, ...] | None = None
    reason: str = ""
    line: int = 0
    lines: tuple[FieldLine, ...] = ()

    def sets(self, field: str) -> bool:
        """Whether the rule decides ``field``."""
        return getattr(self, field) is not None

    def line_of(self, field: str) -> int:
        """The line that sets ``field``; the rule's own if unknown."""
        return next((one.line for one in self.lines if one.field == field), self.line)


@dataclass(frozen=True, slots=True)
class Policy:
    """All rules in the order of the file.

    Attributes:
        rules: Empty when there is no file.
        source: Name of the file, for origins and messages.
    """

    rules: tuple[Rule, ...] = ()
    source: str = "policy.yaml"


@dataclass(frozen=True, slots=True)
class Decision:
    """Which rule decided one field of one check.

    Attributes:
        field: One of `FIELDS`.
        text: What it decided, in words, e.g. ``rel_l2 <= 1e-05``.
        rule: The deciding rule.
        line: The line that sets the field.
        overridden: Matching rules further up that set the field too, in file order.
    """

    field: str
    text: str
    rule: Rule
    line: int
    overridden: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class Resolved:
    """What the policy says about one check; ``None`` for fields without a rule.

    A ``tolerance`` of the form measured has the ``factor`` decided here, if there is one.
    """

    tolerance: Tolerance | None = None
    reference: Distance | None = None
    factor: float | None = None
    ceiling: float | None = None
    inputs: tuple[str, ...] | None = None
    decisions: tuple[Decision, ...] = ()
    source: str = "policy.yaml"

    def origin(self, field: str) -> str:
        """Where ``field`` was decided, e.g. ``policy.yaml line 7``, or ``""``."""
        decision = next((one for one in self.decisions if one.field == field), None)
        return f"{self.source} line {decision.line}" if decision else ""

    @property
    def tolerance_origin(self) -> str:
        """Where the tolerance was decided, or ``""``."""
        return self.origin("tolerance")


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything that `policy explain` says about one check.

    Attributes:
        check: The id.
        resolved: The result, with one decision for each field.
        matched: All rules whose glob matches, in file order.
        overridden: Those of them that decide nothing here.
        undecided: Fields that no rule sets, left to the defaults.
    """

    check: str
    resolved: Resolved
    matched: tuple[Rule, ...]
    overridden: tuple[Rule, ...]
    undecided: tuple[str, ...]


def matches(glob: str, check: str) -> bool:
    """Whether the whole of ``check`` matches ``glob``, case-sensitively.

    ``*`` matches any characters or none, also ``/``, ``:`` and line breaks; everything else matches
    itself, so brackets and question marks of parametrised ids need no escape. The time is at most
    proportional to the product of the lengths: the parts between stars are found leftmost first.
    """
    head, *parts = glob.split("*")
    if not parts:
        return check == glob
    tail = parts.pop()
    end = len(check) - len(tail)
    if len(head) > end or not (check.startswith(head) and check.endswith(tail)):
        return False
    position = len(head)
    for part in parts:
        found = check.find(part, position, end)
        if found < 0:
            return False
        position = found + len(part)
    return True


def resolve(policy: Policy, check_id_text: str) -> Resolved:
    """What the policy decides about a check, by its id as text."""
    return _resolved(policy, _matching(policy, check_id_text))


def explain(policy: Policy, check_id_text: str) -> Explanation:
    """Which rules match a check, which of them decide what, and which are overridden."""
    matched = _matching(policy, check_id_text)
    resolved = _resolved(policy, matched)
    deciding = [decision.rule for decision in resolved.decisions]
    decided = [decision.field for decision in resolved.decisions]
    return Explanation(
        check_id_text,
        resolved,
        matched,
        overridden=tuple(rule for rule in matched if all(rule is not one for one in deciding)),
        undecided=tuple(field for field in FIELDS if field not in decided),
    )


def unmatched(policy: Policy, ids: Iterable[str]) -> tuple[Rule, ...]:
    """Rules whose glob matches none of the check ids, in file order: misspelt or left over."""
    known = tuple(ids)
    return tuple(
        rule for rule in policy.rules if not any(matches(rule.glob, check) for check in known)
    )


def _matching(policy: Policy, check: str) -> tuple[Rule, ...]:
    return tuple(rule for rule in policy.rules if matches(rule.glob, check))


def _resolved(policy: Policy, matched: tuple[Rule, ...]) -> Resolved:
    decisions = tuple(
        decision for field in FIELDS if (decision := _decision(field, matched)) is not None
    )
    values = {decision.field: getattr(decision.rule, decision.field) for decision in decisions}
    resolved = Resolved(decisions=decisions, source=policy.source, **values)
    tolerance, factor = resolved.tolerance, resolved.factor
    if tolerance is None or factor is None or not tolerance.is_measured:
        return resolved
    return replace(resolved, tolerance=replace(tolerance, factor=factor))


def _decision(field: str, matched: tuple[Rule, ...]) -> Decision | None:
    setting = [rule for rule in matched if rule.sets(field)]
    if not setting:
        return None
    *overridden, rule = setting
    return Decision(field, _text(rule, field), rule, rule.line_of(field), tuple(overridden))


def _text(rule: Rule, field: str) -> str:
    value = getattr(rule, field)
    if isinstance(value, Tolerance):
        return "measured" if value.is_measured else describe(value)
    if isinstance(value, tuple):
        return f"{', '.join(value)} may differ"
    return f"{value:g}" if isinstance(value, float) else str(value)


SCHEMA = 1
"""The schema of ``policy.yaml`` that this version reads."""

_DOCUMENT_KEYS = ("schema", "rules")
_RULE_KEYS = ("check", *FIELDS, "reason")


@dataclass(frozen=True, slots=True)
class Entry:
    """A key and its value, or an item of a series (key ``None``), and its line.

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
    """A file, and its names in errors and origins.

    Attributes:
        path: Its path in the ``where`` of an error.
        name: Its name in an origin, e.g. ``policy.yaml``.
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
    """The policy of a parsed file: a `Block` with the keys ``schema`` and ``rules``.

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
        inputs=_inputs(entries.get("inputs"), place),
        reason=_reason(entries.get("reason"), place),
        line=line,
        lines=tuple(FieldLine(key, entries[key].line) for key in FIELDS if key in entries),
    )
    if not rule.lines:
        raise place.error(line, "the rule decides nothing", _allowed(FIELDS))
    _demand_reason(rule, place)
    return rule


def _demand_reason(rule: Rule, place: Place) -> None:
    """Every number written by hand that can loosen a judgement needs a reason."""
    if rule.reason:
        return
    if rule.inputs is not None:
        raise place.error(
            rule.line_of("inputs"),
            "the rule lets inputs differ and gives no reason for it",
            f"rule   {rule.glob}",
            next_step='add reason: "why other inputs give the same result"',
        )
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
            "an id is e.g. tests/models/test_ddim.py::test_ddim::image; * matches anything",
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
        # One key at a time first, so an error names the key's own line.
        for part in entry.value.entries:
            # What is refused alone is judged below, with a bound of the array.
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


def _inputs(entry: Entry | None, place: Place) -> tuple[str, ...] | None:
    if entry is None:
        return None
    value = _plain(entry.value, place)
    words = value if isinstance(value, list) else [value]
    for word in words:
        if word not in INPUTS:
            what = f"inputs cannot be {_kind(word)}{did_you_mean(str(word), INPUTS)}"
            raise place.error(entry.line, what, _allowed(INPUTS))
    if not words:
        raise place.error(entry.line, "inputs names nothing", _allowed(INPUTS))
    return tuple(words)


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
            raise place.error(entry.line, f"duplicate key {entry.key!r}, also on line {first}")
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
