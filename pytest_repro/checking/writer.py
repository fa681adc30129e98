"""Writes what the tests of a run record, and keeps what a report shows of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from pytest_repro.checking.accept import OBSERVED
from pytest_repro.checking.context import RunContext
from pytest_repro.checking.evaluation import Evaluation
from pytest_repro.checking.recording import Pace, Writing
from pytest_repro.errors import BaselineError
from pytest_repro.model.baseline import Baseline, Trace
from pytest_repro.model.outcome import Artefact, Outcome
from pytest_repro.model.words import Verdict
from pytest_repro.store.store import Store
from pytest_repro.trace.divergence import cells_of, growth_of
from pytest_repro.trace.records import trace_from_rows

_EQUAL = frozenset({Verdict.EXACT, Verdict.UNCHANGED})


class Artefacts:
    """Keeps the observed values of one run below a report's folder.

    Several processes may share the folder: digests name tensors, and manifests are merged under a
    lock.
    """

    def __init__(self, context: RunContext, folder: Path) -> None:
        self._context = context
        self._folder = folder
        self._store = Store(folder / OBSERVED, root=folder)
        self._waiting: dict[str, list[Baseline]] = {}
        self._pace = Pace()

    def keep(self, evaluation: Evaluation) -> tuple[Artefact, ...]:
        """Keep every outcome that is not exact and not unchanged.

        Raises:
            StoreError: The report's folder cannot be written.
        """
        unequal = (one for one in evaluation.outcomes if one.verdict not in _EQUAL)
        kept = tuple(self._keep(evaluation, one) for one in unequal)
        for artefact in kept:
            module = artefact.observed.check.module
            self._waiting.setdefault(module, []).append(artefact.observed)
        if self._pace.is_due():
            self.flush()
        return kept

    def flush(self) -> None:
        """Write the manifests of the kept values.

        Raises:
            StoreError: The report's folder cannot be written.
        """
        with self._pace.timed():
            for module in list(self._waiting):
                self._store.write(self._context.key, module, self._waiting[module], ())
                del self._waiting[module]

    def _keep(self, evaluation: Evaluation, outcome: Outcome) -> Artefact:
        name = outcome.check.name
        runs = evaluation.agreed_runs(name)
        recording = evaluation.recording(self._context, name)
        observed = recording.baseline(name)
        observed = replace(observed, provenance=replace(observed.provenance, runs=runs))
        assert outcome.observation is not None  # only an exact outcome lets it go
        self._store.write_tensors(record for _, record in outcome.observation.tensors)
        self._store.write_rows(recording.records(name))
        repeated = evaluation.runs.traced(name).calls[name].observation.trace
        return self._with_traces(Artefact(observed), outcome, repeated)

    def _with_traces(self, kept: Artefact, outcome: Outcome, repeated: Trace | None) -> Artefact:
        """Growth of the first run, and cells of the repeated one, which records every cell."""
        baseline, seen = outcome.baseline, outcome.observation
        if baseline is None or baseline.trace is None or seen is None or seen.trace is None:
            return kept
        try:
            rows = self._context.store.rows(baseline.trace)
        except BaselineError:
            return kept  # the outcome says already that the baseline's trace cannot be read
        if rows is None:
            return kept
        before = trace_from_rows(rows)
        cells = cells_of(before, seen.trace if repeated is None else repeated)
        return replace(kept, growth=growth_of(before, seen.trace), cells=cells)


class Writer:
    """Writes the recordings of a run's tests, after each of them passed.

    Args:
        context: What the run knows.
    """

    def __init__(self, context: RunContext) -> None:
        self.context = context
        self._attempts: Counter[str] = Counter()
        self._writing = Writing()
        self._pace = Pace()
        report = context.settings.report
        self._artefacts = Artefacts(context, Path(report)) if report else None

    def attempt(self, test: str) -> None:
        """Note that a test begins, for the first time or in a rerun."""
        self._attempts[test] += 1
        if self._writing and self.is_further_attempt(test):
            self.flush()  # it is judged by what its first attempt recorded

    def is_further_attempt(self, test: str) -> bool:
        """Whether the test already ran in this run; then nothing is recorded."""
        return self._attempts[test] > 1

    def keep_artefacts(self, evaluation: Evaluation) -> tuple[Artefact, ...]:
        """Write the observed values into the report's folder, if there is one."""
        return () if self._artefacts is None else self._artefacts.keep(evaluation)

    def commit(self, recorded: Writing) -> None:
        """Take the recordings of a passed test, and write them if that is due.

        Raises:
            BaselineError: They were not written; stored files are intact.
        """
        self._writing.take(recorded)
        if self._writing and self._pace.is_due():
            self.flush()

    def flush(self) -> None:
        """Write everything that is queued.

        Raises:
            BaselineError: Stored files are intact; what was not written is kept.
        """
        with self._pace.timed():
            self._writing.write(self.context.store, self.context.key)
        self.context.references.forget()
        if self._artefacts is not None:
            self._artefacts.flush()
