"""Which call a frame is in the middle of, in every form that Python compiles calls to."""

from __future__ import annotations

import sys

import pytest

from pytest_repro.guard.events import is_calling


class Seen(list):
    """Whether each call of its methods, in order, was seen as one of ``probe``."""

    def probe(self, *_, **__):
        self.append(is_calling(sys._getframe(1), "probe"))
        return self

    def other(self, *_, **__):
        self.append(is_calling(sys._getframe(1), "probe"))
        return self


def by_name(seen):
    probing = seen.probe
    return ("é", probing(3), "seen.other(")


def by_its_own_name(seen):
    probe = seen.probe
    probe(1, (2, [3]))


def enclosed(seen):
    probing = seen.probe

    def inner():
        probing(1)

    inner()


def over_lines(seen):
    seen.probe(
        1,
        *(2,),
    ).probe()


def other_by_name(seen):
    othering = seen.other
    return ("x.probe(", othering(3))


MORE = {"y": 3}
PROBING = {
    "method": lambda seen: seen.probe(),
    "arguments": lambda seen: seen.probe(1, -2, "x" + "y", (3, [4])),
    "keywords": lambda seen: seen.probe(1, x=2, y=(3,)),
    "unpacked": lambda seen: seen.probe(*[1], 2),
    "unpacked keywords": lambda seen: seen.probe(*[1], x=2, **MORE),
    "branch": lambda seen: seen.probe(1 if seen else 2),
    "twice": lambda seen: seen.probe().probe(),
    "attribute": lambda seen: [seen][0].probe(seen[:]),
    "by name": by_name,
    "by its own name": by_its_own_name,
    "enclosed": enclosed,
    "over lines": over_lines,
}
ANOTHER = {
    "method": lambda seen: (seen.other(), ".probe("),
    "its argument": lambda seen: (seen.other(1, x=2), ".probe("),
    "no name": lambda seen: ([seen.other][0](1), ".probe("),
    "by name": other_by_name,
}


@pytest.mark.parametrize("call", PROBING.values(), ids=PROBING)
def test_a_call_of_that_name_is_seen(call):
    seen = Seen()
    call(seen)
    assert set(seen) == {True}


@pytest.mark.parametrize("call", ANOTHER.values(), ids=ANOTHER)
def test_another_call_on_a_line_that_names_it_too_is_not_taken_for_it(call):
    seen = Seen()
    call(seen)
    assert seen == [False]


def test_calls_inside_each_other_are_told_apart():
    seen = Seen()
    seen.probe(seen.other(seen.probe(1)), x=seen.other())
    assert seen == [True, False, False, True]
