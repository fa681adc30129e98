"""The policy: which rule decides, what it overrides, what matches nothing, what is refused."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_repro.errors import PolicyError
from pytest_repro.model.words import Distance
from pytest_repro.tolerance.bounds import Tolerance
from pytest_repro.tolerance.policy import (
    Block,
    Entry,
    Place,
    Policy,
    Rule,
    Series,
    explain,
    matches,
    policy_from,
    resolve,
    unmatched,
)

CHECK = "tests/models/test_ddim.py::test_ddim::image"
PARAMETRISED = "tests/models/test_ddim.py::TestDdim::test_fast[float16-2]::image[0]"
PLACE = Place("baselines/policy.yaml")


# Globs


@pytest.mark.parametrize(
    ("glob", "check", "matched"),
    [
        ("*", CHECK, True),
        ("*", "", True),
        ("", CHECK, False),
        (CHECK, CHECK, True),
        ("tests/models/*", CHECK, True),
        ("tests/model/*", CHECK, False),
        ("*::image", CHECK, True),
        ("*::imag", CHECK, False),
        ("ddim", CHECK, False),
        ("*ddim*", CHECK, True),
        ("Tests/*", CHECK, False),
        ("tests/*::test_ddim::*", CHECK, True),
        ("tests/*::test_unclip::*", CHECK, False),
        ("*[float16-2]*", PARAMETRISED, True),
        ("*[float32-2]*", PARAMETRISED, False),
        ("*test_fast[f]*", PARAMETRISED, False),
        ("*test_fas?[float16-2]*", PARAMETRISED, False),
        ("*.py::*", "tests/test_xpy::t::image", False),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("ab*ba", "aba", False),
        ("*b*b*", "abc", False),
        ("*b*b*", "abcb", True),
        ("a\\*", "a\\b", True),
        ("a**b", "a/x/b", True),
        ("a*b", "a\nb", True),
    ],
)
def test_a_star_matches_anything_and_all_else_itself(glob, check, matched):
    assert matches(glob, check) is matched


@given(st.text("ab[]:/*?.\n", max_size=8), st.text("ab[]:/?.\n", max_size=12))
def test_matching_is_that_of_the_translated_regular_expression(glob, check):
    pattern = ".*".join(re.escape(part) for part in glob.split("*"))
    assert matches(glob, check) is bool(re.fullmatch(pattern, check, re.DOTALL))


def test_a_glob_of_many_stars_takes_no_exponential_time():
    before = time.perf_counter()
    assert not matches("*a" * 200 + "b", "a" * 5000)
    assert matches("*a" * 200, "a" * 5000)
    assert time.perf_counter() - before < 1.0


# Who decides

WIDE = Rule("tests/*", tolerance=Tolerance(factor=4.0), factor=4.0, line=3)
NARROW = Rule("*::test_ddim::*", tolerance=Tolerance(rel_l2=1e-5), reason="measured", line=7)
OTHER = Rule("tests/core/*", tolerance=Tolerance.EXACT, reference=Distance.OWN, line=11)


def test_the_last_matching_rule_that_sets_a_field_decides_it():
    resolved = resolve(Policy((WIDE, NARROW, OTHER)), CHECK)
    assert resolved.tolerance == Tolerance(rel_l2=1e-5)
    assert resolved.tolerance_origin == "policy.yaml line 7"
    assert (resolved.factor, resolved.origin("factor")) == (4.0, "policy.yaml line 3")
    assert (resolved.reference, resolved.origin("reference")) == (None, "")
    swapped = resolve(Policy((NARROW, WIDE, OTHER)), CHECK)
    assert swapped.tolerance == Tolerance(factor=4.0)
    assert swapped.tolerance_origin == "policy.yaml line 3"


def test_an_empty_policy_decides_nothing():
    resolved = resolve(Policy(), CHECK)
    assert resolved.decisions == ()
    assert (resolved.tolerance, resolved.reference, resolved.factor, resolved.ceiling) == (
        None,
    ) * 4
    assert resolved.tolerance_origin == ""


def test_a_measured_tolerance_carries_the_factor_that_another_rule_decides():
    rules = (Rule("*", tolerance=Tolerance(factor=4.0)), Rule("*", factor=2.0))
    assert resolve(Policy(rules), CHECK).tolerance == Tolerance(factor=2.0)
    assert resolve(Policy(rules[:1]), CHECK).tolerance == Tolerance(factor=4.0)
    alone = resolve(Policy(rules[1:]), CHECK)
    assert (alone.tolerance, alone.factor) == (None, 2.0)
    written = (Rule("*", tolerance=Tolerance(rel_l2=1.0)), Rule("*", factor=2.0))
    assert resolve(Policy(written), CHECK).tolerance == Tolerance(rel_l2=1.0)


def test_the_explanation_names_the_deciding_and_the_overridden_rules():
    explanation = explain(Policy((WIDE, NARROW, OTHER)), CHECK)
    tolerance, factor = explanation.resolved.decisions
    assert (tolerance.field, tolerance.text, tolerance.line) == ("tolerance", "rel_l2 <= 1e-05", 7)
    assert tolerance.rule.reason == "measured"
    assert tolerance.overridden == (WIDE,)
    assert (factor.field, factor.text, factor.overridden) == ("factor", "4", ())
    assert explanation.matched == (WIDE, NARROW)
    assert explanation.overridden == ()
    assert explanation.undecided == ("reference", "ceiling", "inputs")


def test_a_rule_that_decides_nothing_is_called_overridden():
    upper = Rule("tests/*", tolerance=Tolerance.EXACT, line=3)
    explanation = explain(Policy((upper, NARROW)), CHECK)
    assert explanation.overridden == (upper,)
    assert explain(Policy((upper,)), CHECK).overridden == ()


def test_rules_that_match_nothing_are_found():
    typo = Rule("tests/model/*", factor=2.0, line=9)
    policy = Policy((WIDE, typo, NARROW))
    assert unmatched(policy, [CHECK, PARAMETRISED]) == (typo,)
    assert unmatched(policy, iter([CHECK, "tests/model/x"])) == ()
    assert unmatched(policy, []) == policy.rules


# What is refused


def block(line=1, **pairs):
    """A block whose n-th key stands on the n-th line from ``line``."""
    entries = enumerate(pairs.items(), start=line)
    return Block(tuple(Entry(key, value, at) for at, (key, value) in entries), line)


def document(*rules):
    items = tuple(Entry(None, rule, getattr(rule, "line", 3)) for rule in rules)
    return block(schema=1, rules=Series(items, 3))


def refused(parsed):
    with pytest.raises(PolicyError) as caught:
        policy_from(parsed, PLACE)
    return caught.value


def test_a_rule_is_read_with_the_lines_of_its_fields():
    parsed = document(
        block(3, check="tests/*", tolerance="measured", factor=2, reference="release"),
        block(
            7,
            check="*::x",
            tolerance=block(8, rel_l2=1e-5, nan_count=2, mean=block(9, atol=1)),
            reason=" y ",
        ),
        block(12, check="*", ceiling=0.05, reason="gross faults only"),
    )
    first, second, third = policy_from(parsed, PLACE).rules
    assert first.tolerance == Tolerance(factor=4.0)
    assert (first.factor, first.reference) == (2.0, Distance.RELEASE)
    assert [first.line_of(name) for name in ("tolerance", "factor", "ceiling")] == [4, 5, 3]
    assert second.tolerance.rel_l2 == 1e-5
    assert second.tolerance.statistic("mean").atol == 1.0
    assert second.tolerance.statistic("nan_count").rtol == 2.0
    assert second.reason == "y"
    assert third.ceiling == 0.05
    widest = document(block(3, check="*", ceiling=1.0, reason="any change of content passes"))
    assert policy_from(widest, PLACE).rules[0].ceiling == 1.0


@pytest.mark.parametrize(
    ("rule", "line", "named"),
    [
        (block(3, check="*", tolerence="exact"), 4, "did you mean 'tolerance'?"),
        (block(3, chek="*", tolerance="exact"), 3, "did you mean 'check'?"),
        (block(3, tolerance="exact"), 3, "names no check"),
        (block(3, check="*"), 3, "decides nothing"),
        (block(3, check="*", reason="because"), 3, "decides nothing"),
        (block(3, check=7, factor=2), 3, "must be a glob"),
        (block(3, check=" ", factor=2), 3, "must be a glob"),
        (block(3, check="/tests/*", factor=2), 3, "without / or ./"),
        (block(3, check="./tests/*", factor=2), 3, "without / or ./"),
        (block(3, check="tests/* ", factor=2), 3, "a space"),
        (block(3, check="*", reference="relase"), 4, "did you mean 'release'?"),
        (block(3, check="*", reference=True), 4, "allowed: own, variant, release, any"),
        (block(3, check="*", factor=0), 4, "factor must be above 0"),
        (block(3, check="*", factor=-1.0), 4, "factor must be above 0"),
        (block(3, check="*", factor=float("nan")), 4, "factor must be above 0"),
        (block(3, check="*", factor=float("inf")), 4, "factor must be above 0"),
        (block(3, check="*", factor=True), 4, "factor must be a number, not bool"),
        (block(3, check="*", factor="2"), 4, "factor must be a number, not str"),
        (block(3, check="*", factor=None), 4, "factor must be a number, not nothing"),
        (block(3, check="*", ceiling=1.5, reason="x"), 4, "at most 1"),
        (block(3, check="*", tolerance="exakt"), 4, "did you mean 'exact'?"),
        (block(3, check="*", tolerance=1e-5), 4, "cannot be float"),
        (block(3, check="*", tolerance=Series((), 4)), 4, "cannot be list"),
        (block(3, check="*", tolerance=block(4, rel_l2=1, atoll=1)), 5, "did you mean 'atol'?"),
        (block(3, check="*", tolerance=block(4, nan_count=1)), 4, "nan_count alone bounds"),
        (block(3, check="*", tolerance=block(4, rel_l2=1, atol="1")), 5, "atol must be a number"),
        (block(3, check="*", factor=2, reason=7), 5, "reason must be a sentence"),
        (block(3, check="*", factor=2, reason="  "), 5, "reason must be a sentence"),
        ("tests/*", 3, "a rule must be a mapping, not str"),
        (block(3, check="*", inputs="weight"), 4, "did you mean 'weights'?"),
        (block(3, check="*", inputs=Series((), 4)), 4, "inputs names nothing"),
    ],
)
def test_a_wrong_rule_is_refused_with_its_line(rule, line, named):
    error = refused(document(rule))
    assert named in str(error)
    assert error.where == f"baselines/policy.yaml:{line}"
    assert f"line {line}" in error.what


@pytest.mark.parametrize(
    "pairs",
    [
        {"tolerance": block(4, rel_l2=1e-5)},
        {"tolerance": block(4, atol=0)},
        {"factor": 4.01},
        {"ceiling": 0.02},
        {"inputs": "weights"},
    ],
)
def test_a_number_that_loosens_needs_a_reason(pairs):
    error = refused(document(block(3, check="tests/*", **pairs)))
    assert next(iter(pairs)) in error.what
    assert error.where.endswith(":4")
    assert "add reason:" in error.next_step
    reasoned = block(3, check="tests/*", **pairs, reason="decided after release 2.9")
    assert len(policy_from(document(reasoned), PLACE).rules) == 1


@pytest.mark.parametrize(
    "pairs", [{"tolerance": "measured"}, {"tolerance": "exact"}, {"factor": 4}, {"factor": 1.5}]
)
def test_words_and_tighter_factors_need_no_reason(pairs):
    assert len(policy_from(document(block(3, check="tests/*", **pairs)), PLACE).rules) == 1


@pytest.mark.parametrize(
    ("parsed", "line", "named"),
    [
        (block(rules=None), 1, "schema is missing"),
        (block(schema=2), 1, "later pytest-repro"),
        (block(schema=True), 1, "schema must be 1"),
        (block(schema=1.0), 1, "schema must be 1"),
        (block(schema="1"), 1, "schema must be 1"),
        (block(schema=0), 1, "schema must be 1"),
        (block(schema=1, rule=None), 2, "did you mean 'rules'?"),
        (block(schema=1, rules=block(2, check="*")), 2, "rules must be a list"),
        (Series((), 1), 1, "the policy must be a mapping, not a list"),
        (None, 1, "the policy must be a mapping, not nothing"),
    ],
)
def test_a_wrong_document_is_refused_with_its_line(parsed, line, named):
    error = refused(parsed)
    assert named in str(error)
    assert error.where.endswith(f":{line}")


@pytest.mark.parametrize("level", ["document", "rule", "tolerance", "statistic"])
def test_a_repeated_key_is_refused_with_both_lines(level):
    def twice(key, value):
        return Block((Entry(key, value, 4), Entry(key, value, 5)), 4)

    parsed = {
        "document": twice("schema", 1),
        "rule": document(twice("check", "*")),
        "tolerance": document(block(3, check="*", tolerance=twice("atol", 1), reason="x")),
        "statistic": document(
            block(3, check="*", tolerance=block(4, mean=twice("atol", 1)), reason="x")
        ),
    }[level]
    error = refused(parsed)
    assert "also on line 4" in error.what
    assert error.where.endswith(":5")


def test_a_policy_without_rules_is_empty():
    for rules in ({}, {"rules": None}, {"rules": Series((), 2)}):
        assert policy_from(block(schema=1, **rules), PLACE) == Policy()


def test_what_a_rule_does_not_say_is_empty():
    (rule,) = policy_from(document(block(3, check="tests/*", reference="any")), PLACE).rules
    assert (rule.reason, rule.tolerance, rule.factor, rule.ceiling) == ("", None, None, None)
    bare = Rule("*", factor=2.0)
    assert (bare.line, bare.line_of("factor")) == (0, 0)
