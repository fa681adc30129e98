"""How the closing lines name what they count: the test of a check, and the first few of many."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["FEW", "first_few", "test_of"]

FEW = 8
"""More than these are counted, not named."""


def test_of(check: str) -> str:
    """The module and name of the test that makes a check, from the check's id."""
    return check.rpartition("::")[0]


def first_few(names: Sequence[str]) -> list[str]:
    """A line each for the first few, and one that counts the others."""
    lines = [f"  {name}" for name in names[:FEW]]
    return [*lines, f"  and {len(names) - FEW} more"] if len(names) > FEW else lines
