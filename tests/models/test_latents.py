from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from pytest_repro.errors import WeightsError
from tests.models.latents import watch_latents


class _Tensor:
    def __init__(self, *numbers):
        self.numbers = np.array(numbers)

    def asnumpy(self):
        return self.numbers


class _Scheduler:
    def step(self, model_output, timestep, sample, *, eta=0.0):
        return (_Tensor(*(sample.numbers - model_output.numbers - eta)),)


def _pipeline():
    return SimpleNamespace(scheduler=_Scheduler())


def test_last_step_is_seen_and_handed_on():
    pipeline = _pipeline()
    with watch_latents(pipeline) as watch:
        pipeline.scheduler.step(_Tensor(1.0), 9, _Tensor(2.0))
        given = pipeline.scheduler.step(_Tensor(0.5), 0, _Tensor(1.0), eta=0.25)
    assert given[0].numbers.tolist() == [0.25]
    assert watch.last_sample.tolist() == [0.25]
    assert watch.last_model_output.tolist() == [0.5]
    assert watch.steps == 2


def test_scheduler_is_given_back_also_after_an_exception():
    pipeline = _pipeline()
    seen = []

    def fails():
        with watch_latents(pipeline):
            seen.extend(vars(pipeline.scheduler))
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert seen == ["step"]
    assert vars(pipeline.scheduler) == {}


def test_two_watches_of_one_scheduler_both_see_it_and_leave_nothing():
    pipeline = _pipeline()
    with watch_latents(pipeline) as outer:
        mine = pipeline.scheduler.step
        with watch_latents(pipeline) as inner:
            pipeline.scheduler.step(_Tensor(1.0), 0, _Tensor(3.0))
        assert pipeline.scheduler.step is mine
    assert outer.last_sample.tolist() == inner.last_sample.tolist() == [2.0]
    assert vars(pipeline.scheduler) == {}


def test_nothing_seen_is_empty_not_stale():
    with watch_latents(_pipeline()) as watch:
        pass
    assert watch.steps == 0
    assert watch.last_sample.size == 0


def test_unknown_scheduler_is_named():
    with (
        pytest.raises(WeightsError, match="super_res_scheduler"),
        watch_latents(_pipeline(), "super_res_scheduler"),
    ):
        pass
