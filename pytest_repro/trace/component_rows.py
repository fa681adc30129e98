"""Tables of weights and configurations as rows of primitives, and back; the codec stores rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pytest_repro.errors import CorruptBaseline
from pytest_repro.model.baseline import Digest
from pytest_repro.tensors.digest import digest_text
from pytest_repro.trace.components import ComponentWeights, Configuration
from pytest_repro.trace.records import SignalRecord

__all__ = [
    "configurations_from_rows",
    "configurations_rows",
    "digest_configurations",
    "weights_from_rows",
    "weights_rows",
]

Row = tuple[Any, ...]


def weights_rows(weights: ComponentWeights) -> tuple[Row, ...]:
    """A row a parameter: name, dtype, shape, digest, statistics; no sketch."""
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
    """What `weights_rows` was given.

    Raises:
        CorruptBaseline: They are not such rows.
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
    """A row an entry of a configuration: component, class, name, value."""
    return tuple(
        (one.component, one.class_name, name, value)
        for one in configurations
        for name, value in one.entries
    )


def digest_configurations(configurations: Sequence[Configuration]) -> Digest:
    """SHA-256 over the canonical text of all configurations."""
    return digest_text("\n".join(repr(row) for row in configurations_rows(configurations)))


def configurations_from_rows(rows: Iterable[Sequence[Any]]) -> tuple[Configuration, ...]:
    """What `configurations_rows` was given; a component without entries is lost.

    Raises:
        CorruptBaseline: They are not such rows.
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
