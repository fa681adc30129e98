"""Builds the pipelines that model tests run: DDIM and UnCLIP from the Hub, a folder or a seed."""

from __future__ import annotations

from pytest_repro.pipelines.ddim import load_ddim
from pytest_repro.pipelines.latents import LatentsWatch, watch_latents
from pytest_repro.pipelines.source import HubPin, SourceKind, WeightsSource, parse_source
from pytest_repro.pipelines.unclip import load_unclip, load_unclip_image_variation
from pytest_repro.pipelines.weights import weights_digests

__all__ = [
    "HubPin",
    "LatentsWatch",
    "SourceKind",
    "WeightsSource",
    "load_ddim",
    "load_unclip",
    "load_unclip_image_variation",
    "parse_source",
    "watch_latents",
    "weights_digests",
]
