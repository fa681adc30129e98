"""What list, diff, matrix, history and sensitivity show, as plain values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Protocol, TypeVar

from pytest_repro.analysis.agreement import (
    Agreement,
    GroupDistance,
    LeafDistance,
    Matrix,
    MatrixRow,
    agreement_of,
    farthest,
    leaf_distances,
    pair_counts,
    simulate_verdict,
)
from pytest_repro.analysis.sensitivity import Sensitivity, sensitivity_of
from pytest_repro.model.baseline import Baseline, TensorSummary
from pytest_repro.model.ids import CheckId, Digest, EnvironmentKey, IndexEntry, TensorRecord
from pytest_repro.model.outcome import Judged
from pytest_repro.model.words import Distance, Word
from pytest_repro.store.select import Entry, check_id, entries, entries_by_check
from pytest_repro.store.store import Store
from pytest_repro.tolerance.choose import Chosen, choose_tolerance
from pytest_repro.tolerance.policy import Policy, resolve

_Item = TypeVar("_Item")
Track = Callable[[Iterable[_Item], str], Iterable[_Item]]
"""Returns the items, and may show progress."""


class Relation(Word):
    """How two sides of one check relate."""

    EXACT = "exact"
    DIFFERENT = "different"
    NOISE = "noise"
    ONLY_FIRST = "only first"
    ONLY_SECOND = "only second"


@dataclass(frozen=True, slots=True)
class Listing:
    """A check and the keys that have it, sorted."""

    check: CheckId
    keys: tuple[EnvironmentKey, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One check on two sides; ``distances`` are of the tensors whose bits differ."""

    check: CheckId
    relation: Relation
    distances: tuple[LeafDistance, ...] = ()


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """A check under one framework version.

    Attributes:
        baseline: What is stored.
        since: ``""`` for the first version of a hardware, else its relation to the one before.
        distance: How far it is from the one before, where bits differ.
    """

    baseline: Baseline
    key: EnvironmentKey
    since: str
    distance: LeafDistance | None = None


class Side(Protocol):
    """One side of a diff: the checks of a key or of a report."""

    @property
    def name(self) -> str: ...

    def index(self) -> Mapping[CheckId, IndexEntry]:
        """Every check it has."""

    def tensors(self, check: CheckId) -> tuple[TensorSummary, ...]:
        """The summaries of a check's tensors."""

    def tensor(self, digest: Digest) -> TensorRecord | None:
        """A tensor, or ``None`` if it is absent."""


class StoreSide:
    """The baselines of one key as a side of a diff; ``pattern`` selects checks."""

    def __init__(self, store: Store, key: EnvironmentKey, pattern: str = "*") -> None:
        self._store = store
        self._key = key
        self._pattern = pattern

    @property
    def name(self) -> str:
        return str(self._key)

    def index(self) -> Mapping[CheckId, IndexEntry]:
        found = entries(self._store, [self._key], self._pattern)
        return {entry.check: entry.index for entry in found}

    def tensors(self, check: CheckId) -> tuple[TensorSummary, ...]:
        return self._store.baseline(self._key, check).tensors

    def tensor(self, digest: Digest) -> TensorRecord | None:
        return self._store.tensor(digest)


class ReportSide:
    """What one run saw as a side of a diff.

    Args:
        name: What the side is called.
        judged: The checks of the run that count.
        observed: The values that its report kept.
        baselines: Where the others may be: a run keeps nothing of an exact check.
    """

    def __init__(
        self, name: str, judged: Iterable[Judged], observed: Store, baselines: Store
    ) -> None:
        self._name = name
        self._judged = {check_id(one.check): one for one in judged if one.index}
        self._observed = observed
        self._baselines = baselines

    @property
    def name(self) -> str:
        return self._name

    def index(self) -> Mapping[CheckId, IndexEntry]:
        return {check: one.index for check, one in self._judged.items() if one.index}

    def tensors(self, check: CheckId) -> tuple[TensorSummary, ...]:
        """The summaries; none if the baseline of an exact check is gone."""
        one = self._judged[check]
        places = ((self._observed, one.key), (self._baselines, one.reference))
        for store, key in places:
            found = stored_baselines(store, check, [_key(key)]) if key else ()
            for _, baseline in found:
                if baseline.index == one.index:
                    return baseline.tensors
        return ()

    def tensor(self, digest: Digest) -> TensorRecord | None:
        return self._observed.tensor(digest) or self._baselines.tensor(digest)


def _key(text: str) -> EnvironmentKey:
    return EnvironmentKey(*text.split("/"))


def _untracked(items: Iterable[_Item], _label: str) -> Iterable[_Item]:
    return items


def list_checks(
    store: Store, keys: Sequence[EnvironmentKey], pattern: str = "*"
) -> tuple[Listing, ...]:
    """The checks that ``pattern`` selects and their keys, sorted by id."""
    held = entries_by_check(store, keys, pattern)
    return tuple(Listing(check, tuple(entries)) for check, entries in held.items())


def stored_baselines(
    store: Store, check: CheckId, keys: Iterable[EnvironmentKey]
) -> tuple[tuple[EnvironmentKey, Baseline], ...]:
    """The whole baselines of one check, in the order of ``keys``."""
    found = ((key, store.find(key, check)) for key in keys)
    return tuple((key, one) for key, one in found if one is not None)


def compare_sides(
    first: Side, second: Side, *, track: Track[CheckId] = _untracked
) -> tuple[Comparison, ...]:
    """The relation of two sides, check by check, sorted; ``first`` counts as baseline."""
    before, after = first.index(), second.index()
    checks = sorted(before.keys() | after.keys())
    return tuple(
        _compare(check, first, second, before.get(check), after.get(check))
        for check in track(checks, "comparing")
    )


def _compare(
    check: CheckId,
    first: Side,
    second: Side,
    before: IndexEntry | None,
    after: IndexEntry | None,
) -> Comparison:
    if after is None:
        return Comparison(check, Relation.ONLY_FIRST)
    if before is None:
        return Comparison(check, Relation.ONLY_SECOND)
    noise = before.noise != after.noise
    if before.value == after.value:
        return Comparison(check, Relation.NOISE if noise else Relation.EXACT)

    def stored(digest: Digest) -> TensorRecord | None:
        return first.tensor(digest) or second.tensor(digest)

    distances = leaf_distances(first.tensors(check), second.tensors(check), stored)
    return Comparison(check, Relation.NOISE if noise else Relation.DIFFERENT, distances)


def matrix_of(
    store: Store,
    keys: Sequence[EnvironmentKey],
    pattern: str = "*",
    *,
    far: Policy | None = None,
    track: Track[Agreement] = _untracked,
) -> Matrix:
    """Which keys agree on which checks; with ``far`` also how far the others are apart.

    Without ``far`` only index lines are read. Distances are measured once for each two groups of
    equal keys, with the first key of the earlier group as baseline, and judged by the tolerance of
    that baseline: by its envelope, or by what ``far`` says of the check. Tolerances in tests
    are not stored and not known here.
    """
    held = entries_by_check(store, keys, pattern)
    agreements = [agreement_of(check, entries) for check, entries in held.items()]
    rows = tuple(
        MatrixRow(one, () if far is None else _group_distances(store, one, far))
        for one in (agreements if far is None else track(agreements, "measuring"))
    )
    return Matrix(tuple(keys), rows, pair_counts(rows, keys), far is not None)


def _group_distances(
    store: Store, agreement: Agreement, policy: Policy
) -> tuple[GroupDistance, ...]:
    baselines = [store.baseline(group[0], agreement.check) for group in agreement.groups]
    resolved = resolve(policy, str(agreement.check))
    found: list[GroupDistance] = []
    for first, second in combinations(range(len(baselines)), 2):
        before, after = baselines[first], baselines[second]
        leaves = leaf_distances(before.tensors, after.tensors, store.tensor)
        distance = farthest(leaves)
        if distance is None:
            continue

        def choose(summary: TensorSummary, no_envelope: str = before.no_envelope) -> Chosen:
            return choose_tolerance((), resolved, Distance.ANY, summary, no_envelope)

        simulated = None
        if before.index.noise == after.index.noise:
            simulated = simulate_verdict(
                leaves, before.tensors, after.tensors, store.tensor, choose
            )
        found.append(GroupDistance(first, second, distance, simulated))
    return tuple(found)


def history_of(
    store: Store, check: CheckId, keys: Sequence[EnvironmentKey]
) -> tuple[HistoryRow, ...]:
    """A check over the framework versions of each hardware, each compared with the one before.

    ``keys`` are sorted by hardware, then from the oldest version.
    """
    rows: list[HistoryRow] = []
    for key, baseline in stored_baselines(store, check, keys):
        before = rows[-1] if rows and rows[-1].key.hardware == key.hardware else None
        rows.append(_history_row(store, key, baseline, before))
    return tuple(rows)


def _history_row(
    store: Store, key: EnvironmentKey, baseline: Baseline, before: HistoryRow | None
) -> HistoryRow:
    if before is None:
        return HistoryRow(baseline, key, "")
    same_noise = baseline.index.noise == before.baseline.index.noise
    if baseline.index.value == before.baseline.index.value:
        # As in a diff, equal bits from different noise do not agree.
        return HistoryRow(baseline, key, str(Relation.EXACT if same_noise else Relation.NOISE))
    distance = farthest(leaf_distances(before.baseline.tensors, baseline.tensors, store.tensor))
    relation = Relation.DIFFERENT if same_noise else Relation.NOISE
    return HistoryRow(baseline, key, str(relation), distance)


def sensitivities(
    store: Store,
    keys: Iterable[EnvironmentKey],
    pattern: str = "*",
    *,
    track: Track[Entry] = _untracked,
) -> tuple[Sensitivity, ...]:
    """The sensitivity of every selected tensor with an envelope, by check, then by ``keys``."""
    found = sorted(entries(store, keys, pattern), key=lambda entry: entry.check)
    rows = (
        sensitivity_of(entry.check, entry.key, summary)
        for entry in track(found, "reading")
        for summary in store.baseline(entry.key, entry.check).tensors
    )
    return tuple(row for row in rows if row is not None)
