"""The errors of pytest-repro and the exit codes of the command.

Exception
└── ReproError                  every fault that is not a verdict
    ├── UsageError              a test, marker, option or policy asks for something that cannot be
    │   ├── ValueRefused        a value that a baseline cannot hold (object array, complex, ...)
    │   ├── SettingError        an option, an ini key or a marker argument
    │   ├── PolicyError         ``policy.yaml``: unknown key, wrong type, misspelt glob
    │   └── RandomnessError     unseeded or global randomness, or a generator used wrongly
    ├── BaselineError           something on disk
    │   ├── CorruptBaseline     truncated, garbled, wrong digest, a git-lfs pointer
    │   ├── NewerSchema         written by a later pytest-repro
    │   ├── StoreError          the folder cannot be read or written
    │   └── HubError            the Hub with the tensors cannot be reached, or refuses
    │       └── HubConflict     its newest commit is not the pinned one
    ├── EnvironmentFault        the machine's facts cannot be read or contradict each other
    ├── WatchError              recording a trace failed: a fault of pytest-repro, never a verdict
    ├── IsolationError          a run in a fresh process failed or did not end
    └── WeightsError            weights cannot be loaded, or are not the pinned ones
AssertionError
└── CheckFailed                 the verdict of a test's checks; the text is the report

A message has up to four parts, each on its own line: what (with the name), facts, where, next.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

_WHERE, _NEXT = "where  ", "next   "


def printable(text: str) -> str:
    """``text`` with every non-printing character escaped; line ends and tabs stay.

    Ids, names and notes come from files, and a control character could steer the terminal.
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
    """Base of every error that pytest-repro raises on purpose.

    Args:
        what: One sentence that names the check or file.
        facts: More lines: the values that caused it.
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
    """The three parts of a `ReproError`'s message: what and facts, where, next step.

    Lines of any other message all belong to the first part; an absent part is ``""``.
    """
    rest = [line.strip() for line in lines]
    found = {_WHERE: "", _NEXT: ""}
    for label in (_NEXT, _WHERE):  # from the end, so that no fact is taken for a label
        if len(rest) > 1 and rest[-1].startswith(label):
            found[label] = rest.pop().removeprefix(label)
    return tuple(rest), found[_WHERE], found[_NEXT]


class UsageError(ReproError):
    """A test, a marker, an option or the policy asks for something impossible."""


class ValueRefused(UsageError):
    """A value that a baseline cannot hold, such as an object array or complex numbers."""


class SettingError(UsageError):
    """An option, ini key or marker argument is unknown, of the wrong type or out of range."""


class PolicyError(UsageError):
    """``policy.yaml`` is wrong; ``where`` names the file and the line."""


class RandomnessError(UsageError):
    """Unseeded randomness, or a generator used wrongly."""


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


class HubError(BaselineError):
    """The repository on the Hub cannot be reached, refuses, or lacks what a manifest names."""


class HubConflict(HubError):
    """The repository's newest commit is not the pinned one."""


class EnvironmentFault(ReproError):
    """The facts of this machine cannot be read, or contradict each other."""


class IsolationError(ReproError):
    """A run in a fresh process failed, or ended before the test did."""


class WatchError(ReproError):
    """Recording a trace failed: a fault of pytest-repro, not of the model."""


class WeightsError(ReproError):
    """Weights cannot be loaded, or are not the pinned ones."""


class CheckFailed(AssertionError):
    """At least one check of a test did not pass; ``str()`` is the report of all of them."""

    def __init__(self, text: str = "") -> None:
        super().__init__(printable(text))
