"""The tree of our errors and the exit codes of the command; knows nothing else.

Exception
└── ReproError                  every fault that is not a verdict
    ├── UsageError              a test, marker, option or policy asks for something that cannot be
    │   ├── ValueRefused        a value that no baseline can hold (object array, complex, ...)
    │   ├── SettingError        an option, an ini key or a marker argument
    │   ├── PolicyError         ``policy.yaml``: unknown key, wrong type, misspelt glob
    │   └── RandomnessError     unseeded or global randomness, or a generator used wrongly
    ├── BaselineError           something on disk
    │   ├── CorruptBaseline     truncated, garbled, wrong digest, a git-lfs pointer
    │   ├── NewerSchema         written by a later pytest-repro
    │   └── StoreError          the folder cannot be read or written
    ├── EnvironmentFault       the machine's facts cannot be read or contradict each other
    ├── WatchError              recording a trace failed: a fault of pytest-repro, never a verdict
    ├── IsolationError          a run in a fresh process could not be made, or did not end
    └── WeightsError            weights cannot be had, or are not the pinned ones
AssertionError
└── CheckFailed                 the verdict of a test's checks; the text is the report

A message has up to four parts, each on its own line: what (with the name), facts, where, next.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

_WHERE, _NEXT = "where  ", "next   "


def printable(text: str) -> str:
    """``text`` with every character that could steer a terminal or reorder words as an escape.

    Ids, names and notes come from files that others wrote. Line ends and tabs stay.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in "\n\t" else repr(one)[1:-1] for one in text)


class ExitCode(IntEnum):
    """What the command ``pytest-repro`` returns to the shell."""

    OK = 0
    DIFFERENT = 1
    USAGE = 2
    BASELINE = 3


class ReproError(Exception):
    """Base of every fault that pytest-repro raises on purpose.

    Args:
        what: One sentence that names the check or thing concerned.
        facts: Further lines: the values that triggered it.
        where: The file (relative to the root folder) or the environment key.
        next_step: A command to paste, or what to do by hand.
    """

    exit_code = ExitCode.USAGE

    def __init__(
        self, what: str, *, facts: tuple[str, ...] = (), where: str = "", next_step: str = ""
    ) -> None:
        self.what = what
        self.facts = facts
        self.where = where
        self.next_step = next_step
        lines = [what, *(f"  {fact}" for fact in facts)]
        if where:
            lines.append(f"  {_WHERE}{where}")
        if next_step:
            lines.append(f"  {_NEXT}{next_step}")
        super().__init__(printable("\n".join(lines)))


def message_parts(lines: Sequence[str]) -> tuple[tuple[str, ...], str, str]:
    """What and facts, where, and next step, of the lines of a `ReproError`'s message.

    Lines that are no such message are all of the first part; a part that is absent is ``""``.
    """
    rest = [line.strip() for line in lines]
    found = {_WHERE: "", _NEXT: ""}
    for label in (_NEXT, _WHERE):  # from the end, so that no fact is taken for a label
        if len(rest) > 1 and rest[-1].startswith(label):
            found[label] = rest.pop().removeprefix(label)
    return tuple(rest), found[_WHERE], found[_NEXT]


class UsageError(ReproError):
    """A test, a marker, an option or the policy asks for something that cannot be."""


class ValueRefused(UsageError):
    """A value that no baseline can hold, such as an object array or complex numbers."""


class SettingError(UsageError):
    """An option, ini key or marker argument is unknown, of the wrong type or out of range."""


class PolicyError(UsageError):
    """``policy.yaml`` is wrong; ``where`` names the file and the line."""


class RandomnessError(UsageError):
    """Randomness that no seed of this test decides, or a generator used wrongly."""


class BaselineError(ReproError):
    """Something that is stored cannot be used as it is."""

    exit_code = ExitCode.BASELINE


class CorruptBaseline(BaselineError):
    """A manifest or tensor is truncated, garbled, has a wrong digest or is a git-lfs pointer."""


class OlderSchema(BaselineError):
    """A stored manifest has a layout that has to be migrated first."""


class NewerSchema(BaselineError):
    """A manifest was written by a later pytest-repro than this one."""


class StoreError(BaselineError):
    """The baselines folder cannot be read or written."""


class EnvironmentFault(ReproError):
    """The facts of this machine cannot be read, or contradict each other."""


class IsolationError(ReproError):
    """A run in a fresh process could not be made, or ended before the test did."""


class WatchError(ReproError):
    """Recording a trace failed: a fault of pytest-repro that says nothing about the model."""


class WeightsError(ReproError):
    """Weights cannot be had, or are not the ones that were pinned."""


class CheckFailed(AssertionError):
    """At least one check of a test did not pass; ``str()`` is the report of all of them."""

    def __init__(self, text: str = "") -> None:
        super().__init__(printable(text))
