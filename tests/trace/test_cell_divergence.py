"""The call to blame and the call that was handed something else, told by hand-made calls."""

from __future__ import annotations

import numpy as np

from pytest_repro.model.baseline import CellRecord
from pytest_repro.tensors.record import make_record
from pytest_repro.trace.divergence import Change, first_cells
from pytest_repro.trace.records import measure_signal


def signals(*values):
    return tuple(
        measure_signal(make_record(np.array([value], "f4")), sketched=False) for value in values
    )


def call(number, name, inputs=(1.0,), outputs=(2.0,), step=0):
    return CellRecord(number, step, name, "Dense", signals(*inputs), signals(*outputs))


def blame(baseline, observed):
    """Names of the call to blame and of the one that was handed something else before."""
    found = first_cells(baseline, observed, lambda old, new: old.digest == new.digest)
    return tuple(one and one.call.name for one in found)


def located(baseline, observed):
    return first_cells(baseline, observed, lambda old, new: old.digest == new.digest)[0]


CLEAN = [call(1, "net.a"), call(2, "net.b"), call(0, "net")]


def test_the_agreeing_calls_before_it_are_counted():
    found = located(CLEAN, [CLEAN[0], call(2, "net.b", outputs=(9.0,)), CLEAN[2]])
    assert (found.call.name, found.change, found.output) == ("net.b", Change.SIGNAL, 0)
    assert found.agreed_count == 1


def test_an_output_more_or_fewer_is_named_by_its_number():
    for outputs in ((2.0, 3.0), ()):
        found = located(CLEAN, [call(1, "net.a", outputs=outputs), *CLEAN[1:]])
        assert (found.call.name, found.output) == ("net.a", min(1, len(outputs)))


def test_a_call_more_is_blamed_without_an_output():
    found = located(CLEAN, [call(5, "net.x"), *CLEAN])
    assert (found.call.name, found.change, found.output) == ("net.x", Change.EXTRA, 0)


def test_what_was_handed_in_earlier_is_told_beside_the_call_to_blame():
    clean = [call(5, "pre.in"), *CLEAN]
    handed = call(5, "pre.in", inputs=(7.0,))
    assert blame(clean, [handed, call(1, "net.a", outputs=(9.0,)), *CLEAN[1:]]) == (
        "net.a",
        "pre.in",
    )


def test_what_was_handed_inside_the_call_to_blame_is_its_own_doing():
    inner = call(2, "net.b", inputs=(7.0,))
    assert blame(CLEAN, [CLEAN[0], inner, call(0, "net", outputs=(9.0,))]) == ("net", None)
    # The same cell name, but the call began before: it is not inside.
    clean = [call(1, "net.a"), call(3, "net")]
    observed = [call(1, "net.a", inputs=(7.0,)), call(3, "net", outputs=(9.0,))]
    assert blame(clean, observed) == ("net", "net.a")
    # And so it is with a call in another step.
    clean = [call(4, "net.a"), call(3, "net", step=1)]
    observed = [call(4, "net.a", inputs=(7.0,)), call(3, "net", step=1, outputs=(9.0,))]
    assert blame(clean, observed) == ("net", "net.a")
