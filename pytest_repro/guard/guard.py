"""Isolates global generators, and guards against unseeded randomness.

The guard sees calls from Python in the thread that entered it. It does not see draws inside
MindSpore's GRAPH mode, and knows MindSpore and mindone only where they are imported before it is
entered.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Protocol

from pytest_repro.errors import RandomnessError
from pytest_repro.guard.events import (
    GLOBALS,
    EventKind,
    RandomnessEvent,
    calling_frame,
    error_of,
    find_place,
    hide_internal_frames,
    may_draw,
    wrongly_handed,
)
from pytest_repro.guard.global_state import (
    OWNERS,
    KeptGenerator,
    kept_generators,
    read_state,
    seed_state,
    write_state,
)
from pytest_repro.guard.patches import Patches, guard_patches
from pytest_repro.model.words import RngMode

_BEYOND = {
    EventKind.UNSEEDED: "random",
    EventKind.MINDSPORE_GLOBAL: "mindspore",
    EventKind.TORCH_GLOBAL: "torch",
}


class RandomnessWarning(UserWarning):
    """Unseeded randomness in a test with mode ``warn``."""


class GlobalState(Protocol):
    """The global random state of a framework."""

    def seed_globals(self, seed: int) -> None:
        """Seed it."""

    def save_state(self) -> Any:
        """Something that `restore_state` takes; ``None`` while the framework is not imported."""

    def restore_state(self, state: Any) -> None:
        """Put it back."""


class Isolation:
    """Seeds ``random``, numpy's legacy state and frameworks; restores every state at the end.

    Also after an exception, and each one even if restoring another fails. numpy's legacy state
    gets ``seed`` modulo 2**32.
    """

    def __init__(self, seed: int, *frameworks: GlobalState) -> None:
        self._seed = seed
        self._frameworks = frameworks
        self._saved: list[tuple[GlobalState, Any]] = []
        self._before: dict[EventKind, object] = {}
        self._held: dict[EventKind, object] = {}

    def hold(self) -> None:
        """Remember the states of numpy and ``random`` for `release`."""
        self._held = _read_all()

    def release(self) -> None:
        """Restore the states of `hold`."""
        _write_all(self._held)

    def __enter__(self) -> None:
        self._before = _read_all()
        try:
            for framework in self._frameworks:
                self._saved.append((framework, framework.save_state()))
                framework.seed_globals(self._seed)
            for kind in OWNERS:  # last: MindSpore seeds numpy in its own way
                seed_state(kind, self._seed)
            self.hold()
            _SWITCH.all_moved()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        if not self._saved:
            _write_all(self._before)
            return
        framework, state = self._saved.pop()
        try:
            framework.restore_state(state)
        finally:
            self.__exit__()


def _read_all() -> dict[EventKind, object]:
    return {kind: read_state(kind) for kind in OWNERS}


def _write_all(states: dict[EventKind, object]) -> None:
    for kind, state in states.items():
        write_state(kind, state)
    _SWITCH.all_moved()  # no guard takes this for a draw


class RandomnessGuard:
    """Watches the thread that enters it; use `guard_randomness`.

    Attributes:
        events: What it saw, in order.
        mode, watches_globals: As asked for.
    """

    def __init__(
        self,
        mode: RngMode,
        on_event: Callable[[RandomnessEvent], None] | None = None,
        *,
        globals_may_draw: bool = False,
    ) -> None:
        self.mode = mode
        self.watches_globals = not globals_may_draw
        self.events: list[RandomnessEvent] = []
        self._on_event = on_event
        self._states: dict[EventKind, object] = {}
        self._kept: list[KeptGenerator] = []
        self._seeded: dict[EventKind, str] = {}

    def __enter__(self) -> RandomnessGuard:
        if self.mode is not RngMode.OFF:
            if self.watches_globals:
                self._states = _read_all()
            self._kept = list(kept_generators())
        _SWITCH.enter(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        _SWITCH.leave(self)
        if isinstance(error, RandomnessError):
            hide_internal_frames(error)
        if self.mode is RngMode.OFF:
            return
        for event in self._unseen():
            self.events.append(event)
            self._tell(event)
        if self.mode is RngMode.ERROR and self.events and error is None:
            # The test caught the error on its way, or only a state shows the draw.
            raise error_of(self.events[0])

    def drawing(self, kind: EventKind, what: str) -> None:
        """Judge a draw before it happens; raises `RandomnessError` in mode ``error``."""
        __tracebackhide__ = True
        if self.mode is RngMode.OFF or (not self.watches_globals and kind in GLOBALS):
            return
        place = find_place(calling_frame(), _BEYOND.get(kind, ""))
        if not may_draw(place, kind):
            self._report(place.event(kind, what, self._seeded.get(kind, "")))

    def handed(self, generator: object, count: int | None) -> None:
        """Judge the generator that mindone got."""
        __tracebackhide__ = True
        what = wrongly_handed(generator, count)
        if what and self.mode is not RngMode.OFF:
            self._report(find_place(calling_frame()).event(EventKind.MISUSE, what))

    def moved(self, kind: EventKind) -> None:
        """Note that a state moved in a known way."""
        if kind in self._states:
            self._states[kind] = read_state(kind)

    def seeding(self, kind: EventKind, call: str) -> None:
        """Remember who seeded a global state, to explain a draw from it."""
        self._seeded[kind] = call

    def reseeded(self, generator: object) -> None:
        """Note a generator that was seeded in this test."""
        self._kept = [one for one in self._kept if one.generator is not generator]

    def settle(self) -> None:
        """Note everything that moved so far."""
        self._states = {kind: read_state(kind) for kind in self._states}
        self._kept = list(kept_generators())

    def _unseen(self) -> Iterator[RandomnessEvent]:
        """Draws that no replacement saw: only a state shows them."""
        for kind, state in self._states.items():
            if state != read_state(kind) and all(one.kind is not kind for one in self.events):
                yield RandomnessEvent(
                    kind,
                    f"{OWNERS[kind]}'s global state was drawn from by a function that the test "
                    "reached before the guard: in a class, a closure or a default argument",
                )
        yield from (one.event() for one in self._kept if one.has_moved())

    def _report(self, event: RandomnessEvent) -> None:
        __tracebackhide__ = True
        self.events.append(event)
        self._tell(event)
        if self.mode is RngMode.ERROR:
            raise error_of(event)

    def _tell(self, event: RandomnessEvent) -> None:
        if self._on_event is not None:
            self._on_event(event)
        elif self.mode is RngMode.WARN:
            text = str(error_of(event))
            warnings.warn_explicit(text, RandomnessWarning, event.file or "?", event.line)


def guard_randomness(
    mode: RngMode | str,
    on_event: Callable[[RandomnessEvent], None] | None = None,
    *,
    globals_may_draw: bool = False,
) -> RandomnessGuard:
    """A context manager that catches unseeded randomness.

    Caught: generators made without a seed, generators of a module that keep their state from test
    to test, draws from numpy's legacy global state, from ``random``'s functions and from
    MindSpore's and PyTorch's global generators, and wrong generators that mindone's
    ``randn_tensor`` accepts (RandomState, an int, too few generators). Draws by the standard
    library, by test tools and in the constructor of a network pass.

    Args:
        mode: ``error`` raises `RandomnessError` at the draw (and again at the end if the test
            caught it), ``warn`` gives a `RandomnessWarning`, ``off`` lets everything pass, also
            inside another guard.
        on_event: Called with every event, in both modes, instead of the warning.
        globals_may_draw: Let draws from global states pass, e.g. where `Isolation` has just
            seeded them; a generator without a seed never does.
    """
    return RandomnessGuard(RngMode(mode), on_event, globals_may_draw=globals_may_draw)


class _Watching(threading.local):
    """The guards that watch a thread, innermost last."""

    def __init__(self) -> None:
        self.guards: list[RandomnessGuard] = []


class _Switch:
    """Installs the replacements for the first guard, and passes each draw to its guard."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._active: list[RandomnessGuard] = []
        self._watching = _Watching()
        self._patches: Patches | None = None

    def enter(self, guard: RandomnessGuard) -> None:
        self._watching.guards.append(guard)
        with self._lock:
            if self._patches is None:
                self._patches = guard_patches(self)
            if not self._active:
                self._patches.install()
            self._active.append(guard)

    def leave(self, guard: RandomnessGuard) -> None:
        self._watching.guards.remove(guard)
        with self._lock:
            self._active.remove(guard)
            if not self._active and self._patches is not None:
                self._patches.remove()
        if guard.mode is RngMode.OFF:
            self.all_moved()  # what moved in there does not concern the guards around it

    def drawing(self, kind: EventKind, what: str) -> None:
        __tracebackhide__ = True
        for guard in self._watching.guards[-1:]:
            guard.drawing(kind, what)

    def handed(self, generator: object, count: int | None) -> None:
        __tracebackhide__ = True
        for guard in self._watching.guards[-1:]:
            guard.handed(generator, count)

    def seeding(self, kind: EventKind, call: str) -> None:
        for guard in self._watching.guards:
            guard.seeding(kind, call)

    def moved(self, kind: EventKind) -> None:
        # In every thread: after a draw of another thread a moved state proves nothing.
        for guard in tuple(self._active):
            guard.moved(kind)

    def all_moved(self) -> None:
        for kind in OWNERS:
            self.moved(kind)

    def reseeded(self, generator: object) -> None:
        for guard in tuple(self._active):
            guard.reseeded(generator)


_SWITCH = _Switch()
announce_draw = _SWITCH.drawing
"""Reports a draw from a global state to the guard of the calling thread, which may raise."""
