"""Which kernels compute equal bits under which keys, from stored kernel probes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pytest_repro.environment.kernels import Kernels, kernels_from_rows, named_kernels
from pytest_repro.model.baseline import Environment
from pytest_repro.model.ids import EnvironmentKey
from pytest_repro.store.store import Store


@dataclass(frozen=True, slots=True)
class KernelRow:
    """One kernel; ``groups`` are the keys whose bits are equal, in the order of the columns."""

    name: str
    groups: tuple[tuple[str, ...], ...]

    @property
    def differs(self) -> bool:
        """Whether two keys compute different bits."""
        return len(self.groups) > 1


@dataclass(frozen=True, slots=True)
class KernelTable:
    """Kernels against keys; keys without recorded kernels are left out."""

    keys: tuple[str, ...]
    rows: tuple[KernelRow, ...]


def recorded_environment(store: Store, key: EnvironmentKey) -> Environment | None:
    """The environment of the newest baseline under ``key``; one with kernels, if there is any.

    Raises:
        BaselineError: A manifest cannot be used.
    """
    made = [one.provenance for module in store.modules(key) for one in store.manifest(key, module)]
    newest = max(
        made,
        key=lambda one: (named_kernels(one.environment) is not None, one.recorded_at),
        default=None,
    )
    return None if newest is None else newest.environment


def recorded_kernels(store: Store, key: EnvironmentKey) -> Kernels | None:
    """The kernels recorded under ``key``; ``None`` if there are none."""
    environment = recorded_environment(store, key)
    digest = None if environment is None else named_kernels(environment)
    rows = None if digest is None else store.rows(digest)
    return None if rows is None else kernels_from_rows(rows)


def kernel_table(found: Mapping[str, Kernels]) -> KernelTable:
    """The table of ``found``, by the names of the columns."""
    names = sorted({name for kernels in found.values() for name in kernels})
    return KernelTable(tuple(found), tuple(KernelRow(name, _groups(name, found)) for name in names))


def _groups(name: str, found: Mapping[str, Kernels]) -> tuple[tuple[str, ...], ...]:
    by_digest: dict[str, list[str]] = {}
    for key, kernels in found.items():
        if name in kernels:
            by_digest.setdefault(kernels[name], []).append(key)
    return tuple(map(tuple, by_digest.values()))


def kernels_of(
    store: Store, keys: Iterable[EnvironmentKey]
) -> tuple[dict[str, Kernels], Sequence[str]]:
    """The recorded kernels by key, and the keys without any."""
    found = {str(key): recorded_kernels(store, key) for key in keys}
    missing = [key for key, kernels in found.items() if kernels is None]
    return {key: kernels for key, kernels in found.items() if kernels is not None}, missing
