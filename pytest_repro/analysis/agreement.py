"""Which keys hold equal bits for a check, how far apart others are, and which kernels differ."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from pytest_repro.environment.kernels import Kernels, kernels_from_rows, named_kernels
from pytest_repro.model.baseline import Difference, Environment, TensorSummary
from pytest_repro.model.ids import CheckId, Digest, EnvironmentKey, IndexEntry, TensorRecord
from pytest_repro.model.words import Verdict
from pytest_repro.store.store import Store
from pytest_repro.tensors.compare import compare_records, compare_summaries
from pytest_repro.tolerance.bounds import Tolerance
from pytest_repro.tolerance.choose import Chosen
from pytest_repro.tolerance.judge import elementwise_share, needs_elements, uses, without_elements

Stored = Callable[[Digest], TensorRecord | None]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Which keys hold the same value of a check, bit for bit.

    Attributes:
        check: The check.
        groups: Keys with equal bits, in the order of the keys given; every key is in one.
        same_noise: Whether all of them drew the same noise; if not, a distance between them says
            nothing about computation.
    """

    check: CheckId
    groups: tuple[tuple[EnvironmentKey, ...], ...]
    same_noise: bool

    @property
    def is_exact(self) -> bool:
        """Whether all keys that have the check have equal bits."""
        return len(self.groups) == 1


@dataclass(frozen=True, slots=True)
class PairCount:
    """How often two keys agree.

    Attributes:
        first, second: The keys.
        shared: Checks that both have.
        exact: Those with equal bits.
        within: Those that differ within the tolerance; 0 if distances were not measured.
        drift: Those that differ by more.
    """

    first: EnvironmentKey
    second: EnvironmentKey
    shared: int
    exact: int
    within: int = 0
    drift: int = 0


@dataclass(frozen=True, slots=True)
class LeafDistance:
    """How far apart two baselines of one tensor are.

    Attributes:
        path: Place of the tensor inside the checked value.
        rel_l2: ``||second - first||_2 / ||first||_2``; infinity if the tensors cannot be compared
            or only the first is zero.
        difference: Everything measured; ``None`` if they cannot be compared.
        incomparable: Why not: another dtype or shape, or absent on one side; else ``""``.
    """

    path: str
    rel_l2: float
    difference: Difference | None = None
    incomparable: str = ""

    @property
    def is_estimate(self) -> bool:
        """Whether a tensor was absent and the sketches were compared instead."""
        return self.difference is not None and self.difference.statistics_only


@dataclass(frozen=True, slots=True)
class GroupDistance:
    """The largest distance of a check's tensors between two groups of equal keys, by number.

    Attributes:
        first, second: The groups; the first counts as the baseline.
        distance: Of the tensor that moved farthest.
        simulated: The verdict of a run that observes the second, by the first: ``within``,
            ``drift``, ``missing`` where the envelope is too wide to tell; ``None`` where the noise
            is not the same, or nothing was judged.
    """

    first: int
    second: int
    distance: LeafDistance
    simulated: Verdict | None = None


@dataclass(frozen=True, slots=True)
class MatrixRow:
    """One check: which keys agree, and how far apart the groups are, if measured."""

    agreement: Agreement
    distances: tuple[GroupDistance, ...] = ()


@dataclass(frozen=True, slots=True)
class Matrix:
    """Checks against keys.

    Attributes:
        keys: The columns.
        rows: One for each check, sorted.
        pairs: For each two keys, how many checks they share and agree on.
        measured: Whether distances were measured.
    """

    keys: tuple[EnvironmentKey, ...]
    rows: tuple[MatrixRow, ...]
    pairs: tuple[PairCount, ...]
    measured: bool


def agreement_of(check: CheckId, entries: Mapping[EnvironmentKey, IndexEntry]) -> Agreement:
    """Group the keys that have ``check`` by their bits, in the order of ``entries``."""
    groups: dict[Digest, list[EnvironmentKey]] = {}
    noises: set[Digest] = set()
    for key, entry in entries.items():
        groups.setdefault(entry.value, []).append(key)
        noises.add(entry.noise)
    return Agreement(check, tuple(tuple(group) for group in groups.values()), len(noises) <= 1)


def pair_counts(rows: Sequence[MatrixRow], keys: Sequence[EnvironmentKey]) -> tuple[PairCount, ...]:
    """How often each two of ``keys`` agree, over all checks; pairs in the order of ``keys``."""
    numbers = {key: column for column, key in enumerate(keys)}
    groups = np.full((len(keys), len(rows)), -1, dtype=np.int32)
    for at, row in enumerate(rows):
        for number, group in enumerate(row.agreement.groups):
            for key in group:
                groups[numbers[key], at] = number
    simulated = _simulated(rows)
    return tuple(
        _pair((keys[first], keys[second]), groups[first], groups[second], simulated)
        for first in range(len(keys))
        for second in range(first + 1, len(keys))
    )


def _simulated(rows: Sequence[MatrixRow]) -> Counter[tuple[frozenset[EnvironmentKey], Verdict]]:
    """How often two keys of unequal bits have which simulated verdict, in either order."""
    counted: Counter[tuple[frozenset[EnvironmentKey], Verdict]] = Counter()
    for row in rows:
        for one in row.distances:
            if one.simulated is None:
                continue
            sides = row.agreement.groups[one.first], row.agreement.groups[one.second]
            counted.update((frozenset(pair), one.simulated) for pair in product(*sides))
    return counted


def _pair(
    pair: tuple[EnvironmentKey, EnvironmentKey],
    groups: np.ndarray[tuple[int], np.dtype[np.int32]],
    others: np.ndarray[tuple[int], np.dtype[np.int32]],
    simulated: Mapping[tuple[frozenset[EnvironmentKey], Verdict], int],
) -> PairCount:
    shared = (groups >= 0) & (others >= 0)
    equal = shared & (groups == others)
    return PairCount(
        *pair,
        int(np.count_nonzero(shared)),
        int(np.count_nonzero(equal)),
        simulated.get((frozenset(pair), Verdict.WITHIN), 0),
        simulated.get((frozenset(pair), Verdict.DRIFT), 0),
    )


def leaf_distances(
    first: Iterable[TensorSummary], second: Iterable[TensorSummary], stored: Stored
) -> tuple[LeafDistance, ...]:
    """The distance of every tensor of a value whose bits differ, by path.

    ``first`` counts as the baseline. ``stored`` gives a tensor by digest, or ``None`` if it is
    absent: then sketches are compared.
    """
    before = {one.path: one for one in first}
    after = {one.path: one for one in second}
    distances = [_absent(path, "second") for path in before if path not in after]
    distances += [_absent(path, "first") for path in after if path not in before]
    for path in before.keys() & after.keys():
        if before[path].digest != after[path].digest:
            distances.append(_distance(before[path], after[path], stored))
    return tuple(sorted(distances, key=lambda one: one.path))


def farthest(distances: Sequence[LeafDistance]) -> LeafDistance | None:
    """The largest of several distances by rel_l2; ``None`` without any."""
    return max(distances, key=lambda one: one.rel_l2, default=None)


def _absent(path: str, side: str) -> LeafDistance:
    return LeafDistance(path, math.inf, incomparable=f"absent on the {side} side")


def _distance(first: TensorSummary, second: TensorSummary, stored: Stored) -> LeafDistance:
    if first.dtype != second.dtype:
        return LeafDistance(
            first.path, math.inf, incomparable=f"dtype {first.dtype} and {second.dtype}"
        )
    if first.shape != second.shape:
        return LeafDistance(
            first.path, math.inf, incomparable=f"shape {first.shape} and {second.shape}"
        )
    try:
        difference = _difference(first, second, stored)
    except (
        ValueError
    ) as error:  # sketches of two lengths, or a tensor that contradicts its manifest
        return LeafDistance(first.path, math.inf, incomparable=str(error))
    return LeafDistance(first.path, difference.rel_l2, difference)


def _difference(first: TensorSummary, second: TensorSummary, stored: Stored) -> Difference:
    baseline = stored(first.digest)
    observed = None if baseline is None else stored(second.digest)
    if baseline is None or observed is None:
        return compare_summaries(first, second)
    return compare_records(baseline, observed)


def simulate_verdict(
    distances: Sequence[LeafDistance],
    baseline: Sequence[TensorSummary],
    other: Sequence[TensorSummary],
    stored: Stored,
    choose: Callable[[TensorSummary], Chosen],
) -> Verdict:
    """The simulated verdict: ``within``, ``drift``, or ``missing`` if the tolerance proves nothing.

    The tolerance gate of a run that observed ``other``; it does not look at noise and hardware.
    ``distances`` come from `leaf_distances`; ``stored`` gives a tensor by digest, or ``None`` if it
    is absent: then its statistics are judged.
    """
    before = {one.path: one for one in baseline}
    after = {one.path: one for one in other}
    compared = [one for one in distances if not one.incomparable]
    chosen = {one.path: choose(before[one.path]) for one in compared}
    if any(one.proves_nothing for one in chosen.values()):
        return Verdict.MISSING
    passes = len(compared) == len(distances) and all(
        _passes(one, chosen[one.path], before[one.path], after[one.path], stored)
        for one in compared
    )
    return Verdict.WITHIN if passes else Verdict.DRIFT


def _passes(
    distance: LeafDistance,
    chosen: Chosen,
    before: TensorSummary,
    after: TensorSummary,
    stored: Stored,
) -> bool:
    difference = distance.difference
    assert difference is not None  # only what cannot be compared has none
    tolerance = chosen.tolerance
    if distance.is_estimate and not chosen.written:
        tolerance = without_elements(tolerance)
    share = None if distance.is_estimate else _share(tolerance, before, after, stored)
    return all(use.share <= 1.0 for use in uses(tolerance, difference, elementwise=share))


def _share(
    tolerance: Tolerance, before: TensorSummary, after: TensorSummary, stored: Stored
) -> float | None:
    if not needs_elements(tolerance):
        return None
    one, two = stored(before.digest), stored(after.digest)
    assert one is not None  # else their distance is an estimate
    assert two is not None
    return elementwise_share(tolerance, one.array, two.array)


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
