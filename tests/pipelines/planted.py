"""Small pipelines that outlive a nested run, and the fault that a test plants."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from pytest_repro.pipelines.registry import load_pipeline
from pytest_repro.pipelines.source import parse_source
from tests.faults.tiny import tiny_ddim, tiny_unclip

__all__ = ["FAULT", "ddim", "full_ddim", "run_ddim", "run_unclip", "unclip"]

FAULT: list[Callable[[], AbstractContextManager[object]]] = [nullcontext]
"""What the next nested test puts around its body; the last one counts."""


@functools.cache
def ddim() -> Any:
    """The small DDIM, made once."""
    return tiny_ddim()


@functools.cache
def full_ddim() -> Any:
    """DDIM with its full network, made once."""
    return load_pipeline("ddim", parse_source("seeded"))


@functools.cache
def unclip() -> Any:
    """The small UnCLIP, made once."""
    return tiny_unclip()


def run_ddim(generator: Any, steps: int = 2) -> Any:
    """An image of `ddim`."""
    return ddim()(num_inference_steps=steps, output_type="np", generator=generator)[0]


def run_unclip(generator: Any) -> Any:
    """An image of `unclip`; the last of its networks takes the last step alone."""
    counts = {"prior": 2, "decoder": 2, "super_res": 3}
    stages = {f"{stage}_num_inference_steps": count for stage, count in counts.items()}
    return unclip()("a red panda", output_type="np", generator=generator, **stages)[0]
