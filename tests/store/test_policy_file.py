"""Reading ``policy.yaml``: lines, YAML's traps, and files that are no policy."""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_repro.errors import PolicyError
from pytest_repro.store import system
from pytest_repro.store.policy_file import SIZE_LIMIT_BYTES, load_policy
from pytest_repro.tensors.compare import compare_records
from pytest_repro.tensors.record import make_record
from pytest_repro.tolerance.bounds import Tolerance
from pytest_repro.tolerance.judge import passing_tolerance, uses
from pytest_repro.tolerance.policy import Policy, resolve

EXAMPLE = """\
# What people decided.
schema: 1
rules:
  - check: "tests/models/*"
    tolerance: measured
    factor: 4
  - check: "tests/models/test_x.py::test_y::image"
    tolerance: {rel_l2: 1.0e-5}
    reason: "why a person decided this number"
"""


def load(folder, text):
    path = folder / "policy.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_policy(path)


def refused(folder, text):
    with pytest.raises(PolicyError) as caught:
        load(folder, text)
    return caught.value


def one_rule(*lines):
    return "\n".join(["schema: 1", "rules:", '  - check: "*"', *(f"    {line}" for line in lines)])


def test_the_example_is_read_with_its_lines(tmp_path):
    policy = load(tmp_path, EXAMPLE)
    assert [rule.line for rule in policy.rules] == [4, 7]
    resolved = resolve(policy, "tests/models/test_x.py::test_y::image")
    assert resolved.tolerance == Tolerance(rel_l2=1e-5)
    assert resolved.tolerance_origin == "policy.yaml line 8"
    assert resolved.origin("factor") == "policy.yaml line 6"
    assert resolve(policy, "tests/models/test_z.py::t::i").tolerance == Tolerance(factor=4.0)
    assert resolve(policy, "tests/other.py::t::i").tolerance is None


def test_no_file_is_an_empty_policy(tmp_path):
    assert load_policy(tmp_path / "policy.yaml") == Policy()
    assert load_policy(tmp_path / "nowhere" / "policy.yaml") == Policy()


def test_the_projects_own_policy_is_valid_and_leaves_our_own_key_exact():
    path = Path(__file__).parents[2] / "baselines" / "policy.yaml"
    policy = load_policy(path)
    resolved = resolve(policy, "tests/models/test_ddim.py::test_ddim::image")
    assert policy.rules
    assert resolved.factor == 4.0
    assert resolved.tolerance is None


@pytest.mark.parametrize("text", ["1e-5", "1E-5", "1.0e-5", "1e-05", ".00001", "0.00001", "+1e-5"])
def test_numbers_that_yaml_calls_text_are_numbers(tmp_path, text):
    policy = load(tmp_path, one_rule(f"tolerance: {{rel_l2: {text}}}", "reason: measured"))
    assert policy.rules[0].tolerance == Tolerance(rel_l2=1e-5)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('"1e-5"', "not str '1e-5'"),
        ("010", "not str '010'"),
        ("0x10", "not str '0x10'"),
        ("1:30", "not str '1:30'"),
        ("1_000", "not str '1_000'"),
        ("yes", "not bool True"),
        ("off", "not bool False"),
        ("~", "not NoneType"),
        (".nan", "a finite number >= 0, not float nan"),
        (".inf", "a finite number >= 0, not float inf"),
        ("-1", "a finite number >= 0, not int -1"),
        ("1" * 5000, "a finite number >= 0, not float inf"),
        ("2020-01-01", "not str '2020-01-01'"),
        ("1٣", "not str"),
    ],
)
def test_what_is_no_plain_number_is_refused_with_its_line(tmp_path, text, named):
    error = refused(tmp_path, one_rule("tolerance:", f"  max_ulp: {text}", "reason: measured"))
    assert named in str(error)
    assert error.where == f"{(tmp_path / 'policy.yaml').as_posix()}:5"


def test_a_glob_that_looks_like_a_number_stays_what_was_quoted(tmp_path):
    text = "schema: 1\nrules: [{check: \"1e-5\", factor: 2}, {check: 'yes', factor: 2}]"
    assert [rule.glob for rule in load(tmp_path, text).rules] == ["1e-5", "yes"]


def test_a_passing_tolerance_can_be_pasted(tmp_path):
    records = [make_record(np.array([1.0, two])) for two in (2.0, 2.0000004)]
    difference = compare_records(*records)
    text = passing_tolerance(difference)
    assert "e-07" in text
    rule = load(tmp_path, one_rule(f"tolerance: {text}", "reason: pasted")).rules[0]
    assert all(use.share <= 1.0 for use in uses(rule.tolerance, difference))


@pytest.mark.parametrize(
    ("text", "line", "named"),
    [
        ("schema: 1\nrules:\n  - check: */x\n    factor: 2\n", 3, "put globs and reasons between"),
        ("schema: 1\nrules:\n  - check: *x\n    factor: 2\n", 3, "put globs and reasons between"),
        ("schema: 1\nrules:\n  - check: [a]/x\n", 3, "put globs and reasons between"),
        ("schema: 1\nrules: &a []\n", 2, "anchors (&) and aliases (*) are not allowed"),
        ("schema: 1\nrules: *a\n", 2, "anchors (&) and aliases (*) are not allowed"),
        ("schema: 1\nrules: !!python/object:os.system x\n", 2, "the tag"),
        ("schema: !!int 1\n", 1, "the tag"),
        ("schema: 1\n---\nschema: 1\n", 2, "another document"),
        ("schema: 1\nschema: 1\n", 2, "also on line 1"),
        ("schema: 1\n<<: {rules: []}\n", 2, "no key '<<'"),
        ("schema: 1\n? {a: b}\n: 1\n", 2, "no key a mapping"),
        ("schema: 1\n1: 2\n", 2, "no key int 1"),
        ("schema: 1\n\trules: []\n", 2, "not YAML"),
        ("schema: 1\nrules: [\n", 3, "not YAML"),
        ("schema: 1\nrule: []\n", 2, "did you mean 'rules'?"),
        ("schema: 1\n# \x00\n", 2, "a character that YAML does not allow"),
        (b"schema: 1\n# \xff\n", 2, "not UTF-8"),
        ("", 1, "is empty"),
        ("# nothing yet\n", 1, "is empty"),
        ("schema: 2\n", 1, "later pytest-repro"),
        ("rules: []\n", 1, "schema is missing"),
        ("hello\n", 1, "must be a mapping"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(tmp_path, text, line, named):
    error = refused(tmp_path, text)
    assert named in str(error)
    assert error.where == f"{(tmp_path / 'policy.yaml').as_posix()}:{line}"


def test_a_byte_order_mark_and_foreign_line_ends_change_nothing(tmp_path):
    plain = load(tmp_path, EXAMPLE)
    assert load(tmp_path, b"\xef\xbb\xbf" + EXAMPLE.encode()) == plain
    assert load(tmp_path, EXAMPLE.replace("\n", "\r\n")) == plain


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[" * 100_000, "nested more than"),
        ("{a: " * 25_000, "nested more than"),
        ("- " * 60_000, "nested more than"),
        ("schema: 1\nrules: [" + "a," * 60_000 + "]", "keys and values"),
        ("#" * (SIZE_LIMIT_BYTES + 1), "larger than"),
        ("a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\n", "anchors"),
    ],
)
def test_a_bomb_is_refused_at_once_and_in_little_memory(tmp_path, text, named):
    before = time.process_time()
    assert named in refused(tmp_path, text).what
    assert time.process_time() - before < 3.0
    tracemalloc.start()
    refused(tmp_path, text)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 50e6


def test_a_thousand_rules_are_read(tmp_path):
    rules = "".join(
        f'  - {{check: "tests/{at}/*", factor: 2, reason: "x"}}\n' for at in range(1000)
    )
    assert len(load(tmp_path, f"schema: 1\nrules:\n{rules}").rules) == 1000


def test_what_is_no_file_is_refused(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "broken").symlink_to(tmp_path / "gone")
    for name, why in (("folder", "a folder is in"), ("broken", "No such file")):
        with pytest.raises(PolicyError, match=why) as caught:
            load_policy(tmp_path / name)
        assert name in caught.value.where


def test_a_file_that_cannot_be_opened_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "policy.yaml"
    path.write_text(EXAMPLE)

    def denied(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(system._os, "open", denied)
    with pytest.raises(PolicyError, match="Permission denied"):
        load_policy(path)


TOKENS = (
    *("schema: 1\n", "rules:", "\n  - ", "check: ", '"*"', "tolerance: ", "factor: ", "reason: x"),
    *("rel_l2: ", "mean: ", "atol: ", "1e-5", ".nan", "\n    ", "{", "}", "[", "]", "? ", ", "),
    *("&a", "*a", "!!x", "|", ">", "'", "---", "...", "%TAG", "\x85", "é", "\ufeff", "\r", "#"),
)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.sampled_from(TOKENS), max_size=14), st.booleans())
def test_garbled_text_raises_nothing_but_our_error(tmp_path, parts, headed):
    text = ("schema: 1\nrules:\n  - " if headed else "") + "".join(parts)
    try:
        policy = load(tmp_path, text)
    except PolicyError as error:
        place = error.where
    else:
        place = f"{policy.source}:1"
        assert all(rule.lines for rule in policy.rules), "a rule that decides nothing was read"
    line = int(place.rpartition(":")[2])
    assert 1 <= line <= len(text.splitlines()) + 1


def test_a_policy_of_the_other_suffix_is_refused_and_not_taken_for_none(tmp_path):
    (tmp_path / "policy.yml").write_text("schema: 1\n", encoding="utf-8")
    with pytest.raises(PolicyError, match=r"policy\.yml has no effect"):
        load_policy(tmp_path / "policy.yaml")
    (tmp_path / "policy.yml").rename(tmp_path / "policy.yaml")
    assert load_policy(tmp_path / "policy.yaml").rules == ()
