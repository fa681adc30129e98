"""Records of the tensors that pass by: hashed at once, measured beside the pipeline, never twice.

Cells hand on what they were given: the output of one is the input of the next, of the cells in it
and of the cell around it. To compare bits with what passed a moment ago costs a fraction of hashing
them again.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_repro.model.baseline import Digest, TensorRecord
from pytest_repro.tensors.record import make_record, owned
from pytest_repro.trace.records import SignalRecord, measure_signal

__all__ = ["PassingTensors", "Pending"]

Pending = Callable[[], SignalRecord]
"""Gives the record, waiting until it was measured; raises what measuring raised."""

_LEAST_SKETCHED = 64
"""Elements below which statistics say as much as a sketch, which is as long as 16 numbers."""
_LEAST_ASIDE = 1 << 14
"""Elements below which handing over to the other thread costs more than measuring."""
_LEAST_KEPT_BYTES = 4096
"""Below, hashing costs no more than comparing with what is kept."""
_KEPT = 8
_KEPT_BYTES = 32 << 20
_WAITING_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class _Known:
    """What is measured, or being measured, of one tensor."""

    signal: Pending
    sketched: bool


class PassingTensors:
    """Takes the record of each tensor while it passes by; keeps copies of the newest few.

    Every byte is read before `take` returns, so that the next kernel may write over it. Memory:
    64 MiB at most beside the records, and one tensor that is larger.
    """

    def __init__(self) -> None:
        self._known: dict[Digest, _Known] = {}
        self._newest: OrderedDict[Digest, TensorRecord] = OrderedDict()
        self._waiting: deque[tuple[Future[SignalRecord], int]] = deque()
        self._thread: ThreadPoolExecutor | None = None

    def take(self, array: NDArray[Any], *, sketched: bool) -> Pending:
        """The record of ``array`` as it is now.

        Args:
            array: Of a dtype that a baseline can hold; only read.
            sketched: Whether the record shall have a sketch (tensors of a few elements get none).
        """
        sketched = sketched and array.size >= _LEAST_SKETCHED
        record = self._passed(array) or self._kept(make_record(array))
        known = self._known.get(record.digest)
        if known is None or (sketched and not known.sketched):
            known = self._known[record.digest] = _Known(self._measure(record, sketched), sketched)
        return known.signal

    def rest(self) -> None:
        """Wait until everything was measured, and end the thread; the next tensor starts one."""
        while self._waiting:
            self._waiting.popleft()[0].result()
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None

    def _passed(self, array: NDArray[Any]) -> TensorRecord | None:
        if array.nbytes < _LEAST_KEPT_BYTES:
            return None
        for digest, record in reversed(self._newest.items()):
            if record.array.dtype == array.dtype and _equal_bits(record.array, array):
                self._newest.move_to_end(digest)
                return record
        return None

    def _kept(self, record: TensorRecord) -> TensorRecord:
        if record.array.nbytes < _LEAST_KEPT_BYTES:
            return record  # measured before anybody can write into it
        kept = self._newest[record.digest] = owned(record)
        self._newest.move_to_end(record.digest)
        while len(self._newest) > _KEPT or _bytes_of(self._newest.values()) > _KEPT_BYTES:
            self._newest.popitem(last=False)
        return kept

    def _measure(self, record: TensorRecord, sketched: bool) -> Pending:
        if record.array.size < _LEAST_ASIDE:
            signal = measure_signal(record, sketched=sketched)
            return lambda: signal
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "pytest-repro-trace")
        measured = self._thread.submit(measure_signal, record, sketched=sketched)
        self._waiting.append((measured, record.array.nbytes))
        while len(self._waiting) > 1 and sum(size for _, size in self._waiting) > _WAITING_BYTES:
            self._waiting.popleft()[0].result()
        return measured.result


def _bytes_of(records: Iterable[TensorRecord]) -> int:
    return sum(record.array.nbytes for record in records)


def _equal_bits(kept: NDArray[Any], array: NDArray[Any]) -> bool:
    if kept.shape != array.shape or not array.flags.c_contiguous or not array.size:
        return False
    ours, other = kept.reshape(-1).view(np.uint8), array.reshape(-1).view(np.uint8)
    if ours.size % 8 == 0 and other.ctypes.data % 8 == 0 and ours.ctypes.data % 8 == 0:
        ours, other = ours.view(np.uint64), other.view(np.uint64)
    # Tensors that differ mostly do so from the first element on.
    return bool(ours[0] == other[0]) and bool((ours == other).all())
