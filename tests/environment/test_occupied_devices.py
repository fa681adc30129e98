"""Confining a process; no Ascend was at hand, so its device node is planted."""

from __future__ import annotations

import pytest

from pytest_repro.environment import devices
from pytest_repro.environment.devices import VISIBLE, Share, has_ascend, occupy
from pytest_repro.errors import UsageError

FIFTH = Share(device=5, position=1, count=2)


@pytest.fixture
def ascend(monkeypatch):
    monkeypatch.setattr(devices, "has_ascend", lambda: True)


@pytest.mark.parametrize(
    ("names", "answer"),
    [(["davinci0", "davinci_manager"], True), (["davinci_manager", "null"], False), ([], False)],
)
def test_an_ascend_is_known_by_its_device_node(tmp_path, names, answer):
    for name in names:
        (tmp_path / name).touch()
    assert has_ascend(tmp_path) is answer


def test_an_ascend_is_chosen_by_the_variable(ascend):
    variables = {"OTHER": "1"}
    assert occupy(FIFTH, variables=variables, loaded=()) == "Ascend device 5"
    assert variables == {"OTHER": "1", VISIBLE: "5"}


def test_a_device_outside_of_what_this_process_may_use_is_refused(ascend):
    variables = {VISIBLE: "4, 5"}
    assert occupy(FIFTH, variables=variables, loaded=()) == "Ascend device 5"
    with pytest.raises(UsageError, match="device 5 is not among"):
        occupy(FIFTH, variables={VISIBLE: "4,15"}, loaded=())


@pytest.mark.parametrize("name", ["mindspore", "numpy"])
def test_it_is_too_late_once_threads_or_devices_were_counted(ascend, name):
    variables = {}
    with pytest.raises(UsageError, match=f"{name} was imported before"):
        occupy(FIFTH, variables=variables, loaded=(name, "os"))
    assert variables == {}
