"""The weights and the configuration of each component of a pipeline, and how two of them differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_repro.errors import CorruptBaseline
from pytest_repro.model.baseline import Configuration, SignalRecord, WeightsDigest
from pytest_repro.model.ids import NO_INPUTS, Digest
from pytest_repro.tensors.record import digest_leaves, digest_text

_sorted = sorted
"""Taken before a test can replace it."""


@dataclass(frozen=True, slots=True)
class ComponentWeights:
    """Every parameter of a component, sorted by name."""

    component: str
    tensors: tuple[tuple[str, SignalRecord], ...]


@dataclass(frozen=True, slots=True)
class TensorChange:
    """A parameter that differs.

    Attributes:
        name: Its name in the component.
        baseline, observed: ``None`` if there is no such parameter, or it was not measured.
        digest: Its digest at the check, if it was not measured; ``""`` otherwise.
    """

    name: str
    baseline: SignalRecord | None
    observed: SignalRecord | None
    digest: str = ""


@dataclass(frozen=True, slots=True)
class WeightsChange:
    """A component whose weights differ.

    Attributes:
        component: Its name in the pipeline.
        baseline, observed: Digests; ``""`` if there is no such component.
        tensors: The parameters that differ; empty if they are not known one by one.
        tensor_count: How many parameters both sides have together; 0 if they are not known.
    """

    component: str
    baseline: str
    observed: str
    tensors: tuple[TensorChange, ...] = ()
    tensor_count: int = 0


@dataclass(frozen=True, slots=True)
class SettingChange:
    """One entry of a configuration that differs; ``""`` for a side that does not have it."""

    component: str
    name: str
    baseline: str
    observed: str

    @property
    def is_one_sided(self) -> bool:
        """Whether only one side has the entry, e.g. because a newer mindone adds it."""
        return not self.baseline or not self.observed

    def __str__(self) -> str:
        old, new = self.baseline or "nothing", self.observed or "nothing"
        return f"{self.component}.{self.name} {old} became {new}"


def digest_weights(component: str, leaves: Sequence[tuple[str, Digest]]) -> WeightsDigest:
    """The digest of a component from its parameters' ``(name, digest)``, in any order."""
    tensors = tuple(_sorted(leaves))
    return WeightsDigest(component, digest_leaves(tensors), tensors)


def compare_weights(
    baseline: Sequence[WeightsDigest],
    observed: Sequence[WeightsDigest],
    *,
    baseline_tensors: Sequence[ComponentWeights] = (),
    observed_tensors: Sequence[ComponentWeights] = (),
) -> tuple[WeightsChange, ...]:
    """The components whose weights differ, in the order of ``baseline``.

    A side without any digest was not watched; then nothing is reported. The ``*_tensors`` are the
    parameters one by one, as far as known: with them, a component whose parameters only have other
    names, each with its bits in its cell, does not differ.
    """
    if not baseline or not observed:
        return ()
    old = {item.component: str(item.digest) for item in baseline}
    new = {item.component: str(item.digest) for item in observed}
    old_tensors = {item.component: item for item in baseline_tensors}
    new_tensors = {item.component: item for item in observed_tensors}
    changes: list[WeightsChange] = []
    for name in dict.fromkeys((*old, *new)):
        if old.get(name) != new.get(name):
            checked = next((dict(one.tensors) for one in observed if one.component == name), {})
            table = new_tensors.get(name)
            changed, count = _changed_tensors(old_tensors.get(name), table, checked)
            if _are_renamed(changed):
                continue
            digests = old.get(name, ""), new.get(name, "")
            changes.append(WeightsChange(name, *digests, changed, count))
    return tuple(changes)


def _changed_tensors(
    baseline: ComponentWeights | None,
    observed: ComponentWeights | None,
    checked: Mapping[str, Digest],
) -> tuple[tuple[TensorChange, ...], int]:
    """The parameters that differ at the check; the test may have restored them since."""
    if baseline is None or (observed is None and not checked):
        return (), 0
    old, new = dict(baseline.tensors), dict(observed.tensors) if observed else {}
    seen = checked or {name: one.digest for name, one in new.items()}
    names = tuple(dict.fromkeys((*old, *seen)))
    pairs = (
        TensorChange(name, old.get(name), new[name])
        if name in new and new[name].digest == seen.get(name)
        else TensorChange(name, old.get(name), None, str(seen.get(name, "")))
        for name in names
    )
    return tuple(pair for pair in pairs if _differs(pair)), len(names)


def _are_renamed(changed: Sequence[TensorChange]) -> bool:
    """Whether each parameter of one side is one of the other, in its cell and with its bits.

    mindone 0.4 replaced cells by others whose parameters have other names.
    """
    gone, come = [], []
    for one in changed:
        digest = one.digest or (str(one.observed.digest) if one.observed else "")
        if one.baseline is not None and digest:
            return False
        place = one.name.rpartition(".")[0]
        if one.baseline is None:
            come.append((place, digest))
        else:
            gone.append((place, str(one.baseline.digest)))
    return bool(gone) and _sorted(gone) == _sorted(come)


def _differs(pair: TensorChange) -> bool:
    seen = pair.digest if pair.observed is None else pair.observed.digest
    return pair.baseline is None or pair.baseline.digest != seen


def compare_configurations(
    baseline: Sequence[Configuration], observed: Sequence[Configuration]
) -> tuple[SettingChange, ...]:
    """The entries that differ, component by component; a changed class is the entry ``class``.

    A side without any configuration was not watched; then nothing is reported.
    """
    if not baseline or not observed:
        return ()
    old, new = _flat(baseline), _flat(observed)
    changes = (
        SettingChange(
            component, name, old.get((component, name), ""), new.get((component, name), "")
        )
        for component, name in dict.fromkeys((*old, *new))
    )
    return tuple(change for change in changes if change.baseline != change.observed)


def _flat(configurations: Sequence[Configuration]) -> dict[tuple[str, str], str]:
    flat: dict[tuple[str, str], str] = {}
    for item in configurations:
        flat[item.component, "class"] = item.class_name
        flat.update({(item.component, name): value for name, value in item.entries})
    return flat


Row = tuple[Any, ...]


def weights_rows(weights: ComponentWeights) -> tuple[Row, ...]:
    """A row for each parameter: name, dtype, shape, digest, statistics; no sketch."""
    return tuple(
        (
            name,
            one.dtype,
            list(one.shape),
            str(one.digest),
            *(one.min, one.max, one.mean, one.std, one.l2, one.nan_count, one.inf_count),
        )
        for name, one in weights.tensors
    )


def weights_from_rows(component: str, rows: Iterable[Sequence[Any]]) -> ComponentWeights:
    """The inverse of `weights_rows`.

    Raises:
        CorruptBaseline: These are not such rows.
    """
    try:
        return ComponentWeights(component, tuple(_parameter(*row) for row in rows))
    except (TypeError, ValueError, OverflowError) as fault:
        raise CorruptBaseline(
            "a stored table of weights cannot be read", facts=(str(fault),)
        ) from fault


def _parameter(
    name: str, dtype: str, shape: Sequence[int], digest: str, *measured: float
) -> tuple[str, SignalRecord]:
    low, high, mean, std, l2, nan_count, inf_count = measured
    record = SignalRecord(
        dtype=str(dtype),
        shape=tuple(int(size) for size in shape),
        digest=Digest(str(digest)),
        min=float(low),
        max=float(high),
        mean=float(mean),
        std=float(std),
        l2=float(l2),
        nan_count=int(nan_count),
        inf_count=int(inf_count),
    )
    return str(name), record


def configurations_rows(configurations: Sequence[Configuration]) -> tuple[Row, ...]:
    """A row for each entry: component, class, name, value."""
    return tuple(
        (one.component, one.class_name, name, value)
        for one in configurations
        for name, value in one.entries
    )


def digest_settings(configurations: Sequence[Configuration]) -> Digest | None:
    """SHA-256 over the canonical text of all configurations; ``None`` without any."""
    if not configurations:
        return None
    return digest_text("\n".join(repr(row) for row in configurations_rows(configurations)))


def digest_inputs(weights: Sequence[WeightsDigest], settings: Digest | None) -> Digest:
    """The digest of a result's inputs other than its draws."""
    lines = _sorted(f"weights {one.component} {one.digest}" for one in weights)
    lines += [f"settings {settings}"] if settings is not None else []
    return digest_text("\n".join(lines)) if lines else NO_INPUTS


def configurations_from_rows(rows: Iterable[Sequence[Any]]) -> tuple[Configuration, ...]:
    """The inverse of `configurations_rows`; a component without entries is lost.

    Raises:
        CorruptBaseline: These are not such rows.
    """
    entries: dict[tuple[str, str], list[tuple[str, str]]] = {}
    try:
        for component, class_name, name, value in rows:
            entries.setdefault((str(component), str(class_name)), []).append(
                (str(name), str(value))
            )
    except (TypeError, ValueError) as fault:
        raise CorruptBaseline(
            "a stored configuration cannot be read", facts=(str(fault),)
        ) from fault
    return tuple(Configuration(c, k, tuple(found)) for (c, k), found in entries.items())
