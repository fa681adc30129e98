"""Comparing the digests of a manifest's blocks costs a small part of the cheapest model test."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from pytest_repro.store import manifest

MANIFEST = (
    Path(__file__).parents[2]
    / "baselines/cpu-x86_64-avx2-2c-l2_1024k/mindspore-2.10.0/tests/models/test_ddim.yaml"
)
ROUNDS, READS = 30, 20


def test_reading_an_index_with_its_digests_costs_a_thousandth_of_a_second_at_most(monkeypatch):
    text = MANIFEST.read_text(encoding="utf-8")
    compared = manifest._is_as_written

    def seconds(agree):
        monkeypatch.setattr(manifest, "_is_as_written", agree)
        begin_s = time.process_time()
        for _ in range(READS):
            manifest.decode_index(text, where="measured")
        return (time.process_time() - begin_s) / READS

    pairs = [(seconds(compared), seconds(lambda index, blocks, tail: True)) for _ in range(ROUNDS)]
    apart_s = statistics.median(one - other for one, other in pairs)
    assert 0 < apart_s < 1e-3, f"{1e6 * apart_s:.0f} us a test module of 10 checks, once a run"
