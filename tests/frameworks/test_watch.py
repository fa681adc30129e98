"""Watching real cells and pipelines: planted faults are named, and nothing stays behind."""

from __future__ import annotations

import copy
import inspect

import numpy as np
import pytest

from pytest_repro.errors import UsageError, WatchError
from pytest_repro.frameworks import watch as watching_module
from pytest_repro.frameworks.mindspore import MindSporeAdapter
from pytest_repro.frameworks.watch import Watching, watch
from pytest_repro.model.words import TraceLevel
from pytest_repro.tensors.record import ContentMemo, make_record
from pytest_repro.trace.components import compare_configurations, compare_weights
from pytest_repro.trace.divergence import Change, first_divergence

ms = pytest.importorskip("mindspore")
STEPS, CELLS = TraceLevel.STEPS, TraceLevel.CELLS


@pytest.fixture(autouse=True)
def _pynative():
    mode = ms.get_context("mode")
    ms.set_context(mode=ms.PYNATIVE_MODE)
    yield
    ms.set_context(mode=mode)


def draw(unet):
    rng = np.random.default_rng(0)
    for parameter in unet.get_parameters():
        array = rng.standard_normal(parameter.shape) * 0.2
        if parameter.name.endswith("weight") and "norm" in parameter.name:
            array += 1.0
        parameter.set_data(ms.Tensor(array.astype(np.float32)))


@pytest.fixture(scope="module")
def diffusers():
    return pytest.importorskip("mindone.diffusers")


def small_pipeline(diffusers, **scheduler):
    unet = diffusers.UNet2DModel(
        sample_size=8,
        layers_per_block=1,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
    )
    draw(unet)
    unet.set_train(False)
    pipeline = diffusers.DDIMPipeline(unet=unet, scheduler=diffusers.DDIMScheduler(**scheduler))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def pipeline(diffusers):
    return small_pipeline(diffusers)


def run(pipeline, *, seed=0, steps=1, **named):
    generator = np.random.Generator(np.random.PCG64(seed))
    return pipeline(num_inference_steps=steps, output_type="np", generator=generator, **named)[0]


def traced(pipeline, level=CELLS, **named):
    with watch(pipeline, level) as watched:
        run(pipeline, **named)
    return watched.trace()


@pytest.fixture(scope="module")
def clean(pipeline):
    return traced(pipeline)


@pytest.fixture(scope="module")
def clean_twice(pipeline):
    return traced(pipeline, steps=2)


def cell_of(pipeline, path):
    return dict(pipeline.unet.cells_and_names())[path]


PLAIN_CALL = ms.nn.Cell.__call__


def assert_untouched(pipeline):
    assert not any("step" in vars(one) for one in vars(pipeline).values() if hasattr(one, "step"))
    assert ms.nn.Cell.__call__ is PLAIN_CALL


class Net(ms.nn.Cell):
    def __init__(self):
        super().__init__()
        self.first = ms.nn.Dense(4, 4)
        self.act = ms.nn.ReLU()
        self.fails = False
        self.skips = False

    def construct(self, x, scale=1.0):
        y = self.first(x)
        if self.fails:
            raise RuntimeError("planted")
        return (y if self.skips else self.act(y)) * scale


class Plain:
    """A scheduler that is no MindSpore object, with the signature that pipelines look at."""

    def step(self, model_output, timestep, sample, eta=0.0):
        if timestep < 0:
            raise ValueError("planted")
        return (sample - model_output * 0.5 + eta,)


class Pair:
    """The smallest pipeline: two schedulers and a cell."""

    def __init__(self):
        self.net = Net()
        self.prior_scheduler = Plain()
        self.decoder_scheduler = Plain()
        self.tokenizer = object()

    def __call__(self, x):
        for scheduler in (self.prior_scheduler, self.decoder_scheduler):
            for time in (2, 1):
                x = scheduler.step(self.net(x), time, x)[0]
        return x


X = np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)


# --- what is recorded ---------------------------------------------------------------------------


def test_each_step_of_each_scheduler_is_recorded():
    pair = Pair()
    with watch(pair) as watched:
        pair(ms.Tensor(X))
    trace = watched.trace()
    assert [(s.scheduler, s.position, s.timestep) for s in trace.steps] == [
        ("prior_scheduler", 0, 2.0),
        ("prior_scheduler", 1, 1.0),
        ("decoder_scheduler", 0, 2.0),
        ("decoder_scheduler", 1, 1.0),
    ]
    assert [name for name, _ in trace.steps[0].signals] == ["sample", "model_output", "result"]
    assert trace.steps[0].signal("result") == trace.steps[1].signal("sample")
    assert trace.cells == ()


def test_cells_are_recorded_innermost_first_with_the_step_they_prepare(clean_twice):
    clean = clean_twice
    assert len(clean.steps) == 2
    names = [call.name for call in clean.cells if call.step == 0]
    assert names[-1] == "unet"
    assert "unet.down_blocks.1.attentions.0.to_q" in names
    assert names.index("unet.mid_block.resnets.0.conv1") < names.index("unet.mid_block.resnets.0")
    assert names == [call.name for call in clean.cells if call.step == 1]
    assert sorted(call.number for call in clean.cells) == list(range(len(clean.cells)))
    root = next(call for call in clean.cells if call.name == "unet")
    assert root.number == 0
    assert root.outputs[0].digest == clean.steps[0].signal("model_output").digest


def test_a_lone_cell_counts_its_calls_as_steps():
    net = Net()
    with watch(net) as watched:
        net(ms.Tensor(X))
        net(ms.Tensor(X * 2), scale=3.0)
    steps = watched.trace().steps
    assert [(s.scheduler, s.position, s.timestep) for s in steps] == [
        ("Net", 0, None),
        ("Net", 1, None),
    ]
    assert [name for name, _ in steps[1].signals] == ["x", "scale", "result"]
    assert steps[0].signal("x").digest != steps[1].signal("x").digest
    assert ms.nn.Cell.__call__ is PLAIN_CALL


def test_watching_changes_no_result_and_repeats_itself(pipeline, clean):
    plain = run(pipeline)
    with watch(pipeline, CELLS):
        seen = run(pipeline)
    assert np.array_equal(plain.view(np.uint8), seen.view(np.uint8))
    again = traced(pipeline)
    assert again == clean
    assert first_divergence(clean, again) is None


def test_the_off_level_touches_nothing(pipeline):
    with watch(pipeline, TraceLevel.OFF) as watched:
        assert_untouched(pipeline)
    assert watched.trace().steps == ()


def test_what_cannot_be_watched_is_refused():
    with pytest.raises(UsageError, match="nothing to watch in a list"):
        watch([1, 2])


# --- planted faults -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["conv_in", "down_blocks.0.resnets.0.conv1", "mid_block.attentions.0.to_v", "conv_out"]
)
def test_one_ulp_in_one_weight_names_that_layer(pipeline, clean, path):
    weight = cell_of(pipeline, path).weight
    before = weight.asnumpy().copy()
    moved = before.copy()
    # The largest weight, so that its last bit reaches the output of its layer.
    place = np.unravel_index(np.abs(moved).argmax(), moved.shape)
    moved[place] = np.nextafter(moved[place], np.float32(np.inf))
    with watch(pipeline) as watched:
        old, old_tensors = watched.weights(), watched.weight_tensors()
        try:
            weight.set_data(ms.Tensor(moved))
            found = first_divergence(clean, traced(pipeline))
            changes = compare_weights(
                old,
                watched.weights(),
                baseline_tensors=old_tensors,
                observed_tensors=watched.weight_tensors(),
            )
        finally:
            weight.set_data(ms.Tensor(before))
    assert (found.cell.call.name, found.cell.change) == (f"unet.{path}", Change.SIGNAL)
    assert found.entered is None
    assert [tensor.name for change in changes for tensor in change.tensors] == [weight.name]
    assert first_divergence(clean, traced(pipeline)) is None


def test_another_beta_names_the_first_step_and_blames_no_cell(diffusers, clean_twice):
    bent = small_pipeline(diffusers, beta_end=0.021)
    found = first_divergence(clean_twice, traced(bent, steps=2))
    assert (found.step.index, found.step.change, found.step.signal) == (0, Change.SIGNAL, "result")
    assert found.cell is None
    assert found.entered is None


def test_another_eta_is_named_as_the_argument(pipeline, clean):
    found = first_divergence(clean, traced(pipeline, eta=1.0))
    assert (found.step.index, found.step.signal, found.cell) == (0, "eta", None)


def test_another_seed_comes_in_from_outside(pipeline, clean):
    found = first_divergence(clean, traced(pipeline, seed=1))
    assert found.step.signal == "sample"
    assert found.cell is None
    assert found.entered.call.name == "unet.conv_in"


def test_other_steps_are_named_by_their_time_and_number(pipeline, clean):
    found = first_divergence(clean, traced(pipeline, steps=2))
    assert found.step.change is Change.TIMESTEP
    assert found.step_counts == (("scheduler", 1, 2),)
    assert found.cell is None


def test_another_eps_names_that_norm(pipeline, clean):
    norm = cell_of(pipeline, "mid_block.resnets.1.norm2")
    before = norm.eps
    norm.eps = before * 100
    try:
        found = first_divergence(clean, traced(pipeline))
    finally:
        norm.eps = before
    assert found.cell.call.name == "unet.mid_block.resnets.1.norm2"


def test_a_fault_between_cells_names_the_cell_around_and_the_place(pipeline, clean):
    attention = cell_of(pipeline, "mid_block.attentions.0")
    before = attention.scale_sqrt
    attention.scale_sqrt = before * 1.5
    try:
        found = first_divergence(clean, traced(pipeline))
    finally:
        attention.scale_sqrt = before
    name = "unet.mid_block.attentions.0"
    assert (found.cell.call.name, found.cell.change) == (name, Change.SIGNAL)
    assert (found.cell.last_inner, found.cell.next_inner) == (f"{name}.to_v", f"{name}.to_out.0")


class Skips(ms.nn.Cell):
    """An activation that was left out."""

    def construct(self, x):
        return x


def test_a_skipped_and_an_added_cell_are_named():
    pair = Pair()
    traces = []
    for skips in (False, True, False):
        pair.net.skips = skips
        with watch(pair, CELLS) as watched:
            pair(ms.Tensor(X))
        traces.append(watched.trace())
    whole, shorter, again = traces
    absent, extra = first_divergence(whole, shorter), first_divergence(shorter, whole)
    assert (absent.cell.change, absent.cell.call.name) == (Change.ABSENT, "net.act")
    assert (extra.cell.change, extra.cell.call.name) == (Change.EXTRA, "net.act")
    assert first_divergence(whole, again) is None


def test_a_swapped_activation_names_it_and_its_class(pipeline, clean):
    unet = pipeline.unet
    before = unet.conv_act
    unet.conv_act = Skips()
    try:
        found = first_divergence(clean, traced(pipeline))
    finally:
        unet.conv_act = before
    assert found.cell.call.name == "unet.conv_act"
    assert (found.cell.baseline.class_name, found.cell.observed.class_name) == ("SiLU", "Skips")


# --- nothing stays behind -----------------------------------------------------------------------


def test_nothing_stays_behind_after_a_run(pipeline):
    traced(pipeline)
    assert_untouched(pipeline)
    with watch(pipeline, CELLS):
        assert "step" in vars(pipeline.scheduler)
        assert ms.nn.Cell.__call__ is not PLAIN_CALL
    assert_untouched(pipeline)


@pytest.mark.parametrize("level", [STEPS, CELLS])
def test_an_exception_in_the_middle_leaves_nothing_and_the_trace_readable(level):
    pair = Pair()
    with watch(pair, level) as watched:
        pair.net.fails = True
        with pytest.raises(RuntimeError, match="planted"):
            pair(ms.Tensor(X))
        pair.net.fails = False
        with pytest.raises(ValueError, match="planted"):
            pair.prior_scheduler.step(ms.Tensor(X), -1, ms.Tensor(X))
        pair(ms.Tensor(X))
    assert [s.position for s in watched.trace().steps] == [0, 1, 0, 1]
    clean_calls = ["net.first", "net.act", "net"] * 4
    names = [call.name for call in watched.trace().cells]
    assert names == (["net.first", *clean_calls] if level is CELLS else [])
    assert_untouched(pair)


def test_an_exception_out_of_the_block_leaves_nothing():
    pair = Pair()

    def fail():
        with watch(pair, CELLS):
            pair.net.fails = True
            pair(ms.Tensor(X))

    with pytest.raises(RuntimeError, match="planted"):
        fail()
    assert_untouched(pair)


def test_a_start_that_fails_halfway_leaves_nothing(monkeypatch):
    pair = Pair()
    monkeypatch.setattr(Net, "cells_and_names", None)
    with pytest.raises(TypeError):
        watch(pair, CELLS).start()
    monkeypatch.undo()
    assert_untouched(pair)


def test_two_pipelines_in_one_test_do_not_mix(diffusers, pipeline, clean):
    other = small_pipeline(diffusers)
    with watch(pipeline, CELLS) as one, watch(other, CELLS) as two:
        run(pipeline)
        run(other, seed=1)
    assert one.trace() == clean
    assert first_divergence(clean, two.trace()).step.signal == "sample"
    assert len(two.trace().cells) == len(clean.cells)


@pytest.mark.parametrize("first_out", [0, 1])
def test_watches_of_one_pipeline_may_nest_and_end_in_any_order(first_out):
    pair = Pair()
    watches = [watch(pair, CELLS), watch(pair, STEPS)]
    for each in watches:
        each.start()
    pair(ms.Tensor(X))
    watches[first_out].stop()
    pair(ms.Tensor(X))
    watches[1 - first_out].stop()
    pair(ms.Tensor(X))
    assert len(watches[first_out].trace().steps) == 4
    assert len(watches[1 - first_out].trace().steps) == 8
    assert_untouched(pair)


def test_a_wrapper_put_on_after_us_stays_and_ours_falls_silent():
    pair = Pair()
    seen = []
    watched = watch(pair)
    watched.start()
    hooked = pair.prior_scheduler.step

    def theirs(*args, **kwargs):
        seen.append(1)
        return hooked(*args, **kwargs)

    pair.prior_scheduler.step = theirs
    pair(ms.Tensor(X))
    watched.stop()
    assert pair.prior_scheduler.step is theirs
    pair(ms.Tensor(X))
    assert (len(seen), len(watched.trace().steps)) == (4, 4)


def test_a_wrapper_that_was_there_before_us_is_put_back():
    pair = Pair()
    plain = pair.prior_scheduler.step

    def theirs(*args, **kwargs):
        return plain(*args, **kwargs)

    pair.prior_scheduler.step = theirs
    with watch(pair) as watched:
        pair(ms.Tensor(X))
    assert pair.prior_scheduler.step is theirs
    assert len(watched.trace().steps) == 4


def test_a_hooked_step_keeps_its_signature():
    pair = Pair()
    plain = inspect.signature(pair.prior_scheduler.step)
    with watch(pair):
        assert inspect.signature(pair.prior_scheduler.step) == plain
        assert "eta" in inspect.signature(pair.prior_scheduler.step).parameters


def test_a_deep_copy_of_a_watched_scheduler_is_its_own_and_unwatched():
    pair = Pair()
    with watch(pair) as watched:
        copied = copy.deepcopy(pair.prior_scheduler)
        copied.step(ms.Tensor(X), 1, ms.Tensor(X))
        assert copied.step.__self__ is copied
    assert watched.trace().steps == ()


# --- weights, configuration, modes --------------------------------------------------------------


class Sliced(ms.nn.Cell):
    def __init__(self):
        super().__init__()
        self.rows = ms.nn.CellList([ms.nn.Dense(2, 2), ms.nn.Dense(2, 2)])

    def construct(self, x):
        for row in self.rows[1:]:
            x = row(x)
        return x


def test_weights_keep_their_names_when_mindspore_renames_the_parameters():
    net = Sliced()
    before, tensors = watch(net).weights(), watch(net).weight_tensors()
    net(ms.Tensor(np.ones((1, 2), np.float32)))
    assert any(parameter.name == "0.weight" for parameter in net.get_parameters())
    assert watch(net).weights() == before
    assert watch(net).weight_tensors() == tensors


def test_configurations_name_the_entry_that_changed(diffusers, pipeline):
    old = watch(pipeline).configurations()
    assert compare_configurations(old, watch(small_pipeline(diffusers)).configurations()) == ()
    new = watch(small_pipeline(diffusers, beta_end=0.03)).configurations()
    (change,) = compare_configurations(old, new)
    assert (change.component, change.name) == ("scheduler", "beta_end")
    assert (change.baseline, change.observed) == ("0.02", "0.03")


class Jitted(ms.nn.Cell):
    """A block whose body is compiled."""

    def __init__(self):
        super().__init__()
        self.net = Net()

    @ms.jit
    def construct(self, x):
        return self.net(x) + 1


class Blocks(Pair):
    """A pipeline whose network calls a compiled block and one that is not."""

    def __init__(self):
        super().__init__()
        self.net = ms.nn.SequentialCell(Jitted(), Net())


def test_mode_and_jit_level_are_settings_where_a_test_sets_them(pipeline):
    default = watch(pipeline).configurations()
    ms.set_context(mode=ms.GRAPH_MODE, jit_level="O0")
    try:
        compiled = watch(pipeline).configurations()
    finally:
        ms.set_context(mode=ms.PYNATIVE_MODE, jit_level="")
    changes = compare_configurations(default, compiled)
    found = {(one.component, one.name): one.observed for one in changes}
    assert found[("mindspore", "mode")] == "GRAPH"
    assert found[("mindspore", "jit_level")] == "O0"
    assert watch(pipeline).configurations() == default


def names_of(trace):
    return sorted({call.name for call in trace.cells})


@pytest.mark.parametrize("before", [True, False])
def test_in_graph_mode_a_component_is_recorded_as_one_cell(before):
    pair = Pair()
    traces = []
    for _ in range(2):
        if before:
            ms.set_context(mode=ms.GRAPH_MODE)
        with watch(pair, CELLS) as watched:
            ms.set_context(mode=ms.GRAPH_MODE)
            pair(ms.Tensor(X))
        ms.set_context(mode=ms.PYNATIVE_MODE)
        traces.append(watched.trace())
    assert len(traces[0].steps) == 4
    assert names_of(traces[0]) == ["net"]
    assert traces[0] == traces[1]
    assert_untouched(pair)


def test_a_compiled_block_is_recorded_as_one_cell_and_the_rest_cell_by_cell():
    blocks = Blocks()
    with watch(blocks, CELLS) as watched:
        blocks(ms.Tensor(X))
    assert names_of(watched.trace()) == ["net", "net.0", "net.1", "net.1.act", "net.1.first"]
    with watch(blocks, CELLS) as again:
        blocks(ms.Tensor(X))
    assert again.trace() == watched.trace()


def test_a_fault_inside_a_compiled_block_names_the_block():
    traces = []
    for scale in (1.0, 1.01):
        # A new one each time: MindSpore's compiled graph does not see a weight that is set later.
        blocks = Blocks()
        draw(blocks.net)
        first = blocks.net[0].net.first
        first.weight.set_data(first.weight * scale)
        with watch(blocks, CELLS) as watched:
            blocks(ms.Tensor(X))
        traces.append(watched.trace())
    found = first_divergence(*traces)
    assert (found.step.index, found.cell.call.name) == (0, "net.0")


@pytest.mark.parametrize("mode", [ms.PYNATIVE_MODE, ms.GRAPH_MODE])
@pytest.mark.parametrize("make", [Jitted, Net])
def test_the_calls_of_a_lone_cell_are_steps_in_either_mode(make, mode):
    net = make()
    ms.set_context(mode=mode)
    with watch(net) as watched:
        net(ms.Tensor(X))
        net(ms.Tensor(X * 2))
    steps = watched.trace().steps
    assert [(s.scheduler, s.position) for s in steps] == [(make.__name__, 0), (make.__name__, 1)]
    assert [name for name, _ in steps[0].signals] == ["x", "result"]
    assert steps[0].signal("result").digest != steps[1].signal("result").digest


@pytest.mark.parametrize("capture", ["ast", "bytecode"])
def test_a_watched_cell_in_a_compiled_function_computes_as_without_us(capture):
    net = Net()

    def call(x):
        return net(x) * 2

    plain = call(ms.Tensor(X)).asnumpy()
    with watch(net, CELLS) as watched:
        compiled = ms.jit(call, capture_mode=capture)
        first, second = (compiled(ms.Tensor(X)).asnumpy() for _ in range(2))
    assert np.array_equal(first, plain)
    assert np.array_equal(second, plain)
    assert watched.trace().steps == ()


def test_an_error_of_our_own_is_named_as_ours(monkeypatch):
    pair = Pair()
    with watch(pair, CELLS):
        monkeypatch.setattr(MindSporeAdapter, "peek", lambda *_: 1 / 0)
        with pytest.raises(WatchError, match="pytest-repro failed to record net") as caught:
            pair(ms.Tensor(X))
    assert "--repro-trace=off" in str(caught.value)
    assert_untouched(pair)


def test_a_wrapper_around_the_call_of_cells_that_came_after_us_stays(monkeypatch):
    pair, seen = Pair(), []
    with watch(pair, CELLS) as watched:
        ours = ms.nn.Cell.__call__

        def theirs(cell, *args, **kwargs):
            seen.append(1)
            return ours(cell, *args, **kwargs)

        monkeypatch.setattr(ms.nn.Cell, "__call__", theirs)
    assert ms.nn.Cell.__call__ is theirs
    with watch(pair, CELLS) as again:
        pair(ms.Tensor(X))
    assert len(again.trace().cells) == len(seen) == 12
    assert watched.trace().cells == ()
    monkeypatch.undo()
    watch(pair, CELLS).start()
    pair(ms.Tensor(X))


def test_what_is_watched_again_before_it_runs_is_watched_once_with_its_new_weights():
    watching = Watching(MindSporeAdapter(), TraceLevel.STEPS)
    pair = Pair()
    watching.add(pair)
    before = watching.weights()
    pair.net.first.weight.set_data(pair.net.first.weight * 2)
    watching.add(pair)
    (after,) = watching.weights()
    assert (after.component, after.digest == before[0].digest) == ("net", False)
    # A comparison with other names needs them one by one.
    assert len(after.tensors) == len(list(pair.net.get_parameters()))
    pair(ms.Tensor(X))
    assert len(watching.trace().steps) == 4
    # Once it ran, it is a second watch, so that no step is forgotten.
    watching.add(pair)
    pair(ms.Tensor(X))
    assert {one.component for one in watching.weights()} == {"net", "2/net"}
    assert len(watching.trace().steps) == 12
    watching.stop()


def test_three_hundred_tests_of_one_pipeline_hash_each_weight_once(monkeypatch):
    """Each test reads the weights once, for a fingerprint; a change in place is hashed again."""
    pytest.importorskip("xxhash")
    hashed, read = [], []
    digests = ContentMemo(lambda array: hashed.append(array) or make_record(array).digest)
    fingerprint = digests._fingerprint
    digests._fingerprint = lambda data: read.append(data) or fingerprint(data)
    monkeypatch.setattr(watching_module, "_DIGESTS", digests)
    pair, found = Pair(), set()
    count = len(list(pair.net.get_parameters()))

    def a_test():
        watching = Watching(MindSporeAdapter(), TraceLevel.STEPS)
        watching.add(pair)
        found.update(watching.weights())
        watching.stop()

    for _ in range(300):
        a_test()
    assert (len(hashed), len(read), len(found)) == (count, 300 * count, 1)
    pair.net.first.weight.set_data(pair.net.first.weight * 2)
    a_test()
    assert (len(hashed), len(found)) == (count + 1, 2)
