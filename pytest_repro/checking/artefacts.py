"""What a run leaves for a report: observed values as a store of their own, and how drift grew."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_repro.errors import BaselineError
from pytest_repro.model.artefact import Artefact, GrowthPoint
from pytest_repro.model.baseline import Baseline
from pytest_repro.model.outcome import Outcome
from pytest_repro.model.words import Verdict
from pytest_repro.store.store import Store
from pytest_repro.trace.divergence import growth_of
from pytest_repro.trace.rows import trace_from_rows

if TYPE_CHECKING:
    from pytest_repro.checking.examination import Examination
    from pytest_repro.checking.session import Session


OBSERVED = "observed"
"""The folder of a report that holds what was observed, laid out like a baselines folder."""

_EQUAL = frozenset({Verdict.EXACT, Verdict.UNCHANGED})
_FLUSH_SHARE = 20
"""Writing manifests may cost at most one part in this many of the time since the last time."""


class Artefacts:
    """Keeps the observed values of one run below a report's folder.

    Several processes may keep theirs in one folder: tensors lie under their digests, and manifests
    are merged under a lock.

    Args:
        session: The run.
        folder: The report's folder.
    """

    def __init__(self, session: Session, folder: Path) -> None:
        self._session = session
        self._folder = folder
        self._store = Store(folder / OBSERVED, root=folder)
        self._waiting: dict[str, list[Baseline]] = {}
        self._flushed_s = time.monotonic()
        self._cost_s = 0.0

    def keep(self, examination: Examination, outcomes: Sequence[Outcome]) -> tuple[Artefact, ...]:
        """Keep every outcome that is neither exact nor unchanged.

        Raises:
            StoreError: The report's folder cannot be written.
        """
        kept = tuple(self._keep(examination, one) for one in outcomes if one.verdict not in _EQUAL)
        for artefact in kept:
            module = artefact.observed.check.module
            self._waiting.setdefault(module, []).append(artefact.observed)
        if time.monotonic() - self._flushed_s >= _FLUSH_SHARE * self._cost_s:
            self.flush()
        return kept

    def flush(self) -> None:
        """Write the manifests that name what was kept.

        Raises:
            StoreError: The report's folder cannot be written.
        """
        began = time.monotonic()
        key = self._session.key
        for module in list(self._waiting):
            self._store.write(key, module, self._waiting[module], ())
            del self._waiting[module]
        self._flushed_s = time.monotonic()
        self._cost_s = self._flushed_s - began

    def _keep(self, examination: Examination, outcome: Outcome) -> Artefact:
        name = outcome.check.name
        runs = examination.agreed_runs(name)
        recording = examination.recording(agreed=runs > 1)
        observed = recording.baseline(name)
        observed = replace(observed, provenance=replace(observed.provenance, runs=runs))
        assert outcome.observation is not None  # only an exact outcome lets it go
        self._store.write_tensors(record for _, record in outcome.observation.tensors)
        self._store.write_rows(recording.records(name))
        return Artefact(observed, self._growth(outcome))

    def _growth(self, outcome: Outcome) -> tuple[GrowthPoint, ...]:
        baseline, seen = outcome.baseline, outcome.observation
        if baseline is None or baseline.trace is None or seen is None or seen.trace is None:
            return ()
        try:
            rows = self._session.store.rows(baseline.trace)
            return () if rows is None else growth_of(trace_from_rows(rows), seen.trace)
        except BaselineError:
            return ()  # the outcome says already that the baseline's trace cannot be read
