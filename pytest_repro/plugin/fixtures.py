"""The fixtures; they find the running test by themselves, for asking pytest costs as much again."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from pytest_repro.errors import ReproError, UsageError
from pytest_repro.pipelines.registry import FAMILIES, Row
from pytest_repro.plugin.state import ACTIVE, session_of

if TYPE_CHECKING:
    from pytest_repro.checking.batch import BatchImage, Maker
    from pytest_repro.model.baseline import Environment
    from pytest_repro.noise.generator import LedgerGenerator
    from pytest_repro.plugin.active import ActiveTest


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
RUNNING: list[pytest.Item | None] = []
"""The test of each run that is under way, innermost run last; its fixtures are in the making."""


def _active() -> ActiveTest:
    item = RUNNING[-1] if RUNNING else None
    active = None if item is None else item.stash.get(ACTIVE, None)
    if active is None:
        raise UsageError(
            f"{'?' if item is None else item.nodeid}: a repro fixture was asked for while the test "
            "was running",
            next_step="mark the test with @pytest.mark.repro, or name the fixture as an argument",
        )
    return active


class Check:
    """The assertion, bound to one test.

    Args:
        active: The test.
    """

    __slots__ = ("_active",)

    def __init__(self, active: ActiveTest) -> None:
        self._active = active

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
            self._active.refuse(error)
            # The line of the test says it all; our own frames would bury the message.
            raise error.with_traceback(None) from None

    def batch(
        self,
        images: object,
        alone: Maker,
        name: str = "value",
        *,
        seeds: Sequence[int] | None = None,
        tolerance: object = None,
    ) -> tuple[BatchImage, ...]:
        """Demand that image ``i`` of a batch is the image made alone from generator ``i``.

        The noise must be bitwise equal, by the ledger; the image may differ as far as kernels
        round, which is a multiple of the envelope of the batch's own check.

        Args:
            images: One array or tensor, the images along its first axis.
            alone: Makes one image alone: ``lambda generator: pipeline(generator=generator)[0]``.
                Called once an image, with a fresh generator.
            name: Of the check that was made of the batch before; its envelope is the tolerance.
                Without a baseline or envelope the fallback tolerance of the dtype stands.
            seeds: One an image, as given to `repro_generators`; by default the test's seed, that
                plus 1, ...
            tolerance: Instead of the envelope.

        Returns:
            How far each image is; ``()`` while the noise is disturbed or replayed.
        """
        __tracebackhide__ = True
        found = self._active.check_batch(images, alone, name=name, seeds=seeds, tolerance=tolerance)
        item = RUNNING[-1] if RUNNING else None
        if found and item is not None:
            lines = "\n".join(str(one) for one in found)
            item.add_report_section("call", f"repro batch {name!r}", lines)
        return found


@pytest.fixture
def repro_check() -> Check:
    """The assertion; ``repro_check.batch(images, alone, name)`` proves a batch by its images."""
    return Check(_active())


@pytest.fixture
def repro_disturb() -> Callable[[Any], Any]:
    """Gives a tensor that no generator drew back; recording disturbs it to measure the envelope."""
    return _active().trial.disturb


@pytest.fixture
def repro_generator() -> LedgerGenerator:
    """A fresh ``numpy.random.Generator`` on ``PCG64(seed)`` that keeps a ledger of its draws."""
    return _active().trial.generator()


@pytest.fixture
def repro_generators() -> Callable[..., list[LedgerGenerator]]:
    """``repro_generators(4)``: one generator an image, seeded ``seed, seed + 1, ...``."""
    return _active().trial.generators


def _pipeline_fixture(row: Row) -> Any:
    def pipeline() -> Any:
        return _active().pipeline(row.name)

    pipeline.__doc__ = row.what
    return pytest.fixture(name=f"repro_{row.name}")(pipeline)


PIPELINES = {f"repro_{row.name}": _pipeline_fixture(row) for row in FAMILIES}
"""One fixture a family, by name; the plugin puts them where pytest looks for fixtures."""


@pytest.fixture(scope="session")
def repro_environment(request: pytest.FixtureRequest) -> Environment:
    """Every fact that was seen about this machine, and its key."""
    return session_of(request.config).environment


@pytest.fixture
def repro_watch() -> Callable[..., Any]:
    """``repro_watch(pipeline)``: record its weights and each denoising step; gives it back."""
    return _active().trial.watch
