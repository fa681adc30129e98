"""Says before a model runs that this numpy does not draw what the baselines were recorded with."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np

from pytest_repro.noise.canary import noise_canary
from pytest_repro.store.stream import RecordedStream, read_streams

__all__ = ["StreamWatch"]


class StreamWatch:
    """Compares the canary of this process with the recorded ones, a manifest once.

    It judges nothing: which draws a test makes, its ledger knows.

    Args:
        shown: Gives a path as messages show it.
    """

    def __init__(self, shown: Callable[[Path], str]) -> None:
        self._shown = shown
        self._looked: set[Path] = set()
        self._said: set[RecordedStream] = set()

    @cached_property
    def _canary(self) -> dict[str, str]:
        return {fact.name: fact.value for fact in noise_canary()}

    def note(self, manifest: Path | None) -> str:
        """What to say of a manifest; ``""`` where nothing changed, or was said already."""
        if manifest is None or manifest in self._looked:
            return ""
        self._looked.add(manifest)
        for stream in read_streams(manifest):
            changed = [name for name, value in stream.canary if self._canary.get(name) != value]
            if changed and stream not in self._said:
                self._said.add(stream)
                return self._sentence(manifest, stream, changed)
        return ""

    def _sentence(self, manifest: Path, stream: RecordedStream, changed: list[str]) -> str:
        because = f"numpy {stream.numpy} -> {np.__version__}"
        if stream.numpy == np.__version__:
            because = f"numpy {np.__version__} in both: another build or another libm"
        return (
            f"numpy draws other bits here than those recorded in {self._shown(manifest)}: "
            f"{', '.join(changed)} ({because})\n"
            "  next   --repro-noise=replay computes from stored noise; "
            "a test that draws otherwise drifts with cause noise"
        )
