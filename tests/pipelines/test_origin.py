"""Where a drift began, told by the text of a failed test: real MindSpore, real pipelines."""

from __future__ import annotations

import json
import os
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mindone")

from pytest_repro.checking import context
from pytest_repro.environment import host
from pytest_repro.frameworks.watch import watch
from pytest_repro.model.ids import EnvironmentKey
from pytest_repro.model.words import TraceLevel
from tests.faults.catalogue import FAULTS
from tests.faults.places import Place, cell_at, parameter_at, wrapped_method, written
from tests.faults.tiny import tiny_unclip
from tests.pipelines import planted
from tests.stories.project import Project

ROOT = Path(__file__).parents[2]
_TEST = """
from tests.pipelines import planted

@pytest.mark.repro(seed=0)
def test_it(repro_generators, repro_watch, repro_check):
    first, second = repro_generators(2)
    with planted.FAULT[-1]():
        {body}
"""
_DDIM = "repro_watch(planted.ddim()); repro_check(planted.run_ddim(first), 'image'{tolerance})"
_UNCLIP = "repro_watch(planted.unclip()); repro_check(planted.run_unclip(first), 'image')"
_BOTH = """repro_watch(planted.ddim()); repro_watch(planted.unclip())
        both = {'a': planted.run_ddim(first), 'b': planted.run_unclip(second)}
        repro_check(both, 'image')"""
_FULL = """
from tests.pipelines import planted

@pytest.mark.repro(seed=0)
def test_it(repro_generator, repro_watch, repro_check):
    ddim = repro_watch(planted.full_ddim())
    image = ddim(num_inference_steps=1, output_type="np", generator=repro_generator)[0]
    repro_check(image, "image")
"""
_TWO_STEPS = {f"{one}_num_inference_steps": 2 for one in ("prior", "decoder", "super_res")}
_QUICK = "--repro-envelope=0"


@pytest.fixture
def project(pytester, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    made = Project(pytester)
    (made.folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    yield made
    del planted.FAULT[1:]


def test_of(body):
    return _TEST.format(body=body.replace("{tolerance}", ""))


test_of.__test__ = False


def record(project, source):
    project.write(source)
    project.record(_QUICK)


def drift(project, source, fault, *arguments):
    """The lines of the drift that ``fault`` makes of a test that was recorded without it."""
    record(project, source)
    planted.FAULT.append(fault)
    return project.run(*arguments).failure.splitlines()


def row(lines, label):
    """The text of a row and of the rows below it that belong to it."""
    first = next(at for at, line in enumerate(lines) if line.startswith(f"  {label} "))
    more = next((at for at in range(first + 1, len(lines)) if lines[at][2] != " "), len(lines))
    return "\n".join(line[14:] for line in lines[first:more])


@contextmanager
def moved_call(pipeline, place, number):
    """One call of a cell gives something else than its inputs say; the calls are counted from 1."""
    calls = []

    def wrap(construct):
        def moved(*args, **keywords):
            calls.append(1)
            found = construct(*args, **keywords)
            return found * 1.001 if len(calls) == number else found

        return moved

    with wrapped_method(cell_at(pipeline, place), "construct", wrap):
        yield


def assert_untouched(pipeline):
    """No hook is left on any scheduler, and calls of cells are MindSpore's own."""
    import mindspore

    for part in pipeline.components.values():
        if hasattr(part, "step"):
            assert "step" not in vars(part)
    assert not hasattr(mindspore.nn.Cell.__call__, "__wrapped__")


# --- UnCLIP and its three schedulers ------------------------------------------------------------

_PLACES = {
    "prior_scheduler": Place("prior", "proj_in"),
    "decoder_scheduler": Place("decoder", "conv_in"),
    "super_res_scheduler": Place("super_res_first", "conv_in"),
}


def test_a_fault_in_a_stage_names_that_scheduler_step_and_cell(project):
    unclip = planted.unclip()
    record(project, test_of(_UNCLIP))
    for scheduler, place in _PLACES.items():
        planted.FAULT.append(lambda place=place: moved_call(unclip, place, 2))
        lines = project.run().failure.splitlines()
        assert "cause code" in lines[0]
        began = row(lines, "began")
        assert f"first step that differs: {scheduler} step 1" in began
        assert f"first cell that differs: {place} (" in began
        assert "equal inputs, different output" in began
    assert_untouched(unclip)


def test_a_fault_in_the_second_of_two_pipelines_names_that_one(project):
    unclip, place = planted.unclip(), _PLACES["super_res_scheduler"]
    began = row(drift(project, test_of(_BOTH), lambda: moved_call(unclip, place, 2)), "began")
    assert "first step that differs: 2/super_res_scheduler step 1" in began
    assert f"first cell that differs: 2/{place} (" in began
    assert_untouched(planted.ddim())
    assert_untouched(unclip)


@pytest.mark.parametrize("level", [TraceLevel.STEPS, TraceLevel.CELLS])
def test_an_exception_inside_super_resolution_leaves_nothing(level):
    unclip = planted.unclip()

    def fails(_construct):
        def failing(*_args, **_keywords):
            raise ZeroDivisionError

        return failing

    with ExitStack() as stack:
        cell = cell_at(unclip, _PLACES["super_res_scheduler"])
        stack.enter_context(wrapped_method(cell, "construct", fails))
        seen = stack.enter_context(watch(unclip, level))
        with pytest.raises(ZeroDivisionError):
            planted.run_unclip(np.random.Generator(np.random.PCG64(0)))
    names = [step.scheduler for step in seen.trace().steps]
    assert names == ["prior_scheduler"] * 2 + ["decoder_scheduler"] * 2
    assert_untouched(unclip)


def test_a_run_changes_no_digest_of_the_weights():
    # MindSpore renames parameters of the decoder in its first run; nothing else changes.
    unclip = tiny_unclip()
    seen = watch(unclip, TraceLevel.OFF)
    before = seen.weights(), seen.weight_tensors()
    names = [one.name for one in unclip.decoder.get_parameters()]
    unclip("a red panda", output_type="np", generator=np.random.default_rng(0), **_TWO_STEPS)
    assert [one.name for one in unclip.decoder.get_parameters()] != names
    assert (seen.weights(), seen.weight_tensors()) == before


# --- a single bit of a single weight ------------------------------------------------------------


def next_float(array):
    """One element, the largest, moved to the next float32."""
    place = np.unravel_index(np.abs(array).argmax(), array.shape)
    array[place] = np.nextafter(array[place], np.float32(np.inf))
    return array


def test_one_ulp_in_one_weight_of_the_full_ddim_names_tensor_and_layer(project):
    place = Place("unet", "down_blocks.1.attentions.0.to_v.weight")
    record(project, _FULL)
    with written([parameter_at(planted.full_ddim(), place)], next_float):
        lines = project.run().failure.splitlines()
    assert "cause weights" in lines[0]
    cause = row(lines, "cause")
    assert "the weights of unet differ from the baseline" in cause
    assert "unet: 1 of 328 tensors differ" in cause
    assert f"{place.path}: float32 (256, 256), rel_l2 at least" in cause
    began = row(lines, "began")
    assert "first step that differs: scheduler step 0" in began
    assert "first cell that differs: unet.down_blocks.1.attentions.0.to_v (Dense" in began
    assert "equal inputs, different output" in began


# --- clean pairs: nothing was planted -----------------------------------------------------------


def run_under(project, monkeypatch, level, *arguments):
    for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.setenv(name, level)
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    return project.run_apart(*arguments)


@pytest.mark.skipif("avx2" not in host.read_cpu().features.flags, reason="needs a CPU with AVX2")
def test_another_simd_level_is_the_environment_and_its_first_cell_is_named(project, monkeypatch):
    project.write(_TEST.format(body=_DDIM.format(tolerance=", tolerance='exact'")))
    assert (
        run_under(project, monkeypatch, "AVX", "--repro-update", "--repro-envelope=1").exit_code
        == 0
    )
    ran = run_under(project, monkeypatch, "AVX2")
    lines = ran.text.splitlines()
    head = next(line for line in lines if line.startswith("'image': "))
    assert head == "'image': drift (gate tolerance, cause environment)"
    assert "the environment differs from the baseline: cpu.simd avx became avx2" in row(
        lines, "cause"
    )
    began = row(lines, "began")
    assert "first step that differs: scheduler step 0" in began
    assert "first cell that differs: unet." in began
    assert "equal inputs, different output" in began


# --- baselines that hold less -------------------------------------------------------------------


def test_a_baseline_with_steps_only_still_gives_step_and_component(project, monkeypatch):
    from pytest_repro.checking import evaluation

    ddim, place = planted.ddim(), Place("unet", "mid_block.resnets.0.conv1")
    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "repeated_level", lambda *_: TraceLevel.STEPS)
        record(project, test_of(_DDIM))
    planted.FAULT.append(lambda: moved_call(ddim, place, 2))
    began = row(project.run().failure.splitlines(), "began")
    assert "first step that differs: scheduler step 1" in began
    assert "the baseline's trace holds steps only: the step was run again with cells" in began
    assert "came out of unet (UNet2DModel), which got the baseline's sample" in began


# --- the hand-over to msprobe -------------------------------------------------------------------


@pytest.fixture
def ascend(monkeypatch):
    """Every environment that is observed says that it is an Ascend device. None is at hand."""
    observe = context.observe_environment

    def on_ascend(**keywords):
        seen = observe(**keywords)
        key = EnvironmentKey("ascend910b1", seen.key.framework)
        return type(seen)(key, seen.facts)

    monkeypatch.setattr(context, "observe_environment", on_ascend)


@pytest.mark.usefixtures("ascend")
def test_a_drift_on_ascend_hands_over_to_msprobe(project):
    ddim, place = planted.ddim(), Place("unet", "mid_block.resnets.0.conv1")
    fault = lambda: moved_call(ddim, place, 2)  # noqa: E731
    lines = drift(project, test_of(_DDIM), fault)
    what, config, _, calls = row(lines, "operators").splitlines()
    call = f"Cell.{place.path}.Conv2d.forward.1"
    assert what == f"msprobe dumps {call} (step 1) with this config.json:"
    assert json.loads(config)["tensor"]["list"] == [call]
    assert "debugger.start(pipeline.unet)" in calls


def test_a_drift_on_a_cpu_does_not_mention_msprobe(project):
    ddim, place = planted.ddim(), Place("unet", "mid_block.resnets.0.conv1")
    fault = lambda: moved_call(ddim, place, 2)  # noqa: E731
    lines = drift(project, test_of(_DDIM), fault)
    assert "msprobe" not in "\n".join(lines)


# --- local errors below the envelope --------------------------------------------------------------


def test_a_fallback_finds_the_local_error_of_a_cell_below_the_envelope(project):
    project.write(_FULL)
    project.record("--repro-trace=cells")
    hardware = project.manifest.parent.parent.name
    project.rename_hardware(hardware.replace("-avx2-", "-sse41-"))
    assert set(project.run("--repro-trace=cells").verdicts.values()) == {"exact"}

    fault = next(one for one in FAULTS if one.name == "model-norm-eps")
    planted.FAULT.append(lambda: fault.inject(planted.full_ddim()))
    source = _FULL.replace(
        "    image = ddim", "    with planted.FAULT[-1]():\n        image = ddim"
    )
    project.write(source)
    assert set(project.run().verdicts.values()) == {"within"}, "the envelope alone lets it pass"
    ran = project.run("--repro-trace=cells")
    assert set(ran.verdicts.values()) == {"drift"}
    assert "the output of unet.mid_block.resnets.0.norm1 (GroupNorm, call" in ran.failure
    assert "cause code" in ran.failure
