"""mindone's pipelines and diffusers' beside them, with the same weights; and faults of a port."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from pytest_repro.checking.parity import (
    Parity,
    PortRun,
    Ports,
    judge_ports,
    partner,
    port_runner,
    port_tolerance,
    run_ports,
)
from pytest_repro.frameworks.framework import Watchable
from pytest_repro.frameworks.mindspore import MindSporeAdapter
from pytest_repro.frameworks.torch import TorchModules, moved_modules, shared_noise
from pytest_repro.frameworks.watch import watch
from pytest_repro.model.ids import CheckId
from pytest_repro.noise.sources import Fresh
from pytest_repro.pipelines.registry import load_pipeline
from pytest_repro.pipelines.source import parse_source
from pytest_repro.tolerance.policy import Policy, resolve

MINDSPORE, TORCH = MindSporeAdapter(), TorchModules()
CHECK = CheckId("tests/parity/ports.py", "judge", "image")
PROMPT = "a photo of a red panda"

Call = Callable[[Any, int, Any], Any]


@dataclass(frozen=True)
class Pair:
    """A port, its original, and how both are called: ``call(pipeline, steps, generator)``."""

    ours: Any
    theirs: Any
    call: Call

    def judge(self, steps: int, dtype: str = "float32") -> tuple[Parity, Ports]:
        """What `repro_check.parity` finds, without raising."""
        frameworks: tuple[Watchable, Watchable] = (MINDSPORE, TORCH)
        sides = zip(self.makers(steps), (self.ours, self.theirs), frameworks, strict=True)
        runners = [
            port_runner(CHECK, make, 0, watch(part, framework=framework), framework)
            for make, part, framework in sides
        ]

        def moved(seed: int) -> PortRun:
            with moved_modules(self.theirs, seed):
                return runners[1](Fresh())

        with shared_noise():
            ports = run_ports(*runners, asked=4, seed=0, computing_dtype=dtype, moved=moved)
        assert ports.ours.clean.draw_log == ports.theirs.clean.draw_log
        return self.verdict(ports), ports

    def verdict(self, ports: Ports) -> Parity:
        """The judgement of both sides' runs."""
        resolved, has_modules = resolve(Policy(), str(CHECK)), ports.modules is not None
        return judge_ports(ports, *port_tolerance(resolved, has_modules=has_modules))

    def makers(self, steps: int) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
        """Both sides as functions of a generator."""
        return (
            lambda generator: self.call(self.ours, steps, generator),
            lambda generator: self.call(self.theirs, steps, generator),
        )


def ddim(dtype: str = "float32") -> Pair:
    """The registry's DDIM."""

    def call(pipeline: Any, steps: int, generator: Any) -> Any:
        options = {"num_inference_steps": steps, "output_type": "np", "return_dict": False}
        return pipeline(generator=generator, **options)[0]

    return _pair("ddim", dtype, call)


def unclip(dtype: str = "float32") -> Pair:
    """The registry's UnCLIP from text."""

    def call(pipeline: Any, steps: int, generator: Any) -> Any:
        counts = {
            f"{name}_num_inference_steps": steps for name in ("prior", "decoder", "super_res")
        }
        options = {"output_type": "np", "return_dict": False}
        return pipeline(prompt=PROMPT, generator=generator, **counts, **options)[0]

    return _pair("unclip", dtype, call)


def _pair(family: str, dtype: str, call: Call) -> Pair:
    import diffusers

    ours = load_pipeline(family, parse_source("seeded"), dtype=dtype)
    parts = {name: _twin(name, part, dtype) for name, part in ours.components.items()}
    theirs = getattr(diffusers, type(ours).__name__)(**parts)
    theirs.set_progress_bar_config(disable=True)
    return Pair(ours, theirs, call)


def _twin(name: str, part: Any, dtype: str) -> Any:
    """The same component in PyTorch."""
    import diffusers
    import torch
    import transformers
    from diffusers.pipelines.unclip.text_proj import UnCLIPTextProjModel

    if not hasattr(part, "config"):
        return part  # the tokenizer is the same object
    kind = type(part).__name__
    if name.startswith("text_encoder"):
        module = getattr(transformers, kind)(part.config)
    else:
        entries = {key: value for key, value in part.config.items() if not key.startswith("_")}
        owner = UnCLIPTextProjModel if kind == "UnCLIPTextProjModel" else getattr(diffusers, kind)
        module = owner(**entries)
    if not MINDSPORE.is_cell(part):
        return module
    module = module.to(getattr(torch, dtype)).eval()
    copy_weights(part, module)
    return module


def copy_weights(cell: Any, module: Any) -> None:
    """Give a module the weights of a cell, by name."""
    import torch

    ours = dict(MINDSPORE.parameters_of(cell))
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            array = np.array(MINDSPORE.to_numpy(ours[partner(name, ours)]))
            parameter.copy_(TORCH.from_numpy(array).reshape(parameter.shape))


# --- faults -------------------------------------------------------------------------------------


def _network(pair: Pair) -> Any:
    return pair.ours.unet if hasattr(pair.ours, "unet") else pair.ours.decoder


@contextmanager
def eps(pair: Pair) -> Iterator[None]:
    """Every group norm of one network has MindSpore's default eps, 1e-5, or ten times its own."""
    network = _network(pair)
    found = (cell for _, cell in MINDSPORE.cells_of(network) if type(cell).__name__ == "GroupNorm")
    norms = [(norm, norm.eps) for norm in found]
    try:
        for norm, kept in norms:
            norm.eps = 1e-5 if kept < 1e-5 else kept * 10
        yield
    finally:
        for norm, kept in norms:
            norm.eps = kept


@contextmanager
def one_eps(pair: Pair) -> Iterator[None]:
    """Ten times the eps of one group norm."""
    norm = _network(pair).mid_block.resnets[0].norm1
    kept, norm.eps = norm.eps, norm.eps * 10
    try:
        yield
    finally:
        norm.eps = kept


@contextmanager
def transposed(pair: Pair) -> Iterator[None]:
    """One square weight of an attention, transposed."""
    weight = _network(pair).mid_block.attentions[0].to_q.weight
    kept = MINDSPORE.to_numpy(weight)
    weight.set_data(MINDSPORE.from_numpy(np.ascontiguousarray(kept.T)))
    try:
        yield
    finally:
        weight.set_data(MINDSPORE.from_numpy(kept))


@contextmanager
def offset(pair: Pair) -> Iterator[None]:
    """Every timestep of one scheduler is one too large."""
    name = "scheduler" if hasattr(pair.ours, "scheduler") else "decoder_scheduler"
    scheduler = getattr(pair.ours, name)
    plain = scheduler.set_timesteps

    def set_timesteps(*args: Any, **kwargs: Any) -> None:
        plain(*args, **kwargs)
        scheduler.timesteps = scheduler.timesteps + 1
        if name == "decoder_scheduler":
            scheduler.timesteps = scheduler.timesteps.clip(None, 999)

    scheduler.set_timesteps = set_timesteps
    try:
        yield
    finally:
        del scheduler.set_timesteps


@contextmanager
def half_attention(pair: Pair) -> Iterator[None]:
    """Scores of every attention are computed in float16."""
    import mindspore as ms
    from mindone.diffusers.models.attention_processor import Attention

    plain = Attention.get_attention_scores

    def scores(self: Any, query: Any, key: Any, mask: Any = None) -> Any:
        return plain(self, query.to(ms.float16), key.to(ms.float16), mask).to(query.dtype)

    Attention.get_attention_scores = scores
    try:
        yield
    finally:
        Attention.get_attention_scores = plain


FAULTS = (eps, one_eps, transposed, offset, half_attention)
