"""How a port is judged: the smaller envelope, steps, weights by name, and their words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pytest_repro.checking.parity import (
    PortRun,
    Ports,
    PortWeights,
    Side,
    judge_ports,
    pair_weights,
    parity_text,
    run_ports,
)
from pytest_repro.checking.references import narrower
from pytest_repro.frameworks.values import CheckedValue
from pytest_repro.model.baseline import StepRecord
from pytest_repro.model.ids import CheckId, Draw
from pytest_repro.model.words import Distance, TraceLevel
from pytest_repro.noise.draw_log import make_draw_log
from pytest_repro.noise.sources import Disturbed, Fresh
from pytest_repro.tensors.record import make_record
from pytest_repro.tolerance.bounds import Tolerance
from pytest_repro.tolerance.choose import choose_tolerance
from pytest_repro.tolerance.policy import Policy, resolve
from pytest_repro.trace.records import make_trace, trace_signal

CHECK = CheckId("test_port.py", "test_a", "image")
NOISE = np.random.Generator(np.random.PCG64(0)).standard_normal(4096).astype("float32")
LOG = make_draw_log(("PCG64(0)",), (Draw(0, "standard_normal", (4096,), "float32", "", "0" * 64),))
DEFAULT = Tolerance(factor=4.0)


def signal(array):
    return trace_signal(make_record(array), sketched=True)


def run(array, *, steps=(), timestep=999.0):
    """A run with this result, and a step for each array."""
    records = [
        StepRecord(
            "scheduler", at, timestep, (("result", trace_signal(make_record(one), sketched=True)),)
        )
        for at, one in enumerate(steps)
    ]
    trace = make_trace(TraceLevel.STEPS, records) if records else None
    return PortRun(CheckedValue((("", make_record(array)),)), LOG, trace, 1e-7)


def moved(array, by, seed):
    signs = np.random.Generator(np.random.PCG64(seed)).standard_normal(array.shape)
    return (array * (1 + by * signs)).astype(array.dtype)


def side(array, by, *, runs=4, **more):
    """A side whose result moves by about ``by``, relative."""
    perturbed = tuple(
        run(moved(array, by, seed), steps=[moved(one, by, seed) for one in more.get("steps", ())])
        for seed in range(runs)
    )
    return Side(run(array, **more), perturbed)


def judged(ours, theirs, tolerance=DEFAULT, modules=None, **more):
    ports = Ports(ours, theirs, "float32", 0, modules)
    resolved = resolve(Policy(), str(CHECK))
    found = judge_ports(
        ports,
        lambda summary: choose_tolerance(
            [(tolerance, "the default for a port")], resolved, Distance.PORT, summary
        ),
        4.0,
        **more,
    )
    return found, parity_text(CHECK, found, ports)


@pytest.mark.parametrize(
    ("asked", "reach"),
    [
        ((Distance.ANY, Distance.ANY), Distance.ANY),
        ((Distance.ANY, Distance.PORT), Distance.PORT),
        ((Distance.RELEASE, Distance.PORT), Distance.RELEASE),
        ((Distance.OWN, Distance.ANY), Distance.OWN),
    ],
)
def test_a_reference_of_pytorch_is_reached_only_if_one_asks_for_it(asked, reach):
    assert narrower(*asked) is reach


def test_rounding_passes_and_a_hundred_times_as_much_does_not():
    theirs = side(NOISE, 1e-6)
    near, _ = judged(side(moved(NOISE, 1e-6, 99), 1e-6), theirs)
    far, text = judged(side(moved(NOISE, 1e-4, 99), 1e-6), theirs)
    assert (near.verdict, far.verdict) == ("within", "drift")
    assert 0.5 < near.leaves[0].times < 2
    assert 50 < far.leaves[0].times < 200
    assert "differs from the original by more than rounding" in text
    assert "times the envelope that counts" in text


def test_a_fault_that_widens_our_envelope_does_not_hide_itself():
    broken = side(moved(NOISE, 1e-4, 99), 1e-4)
    found, _ = judged(broken, side(NOISE, 1e-6))
    assert found.verdict == "drift"
    # Its own envelope alone would explain it.
    assert judged(broken, side(NOISE, 1e-4))[0].verdict == "within"


def test_what_moves_the_modules_of_the_original_counts_where_noise_does_not_reach():
    steps = [NOISE * np.float32(2)]
    ours = side(moved(NOISE, 1e-5, 99), 1e-6, steps=[moved(steps[0], 1e-5, 50)])
    theirs = side(NOISE, 1e-6, steps=steps)
    alone, _ = judged(ours, theirs)
    assert not alone.leaves[0].passes
    assert alone.step is not None
    found, _ = judged(ours, theirs, modules=side(NOISE, 1e-5, steps=steps))
    assert found.passes
    assert 1e-5 < found.leaves[0].modules < 2e-5
    far = side(moved(NOISE, 1e-3, 99), 1e-6, steps=[moved(steps[0], 1e-3, 50)])
    assert not judged(far, theirs, modules=side(NOISE, 1e-5, steps=steps))[0].passes


def test_equal_bits_are_exact_whatever_the_envelopes():
    found, _ = judged(Side(run(NOISE)), Side(run(NOISE)))
    assert (found.verdict, found.runs) == ("exact", 0)


def test_without_an_envelope_the_tolerance_of_the_dtype_counts():
    found, text = judged(Side(run(moved(NOISE, 1e-2, 9))), Side(run(NOISE)))
    assert found.verdict == "drift"
    assert "float32, no envelope recorded" in text
    assert judged(Side(run(moved(NOISE, 1e-5, 9))), Side(run(NOISE)))[0].verdict == "within"


def test_a_step_beyond_its_envelope_fails_though_the_result_is_within():
    steps = [NOISE, NOISE * np.float32(2), NOISE * np.float32(3)]
    theirs = side(NOISE, 1e-6, steps=steps)
    rounded = [moved(one, 1e-6, 50) for one in steps]
    assert judged(side(moved(NOISE, 1e-6, 99), 1e-6, steps=rounded), theirs)[0].passes
    faulty = [rounded[0], moved(steps[1], 1e-3, 50), rounded[2]]
    found, text = judged(side(moved(NOISE, 1e-6, 99), 1e-6, steps=faulty), theirs)
    assert not found.passes
    assert found.leaves[0].passes
    assert "scheduler step 1 (timestep 999)" in text
    assert "next        repro_check.parity(..., pipelines=(ours, theirs))" in text


def test_another_timestep_is_named():
    theirs = side(NOISE, 1e-6, steps=[NOISE])
    found, text = judged(
        side(NOISE, 1e-6, steps=[NOISE], timestep=980.0), theirs, weights=PortWeights(3)
    )
    assert not found.passes
    assert "the timestep, 999 became 980" in text
    assert "compare what both sides compute in scheduler step 0" in text
    assert "3 parameters equal by name" in text


def test_weights_are_paired_by_pytorchs_names():
    ours = {"a.norm.gamma": "1", "a.norm.beta": "2", "e.embedding_table": "3", "c.weight": "4"}
    theirs = {"a.norm.weight": "1", "a.norm.bias": "2", "e.weight": "3", "c.weight": "4"}
    assert pair_weights(ours, theirs) == PortWeights(4)


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        ({"a.weight": "1"}, {"a.weight": "2"}, "1 differ (a.weight)"),
        ({"a.weight": "1", "b": "2"}, {"a.weight": "1"}, "1 only ours (b)"),
        ({}, {"a.weight": "1"}, "1 only theirs (a.weight)"),
    ],
)
def test_weights_that_are_not_equal_are_said(ours, theirs, said):
    assert said in str(pair_weights(ours, theirs))


def test_both_sides_get_the_same_perturbations():
    seen = {"ours": [], "theirs": []}

    def runs(name, by):
        def make(source):
            seen[name].append(source)
            return run(moved(NOISE, by, len(seen[name])))

        return make

    seeds = []

    def moved_modules(seed):
        seeds.append(seed)
        return replace(run(moved(NOISE, 1e-6, seed)), input_rel_l2=0.0)  # its noise is clean

    ports = run_ports(
        runs("ours", 1e-6),
        runs("theirs", 2e-6),
        asked=4,
        seed=5,
        computing_dtype=None,
        moved=moved_modules,
    )
    assert ports.modules is not None
    assert (seeds, len(ports.modules.moved)) == ([5, 6, 7, 8], 4)
    assert ports.modules.envelope("", "modules", 5) is not None
    assert seen["ours"] == seen["theirs"]
    assert seen["ours"] == [Fresh(), *(Disturbed(5 + at, "float32") for at in range(4))]
    assert len(ports.theirs.moved) == 4


def test_equal_results_need_no_perturbed_run():
    ports = run_ports(
        lambda _: run(NOISE), lambda _: run(NOISE), asked=4, seed=0, computing_dtype=None
    )
    assert ports.ours.moved == ports.theirs.moved == ()
