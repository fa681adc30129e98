"""What a repro test gets: the assertion, and for a ``TestCase`` its attributes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from pytest_repro.errors import ReproError

if TYPE_CHECKING:
    from pytest_repro.checking.batch import BatchImage, Maker
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
            self._active.refuse(error)
            # The line of the test is enough; other frames would hide the message.
            raise error.with_traceback(None) from None
        except Exception as error:
            # The value itself raised, e.g. in __array__: the check was not made.
            self._active.refuse(error)
            raise

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
            self._active.refuse(error)
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
