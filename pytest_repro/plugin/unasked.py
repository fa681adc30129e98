"""Baselines that a test which passed did not ask for: nothing was compared with them.

A loop that makes fewer checks than were recorded (a batch that lost an image) fails nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pytest_repro.plugin.naming import first_few, test_of

if TYPE_CHECKING:
    from pytest_repro.store.store import Store

__all__ = ["unasked", "unasked_text"]


def unasked(
    checks: Iterable[str], passed: Iterable[str], keys: Iterable[str], store: Store
) -> list[str]:
    """Ids of the stored checks of these tests that none of them made, sorted.

    Args:
        checks: Ids of every check that the run made.
        passed: The tests (module and name) that came to their end and passed; others may have
            stopped before a check.
        keys: Those of the run. What a fallback's key holds may have been made by other code.
        store: The baselines.

    Raises:
        BaselineError: A manifest cannot be used.
    """
    tests = frozenset(passed)
    modules = sorted({test.partition("::")[0] for test in tests})
    found = {
        f"{module}::{entry}"
        for key in keys
        for module in modules
        for entry in _entries(store, key, module)
    }
    return sorted(one for one in found.difference(checks) if test_of(one) in tests)


def _entries(store: Store, key: str, module: str) -> Iterable[str]:
    from pytest_repro.model.ids import EnvironmentKey

    return store.index(EnvironmentKey(*key.split("/")), module)


def unasked_text(checks: Sequence[str]) -> str:
    """What the run says of them."""
    one = len(checks) == 1
    what = (
        f"{len(checks)} {'baseline was' if one else 'baselines were'} compared with nothing: "
        f"{'its test' if one else 'their tests'} passed without asking for "
        f"{'it' if one else 'them'}"
    )
    next_step = f"check it again, or delete it: pytest-repro prune --check '{checks[0]}'"
    return "\n".join([what, *first_few(checks), f"  next   {next_step}"])
