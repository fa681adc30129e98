"""No randomness but the test's own: isolated global generators, and the guard against the rest.

The guard sees calls from Python in the thread that entered it. It does not see draws inside
MindSpore's GRAPH mode, and knows MindSpore and mindone only where they are imported before it is
entered.
"""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from pytest_repro.errors import RandomnessError
from pytest_repro.guard.events import (
    EventKind,
    RandomnessEvent,
    direct_frame,
    error_of,
    find_place,
    is_calling,
    may_draw,
)
from pytest_repro.guard.global_state import GENERATORS, OWNERS
from pytest_repro.guard.patches import Patches
from pytest_repro.model.words import RngMode

_NUMPY, _RANDOM = GENERATORS[EventKind.NUMPY_GLOBAL], GENERATORS[EventKind.RANDOM_GLOBAL]


class RandomnessWarning(UserWarning):
    """Randomness that no seed of the test decides, where the test lets it pass."""


class GlobalState(Protocol):
    """The global random state of a framework (MindSpore's adapter has it)."""

    def seed_globals(self, seed: int) -> None:
        """Seed it."""
        ...

    def save_state(self) -> Any:
        """Something that `restore_state` takes; ``None`` while the framework is not imported."""
        ...

    def restore_state(self, state: Any) -> None:
        """Put it back."""
        ...


def isolated_globals(seed: int, mindspore: GlobalState | None = None) -> Isolation:
    """Seed ``random``, numpy's legacy state and MindSpore; give every state back at the end.

    Also after an exception, and each one even where giving back another fails.

    Args:
        seed: At least 0; numpy's legacy state gets its remainder by 2**32.
        mindspore: The framework's state, where it is installed.
    """
    return Isolation(seed, mindspore)


class Isolation:
    """Seeded global states from its entry to its exit; use `isolated_globals`.

    Written out rather than as a generator: it stands around every test.
    """

    __slots__ = ("_before", "_framework", "_framework_state", "_held", "_seed")

    def __init__(self, seed: int, framework: GlobalState | None) -> None:
        self._seed = seed
        self._framework = framework
        self._framework_state: Any = None
        self._before: _States = _NO_STATES
        self._held: _States = _NO_STATES

    def hold(self) -> None:
        """Remember the states of numpy and ``random`` for `release`; others may move them now."""
        self._held = _read()

    def release(self) -> None:
        """Give them the states that they had at `hold`, or at first when they were seeded."""
        if _read() != self._held:
            _move(self._held)

    def __enter__(self) -> None:
        self._before = _read()
        try:
            self._held = _NUMPY.seeded(self._seed), _RANDOM.seeded(self._seed)
            _move(self._held)
            if self._framework is not None:
                self._seed_framework(self._framework)
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        framework, self._framework = self._framework, None
        try:
            if framework is not None:
                framework.restore_state(self._framework_state)
        finally:
            _move(self._before)

    def _seed_framework(self, framework: GlobalState) -> None:
        self._framework_state = framework.save_state()
        framework.seed_globals(self._seed)
        if self._framework_state is not None:
            _move(self._held)  # it may have seeded numpy in its own way


_States = tuple[Any, Any]
"""Of numpy's and of ``random``'s generator."""
_NO_STATES: _States = (None, None)


def _read() -> _States:
    return _NUMPY.read(), _RANDOM.read()


def _move(states: _States) -> None:
    """Give the global generators their states, which no guard shall take for draws."""
    for kind in GENERATORS:
        _SWITCH.moving(kind)
    numpy_state, random_state = states
    _NUMPY.write(numpy_state)
    _RANDOM.write(random_state)
    for kind in GENERATORS:
        _SWITCH.drew(kind)


class RandomnessGuard:
    """Watches the thread that enters it; use `guard_randomness`.

    Attributes:
        events: What it saw, in order.
        mode, lasting: As they were asked for.
        watches_globals: Whether draws from global states are watched, too.
    """

    def __init__(
        self,
        mode: RngMode,
        on_event: Callable[[RandomnessEvent], None] | None = None,
        *,
        globals_may_draw: bool = False,
        lasting: bool = False,
    ) -> None:
        self.mode = mode
        self.lasting = lasting
        self.watches_globals = not globals_may_draw
        self.events: list[RandomnessEvent] = []
        self._on_event = on_event
        # States after the last draw that is accounted for, and how many foreign ones were made.
        self._remembered: dict[EventKind, tuple[object, int]] = {}

    def __enter__(self) -> RandomnessGuard:
        if self.mode is not RngMode.OFF and self.watches_globals:
            for kind in GENERATORS:
                self._remember(kind)
        _SWITCH.enter(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        _SWITCH.leave(self)
        if self.mode is RngMode.OFF:
            return
        for source in tuple(self._remembered):
            self._compare(source)
        if self.mode is RngMode.ERROR and self.events and error is None:
            # Somebody caught the error on its way, or nothing but the state told of the draw.
            raise error_of(self.events[0])

    def drawing(self, kind: EventKind, what: str) -> None:
        """Judge a draw that is about to happen; raises `RandomnessError` in mode ``error``."""
        __tracebackhide__ = True
        if not self.watches_globals and kind in _GLOBALS:
            return
        beyond = "mindspore" if kind is EventKind.MINDSPORE_GLOBAL else ""
        place = find_place(direct_frame(), beyond)
        overwritten = kind is EventKind.UNSEEDED and _is_overwritten()
        if self.mode is RngMode.OFF or overwritten or may_draw(place, kind):
            return
        self._report(place.event(kind, what))

    def handed(self, generator: object, count: int | None) -> None:
        """Judge what mindone was handed to draw with."""
        __tracebackhide__ = True
        what = wrongly_handed(generator, count)
        if what and self.mode is not RngMode.OFF:
            self._report(find_place(direct_frame()).event(EventKind.MISUSE, what))

    def moving(self, kind: EventKind) -> None:
        """Look whether a state moved unseen, before it moves again."""
        if kind in self._remembered:
            self._compare(kind)

    def settle(self, kind: EventKind) -> None:
        """A draw or seeding that is accounted for is over."""
        if kind in self._remembered:
            self._remember(kind)

    def _remember(self, kind: EventKind) -> None:
        self._remembered[kind] = GENERATORS[kind].read(), _SWITCH.foreign

    def _compare(self, kind: EventKind) -> None:
        state, foreign = self._remembered[kind]
        if foreign != _SWITCH.foreign or state == GENERATORS[kind].read():
            return
        if any(event.kind is kind for event in self.events):
            return
        what = (
            f"{OWNERS[kind]}'s global state was drawn from, by a function that was kept aside "
            "before the test: in a class, a closure or a default argument"
        )
        event = RandomnessEvent(kind, what, "", 0, "")
        self.events.append(event)
        self._tell(event)

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


_GLOBALS = frozenset({EventKind.NUMPY_GLOBAL, EventKind.RANDOM_GLOBAL, EventKind.MINDSPORE_GLOBAL})


def guard_randomness(
    mode: RngMode | str,
    on_event: Callable[[RandomnessEvent], None] | None = None,
    *,
    globals_may_draw: bool = False,
    lasting: bool = False,
) -> RandomnessGuard:
    """A context manager that catches randomness which no seed of the test decides.

    Caught: generators made without a seed, draws from numpy's legacy global state, from
    ``random``'s functions and from MindSpore's global generator, and what mindone's
    ``randn_tensor`` takes silently (RandomState, an int, too few generators). Drawing by the
    standard library, by test tools and for initialising weights passes.

    Args:
        mode: ``error`` raises `RandomnessError` at the draw (and again at the end, should the
            test have swallowed it), ``warn`` gives a `RandomnessWarning`, ``off`` lets
            everything pass, also inside another guard.
        on_event: Called with every event, in both modes, instead of the warning.
        globals_may_draw: Let draws from global states pass, e.g. where `isolated_globals` has just
            seeded them; a generator without a seed never does.
        lasting: Leave what is replaced in place for the next guard, until `end_guarding`; not
            where it hides what somebody else put there, nor where a framework is loaded.
    """
    if not isinstance(mode, RngMode):
        mode = RngMode(mode)
    return RandomnessGuard(mode, on_event, globals_may_draw=globals_may_draw, lasting=lasting)


def end_guarding() -> None:
    """Put back what lasting guards left replaced, if no guard is active."""
    _SWITCH.end()


class _Watching(threading.local):
    """The guards that watch a thread, innermost last."""

    def __init__(self) -> None:
        self.guards: list[RandomnessGuard] = []


_WATCHING = _Watching()


class _Switch:
    """Which guard watches which thread; puts the patches in place for the first of them."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._active = 0
        self._lasting = False
        self._patches: Patches | None = None
        self.foreign = 0
        """Draws by threads that no guard watches; after one, a moved state proves nothing."""

    def enter(self, guard: RandomnessGuard) -> None:
        _WATCHING.guards.append(guard)
        if guard.mode is RngMode.OFF:
            return
        with self._lock:
            if self._patches is None:
                self._patches = Patches(self)
            if self._active == 0:
                self._patches.renew(with_globals=guard.watches_globals)
            self._active += 1
            self._lasting |= guard.lasting

    def leave(self, guard: RandomnessGuard) -> None:
        _WATCHING.guards.remove(guard)
        if guard.mode is RngMode.OFF:
            # Whatever moved in there is no business of the guards around it.
            for kind in GENERATORS:
                self.drew(kind)
            return
        with self._lock:
            self._active -= 1
            if not (self._lasting and self._patches is not None and self._patches.may_stay()):
                self._remove()

    def end(self) -> None:
        with self._lock:
            self._lasting = False
            self._remove()

    def _remove(self) -> None:
        if self._active == 0 and self._patches is not None:
            self._patches.remove()

    def drawing(self, kind: EventKind, what: str) -> None:
        __tracebackhide__ = True
        stack = _WATCHING.guards
        if stack:
            stack[-1].drawing(kind, what)

    def moving(self, kind: EventKind) -> None:
        for guard in _WATCHING.guards[-1:]:
            guard.moving(kind)

    def drew(self, kind: EventKind) -> None:
        stack = _WATCHING.guards
        if not stack:
            self.foreign += 1
        for guard in stack:
            guard.settle(kind)

    def handed(self, generator: object, count: int | None) -> None:
        __tracebackhide__ = True
        stack = _WATCHING.guards
        if stack:
            stack[-1].handed(generator, count)


_SWITCH = _Switch()


def _is_overwritten() -> bool:
    """Whether an unseeded generator is made only to be overwritten: unpickling, ``jumped``."""
    frame = direct_frame()
    file = frame.f_code.co_filename.replace("\\", "/")
    return file.endswith("numpy/random/_pickle.py") or is_calling(frame, "jumped")


def wrongly_handed(generator: object, count: int | None) -> str:
    """What is wrong with a generator that was handed to mindone; ``""`` when nothing is."""
    if isinstance(generator, list):
        wrong = next((one for one in generator if not isinstance(one, np.random.Generator)), None)
        if wrong is not None:
            return _not_a_generator(wrong)
        if count is not None and len(generator) not in (1, count):
            return _miscounted(len(generator), count)
        own = len({id(one) for one in generator})
        return "" if own == len(generator) else _shared(own, len(generator))
    fine = generator is None or isinstance(generator, np.random.Generator)
    return "" if fine else _not_a_generator(generator)


def _not_a_generator(value: object) -> str:
    kind = type(value).__name__
    if kind == "Generator":  # of MindSpore, say
        kind = f"{type(value).__module__.partition('.')[0]}.{kind}"
    article = "an" if kind[0] in "aeiouAEIOU" else "a"
    return f"{article} {kind} was handed to a pipeline as generator: its draws cannot be compared"


def _miscounted(generators: int, images: int) -> str:
    were = "1 generator was" if generators == 1 else f"{generators} generators were"
    return f"{were} handed to a batch of {images} images: {_ONE_EACH}"


_ONE_EACH = "each image needs one of its own, so that it can be made again alone"


def _shared(own: int, images: int) -> str:
    only = "1 generator" if own == 1 else f"{own} generators"
    return f"a list of {images} holds only {only}: {_ONE_EACH}"


_NOT_A_GENERATOR = re.compile(r"'(\w+)' object has no attribute 'standard_normal'")
_MINDONE_COUNT = re.compile(
    r"list of generators of length (\d+), but requested an effective batch size of (\d+)"
)


def explain_misuse(error: BaseException) -> RandomnessError | None:
    """What a pipeline's own error about its generators means, or ``None`` when it is another one.

    mindone's pipelines refuse a list of another length than the batch with a ValueError, and an int
    with an AttributeError.
    """
    counts = _MINDONE_COUNT.search(str(error))
    if isinstance(error, ValueError) and counts is not None:
        what = _miscounted(int(counts[1]), int(counts[2]))
        return RandomnessError(
            what, facts=(f"pipeline  {error}",), next_step=f"repro_generators({counts[2]})"
        )
    kind = _NOT_A_GENERATOR.search(str(error))
    if isinstance(error, AttributeError) and kind is not None:
        return RandomnessError(
            f"a pipeline got generator={kind[1]}(...): it is no numpy.random.Generator",
            facts=(f"pipeline  {error}",),
            next_step="pass repro_generator",
        )
    return None
