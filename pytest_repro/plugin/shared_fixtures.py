"""Gives shared fixtures the same global random states, no matter which test comes first.

A fixture of wider scope than a function is made once, by the first test that needs it, which may be
an unmarked test. ``setup_module``, ``setup_class`` and ``setUpClass`` are such fixtures, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from pytest_repro.plugin.state import state_of

if TYPE_CHECKING:
    from pytest_repro.guard.events import RandomnessEvent


@contextmanager
def isolated_if_shared(fixturedef: Any, request: Any) -> Iterator[None]:
    """Make a shared fixture of repro tests with its own global states.

    Unseeded draws for another test are kept for `refuse_unseeded`.
    """
    state = state_of(request.config)
    name = fixturedef.argname
    if fixturedef.scope == "function" or name not in state.shared:
        yield
        return
    from pytest_repro.frameworks.framework import default_framework
    from pytest_repro.frameworks.torch import TorchState
    from pytest_repro.guard.guard import Isolation, guard_randomness

    seed = _seed_of(name, getattr(request, "param_index", 0))
    with Isolation(seed, default_framework(), TorchState()):
        if state.active is not None:
            yield
            return

        def note(event: RandomnessEvent) -> None:
            state.unseeded.setdefault(name, event)

        with guard_randomness("warn", note, globals_may_draw=True):
            yield


def refuse_unseeded(item: pytest.Item) -> None:
    """Stop a test whose shared fixture made unseeded draws while another test ran.

    Raises:
        RandomnessError: With the line that drew.
    """
    unseeded = state_of(item.config).unseeded
    for name in getattr(item, "fixturenames", ()) if unseeded else ():
        if name in unseeded:
            from pytest_repro.guard.events import error_of

            raise error_of(unseeded[name])


def _seed_of(name: str, index: int) -> int:
    """A different seed for each fixture, or two of them would have equal numbers."""
    return int.from_bytes(hashlib.sha256(f"{name}[{index}]".encode()).digest()[:4], "big")
