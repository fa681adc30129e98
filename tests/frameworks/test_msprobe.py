"""msprobe's debugger around a pipeline's steps, with an msprobe that only writes down its calls."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from pytest_repro.errors import StoreError, UsageError
from pytest_repro.frameworks.msprobe import MsprobeDump
from pytest_repro.model.trace import DumpTarget
from pytest_repro.trace.msprobe_target import dump_config


class Scheduler:
    def step(self, model_output, timestep, sample):
        if timestep < 0:
            raise ValueError("planted")
        return (sample - model_output,)


@pytest.fixture
def calls(monkeypatch):
    """What was asked of msprobe's debugger, in order."""
    heard = []

    class PrecisionDebugger:
        def __init__(self, config_path):
            heard.append(f"config {config_path}")

        def start(self, model):
            heard.append(("start", model))

        def stop(self):
            heard.append("stop")

        def step(self):
            heard.append("step")

    package, module = ModuleType("msprobe"), ModuleType("msprobe.mindspore")
    module.PrecisionDebugger = PrecisionDebugger
    monkeypatch.setitem(sys.modules, "msprobe", package)
    monkeypatch.setitem(sys.modules, "msprobe.mindspore", module)
    return heard


def dump_of(folder, component):
    path = folder / "config.json"
    path.write_text(dump_config(DumpTarget(1, component, ""), "dump"), encoding="utf-8")
    return MsprobeDump(path), path


def test_each_step_of_any_scheduler_is_a_step_of_msprobes(tmp_path, calls):
    dump, path = dump_of(tmp_path, "decoder")
    first, second = Scheduler(), Scheduler()
    end = dump.attach("", {"prior": "PRIOR", "decoder": "DECODER"}, [first, second])
    first.step(1, 1, 1)
    second.step(1, 1, 1)
    end()
    around = ["stop", "step", ("start", "DECODER")]
    assert calls == [f"config {path}", ("start", "DECODER"), *around, *around, "stop"]
    assert not vars(first)
    assert not vars(second)


def test_a_step_that_raises_ends_no_step_and_leaves_nothing(tmp_path, calls):
    dump, _ = dump_of(tmp_path, "unet")
    scheduler = Scheduler()
    end = dump.attach("", {"unet": "UNET"}, [scheduler])
    with pytest.raises(ValueError, match="planted"):
        scheduler.step(1, -1, 1)
    end()
    assert "step" not in calls
    assert not vars(scheduler)


def test_a_whole_step_takes_every_component_of_that_pipeline(tmp_path, calls):
    dump, _ = dump_of(tmp_path, "2/")
    dump.attach("", {"unet": "OTHER"}, [])
    assert calls == []
    dump.attach("2/", {"prior": "PRIOR", "decoder": "DECODER"}, [])
    assert calls[-1] == ("start", ["PRIOR", "DECODER"])


def test_only_one_run_is_dumped(tmp_path, calls):
    dump, _ = dump_of(tmp_path, "unet")
    dump.attach("", {"unet": "UNET"}, [])()
    heard = list(calls)
    dump.attach("", {"unet": "UNET"}, [])()
    assert calls == heard


def test_an_absent_msprobe_and_an_absent_file_say_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "msprobe", None)
    dump, _ = dump_of(tmp_path, "unet")
    with pytest.raises(UsageError, match="pip install mindstudio-probe"):
        dump.attach("", {"unet": "UNET"}, [])
    with pytest.raises(StoreError, match="cannot be read"):
        MsprobeDump(tmp_path / "absent.json")
