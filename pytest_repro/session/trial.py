"""One execution of one test: its generators, what it checked, in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pytest_repro.adapters.values import TensorFramework, records_from
from pytest_repro.core.digest import digest_leaves
from pytest_repro.core.errors import SettingError, UsageError
from pytest_repro.core.generator import LedgerGenerator, NoiseBook
from pytest_repro.core.model import CheckId, Distance, Observation, WeightsDigest
from pytest_repro.core.record import owned
from pytest_repro.core.settings import TraceLevel, parse_choice, parse_count
from pytest_repro.core.tolerance import Tolerance, tolerance_from
from pytest_repro.session.spec import TestSpec
from pytest_repro.session.watching import Watching

__all__ = ["CheckCall", "Trial"]


@dataclass(frozen=True, slots=True)
class CheckCall:
    """One call of `repro_check`.

    Attributes:
        observation: What it saw; its tensors are empty when they were found exact and let go.
        tolerance, reference: What the call itself asked for.
        called_at: ``file:line`` of the call.
    """

    observation: Observation
    tolerance: Tolerance | None
    reference: Distance
    called_at: str


class Trial:
    """Collects what one execution of a test drew and checked.

    Args:
        spec: The test.
        book: Where its generators keep their ledger.
        framework: Reads tensors of the framework.
        lets_go: Whether an observation is already known to be exact, so that its tensors need not
            be kept until the test ends.
        level: What is recorded of watched pipelines.
    """

    def __init__(
        self,
        spec: TestSpec,
        book: NoiseBook,
        framework: TensorFramework,
        lets_go: Callable[[Observation], bool],
        level: TraceLevel,
    ) -> None:
        self.spec = spec
        self.book = book
        self.calls: dict[str, CheckCall] = {}
        self.watching = Watching(framework, level)
        self._weights: tuple[WeightsDigest, ...] = ()
        self._framework = framework
        self._lets_go = lets_go

    def generator(self, seed: int | None = None) -> LedgerGenerator:
        """A fresh generator on ``PCG64(seed)``; the test's own seed when none is given."""
        if seed is not None:
            seed = parse_count(seed, origin=f"{self.spec.place} seed", least=0)
        return self.book.generator(self.spec.seed if seed is None else seed)

    def generators(
        self, count: int | None = None, *, seeds: Sequence[int] | None = None
    ) -> list[LedgerGenerator]:
        """One generator an image of a batch: seeds ``seed, seed + 1, ...`` or the given ones."""
        if (count is None) == (seeds is None):
            raise SettingError(f"{self.spec.place}: repro_generators takes a count or seeds")
        if seeds is None:
            count = parse_count(count, origin=f"{self.spec.place} repro_generators", least=1)
            seeds = range(self.spec.seed, self.spec.seed + count)
        return [self.generator(seed) for seed in seeds]

    def watch(self, target: Any, name: str = "") -> Any:
        """Watch a pipeline or a cell until the test ends, and give it back.

        Its weights are digested now, so that a test which changes them afterwards is seen in the
        next trial.

        Raises:
            UsageError: There is nothing to watch in it.
        """
        self.watching.add(target, name)
        self._weights = self.watching.weights()
        return target

    def check(
        self,
        value: object,
        name: str | None = None,
        *,
        tolerance: object = None,
        reference: object = None,
        called_at: str = "",
    ) -> None:
        """Observe ``value``; it is judged when the test ends.

        Raises:
            ValueRefused: No baseline can hold the value.
            UsageError: The name is used twice in this test or cannot be a name.
            SettingError: The tolerance or reference is wrong.
        """
        check = CheckId(self.spec.module, self.spec.test, self._name(name))
        origin = f"{check}, repro_check"
        call = CheckCall(
            observation=self._observe(check, value),
            tolerance=None
            if tolerance is None
            else tolerance_from(tolerance, origin=f"{origin} tolerance"),
            reference=Distance.ANY
            if reference is None
            else parse_choice(Distance, reference, origin=f"{origin} reference"),
            called_at=called_at,
        )
        self.calls[check.name] = call

    def _observe(self, check: CheckId, value: object) -> Observation:
        leaves = records_from(value, check=str(check), framework=self._framework)
        leaves = tuple(sorted(leaves, key=lambda leaf: leaf[0]))
        observation = Observation(
            check=check,
            tensors=leaves,
            digest=digest_leaves((path, record.digest) for path, record in leaves),
            ledger=self.book.ledger(),
            weights=self._weights,
        )
        if self._lets_go(observation):
            return replace(observation, tensors=())
        # The test may change its array in place after the check; what was checked must not move.
        kept = tuple((path, owned(record)) for path, record in leaves)
        return replace(observation, tensors=kept, trace=self.watching.trace())

    def _name(self, name: str | None) -> str:
        if name is None:
            name = "value" if "value" not in self.calls else f"value-{len(self.calls) + 1}"
        if not _is_text(name) or not name.strip() or "::" in name or not name.isprintable():
            raise UsageError(
                f"{self.spec.place}: {name!r} cannot be the name of a check",
                facts=("a name is printable text without '::'",),
            )
        if name in self.calls:
            raise UsageError(
                f"{self.spec.place}: the name {name!r} is used twice in this test",
                facts=(f"first at {self.calls[name].called_at}",),
                next_step=f'repro_check(value, name="{name}-2")',
            )
        return name


def _is_text(name: object) -> bool:
    """Whether a name is text; tests are rarely typed."""
    return isinstance(name, str)
