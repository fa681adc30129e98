"""Pipelines that denoise latents, judged against their baselines.

They have no text encoder: the embeddings of the prompt are the test's first draws.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.models.latents import watch_latents

pytestmark = pytest.mark.repro(seed=0)


def _tensor(generator, *shape):
    import mindspore

    return mindspore.Tensor(generator.standard_normal(shape).astype(np.float32))


def _prompt(generator, width, pooled=0):
    """Embeddings of a prompt of seven tokens and of its opposite."""
    prefixes = ("", "negative_")
    found = {f"{one}prompt_embeds": _tensor(generator, 1, 7, width) for one in prefixes}
    if pooled:
        found |= {f"{one}pooled_prompt_embeds": _tensor(generator, 1, pooled) for one in prefixes}
    return found


def _check(pipeline, generator, repro_check, **arguments):
    with watch_latents(pipeline) as watch:
        image = pipeline(num_inference_steps=3, output_type="np", generator=generator, **arguments)[
            0
        ]
    # A saturated image would hide differences.
    assert ((image > 0.0) & (image < 1.0)).mean() > 0.8
    repro_check(image, name="image")
    repro_check(watch.last_sample, name="latents")


def test_stable_diffusion(repro_stable_diffusion, repro_generator, repro_check):
    prompt = _prompt(repro_generator, 32)
    _check(repro_stable_diffusion, repro_generator, repro_check, height=32, width=32, **prompt)


def test_stable_diffusion_with_euler(
    repro_stable_diffusion, repro_watch, repro_generator, repro_check
):
    from mindone.diffusers import EulerDiscreteScheduler

    parts = dict(repro_stable_diffusion.components)
    parts["scheduler"] = EulerDiscreteScheduler.from_config(parts["scheduler"].config)
    pipeline = type(repro_stable_diffusion)(**parts, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    prompt = _prompt(repro_generator, 32)
    _check(repro_watch(pipeline), repro_generator, repro_check, height=32, width=32, **prompt)


def test_stable_diffusion_xl(repro_stable_diffusion_xl, repro_generator, repro_check):
    prompt = _prompt(repro_generator, 64, pooled=32)
    _check(repro_stable_diffusion_xl, repro_generator, repro_check, height=32, width=32, **prompt)


def test_dit(repro_dit, repro_generator, repro_check):
    _check(repro_dit, repro_generator, repro_check, class_labels=[3])


def test_animatediff(repro_animatediff, repro_generator, repro_check):
    prompt = _prompt(repro_generator, 32)
    sizes = {"height": 16, "width": 16, "num_frames": 4}
    _check(repro_animatediff, repro_generator, repro_check, **sizes, **prompt)


def _without_stable_diffusion_3():
    """Why it cannot run here; empty where it can."""
    from pytest_repro.frameworks.framework import package_version
    from pytest_repro.frameworks.mindspore import ADAPTER

    if ADAPTER.device()[0] == "CPU" and "flash_attention" not in ADAPTER.composed:
        return "FlashAttentionScore has no CPU kernel: pytest --repro-mint-cpu"
    if package_version("mindone").startswith("0.2."):
        return "the scheduler of mindone 0.2.0 draws noise without a generator, and leaves it"
    return ""


def test_stable_diffusion_3(request, repro_generator, repro_check):
    reason = _without_stable_diffusion_3()
    if reason:
        pytest.skip(reason)
    prompt = _prompt(repro_generator, 32, pooled=64)
    pipeline = request.getfixturevalue("repro_stable_diffusion_3")
    _check(pipeline, repro_generator, repro_check, height=32, width=32, **prompt)
