"""What a baseline names besides its manifest: its tensors and records, and how each is verified."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from pytest_repro.environment.kernels import digest_kernels, kernels_from_rows, named_kernels
from pytest_repro.model.baseline import Baseline
from pytest_repro.model.ids import Digest
from pytest_repro.store.files import Row
from pytest_repro.trace.components import (
    configurations_from_rows,
    digest_settings,
    digest_weights,
    weights_from_rows,
)
from pytest_repro.trace.envelope import digest_step_envelope, step_envelope_from_rows
from pytest_repro.trace.records import trace_from_rows

DigestOfRows = Callable[[Sequence[Row]], Digest]


def tensor_digests(baseline: Baseline) -> set[Digest]:
    """The digests of its tensors, and of its draws: those have a file where noise was stored."""
    drawn = {draw.digest for draw in baseline.draw_log.draws}
    return {one.digest for one in baseline.tensors} | drawn


def record_digests(baseline: Baseline) -> Iterator[tuple[Digest, DigestOfRows]]:
    """The digests of its records, each with the function that computes it from the rows."""
    if baseline.trace is not None:
        yield baseline.trace, lambda rows: trace_from_rows(rows).digest
    if (settings := baseline.configuration) is not None:
        yield settings, partial(_settings_digest, settings)
    if baseline.step_envelope is not None:
        yield (
            baseline.step_envelope,
            lambda rows: digest_step_envelope(step_envelope_from_rows(rows)),
        )
    if (kernels := named_kernels(baseline.provenance.environment)) is not None:
        yield kernels, lambda rows: digest_kernels(kernels_from_rows(rows))
    for one in baseline.weights:
        yield one.digest, partial(_weights_digest, one.component)


def _settings_digest(wanted: Digest, rows: Sequence[Row]) -> Digest:
    return digest_settings(configurations_from_rows(rows)) or wanted


def _weights_digest(component: str, rows: Sequence[Row]) -> Digest:
    table = weights_from_rows(component, rows)
    return digest_weights(
        component, [(name, record.digest) for name, record in table.tensors]
    ).digest
