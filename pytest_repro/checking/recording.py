"""Makes baselines from a test's trials, and writes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from time import monotonic

from pytest_repro.checking.context import RunContext
from pytest_repro.checking.disturb import Disturbing
from pytest_repro.checking.trial import Trial
from pytest_repro.environment.kernels import digest_kernels, kernel_rows, with_kernels
from pytest_repro.model.baseline import Baseline, Envelope, Provenance, TensorSummary, Trace
from pytest_repro.model.ids import CheckId, Digest, EnvironmentKey, TensorRecord
from pytest_repro.model.outcome import Observation
from pytest_repro.model.words import NoiseMode, UpdateMode, Verdict
from pytest_repro.store.files import Row
from pytest_repro.store.store import Store
from pytest_repro.store.system import now_text
from pytest_repro.tensors.compare import summary_of
from pytest_repro.tensors.record import make_record
from pytest_repro.trace.components import (
    ComponentWeights,
    configurations_rows,
    digest_settings,
    weights_rows,
)
from pytest_repro.trace.envelope import StepEnvelope, digest_step_envelope, step_envelope_rows
from pytest_repro.trace.records import trace_rows

_now_s = monotonic
"""Taken before a test can replace it."""


class Recording:
    """Makes baselines of this machine's key from the observations that runs agree on.

    Args:
        context: The run.
        first: The execution that is recorded.
        repeats: The executions of this process that agree with it bit for bit.
        runs: How many executions agree, including itself and those of other processes.
        disturbing: The executions with perturbed noise.
        adopted: By check name, baselines of other keys with envelopes to use instead.
    """

    def __init__(
        self,
        context: RunContext,
        first: Trial,
        repeats: list[Trial],
        runs: int,
        disturbing: Disturbing,
        adopted: Mapping[str, Baseline],
    ) -> None:
        self._adopted = adopted
        self._repeats = repeats
        self._context = context
        self._first = first
        self._runs = runs
        self._disturbing = disturbing

    def record(self, name: str, verdict: Verdict, writing: Writing) -> Verdict:
        """Queue the baseline of check ``name`` and return the verdict.

        A baseline that differs only in its provenance is not written.
        """
        observation = self._first.calls[name].observation
        baseline = self.baseline(name)
        if self._context.settings.update is UpdateMode.ENVELOPE:
            return self._record_envelope(baseline, self.absence(name), name, writing)
        if verdict is not Verdict.RECORDED and self._is_stored(baseline):
            writing.queue_tensors(self._noise(observation))
            return Verdict.UNCHANGED
        tensors = [record for _, record in observation.tensors]
        writing.queue(baseline, [*tensors, *self._noise(observation)])
        writing.queue_records(self.records(name))
        return Verdict.UPDATED if verdict is Verdict.UNCHANGED else verdict

    def _record_envelope(
        self, measured: Baseline, absence: str, name: str, writing: Writing
    ) -> Verdict:
        """Queue the stored baseline with the envelopes of a measured one; nothing else changes."""
        if absence:
            return Verdict.UNCHANGED
        stored = self._context.store.baseline(self._context.key, measured.check)
        envelopes = {one.path: one.envelope for one in measured.tensors}
        changed = replace(
            stored,
            tensors=tuple(replace(one, envelope=envelopes[one.path]) for one in stored.tensors),
            step_envelope=measured.step_envelope,
            no_envelope="",
        )
        if changed == stored:
            return Verdict.UNCHANGED
        writing.queue(changed, [])
        step_envelope = self._step_envelope(name)
        if step_envelope is not None:
            rows = step_envelope_rows(step_envelope)
            writing.queue_records({digest_step_envelope(step_envelope): rows})
        return Verdict.UPDATED

    def _trace(self, name: str) -> Trace | None:
        """The trace of the last repeated run, which recorded most."""
        return self._repeats[-1].calls[name].observation.trace if self._repeats else None

    def _step_envelope(self, name: str) -> StepEnvelope | None:
        return self._disturbing.step_envelope(name, self._trace(name))

    def absence(self, name: str) -> str:
        """Why a check is recorded without an envelope, in words; ``""`` if it has one."""
        return "" if self._adopts(name) else self._disturbing.absence(name)

    def _adopts(self, name: str) -> Baseline | None:
        return None if self._disturbing.count else self._adopted.get(name)

    @cached_property
    def _weight_tensors(self) -> tuple[ComponentWeights, ...]:
        return self._first.watching.weight_tensors()

    def records(self, name: str) -> dict[Digest, tuple[Row, ...]]:
        """The records of a check's pipelines: weights, settings, trace, envelope of steps."""
        trace, seen = self._trace(name), self._first.calls[name].observation
        configuration = digest_settings(seen.settings)
        kernels = self._context.kernels()
        records: dict[Digest, tuple[Row, ...]] = {digest_kernels(kernels): kernel_rows(kernels)}
        if trace is not None:
            records[trace.digest] = trace_rows(trace)
        if configuration is not None:
            records[configuration] = configurations_rows(seen.settings)
        envelope = self._step_envelope(name)
        if envelope is not None:
            records[digest_step_envelope(envelope)] = step_envelope_rows(envelope)
        digests = {one.component: one.digest for one in seen.weights}
        for table in self._weight_tensors:
            if table.component in digests:
                records[digests[table.component]] = weights_rows(table)
        return records

    def _noise(self, observation: Observation) -> list[TensorRecord]:
        """The draws before the check as tensors, if they are stored for a replay."""
        if self._context.settings.noise is not NoiseMode.STORE:
            return []
        arrays = self._first.book.arrays()[: len(observation.draw_log.draws)]
        return [make_record(array) for array in arrays if array is not None]

    def _is_stored(self, baseline: Baseline) -> bool:
        stored = self._context.store.baseline(self._context.key, baseline.check)
        return replace(stored, provenance=baseline.provenance) == baseline

    def baseline(self, name: str) -> Baseline:
        """The baseline of check ``name`` under this machine's key."""
        observation = self._first.calls[name].observation
        return Baseline(
            check=observation.check,
            index=observation.index,
            tensors=tuple(
                self._summary(name, path, record) for path, record in observation.tensors
            ),
            draw_log=observation.draw_log,
            weights=observation.weights,
            trace=None if (trace := self._trace(name)) is None else trace.digest,
            configuration=digest_settings(observation.settings),
            step_envelope=self._step_envelope_digest(name),
            no_envelope=self.absence(name),
            structure=observation.structure,
            provenance=Provenance(
                recorded_at=now_text(),
                runs=self._runs,
                environment=with_kernels(self._context.environment, self._context.kernels()),
                tool=self._context.tool,
            ),
        )

    def _summary(self, name: str, path: str, record: TensorRecord) -> TensorSummary:
        adopted = self._adopts(name)
        if adopted is not None:
            envelope = _adopted_envelope(adopted, path)
        else:
            envelope = self._disturbing.envelope(name, path)
        return replace(summary_of(path, record), envelope=envelope)

    def _step_envelope_digest(self, name: str) -> Digest | None:
        adopted = self._adopts(name)
        if adopted is not None:
            return adopted.step_envelope  # its rows are in the same folder
        envelope = self._step_envelope(name)
        return None if envelope is None else digest_step_envelope(envelope)


def _adopted_envelope(baseline: Baseline, path: str) -> Envelope | None:
    """The envelope of another key; its method says where it was measured."""
    found = next((one.envelope for one in baseline.tensors if one.path == path), None)
    if found is None or _MEASURED_UNDER in found.method:
        return found
    key = baseline.provenance.environment.key
    return replace(found, method=f"{found.method}{_MEASURED_UNDER}{key}")


_MEASURED_UNDER = "; measured under "


_FLUSH_SHARE = 20
"""A flush may cost at most one part in this many of the time since the last one."""


class Writing:
    """Baselines to be written, with their tensors and records."""

    def __init__(self) -> None:
        self._baselines: dict[str, list[Baseline]] = {}
        self._tensors: dict[str, TensorRecord] = {}
        self._records: dict[Digest, Sequence[Row]] = {}

    def __bool__(self) -> bool:
        return bool(self._baselines or self._tensors or self._records)

    def queue(self, baseline: Baseline, tensors: Sequence[TensorRecord]) -> None:
        """Add a baseline."""
        self._baselines.setdefault(baseline.check.module, []).append(baseline)
        self.queue_tensors(tensors)

    def queue_tensors(self, tensors: Sequence[TensorRecord]) -> None:
        """Add tensors that a stored baseline already names."""
        self._tensors.update({record.digest: record for record in tensors})

    def queue_records(self, records: Mapping[Digest, Sequence[Row]]) -> None:
        """Add traces and tables of weights."""
        self._records.update(records)

    def checks(self) -> Iterator[CheckId]:
        """The checks of the baselines."""
        return (one.check for waiting in self._baselines.values() for one in waiting)

    def take(self, other: Writing) -> None:
        """Take over the content of another."""
        for module, baselines in other._baselines.items():
            self._baselines.setdefault(module, []).extend(baselines)
        self._tensors.update(other._tensors)
        self._records.update(other._records)

    def write(self, store: Store, key: EnvironmentKey) -> None:
        """Write everything, tensors before the manifests that name them.

        Raises:
            BaselineError: Stored files are intact; what was not written is kept.
        """
        store.write_rows(self._records)
        self._records.clear()
        for module in list(self._baselines):
            baselines = self._baselines[module]
            wanted = {digest for baseline in baselines for digest in _named_by(baseline)}
            tensors = [record for digest, record in self._tensors.items() if digest in wanted]
            store.write(key, module, baselines, tensors)
            del self._baselines[module]
            for record in tensors:
                del self._tensors[record.digest]
        store.write_tensors(self._tensors.values())
        self._tensors.clear()


def _named_by(baseline: Baseline) -> Iterator[Digest]:
    yield from (one.digest for one in baseline.tensors)
    yield from (draw.digest for draw in baseline.draw_log.draws)


class Pace:
    """Decides when to write, so that writing takes a small part of the run's time."""

    def __init__(self) -> None:
        self._ended_s = 0.0
        self._cost_s = 0.0

    def is_due(self) -> bool:
        return _now_s() - self._ended_s >= _FLUSH_SHARE * self._cost_s

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Measure one writing."""
        began = _now_s()
        yield
        self._ended_s = _now_s()
        self._cost_s = self._ended_s - began
