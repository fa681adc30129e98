"""The perturbed runs of a test: envelopes of its tensors and steps, or why there are none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pytest_repro.checking.trial import Trial
from pytest_repro.model.baseline import Envelope, Trace
from pytest_repro.model.ids import TensorRecord
from pytest_repro.noise.sources import Disturbed
from pytest_repro.settings import Settings
from pytest_repro.tensors.compare import compare_records
from pytest_repro.tensors.dtypes import DTYPES
from pytest_repro.tolerance.choose import factor_of
from pytest_repro.tolerance.measured import (
    ceiling,
    envelope_from,
    measured_something,
    proves_nothing,
)
from pytest_repro.tolerance.policy import Resolved
from pytest_repro.trace.envelope import StepEnvelope, measure_steps

_MAX_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class DisturbedRun:
    """One execution with perturbed noise, and what it raised."""

    trial: Trial
    error: BaseException | None


class Disturbing:
    """The perturbed runs of one test (there may be none), beside its clean one."""

    def __init__(self, first: Trial, runs: Sequence[DisturbedRun], settings: Settings) -> None:
        self._first = first
        self._settings = settings
        self._dtype = _computing_dtype(first, runs)
        self._runs = [run for run in runs if _dtype_of(run) in (self._dtype, "")]

    @property
    def count(self) -> int:
        """How many perturbed runs count; runs in too fine a dtype do not."""
        return len(self._runs)

    @property
    def asked(self) -> int:
        """How many perturbed runs the marker or the settings ask for."""
        return self._first.spec.asked.envelope

    def next_source(self) -> Disturbed:
        """The noise of the next run."""
        return Disturbed(self._settings.envelope_seed + self.count, self._dtype)

    def envelope(self, name: str, path: str) -> Envelope | None:
        """The envelope of one tensor of a check; ``None`` if `absence` says why."""
        clean = _leaf(self._first, name, path)
        moved = [_leaf(run.trial, name, path) for run in self._runs]
        alike = [record for record in moved if record is not None and _is_like(record, clean)]
        if clean is None or not alike or len(alike) < len(self._runs):
            return None
        sizes = [run.trial.input_rel_l2 for run in self._runs]
        envelope = envelope_from(
            [compare_records(clean, record) for record in alike],
            method=f"{self._first.disturbed_what} moved by one {self._dtype} ULP, random signs",
            seed=self._settings.envelope_seed,
            input_rel_l2=sum(sizes) / len(sizes),
        )
        return envelope if measured_something(envelope, clean.dtype) else None

    def movements(self, name: str, resolved: Resolved) -> Iterator[tuple[float, ...]]:
        """How far (rel_l2) each tensor of a check moved in each run, except tensors without an
        envelope or with one that is already too wide for a fallback.
        """
        for path, clean in self._first.calls[name].observation.tensors:
            envelope = self.envelope(name, path)
            limit = ceiling(clean.dtype) if resolved.ceiling is None else resolved.ceiling
            if envelope is None or proves_nothing(envelope, factor_of((), resolved), limit):
                continue
            moved = [_leaf(run.trial, name, path) for run in self._runs]
            yield tuple(compare_records(clean, one).rel_l2 for one in moved if one is not None)

    def step_envelope(self, name: str, clean: Trace | None) -> StepEnvelope | None:
        """How far each step before a check moved, if its pipelines were watched."""
        calls = [run.trial.calls.get(name) for run in self._runs]
        traces = [call.observation.trace for call in calls if call is not None]
        known = [trace for trace in traces if trace is not None]
        if clean is None or not known or len(known) < len(self._runs):
            return None
        return measure_steps(clean, known)

    def absence(self, name: str) -> str:
        """Why a tensor of a check has no envelope, in words; ``""`` if all have one."""
        if not self._runs:
            return self._why_none()
        for number, run in enumerate(self._runs, 1):
            if fact := self._unlike(name, run):
                return f"disturbed run {number} {fact}"
        return self._unmoved(name)

    def is_hopeless(self, name: str) -> bool:
        """Whether no further run can give the check an envelope."""
        return any(self._unlike(name, run) for run in self._runs)

    def _unmoved(self, name: str) -> str:
        """Why a tensor of floats has no envelope although every run has it."""
        for path, record in self._first.calls[name].observation.tensors:
            if DTYPES[record.dtype].is_float and self.envelope(name, path) is None:
                place = path or "the result"
                return (
                    f"{self.count} runs with noise moved by one {self._dtype} ULP left {place} "
                    "unchanged: it does not depend on the draws, or is computed in a coarser dtype "
                    "(mark the test with dtype=)"
                )
        return ""

    def _why_none(self) -> str:
        if not self._first.is_noisy:
            if draws := self._first.draw_log.draws:
                methods = ", ".join(dict.fromkeys(draw.method for draw in draws))
                return (
                    f"one ULP moves none of the draws ({methods}), and no tensor is named to "
                    "repro_disturb"
                )
            return (
                "the test draws no noise from repro_generator and names no tensor to perturb "
                "(repro_disturb)"
            )
        if not self.asked:
            return "--repro-envelope or the marker asks for 0 perturbed runs"
        return "nothing was disturbed: the run that observed it did not record it"

    def _unlike(self, name: str, run: DisturbedRun) -> str:
        call = run.trial.calls.get(name)
        if call is None:
            return "did not reach this check" if run.error is None else _raised(run.error)
        now = dict(call.observation.tensors)
        for path, record in self._first.calls[name].observation.tensors:
            if not _is_like(record, now.get(path)):
                return f"gave another value: {_kind(record)} became {_kind(now.get(path))}"
        return ""


def _dtype_of(run: DisturbedRun) -> str:
    source = run.trial.book.source
    return source.computing_dtype if isinstance(source, Disturbed) else ""


def _computing_dtype(first: Trial, runs: Sequence[DisturbedRun]) -> str:
    """The computing dtype of the test; float32 if perturbed float64 noise is lost in a cast.

    A float64 value is often a float32 result that was cast at the end.
    """
    found = first.computing_dtype
    if found != "float64" or not runs or not first.is_dtype_of_values:
        return found
    before = {name: call.observation.digest for name, call in first.calls.items()}
    fine = (run.trial.calls for run in runs if _dtype_of(run) == found)
    same = all({n: c.observation.digest for n, c in calls.items()} == before for calls in fine)
    return "float32" if same else found


def _raised(error: BaseException) -> str:
    text = " ".join(str(error).split())[:_MAX_CHARACTERS]
    return f"raised {type(error).__name__}" + (f": {text}" if text else "")


def _leaf(trial: Trial, name: str, path: str) -> TensorRecord | None:
    call = trial.calls.get(name)
    return None if call is None else dict(call.observation.tensors).get(path)


def _is_like(record: TensorRecord | None, other: TensorRecord | None) -> bool:
    if record is None or other is None:
        return False
    return (record.dtype, record.shape) == (other.dtype, other.shape)


def _kind(record: TensorRecord | None) -> str:
    return "nothing" if record is None else f"{record.dtype} {record.shape}"
