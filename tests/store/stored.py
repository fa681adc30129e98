"""Baselines for tests of storage, computed by the real functions from real arrays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from pytest_repro.model.baseline import Baseline, Environment, Fact, Provenance, WeightsDigest
from pytest_repro.model.ids import CheckId, EnvironmentKey, IndexEntry, TensorRecord
from pytest_repro.noise.draw_log import make_draw_log
from pytest_repro.store.manifest import index_of
from pytest_repro.tensors.compare import summary_of
from pytest_repro.tensors.record import digest_text, make_record

KEY = EnvironmentKey("cpu-x86_64-avx2-2c", "mindspore-2.10.0")
MODULE = "tests/models/test_ddim.py"


def baseline_of(
    array: Any, *, test: str = "test_ddim", name: str = "image", key: EnvironmentKey = KEY
) -> tuple[Baseline, TensorRecord]:
    """A baseline of one array and the record to store with it."""
    record = make_record(np.asarray(array))
    summary = summary_of("", record)
    baseline = Baseline(
        check=CheckId(MODULE, test, name),
        index=IndexEntry(record.digest, record.digest),
        tensors=(summary,),
        draw_log=make_draw_log((), ()),
        weights=(WeightsDigest("unet", digest_text("weights")),),
        provenance=Provenance(
            recorded_at="2026-01-02T03:04:05Z",
            runs=2,
            environment=Environment(key, (Fact("cann.version", "", True), Fact("os", "Linux"))),
            tool="pytest-repro 0",
        ),
    )
    return replace(baseline, index=index_of(baseline)), record
