"""Owns the policy: which rule of ``policy.yaml`` decides what about a check, and why.

One rule of precedence: of all rules whose glob matches a check, the LAST one in the file that sets
a field decides that field. So general rules come first and exceptions below them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from pytest_repro.model.words import Distance
from pytest_repro.tolerance.bounds import Tolerance, describe

__all__ = [
    "FIELDS",
    "Decision",
    "Explanation",
    "FieldLine",
    "Policy",
    "Resolved",
    "Rule",
    "explain",
    "matches",
    "resolve",
    "unmatched",
]

FIELDS = ("tolerance", "reference", "factor", "ceiling")
"""What a rule can decide, in the order in which it is explained."""


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
        tolerance: In force instead of the defaults.
        reference: How far away a reference may be.
        factor: Envelopes that a measured tolerance allows, above 0.
        ceiling: rel_l2 above which a measured tolerance proves nothing, above 0 and at most 1.
        reason: Why a person decided it.
        line: Line of the rule in its file, from 1.
        lines: Lines of its fields, where known.
    """

    glob: str
    tolerance: Tolerance | None = None
    reference: Distance | None = None
    factor: float | None = None
    ceiling: float | None = None
    reason: str = ""
    line: int = 0
    lines: tuple[FieldLine, ...] = ()

    def sets(self, field: str) -> bool:
        """Whether the rule decides ``field``."""
        return getattr(self, field) is not None

    def line_of(self, field: str) -> int:
        """The line that sets ``field``; the rule's own where it is not known."""
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
        overridden: Rules that match and set the field too, but stand above; in file order.
    """

    field: str
    text: str
    rule: Rule
    line: int
    overridden: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class Resolved:
    """What the policy says of one check; ``None`` where it says nothing.

    A ``tolerance`` of the form measured carries the ``factor`` decided here, if one was.
    """

    tolerance: Tolerance | None = None
    reference: Distance | None = None
    factor: float | None = None
    ceiling: float | None = None
    decisions: tuple[Decision, ...] = ()
    source: str = "policy.yaml"

    def origin(self, field: str) -> str:
        """Where ``field`` was decided, e.g. ``policy.yaml line 7``; ``""`` where nowhere."""
        decision = next((one for one in self.decisions if one.field == field), None)
        return f"{self.source} line {decision.line}" if decision else ""

    @property
    def tolerance_origin(self) -> str:
        """Where the tolerance was decided, or ``""``."""
        return self.origin("tolerance")


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything that `policy explain` says of one check.

    Attributes:
        check: The id asked about.
        resolved: What is in force, with one decision a field.
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

    ``*`` stands for any characters, none and ``/``, ``:`` and line breaks included; everything else
    stands for itself, so brackets and question marks of parametrised ids need no escape. Runs in
    time proportional to the product of the lengths: the parts between stars are found leftmost
    first, which for this one wildcard is complete, so nothing is ever tried twice.
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
    """What the policy decides about a check; of the matching rules the last that sets a field.

    Args:
        policy: The rules.
        check_id_text: ``str(CheckId)``, e.g. ``tests/models/test_ddim.py::test_ddim::image``.
    """
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
    return f"{value:g}" if isinstance(value, float) else str(value)
