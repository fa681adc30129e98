"""What our errors say and in which order, how it comes apart again, and the exit codes."""

from __future__ import annotations

import pytest

from pytest_repro import errors
from pytest_repro.errors import (
    BaselineError,
    CheckFailed,
    CorruptBaseline,
    ExitCode,
    ReproError,
    message_parts,
    printable,
)

OURS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, ReproError) and kind is not ReproError
]


def test_the_exit_codes_are_those_that_scripts_rely_on():
    assert {code.name: int(code) for code in ExitCode} == {
        "OK": 0,
        "DIFFERENT": 1,
        "USAGE": 2,
        "BASELINE": 3,
    }


@pytest.mark.parametrize("kind", OURS)
def test_a_fault_of_what_is_stored_has_an_exit_code_of_its_own(kind):
    wanted = ExitCode.BASELINE if issubclass(kind, BaselineError) else ExitCode.USAGE
    assert kind("what").exit_code is wanted


def test_a_message_says_what_facts_where_and_next_each_on_its_line():
    fault = ReproError(
        "no such key", facts=("is  a", "was b"), where="b/x.yaml", next_step="pytest"
    )
    assert str(fault).splitlines() == [
        "no such key",
        "  is  a",
        "  was b",
        "  where  b/x.yaml",
        "  next   pytest",
    ]
    assert (fault.what, fault.facts) == ("no such key", ("is  a", "was b"))
    assert (fault.where, fault.next_step) == ("b/x.yaml", "pytest")


def test_a_part_that_is_not_given_has_no_line():
    assert str(ReproError("what")) == "what"
    assert str(ReproError("what", where="here")) == "what\n  where  here"
    assert str(ReproError("what", next_step="go")) == "what\n  next   go"


def test_a_failed_check_is_an_assertion_and_no_fault_of_ours():
    assert issubclass(CheckFailed, AssertionError)
    assert not issubclass(CheckFailed, ReproError)


ERRORS = [
    ReproError("what"),
    ReproError("what", facts=("one", "two")),
    ReproError("what", where="a.yaml"),
    ReproError("what", next_step="git lfs pull"),
    CorruptBaseline("what", facts=("where  it hurts", "next   comes"), where="a", next_step="b"),
    ReproError("where  is it"),
]


@pytest.mark.parametrize("error", ERRORS, ids=str)
def test_the_parts_of_a_message_are_what_it_was_made_of(error):
    sentences, where, next_step = message_parts(str(error).splitlines())
    assert sentences == (error.what, *error.facts)
    assert (where, next_step) == (error.where, error.next_step)


def test_lines_that_are_no_message_are_all_sentences():
    assert message_parts(()) == ((), "", "")
    assert message_parts(("dtype became float64", "shape, too")) == (
        ("dtype became float64", "shape, too"),
        "",
        "",
    )


@pytest.mark.parametrize("text", ["a\x1b[2Kb", "a\x9b2Kb", "a\rb", "a\u202eb", "a\x00b", "a\x7fb"])
def test_no_message_can_steer_a_terminal(text):
    for error in (ReproError("what", facts=(text,), where=text, next_step=text), CheckFailed(text)):
        shown = str(error)
        assert text not in shown
        assert all(one.isprintable() or one == "\n" for one in shown)
    assert printable("ümlaut\tand\nline") == "ümlaut\tand\nline"
