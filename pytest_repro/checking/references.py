"""Finds the stored baseline that a check is compared with: the nearest first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_repro.environment.key import apart, order_references
from pytest_repro.errors import BaselineError, CorruptBaseline
from pytest_repro.model.ids import (
    CheckId,
    Digest,
    DrawLog,
    EnvironmentKey,
    IndexEntry,
    TensorRecord,
)
from pytest_repro.model.outcome import Reference
from pytest_repro.model.words import Distance
from pytest_repro.noise.sources import Replay
from pytest_repro.store.store import Store
from pytest_repro.store.system import is_file
from pytest_repro.tensors.dtypes import DTYPES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_repro.model.baseline import Baseline


@dataclass(frozen=True, slots=True)
class Found:
    """An index entry and its key; the baseline itself is not parsed yet."""

    key: EnvironmentKey
    distance: Distance
    entry: IndexEntry


@dataclass(frozen=True, slots=True)
class Index:
    """The entries of one test module under one key."""

    distance: Distance
    entries: Mapping[str, IndexEntry]


def narrower(*reaches: Distance) -> Distance:
    """The nearest of several reaches; `any` limits nothing, so `port` of one counts beside it."""
    limits = [one for one in reaches if one is not Distance.ANY]
    return min(limits, key=tuple(Distance).index, default=Distance.ANY)


class References:
    """Finds references in a store for one key."""

    def __init__(self, store: Store, key: EnvironmentKey) -> None:
        self._store = store
        self._key = key
        self._own: dict[str, Reference] = {}
        self._orders: dict[Distance, tuple[tuple[EnvironmentKey, Distance], ...]] = {}

    def forget(self) -> None:
        """Read the store's keys again; called after a recording."""
        self._orders.clear()

    def find(self, check: CheckId, reach: Distance) -> Found | None:
        """The nearest entry of ``check`` within ``reach``, by keys alone.

        Raises:
            CorruptBaseline, NewerSchema: A nearer manifest exists but cannot be used; a broken
                baseline never counts as missing.
        """
        for key, distance in self._order(reach):
            entry = self._store.index(key, check.module).get(check.entry)
            if entry is not None:
                return Found(key, distance, entry)
        return None

    def indices(self, module: str, test: str, reach: Distance) -> tuple[Index, ...]:
        """The indices within ``reach``, nearest first, up to the first that has the test.

        Raises:
            CorruptBaseline, NewerSchema: A manifest exists but cannot be used.
        """
        found = []
        for key, distance in self._order(reach):
            found.append(Index(distance, self._store.index(key, module)))
            if any(entry.startswith(f"{test}::") for entry in found[-1].entries):
                break
        return tuple(found)

    def nearest_manifest(self, module: str, reach: Distance) -> Path | None:
        """The path of the nearest manifest of a test module; ``None`` if there is none."""
        paths = (self._store.manifest_path(key, module) for key, _ in self._order(reach))
        return next((path for path in paths if is_file(path)), None)

    def own_reference(self, module: str) -> Reference:
        """Where our own key's baselines of a module lie."""
        found = self._own.get(module)
        if found is None:
            manifest = self._store.shown(self._store.manifest_path(self._key, module))
            found = self._own[module] = Reference(self._key, Distance.OWN, manifest)
        return found

    def own(self, check: CheckId) -> IndexEntry | None:
        """The entry under the own key, if there is one."""
        return self._store.index(self._key, check.module).get(check.entry)

    def equal_inputs(self, check: CheckId, entry: IndexEntry) -> Baseline | None:
        """The nearest baseline of another key with equal draws, weights and settings."""
        for key, distance in self._order(Distance.ANY):
            stored = self._store.index(key, check.module).get(check.entry)
            if distance is not Distance.OWN and stored is not None and stored[1:] == entry[1:]:
                return self._store.baseline(key, check)
        return None

    def load(self, found: Found, check: CheckId) -> tuple[Baseline, Reference]:
        """The baseline behind an entry, and the reference.

        Raises:
            CorruptBaseline: The manifest cannot be used.
        """
        return self._store.baseline(found.key, check), self.reference(found, check.module)

    def reference(self, found: Found, module: str) -> Reference:
        """The reference of an entry: place, distance, and how a variant differs."""
        manifest = self._store.shown(self._store.manifest_path(found.key, module))
        is_variant = found.distance is Distance.VARIANT
        words = apart(self._key, found.key) if is_variant else ""
        return Reference(found.key, found.distance, manifest, words)

    def recorded_noise(self, module: str, test: str, reach: Distance) -> Replay:
        """The draws of a test as its nearest baseline recorded them.

        Raises:
            CorruptBaseline: No baseline of the test is within reach, or its noise was not stored.
        """
        for key, _ in self._order(reach):
            stored = [one for one in self._store.manifest(key, module) if one.check.test == test]
            if stored:
                draw_log = max((one.draw_log for one in stored), key=lambda one: len(one.draws))
                numbers = range(len(draw_log.draws))
                return Replay(draw_log, tuple(self._drawn(draw_log, at, key) for at in numbers))
        raise CorruptBaseline(
            f"{module}::{test} has no baseline whose noise could be replayed",
            next_step="pytest --repro-update --repro-noise=store",
        )

    def _drawn(self, draw_log: DrawLog, position: int, key: EnvironmentKey) -> NDArray[Any] | None:
        draw = draw_log.draws[position]
        if draw.dtype not in DTYPES:
            return None  # text, lists, a bit generator moved by hand: never stored, drawn again
        record = self._store.tensor(draw.digest)
        if record is None:
            raise CorruptBaseline(
                "the noise of this test cannot be replayed: "
                f"draw {position + 1} of {len(draw_log.draws)}, {draw.method} {draw.shape} of "
                f"generator {draw.generator}, was not stored",
                facts=("its digest alone was recorded, or its file was not pulled",),
                where=str(key),
                next_step="pytest --repro-update=all --repro-noise=store",
            )
        return record.array

    def elsewhere(self, check: CheckId) -> tuple[EnvironmentKey, ...]:
        """Every readable key that has the check, at any distance."""
        return tuple(self._keys_with(check))

    def tensor(self, digest: Digest) -> TensorRecord | None:
        """A stored tensor; ``None`` if it was not pulled."""
        return self._store.tensor(digest)

    def _keys_with(self, check: CheckId) -> Iterator[EnvironmentKey]:
        for key in self._store.keys():  # noqa: SIM118  a method, the store is no mapping
            with suppress(BaselineError):
                if check.entry in self._store.index(key, check.module):
                    yield key

    def _order(self, reach: Distance) -> tuple[tuple[EnvironmentKey, Distance], ...]:
        if reach not in self._orders:
            self._orders[reach] = order_references(self._key, self._store.keys(), reach)
        return self._orders[reach]
