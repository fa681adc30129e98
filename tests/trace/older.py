"""Rows of traces as the older format had them."""

from __future__ import annotations

from pytest_repro.trace.records import digest_trace


def old_rows(trace):
    """The rows of format 1: one a signal, a step and a call."""
    signals = list(
        dict.fromkeys(
            [one for each in trace.steps for _, one in each.signals]
            + [one for each in trace.cells for one in (*each.inputs, *each.outputs)]
        )
    )
    numbers = {one: at for at, one in enumerate(signals)}
    digest = digest_trace(1, trace.level, trace.steps, trace.cells)
    yield ("trace", 1, str(trace.level), digest)
    for one in signals:
        shape = ",".join(map(str, one.shape))
        measured = (one.min, one.max, one.mean, one.std, one.l2, one.nan_count, one.inf_count)
        yield ("signal", one.dtype, shape, one.digest, *measured, *one.sketch)
    for each in trace.steps:
        mentions = [part for name, one in each.signals for part in (name, numbers[one])]
        yield ("step", each.scheduler, each.position, each.timestep, *mentions)
    for each in trace.cells:
        mentions = [numbers[one] for one in (*each.inputs, *each.outputs)]
        head = (each.number, each.step, each.name, each.class_name, len(each.inputs))
        yield ("cell", *head, *mentions)
