"""The pipelines that fixtures hand out: loaded once a run and dtype, their weights digested."""

from __future__ import annotations

from typing import Any

from pytest_repro.pipelines.source import WeightsSource, parse_source


class Pipelines:
    """Loads pipelines on first use and keeps them for the run.

    Args:
        source: Text of ``--repro-weights``.
    """

    def __init__(self, source: str) -> None:
        self._text = source
        self._loaded: dict[tuple[str, str], Any] = {}

    def load(self, family: str, dtype: str) -> Any:
        """The pipeline ``ddim``, ``unclip`` or ``unclip_image_variation`` in ``dtype``.

        Raises:
            WeightsError: The weights cannot be had or are refused.
            SettingError: ``--repro-weights`` cannot be read.
        """
        place = (family, dtype)
        if place not in self._loaded:
            self._loaded[place] = _LOADERS[family](parse_source(self._text), dtype)
        return self._loaded[place]


def _ddim(source: WeightsSource, dtype: str) -> Any:
    from pytest_repro.pipelines.ddim import load_ddim

    return load_ddim(source, dtype=dtype)


def _unclip(source: WeightsSource, dtype: str) -> Any:
    from pytest_repro.pipelines.unclip import load_unclip

    return load_unclip(source, dtype=dtype)


def _unclip_image_variation(source: WeightsSource, dtype: str) -> Any:
    from pytest_repro.pipelines.unclip import load_unclip_image_variation

    return load_unclip_image_variation(source, dtype=dtype)


_LOADERS = {
    "ddim": _ddim,
    "unclip": _unclip,
    "unclip_image_variation": _unclip_image_variation,
}
