"""What a run is still to write, and when: not after every test, and never half."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

from pytest_repro.model.baseline import Baseline, Digest, EnvironmentKey, TensorRecord
from pytest_repro.store.manifest import Row
from pytest_repro.store.store import Store

__all__ = ["Writing"]

_FLUSH_SHARE = 20
"""A flush may cost at most one part in this many of the time since the last one."""


class Writing:
    """The queue of one run.

    Args:
        store: Where to.
        key: Under which key.
    """

    def __init__(self, store: Store, key: EnvironmentKey) -> None:
        self._store = store
        self._key = key
        self._baselines: dict[str, list[Baseline]] = {}
        self._tensors: dict[str, TensorRecord] = {}
        self._records: dict[Digest, Sequence[Row]] = {}
        self._flushed_s = 0.0
        self._cost_s = 0.0

    def queue(self, baseline: Baseline, tensors: Sequence[TensorRecord]) -> None:
        """Remember a baseline to be written."""
        self._baselines.setdefault(baseline.check.module, []).append(baseline)
        self.queue_tensors(tensors)

    def queue_tensors(self, tensors: Sequence[TensorRecord]) -> None:
        """Remember tensors to be written that a stored baseline names already."""
        self._tensors.update({record.digest: record for record in tensors})

    def queue_records(self, records: Mapping[Digest, Sequence[Row]]) -> None:
        """Remember traces and tables of weights to be written."""
        self._records.update(records)

    def is_due(self) -> bool:
        """Whether something waits, and writing it would take a small part of the run's time."""
        waits = bool(self._baselines or self._tensors)
        return waits and time.monotonic() - self._flushed_s >= _FLUSH_SHARE * self._cost_s

    def flush(self) -> None:
        """Write everything that waits, tensors before the manifests that name them.

        Raises:
            BaselineError: Nothing that was stored is lost; what was not written is still queued.
        """
        began = time.monotonic()
        self._store.write_rows(self._records)
        self._records.clear()
        for module in list(self._baselines):
            baselines = self._baselines[module]
            wanted = {digest for baseline in baselines for digest in _named_by(baseline)}
            tensors = [record for digest, record in self._tensors.items() if digest in wanted]
            self._store.write(self._key, module, baselines, tensors)
            del self._baselines[module]
        self._store.write_tensors(self._tensors.values())
        self._tensors.clear()
        self._flushed_s = time.monotonic()
        self._cost_s = self._flushed_s - began


def _named_by(baseline: Baseline) -> Iterator[Digest]:
    yield from (one.digest for one in baseline.tensors)
    yield from (draw.digest for draw in baseline.ledger.draws)
