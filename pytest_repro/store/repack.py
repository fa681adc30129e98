"""The use case `gc --repack`: stored traces in today's format, which takes a third of the older."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from pytest_repro.errors import StoreError
from pytest_repro.model.ids import Digest, EnvironmentKey
from pytest_repro.store.store import Store
from pytest_repro.trace.records import make_trace
from pytest_repro.trace.rows import is_current, trace_from_rows, trace_rows

Place = tuple[EnvironmentKey, str]
Track = Callable[[Iterable[Place], str], Iterable[Place]]


@dataclass(frozen=True, slots=True)
class Repacked:
    """How many traces were rewritten, and the bytes of their files before and after."""

    trace_count: int
    bytes_before: int
    bytes_after: int


def repack(store: Store, *, track: Track = lambda places, _: places) -> Repacked:
    """Write every stored trace of an older format again, and name it so in the manifests.

    New files are written first, then the manifests, then the old files go: whatever stops it,
    every manifest names a file that is there.

    Raises:
        BaselineError: A manifest or a trace cannot be read or written.
    """
    renamed: dict[Digest, Digest] = {}
    keys = store.keys()
    places = [(key, module) for key in keys for module in store.modules(key)]
    for key, module in track(places, "manifests"):
        changed = [
            replace(one, trace=renamed[trace])
            for one in store.manifest(key, module)
            if (trace := one.trace) is not None and _renew(store, trace, renamed)
        ]
        if changed:
            store.write(key, module, changed, ())
    before = _size(store, renamed)
    _delete(store, renamed)
    return Repacked(len(renamed), before, _size(store, renamed.values()))


def _renew(store: Store, trace: Digest, renamed: dict[Digest, Digest]) -> bool:
    """Write a trace of an older format again; whether it has a new name now."""
    if trace not in renamed:
        rows = store.rows(trace)
        if rows is None or is_current(rows):
            return False
        old = trace_from_rows(rows)
        new = make_trace(old.level, old.steps, old.cells)
        store.write_rows({new.digest: trace_rows(new)})
        renamed[trace] = new.digest
    return True


def _size(store: Store, traces: Iterable[Digest]) -> int:
    return sum(store.record_path(trace).stat().st_size for trace in traces)


def _delete(store: Store, traces: Iterable[Digest]) -> None:
    for trace in traces:
        path = store.record_path(trace)
        try:
            path.unlink()
        except OSError as error:
            raise StoreError(
                "cannot delete a trace of the older format",
                facts=(f"{type(error).__name__}: {error.strerror}",),
                where=store.shown(path),
                next_step="check the folder's permissions, then run: pytest-repro gc --yes",
            ) from error
