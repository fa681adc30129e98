"""The fixtures, what they hand to a test, and those of wider scope that draw."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from pytest_repro.errors import CheckFailed, ReproError, UsageError
from pytest_repro.pipelines.registry import FAMILIES, Row
from pytest_repro.plugin.state import context_of, state_of

if TYPE_CHECKING:
    from pytest_repro.checking.batch import BatchImage, Maker
    from pytest_repro.checking.parity import Parity
    from pytest_repro.guard.events import RandomnessEvent
    from pytest_repro.model.baseline import Environment
    from pytest_repro.noise.generator import LoggedGenerator
    from pytest_repro.plugin.active import ActiveTest


class Check:
    """The assertion, bound to one test."""

    __slots__ = ("_active", "_item")

    def __init__(self, active: ActiveTest, item: pytest.Item) -> None:
        self._active = active
        self._item = item

    def __call__(
        self,
        value: object,
        name: str | None = None,
        *,
        tolerance: object = None,
        reference: object = None,
    ) -> None:
        """Compare ``value`` with its baseline; judged when the test ends."""
        __tracebackhide__ = True
        caller = sys._getframe(1)  # noqa: SLF001
        try:
            self._active.trial.check(
                value,
                name,
                tolerance=tolerance,
                reference=reference,
                called_at=f"{caller.f_code.co_filename}:{caller.f_lineno}",
            )
        except ReproError as error:
            self._refuse(error)
            # The line of the test is enough; other frames would hide the message.
            raise error.with_traceback(None) from None
        except Exception as error:
            # The value itself raised, e.g. in __array__: the check was not made.
            self._refuse(error)
            raise

    def parity(
        self,
        ours: Maker,
        theirs: Maker,
        name: str = "value",
        *,
        pipelines: tuple[object, object] | None = None,
        tolerance: object = None,
    ) -> Parity | None:
        """Require that a port agrees with its original on PyTorch, except for rounding.

        Both sides run in this test with bitwise equal noise: diffusers' ``randn_tensor`` draws from
        the same numpy generator. Both run again with perturbed noise, and the original with moved
        modules; the envelope, times a factor, is the tolerance. Nothing is stored.

        Args:
            ours: Makes our result from a generator.
            theirs: Makes the original's, in PyTorch.
            name: Name of the check, for messages and the policy.
            pipelines: Both pipelines, ours first: their weights must be equal by name, and each
                denoising step is compared, too.
            tolerance: Instead of the envelopes.

        Returns:
            How far apart they are; ``None`` while the noise is perturbed or replayed.
        """
        __tracebackhide__ = True
        try:
            found = self._active.check_parity(
                ours, theirs, name=name, pipelines=pipelines, tolerance=tolerance
            )
        except (CheckFailed, ReproError) as error:
            self._refuse(error)
            raise error.with_traceback(None) from None
        except Exception as error:
            self._refuse(error)
            raise
        if found:
            lines = "\n".join(map(str, found.leaves))
            self._item.add_report_section("call", f"repro parity {name!r}", lines)
        return found

    def _refuse(self, error: Exception) -> None:
        self._active.refuse(error)
        if self._active.is_concluded:  # by a thread, or by a teardown that catches the error
            state_of(self._item.config).faults.append(str(error))

    def batch(
        self,
        images: object,
        alone: Maker,
        name: str = "value",
        *,
        seeds: Sequence[int] | None = None,
        tolerance: object = None,
    ) -> tuple[BatchImage, ...]:
        """Require that image ``i`` of a batch equals the image made alone from generator ``i``.

        The noise must be bitwise equal. The image may differ by rounding: within a multiple of the
        envelope of the batch's check.

        Args:
            images: One array or tensor, the images along its first axis.
            alone: Makes one image alone: ``lambda generator: pipeline(generator=generator)[0]``.
                Called once for each image, with a fresh generator.
            name: Name of the batch's check, made before; its envelope is the tolerance. Without a
                baseline or envelope, the fallback tolerance of the dtype holds.
            seeds: One for each image; by default ``seed, seed + 1, ...``.
            tolerance: Instead of the envelope.

        Returns:
            How far each image is; ``()`` while the noise is perturbed or replayed.
        """
        __tracebackhide__ = True
        try:
            found = self._active.check_batch(
                images, alone, name=name, seeds=seeds, tolerance=tolerance
            )
        except Exception as error:
            self._refuse(error)
            raise
        if found:
            lines = "\n".join(str(one) for one in found)
            self._item.add_report_section("call", f"repro batch {name!r}", lines)
        return found


def is_test_case(item: pytest.Item) -> bool:
    """Whether the item is a method of a ``unittest.TestCase``."""
    return hasattr(getattr(item, "cls", None), "setUpClass")


def equip(item: pytest.Item, active: ActiveTest) -> None:
    """Give a ``TestCase`` the fixtures as attributes."""
    if not is_test_case(item) or not active.spec.marked:
        return
    instance: Any = getattr(item, "instance", None)
    instance.repro_check = Check(active, item)
    instance.repro_watch = active.trial.watch
    instance.repro_disturb = active.trial.disturb
    instance.repro_generators = active.trial.generators
    instance.repro_generator = active.trial.generator()
    instance.setUp = _releasing(active, instance.setUp)


def _releasing(active: ActiveTest, set_up: Callable[[], object]) -> Callable[[], object]:
    """``setUp`` is the first step of a ``TestCase``; restore global states before it."""

    def first_step() -> object:
        active.release_globals()
        return set_up()

    return first_step


FIXTURES = frozenset(
    {
        "repro_check",
        "repro_disturb",
        "repro_generator",
        "repro_generators",
        "repro_watch",
        *(f"repro_{row.name}" for row in FAMILIES),
    }
)
GENERATORS = frozenset({"repro_generator", "repro_generators"})


def _active(request: pytest.FixtureRequest) -> ActiveTest:
    item = request.node
    active = state_of(request.config).active_of(item)
    if active is None:
        raise UsageError(
            f"{item.nodeid}: a repro fixture was asked for while the test was running",
            next_step="mark the test with @pytest.mark.repro, or name the fixture as an argument",
        )
    return active


@pytest.fixture
def repro_check(request: pytest.FixtureRequest) -> Check:
    """The assertion; ``repro_check.batch(images, alone, name)`` checks a batch by its images."""
    return Check(_active(request), request.node)


@pytest.fixture
def repro_disturb(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    """Returns a tensor that no generator drew; a recording perturbs it to measure the envelope."""
    return _active(request).trial.disturb


@pytest.fixture
def repro_generator(request: pytest.FixtureRequest) -> LoggedGenerator:
    """A fresh ``numpy.random.Generator`` on ``PCG64(seed)`` that keeps a log of its draws."""
    return _active(request).trial.generator()


@pytest.fixture
def repro_generators(request: pytest.FixtureRequest) -> Callable[..., list[LoggedGenerator]]:
    """``repro_generators(4)``: one generator for each image, seeded ``seed, seed + 1, ...``."""
    return _active(request).trial.generators


def _pipeline_fixture(row: Row) -> Any:
    def pipeline(request: pytest.FixtureRequest) -> Any:
        active = _active(request)
        dtype = active.spec.asked.computing_dtype or "float32"
        return active.trial.watch(state_of(request.config).pipelines.load(row.name, dtype))

    pipeline.__doc__ = row.what
    return pytest.fixture(name=f"repro_{row.name}")(pipeline)


PIPELINES = {f"repro_{row.name}": _pipeline_fixture(row) for row in FAMILIES}
"""One fixture for each family, by name; the plugin adds them to pytest's fixtures."""


@pytest.fixture
def repro_shared_noise() -> Iterator[None]:
    """Lets diffusers on PyTorch draw from ``repro_generator``, with mindone's bits."""
    from pytest_repro.frameworks.torch import shared_noise

    with shared_noise(demanded=True):
        yield


@pytest.fixture(scope="session")
def repro_environment(request: pytest.FixtureRequest) -> Environment:
    """Every fact about this machine, and its key."""
    return context_of(request.config).environment


@pytest.fixture
def repro_watch(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """``repro_watch(pipeline)``: record its weights and each denoising step; returns it."""
    return _active(request).trial.watch


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
    return int.from_bytes(sha256(f"{name}[{index}]".encode()).digest()[:4], "big")
