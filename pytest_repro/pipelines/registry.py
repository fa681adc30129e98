"""The families of pipelines: each row gives a fixture, its line in the reference, and its loader.

Imports nothing heavy, because the plugin makes its fixtures from the rows.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_repro.pipelines.family import Family
    from pytest_repro.pipelines.source import WeightsSource


@dataclass(frozen=True, slots=True)
class Row:
    """One family.

    Attributes:
        name: Its fixture is ``repro_<name>``.
        what: The fixture's docstring, which the reference shows.
        module: Module in this folder; imported when the pipeline is loaded.
        family: Name of the `Family` in that module.
    """

    name: str
    what: str
    module: str
    family: str


FAMILIES = (
    Row(
        "ddim",
        "mindone's DDIM pipeline in the ddpm-cifar10-32 architecture, from ``--repro-weights``.",
        "ddim",
        "DDIM",
    ),
    Row(
        "unclip",
        "mindone's UnCLIP pipeline from text, from ``--repro-weights``.",
        "unclip",
        "UNCLIP",
    ),
    Row(
        "unclip_image_variation",
        "mindone's UnCLIP image variation pipeline, from ``--repro-weights``.",
        "unclip",
        "UNCLIP_IMAGE_VARIATION",
    ),
    Row(
        "stable_diffusion",
        "mindone's Stable Diffusion, small, with PNDM; takes ``prompt_embeds`` of width 32.",
        "latent",
        "STABLE_DIFFUSION",
    ),
    Row(
        "stable_diffusion_xl",
        "mindone's SDXL, small, with Euler; takes ``prompt_embeds`` of width 64, pooled 32.",
        "latent",
        "STABLE_DIFFUSION_XL",
    ),
    Row(
        "stable_diffusion_3",
        "mindone's Stable Diffusion 3 (flow matching), small; takes ``prompt_embeds`` of width 32, "
        "pooled 64. On a CPU it needs ``repro_mint_cpu``.",
        "latent",
        "STABLE_DIFFUSION_3",
    ),
    Row(
        "dit",
        "mindone's DiT, a small diffusion transformer; takes ``class_labels``.",
        "latent",
        "DIT",
    ),
    Row(
        "animatediff",
        "mindone's AnimateDiff (video), small, with DDIM; takes ``prompt_embeds`` of width 32.",
        "latent",
        "ANIMATEDIFF",
    ),
)


def find_family(name: str) -> Family:
    """The family of that name, e.g. ``ddim``; imports numpy, but neither MindSpore nor mindone."""
    row = next(one for one in FAMILIES if one.name == name)
    module = importlib.import_module(f"pytest_repro.pipelines.{row.module}")
    family: Family = getattr(module, row.family)
    return family


def load_pipeline(name: str, source: WeightsSource, *, dtype: str = "float32") -> Any:
    """The pipeline of a family, without progress bars.

    ``dtype`` is ``float32``, ``float16`` or ``bfloat16`` (which has no CPU kernels).

    Raises:
        WeightsError: The weights cannot be loaded, are pickled, or do not fit; or mindone is
            missing.
    """
    from pytest_repro.pipelines.family import load_family

    return load_family(find_family(name), source, dtype)


class Pipelines:
    """Loads pipelines on first use and keeps them for the run."""

    def __init__(self, source: str) -> None:
        self._text = source
        self._loaded: dict[tuple[str, str], Any] = {}

    def load(self, name: str, dtype: str) -> Any:
        """The pipeline of a family in ``dtype``.

        Raises:
            WeightsError: The weights cannot be loaded or are refused.
            SettingError: ``--repro-weights`` is wrong.
        """
        from pytest_repro.pipelines.source import parse_source

        place = (name, dtype)
        if place not in self._loaded:
            self._loaded[place] = load_pipeline(name, parse_source(self._text), dtype=dtype)
        return self._loaded[place]
