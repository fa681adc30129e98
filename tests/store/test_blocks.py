"""One baseline is read without the others, and only from a text that is as it was written."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_repro.errors import CorruptBaseline
from pytest_repro.model.ids import CheckId
from pytest_repro.store import manifest as codec
from pytest_repro.store.store import Store
from tests.store.stored import KEY, MODULE, baseline_of

NAMES = ("image", "latents", "latents-2")


@pytest.fixture
def store(tmp_path):
    made = [
        baseline_of(np.arange(number + 2.0), test=f"test_{number}[a-{number}]", name=name)
        for number in range(5)
        for name in NAMES
    ]
    found = Store(tmp_path / "baselines", root=tmp_path)
    found.write(KEY, MODULE, [one for one, _ in made], [record for _, record in made])
    return found


@pytest.fixture
def parsed(monkeypatch):
    """The entries whose blocks were parsed."""
    entries = []
    whole = codec.baseline_from_block

    def noted(module, entry, *rest):
        entries.append(entry)
        return whole(module, entry, *rest)

    monkeypatch.setattr(codec, "baseline_from_block", noted)
    return entries


def reopened(store):
    return Store(store.folder, root=store.folder.parent)


def check(number, name="image"):
    return CheckId(MODULE, f"test_{number}[a-{number}]", name)


def test_every_baseline_is_the_one_that_the_whole_manifest_gives(store):
    whole, single = reopened(store).manifest(KEY, MODULE), reopened(store)
    assert len(whole) == 15
    assert tuple(single.baseline(KEY, one.check) for one in whole) == whole


def test_one_baseline_parses_one_block(store, parsed):
    found = reopened(store).baseline(KEY, check(3))
    assert found.check == check(3)
    assert parsed == [check(3).entry]


def test_a_text_that_a_formatter_rewrote_is_read_whole(store, parsed):
    path = store.manifest_path(KEY, MODULE)
    wanted = reopened(store).baseline(KEY, check(3))
    parsed.clear()
    path.write_text(path.read_text().replace("shape: [5]", "shape:\n      - 5"))
    assert reopened(store).baseline(KEY, check(3)) == wanted
    assert len(parsed) == 15


@pytest.mark.parametrize("name", ["image", "latents"])
def test_a_block_that_was_edited_is_corrupt_whichever_is_asked_for(store, name):
    path = store.manifest_path(KEY, MODULE)
    head, _, tail = path.read_text().partition("\n---\n")
    edited = tail.replace("runs: 2", "runs: 9", 1)
    assert edited != tail
    path.write_text(f"{head}\n---\n{edited}")
    with pytest.raises(CorruptBaseline):
        reopened(store).baseline(KEY, check(3, name))


def test_a_manifest_that_was_cut_is_corrupt(store):
    path = store.manifest_path(KEY, MODULE)
    path.write_text(path.read_text()[:-40])
    with pytest.raises(CorruptBaseline):
        reopened(store).baseline(KEY, check(0))


def test_a_manifest_in_a_folder_that_it_does_not_name_is_corrupt(store):
    path = store.manifest_path(KEY, MODULE)
    path.write_text(path.read_text().replace(f"key: {KEY}", f"key: {KEY}1", 1))
    with pytest.raises(CorruptBaseline):
        reopened(store).baseline(KEY, check(0))


def test_a_check_that_is_not_there_is_said_to_be_gone(store):
    with pytest.raises(CorruptBaseline, match="is gone"):
        reopened(store).baseline(KEY, check(7))


def test_what_was_written_since_is_read(store):
    reading = reopened(store)
    reading.baseline(KEY, check(0))
    baseline, record = baseline_of(np.arange(99.0), test="test_0[a-0]", name="image")
    reading.write(KEY, MODULE, [baseline], [record])
    assert reading.baseline(KEY, check(0)) == baseline
