"""A trial that another process made, stored in the layout of a baselines folder.

The digests of tensors, manifests and traces are verified when they are read, as a baseline's are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from json import dumps, loads
from pathlib import Path

from pytest_repro.checking.context import RunContext
from pytest_repro.checking.repeat import Raised
from pytest_repro.checking.trial import Trial
from pytest_repro.errors import IsolationError
from pytest_repro.model.baseline import Baseline, Environment, Provenance
from pytest_repro.model.outcome import Observation
from pytest_repro.store.store import Store
from pytest_repro.store.system import now_text
from pytest_repro.tensors.compare import summary_of
from pytest_repro.trace.components import (
    configurations_from_rows,
    configurations_rows,
    digest_settings,
)
from pytest_repro.trace.records import trace_from_rows, trace_rows

_END = "end.json"
"""Written last: if it exists, the test came to an end."""


@dataclass(frozen=True, slots=True)
class IsolatedTrial:
    """The result of a trial in a fresh process.

    Attributes:
        observations: By name of the check.
        raised: What its fixtures or its body raised.
    """

    observations: Mapping[str, Observation]
    raised: Raised | None


def keep_trial(context: RunContext, trial: Trial, raised: Raised | None, folder: Path) -> None:
    """Write the observations of a trial, for the process that started this one.

    Raises:
        StoreError: The folder cannot be written.
    """
    store, environment = Store(folder, root=folder), context.environment
    provenance = Provenance(now_text(), 1, environment, context.tool)
    seen = [call.observation for call in trial.calls.values()]
    for one in seen:
        if (settings := digest_settings(one.settings)) is not None:
            store.write_rows({settings: configurations_rows(one.settings)})
        if one.trace is not None:
            store.write_rows({one.trace.digest: trace_rows(one.trace)})
    if seen:
        records = [record for one in seen for _, record in one.tensors]
        baselines = [_as_baseline(one, provenance) for one in seen]
        store.write(environment.key, trial.spec.module, baselines, records)
    _end(folder, raised, str(environment.key))


def keep_unfinished(raised: Raised, folder: Path) -> None:
    """Write that a trial raised before it observed anything."""
    _end(folder, raised, "")


def _end(folder: Path, raised: Raised | None, key: str) -> None:
    words = None if raised is None else [raised.kind, raised.shown]
    (folder / _END).write_text(dumps({"key": key, "raised": words}), encoding="utf-8")


def _as_baseline(seen: Observation, provenance: Provenance) -> Baseline:
    return Baseline(
        check=seen.check,
        index=seen.index,
        tensors=tuple(summary_of(path, record) for path, record in seen.tensors),
        draw_log=seen.draw_log,
        weights=seen.weights,
        provenance=provenance,
        trace=None if seen.trace is None else seen.trace.digest,
        configuration=digest_settings(seen.settings),
        structure=seen.structure,
    )


def read_trial(folder: Path, environment: Environment) -> IsolatedTrial | None:
    """What the other process wrote; ``None`` where it did not come to the end of the test.

    Args:
        folder: Where it wrote.
        environment: Ours.

    Raises:
        IsolationError: The other process has another key than this one.
        BaselineError: What it wrote cannot be read.
    """
    if not (folder / _END).is_file():
        return None
    end = loads((folder / _END).read_text(encoding="utf-8"))
    if end["key"] and end["key"] != str(environment.key):
        raise IsolationError(
            "a fresh process has another environment than this one",
            facts=(f"here   {environment.key}", f"there  {end['key']}"),
            next_step="if a test sets it for this process, set it in conftest.py or outside pytest",
        )
    store = Store(folder, root=folder)
    stored = [
        one for module in store.modules(environment.key)
        for one in store.manifest(environment.key, module)
    ]  # fmt: skip
    seen = {one.check.name: _as_observation(one, store) for one in stored}
    return IsolatedTrial(seen, None if end["raised"] is None else Raised(*end["raised"]))


def _as_observation(stored: Baseline, store: Store) -> Observation:
    found = ((one.path, store.tensor(one.digest)) for one in stored.tensors)
    rows = None if stored.trace is None else store.rows(stored.trace)
    settings = None if stored.configuration is None else store.rows(stored.configuration)
    return Observation(
        check=stored.check,
        tensors=tuple((path, record) for path, record in found if record is not None),
        digest=stored.index.value,
        draw_log=stored.draw_log,
        weights=stored.weights,
        trace=None if rows is None else trace_from_rows(rows),
        settings=configurations_from_rows(settings or ()),
        inputs=stored.index.inputs,
        structure=stored.structure,
    )
