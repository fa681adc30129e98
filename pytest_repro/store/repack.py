"""The command `gc --repack`: rewrite traces in the current format, a third of the older size."""

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


def find_older(store: Store, *, track: Track = lambda places, _: places) -> tuple[Digest, ...]:
    """The stored traces of an older format, except absent ones.

    Raises:
        BaselineError: A manifest or a trace cannot be read.
    """
    seen: dict[Digest, bool] = {}
    for key, module in track(_places(store), "manifests"):
        for one in store.manifest(key, module):
            if one.trace is not None and one.trace not in seen:
                rows = store.rows(one.trace)
                seen[one.trace] = rows is not None and not is_current(rows)
    return tuple(trace for trace, is_older in seen.items() if is_older)


def repack(store: Store, older: Iterable[Digest]) -> Repacked:
    """Rewrite traces of an older format, and name the new files in the manifests.

    New files are written first, then the manifests, then the old files are deleted: at any time,
    every manifest names files that exist.

    Raises:
        BaselineError: A manifest or a trace cannot be read or written.
    """
    renamed = {trace: _renew(store, trace) for trace in older}
    for key, module in _places(store):
        changed = [
            replace(one, trace=renamed[one.trace])
            for one in store.manifest(key, module)
            if one.trace in renamed
        ]
        if changed:
            store.write(key, module, changed, ())
    before = _size(store, renamed)
    _delete(store, renamed)
    return Repacked(len(renamed), before, _size(store, renamed.values()))


def _places(store: Store) -> list[Place]:
    keys = store.keys()
    return [(key, module) for key in keys for module in store.modules(key)]


def _renew(store: Store, trace: Digest) -> Digest:
    """Write a trace in the current format, and return its new digest."""
    old = trace_from_rows(store.rows(trace) or ())
    new = make_trace(old.level, old.steps, old.cells)
    store.write_rows({new.digest: trace_rows(new)})
    return new.digest


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
