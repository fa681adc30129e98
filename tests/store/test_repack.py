"""Repacking rewrites old traces, and every manifest names a file that is there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pytest_repro.errors import CorruptBaseline
from pytest_repro.model.baseline import CellRecord, StepRecord
from pytest_repro.model.words import TraceLevel
from pytest_repro.store.migrate import Repacked, find_older, repack
from pytest_repro.store.store import Store
from pytest_repro.store.verify import verify
from pytest_repro.tensors.record import make_record
from pytest_repro.trace.divergence import first_divergence
from pytest_repro.trace.records import (
    make_trace,
    measure_signal,
    trace_from_rows,
    trace_rows,
    trace_signal,
)
from tests.store.stored import KEY, MODULE, baseline_of
from tests.trace.older import old_rows


def trace(measure, *, moved=False):
    """Two steps with forty calls of cells each; one call gives something else if it is to."""

    def signal(number):
        array = np.random.default_rng(number).standard_normal((4, 4)).astype("f4")
        return measure(make_record(array), sketched=number < 2)

    steps = [StepRecord("scheduler", at, 10.0 - at, (("result", signal(at)),)) for at in range(2)]
    calls = [
        CellRecord(
            at,
            at // 40,
            f"unet.{at % 40}",
            "Dense",
            (signal(100 + at),),
            (signal(9999 if moved and at == 50 else 101 + at),),
        )
        for at in range(80)
    ]
    return make_trace(TraceLevel.CELLS, steps, calls)


@pytest.fixture
def store(tmp_path):
    """Two checks that share one old trace, and one without a trace."""
    rows = tuple(old_rows(trace(measure_signal)))
    found = Store(tmp_path / "baselines", root=tmp_path)
    found.write_rows({rows[0][-1]: rows})
    for name in ("image", "latents", "other"):
        baseline, record = baseline_of(np.arange(4.0), name=name)
        if name != "other":
            baseline = replace(baseline, trace=rows[0][-1])
        found.write(KEY, MODULE, [baseline], [record])
    return found


def traces(store):
    return [one.trace for one in store.manifest(KEY, MODULE)]


def test_an_old_trace_is_rewritten_and_named_by_its_new_digest(store):
    before = store.manifest(KEY, MODULE)
    old = store.record_path(before[0].trace)
    size, findings = old.stat().st_size, verify(store).findings
    done = repack(store, find_older(store))
    new = trace(trace_signal)
    assert traces(store) == [new.digest, new.digest, None]
    assert (done.trace_count, done.bytes_before) == (1, size)
    assert done.bytes_after == store.record_path(new.digest).stat().st_size < size / 2
    assert not old.exists()
    assert verify(store).findings == findings
    for one, other in zip(before, store.manifest(KEY, MODULE), strict=True):
        assert replace(other, trace=one.trace) == one


def test_a_repacked_trace_still_names_step_and_cell(store):
    repack(store, find_older(store))
    stored = trace_from_rows(store.rows(traces(store)[0]))
    assert first_divergence(stored, trace(trace_signal)) is None
    found = first_divergence(stored, trace(trace_signal, moved=True))
    assert found.cell.call.name == "unet.10"
    assert found.cell.agreed_count == 50


def test_what_is_repacked_already_is_left_alone(store):
    repack(store, find_older(store))
    text = store.manifest_path(KEY, MODULE).read_bytes()
    assert repack(store, find_older(store)) == Repacked(0, 0, 0)
    assert store.manifest_path(KEY, MODULE).read_bytes() == text


def test_an_absent_trace_is_left_alone(store):
    old = traces(store)[0]
    store.record_path(old).unlink()
    assert repack(store, find_older(store)).trace_count == 0
    assert traces(store)[0] == old


def test_a_trace_that_cannot_be_read_stops_it_before_anything_is_deleted(store):
    old = traces(store)[0]
    baseline, record = baseline_of(np.arange(5.0), name="broken", test="test_a")
    rows = trace_rows(trace(trace_signal))
    broken = "0" * 64
    store.write_rows({broken: [("trace", 1, *rows[0][2:]), *rows[1:]]})
    store.write(KEY, MODULE, [replace(baseline, trace=broken)], [record])
    with pytest.raises(CorruptBaseline):
        repack(store, find_older(store))
    assert store.record_path(old).exists()
    assert old in traces(store)
