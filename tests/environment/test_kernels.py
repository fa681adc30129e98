"""The kernel probe: repeatable, and it names a planted change and a planted kernel that drifts."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from pytest_repro.environment.kernels import (
    Probe,
    differing,
    digest_kernels,
    kernel_rows,
    kernels_from_rows,
    named_kernels,
    probe_of,
    with_kernels,
)
from pytest_repro.environment.key import compare_facts
from pytest_repro.errors import CorruptBaseline
from pytest_repro.frameworks.framework import default_framework
from pytest_repro.frameworks.kernels import Kernel, mindspore_kernels, numpy_kernels
from pytest_repro.model.baseline import Environment, Fact
from pytest_repro.model.ids import EnvironmentKey

KEY = EnvironmentKey("cpu-x86_64-avx2-2c", "numpy-2.4.6")


def planted(name, run):
    """The probe of numpy with one kernel exchanged."""
    return Probe(tuple(replace(k, run=run) if k.name == name else k for k in numpy_kernels()))


def test_numpy_repeats_itself_and_a_fresh_probe_agrees():
    first = probe_of("numpy", default_framework()).measure()
    assert differing(first, Probe(numpy_kernels()).measure()) == ()
    assert {name.rpartition(".")[2] for name in first} == {"float32", "float16"}
    assert len(first) == 2 * len(numpy_kernels())


def test_a_changed_kernel_is_named():
    first = Probe(numpy_kernels()).measure()
    changed = planted("exp", lambda x: np.exp(x) * x.dtype.type(1 + 1e-3)).measure()
    assert differing(first, changed) == ("exp.float16", "exp.float32")


def test_a_kernel_that_does_not_repeat_itself_is_named():
    calls = itertools.count()
    probe = planted("sum", lambda x: x.sum(axis=1) + x.dtype.type(next(calls)))
    assert differing(probe.measure(), probe.measure()) == ("sum.float16", "sum.float32")


def test_what_the_device_cannot_compute_is_left_out():
    def refuse(x):
        raise TypeError("no kernel")

    assert Probe((Kernel("exp", ((3,),), refuse),)).measure() == {}


def test_rows_come_back_and_broken_ones_are_refused():
    found = Probe(numpy_kernels()[:3]).measure()
    again = kernels_from_rows(kernel_rows(found))
    assert (again, digest_kernels(again)) == (found, digest_kernels(found))
    other = {**found, "add.float32": found["multiply.float32"]}
    assert digest_kernels(other) != digest_kernels(found)
    with pytest.raises(CorruptBaseline, match="record of kernels"):
        kernels_from_rows([("one",)])


def test_a_recorded_environment_names_its_kernels_and_they_are_no_differing_fact():
    plain = Environment(KEY, (Fact("os.name", "Linux"), Fact("a", "1")))
    found = Probe(numpy_kernels()[:1]).measure()
    recorded = with_kernels(plain, found)
    assert named_kernels(recorded) == digest_kernels(found)
    assert named_kernels(plain) is None
    assert compare_facts(recorded, plain) == ()
    assert with_kernels(plain, {}) is plain


def test_mindspore_repeats_itself_in_two_dtypes():
    adapter = default_framework()
    if not adapter.installed():
        pytest.skip("no MindSpore here")
    adapter.enable_determinism()
    probe = probe_of("mindspore", adapter)
    first = probe.measure()
    assert differing(first, probe.measure()) == ()
    assert len(first) == 2 * len(mindspore_kernels())


def test_a_project_that_raises_on_underflow_has_the_same_kernels():
    probe = probe_of("numpy", default_framework())
    with np.errstate(all="raise"):
        raising = probe.measure()
    assert raising == probe.measure() != {}
