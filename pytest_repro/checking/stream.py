"""Says before a test draws that numpy draws other bits than those recorded."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

from pytest_repro.checking.context import RunContext
from pytest_repro.model.words import NoiseMode
from pytest_repro.noise.canary import noise_canary
from pytest_repro.store.store import RecordedStream, read_streams


class StreamWatch:
    """Compares the canary of this process with that of each manifest, once.

    It judges nothing: the draw log of a test does.
    """

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._looked: set[Path] = set()
        self._said: set[RecordedStream] = set()

    @cached_property
    def _canary(self) -> dict[str, str]:
        return {fact.name: fact.value for fact in noise_canary()}

    def note(self, module: str) -> str:
        """What to say before a test of ``module`` draws; ``""`` where the stream is the recorded.

        Said of the nearest manifest, once, and not where recorded noise is replayed.
        """
        context = self._context
        if context.settings.noise is NoiseMode.REPLAY or context.is_isolated:
            return ""
        manifest = context.references.nearest_manifest(module, context.settings.reference)
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
            because = f"both have numpy {np.__version__}: another build or another libm"
        recorded = self._context.store.shown(manifest)
        return (
            f"numpy draws different bits here than those recorded in {recorded}: "
            f"{', '.join(changed)} ({because})\n"
            "  next   use stored noise with --repro-noise=replay; "
            "otherwise tests that draw these bits drift with cause noise"
        )
