"""The line of the index that belongs to a baseline, from what the baseline holds."""

from __future__ import annotations

from pytest_repro.model.baseline import Baseline, IndexEntry
from pytest_repro.noise.ledger_digest import make_ledger
from pytest_repro.tensors.digest import digest_leaves

__all__ = ["index_of"]


def index_of(baseline: Baseline) -> IndexEntry:
    """What its tensors and draws give; in an intact manifest that is ``baseline.index``."""
    return IndexEntry(
        value=digest_leaves((one.path, one.digest) for one in baseline.tensors),
        noise=make_ledger(baseline.ledger.generators, baseline.ledger.draws).digest,
    )
