"""Whatever names and links a folder of baselines holds, nothing outside is read or written."""

from __future__ import annotations

import contextlib
import json

import numpy as np
import pytest

from pytest_repro.checking.accept import open_observed
from pytest_repro.errors import CorruptBaseline, ReproError, StoreError
from pytest_repro.model.ids import EnvironmentKey
from pytest_repro.report.document import read_report, seal
from pytest_repro.store.store import Store
from pytest_repro.store.verify import verify
from tests.store.stored import KEY, MODULE, baseline_of
from tests.torture.readers import READERS

UP = "../../../outside"
NAMES = [UP, "..", ".", "", "/", "/etc/passwd", "a/../../b.py", "a\0b", "x" * 5000, "C:\\x", "~"]


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "here" / "baselines", root=tmp_path / "here")
    baseline, record = baseline_of(np.arange(4.0))
    made.write(KEY, MODULE, [baseline], [record])
    return made


def fresh(store):
    return Store(store.folder, root=store.folder.parent)


def outside_of(store):
    """Every path beside the folder of baselines."""
    top = store.folder.parents[1]
    return {path for path in top.rglob("*") if store.folder not in (path, *path.parents)}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("field", ["module", "key"])
def test_a_manifest_that_names_another_place_is_a_finding(store, field, name):
    path = store.manifest_path(KEY, MODULE)
    old = MODULE if field == "module" else str(KEY)
    text = path.read_text(encoding="utf-8")
    text = text.replace(f"{field}: {old}\n", f"{field}: {json.dumps(name)}\n", 1)
    path.write_text(text, encoding="utf-8")
    before = outside_of(store)
    assert [one for one in verify(fresh(store)).findings if one.fault.breaks]
    assert outside_of(store) == before


@pytest.mark.parametrize("name", NAMES)
def test_a_module_of_any_name_is_written_below_the_folder_or_refused(store, name):
    baseline, record = baseline_of(np.arange(4.0))
    before = outside_of(store)
    with contextlib.suppress(ReproError):
        store.write(KEY, name, [baseline], [record])
    assert outside_of(store) == before


@pytest.mark.parametrize("name", [UP, "/etc/passwd", "../" * 20 + "etc/passwd", "A" * 64, "0" * 63])
@pytest.mark.parametrize("field", ["value", "digest", "noise"])
def test_a_digest_that_is_a_path_is_refused(store, field, name):
    path = store.manifest_path(KEY, MODULE)
    text = path.read_text(encoding="utf-8")
    at = text.index(f"{field}: ") + len(f"{field}: ")
    ends = min(text.index(stop, at) for stop in (",", "}", "\n") if stop in text[at:])
    path.write_text(f"{text[:at]}{json.dumps(name)}{text[ends:]}", encoding="utf-8")
    with pytest.raises(CorruptBaseline, match="cannot be read"):
        fresh(store).manifest(KEY, MODULE)


@pytest.mark.parametrize("what", ["tensor", "its folder", "tensors", "manifest", "hardware"])
def test_a_link_out_of_the_folder_is_refused_wherever_it_is(store, what, tmp_path):
    (baseline,) = store.manifest(KEY, MODULE)
    digest = baseline.tensors[0].digest
    tensor, manifest = store.tensor_path(digest), store.manifest_path(KEY, MODULE)
    place = {
        "tensor": tensor,
        "its folder": tensor.parent,
        "tensors": tensor.parents[1],
        "manifest": manifest,
        "hardware": store.folder / KEY.hardware,
    }[what]
    moved = tmp_path / "moved"
    place.rename(moved)
    place.symlink_to(moved)
    reads_tensor = what not in ("manifest", "hardware")
    reader = fresh(store)
    with pytest.raises(StoreError, match="out of the baselines folder"):
        _ = reader.tensor(digest) if reads_tensor else reader.manifest(KEY, MODULE)
    other, record = baseline_of(np.arange(5.0))
    before = outside_of(store)
    if not reads_tensor:
        with pytest.raises(StoreError, match="out of the baselines folder"):
            fresh(store).write(KEY, MODULE, [other], [record])
        assert outside_of(store) == before


@pytest.mark.parametrize("name", ["../../../etc/passwd", "/etc/passwd", "observed/../../x.yaml"])
def test_a_report_that_names_a_file_outside_is_refused(store, name, tmp_path):
    document = json.loads(READERS["report"].seeds[0])
    document["files"] = {name: "0" * 64}
    document["digest"] = seal(document)
    report = read_report(json.dumps(document), where="report.json")
    with pytest.raises(CorruptBaseline, match="a manifest was added or removed"):
        open_observed(tmp_path, report.files)


def test_a_key_that_leads_out_is_never_a_folder_of_its_own(store):
    before = outside_of(store)
    baseline, record = baseline_of(np.arange(4.0))
    with pytest.raises(ReproError):
        store.write(EnvironmentKey("..", ".."), MODULE, [baseline], [record])
    assert outside_of(store) == before
