"""list, show, diff, matrix, history and sensitivity say what the stored arrays say."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from pytest_repro.errors import CorruptBaseline
from pytest_repro.model.ids import CheckId, EnvironmentKey
from pytest_repro.store.select import by_version
from pytest_repro.tensors.compare import compare_records
from pytest_repro.tensors.record import make_record
from tests.cli.stores import (
    CLEAN,
    IMAGE,
    LATENTS,
    NEW,
    OLD,
    SSE,
    fill,
    put,
    run,
    store_in,
    tensor_file,
)


def _json(capsys):
    return json.loads(capsys.readouterr().out)


def _rel_l2(first, second):
    return compare_records(make_record(first), make_record(second)).rel_l2


def test_list_counts_keys_and_selects_by_glob_part_and_key(tmp_path, capsys):
    fill(tmp_path)
    assert run(tmp_path, "list") == 0
    out = capsys.readouterr().out
    assert f"{IMAGE}" in out
    assert f"{LATENTS}" in out
    assert "2 checks under 3 keys" in out
    assert run(tmp_path, "list", "*::image", "--key", "sse41", "--json") == 0
    document = _json(capsys)
    assert document["keys"] == [str(SSE)]
    assert document["checks"] == [{"check": str(IMAGE), "keys": [str(SSE)]}]
    assert run(tmp_path, "list", "[float16-1]", "--json") == 0
    assert [one["check"] for one in _json(capsys)["checks"]] == [str(LATENTS)]
    assert run(tmp_path, "list", "nothing-has-this") == 0
    assert "0 checks" in capsys.readouterr().out


def test_an_empty_folder_lists_nothing_and_a_key_that_is_not_there_is_refused(tmp_path, capsys):
    store_in(tmp_path).folder.mkdir()
    assert run(tmp_path, "list") == 0
    assert capsys.readouterr().out == "0 checks under 0 keys\n"
    assert run(tmp_path, "matrix") == 0
    assert capsys.readouterr().out == "no key has a baseline\n"
    fill(tmp_path)
    assert run(tmp_path, "list", "--key", "ascend") == 2
    error = capsys.readouterr().err
    assert "no key is or contains 'ascend'" in error
    assert str(NEW) in error


def test_show_gives_digests_statistics_noise_envelope_and_facts(tmp_path, capsys):
    fill(tmp_path)
    assert run(tmp_path, "show", "test_ddim::image", "--key", "2.10.0") == 0
    out = capsys.readouterr().out
    record = make_record(CLEAN)
    for word in (
        str(NEW),
        str(SSE),
        record.digest,
        "float32 (4, 8)",
        "draw 1 of 1: standard_normal (2, 3) float64, generator 0",
        "generators PCG64(0)",
        "one float32 ULP; 1 run: rel_l2 up to 1e-05",
        "fact        cann.version 8.0",
        "2026-01-02T03:04:05Z",
    ):
        assert word in out
    assert str(OLD) not in out
    assert run(tmp_path, "show", "image", "--json") == 0
    assert [row["key"] for row in _json(capsys)["baselines"]] == [str(OLD), str(NEW), str(SSE)]


@pytest.mark.parametrize(("text", "words"), [("nope", "no check is"), ("test", "selects 2 checks")])
def test_show_wants_one_check_and_names_the_others(tmp_path, capsys, text, words):
    fill(tmp_path)
    assert run(tmp_path, "show", text) == 2
    error = capsys.readouterr().err
    assert words in error
    assert str(LATENTS) in error


def test_diff_is_exact_or_says_how_far(tmp_path, capsys):
    fill(tmp_path)
    assert run(tmp_path, "diff", "2.9.0", "avx2-2c/mindspore-2.10.0", "--check", "image") == 0
    assert "1 check exact, 0 not" in capsys.readouterr().out
    assert run(tmp_path, "diff", str(OLD), str(NEW), "--json") == 1
    document = _json(capsys)
    relations = {one["check"]: one for one in document["checks"]}
    assert relations[str(IMAGE)]["relation"] == "exact"
    latents = relations[str(LATENTS)]
    assert latents["relation"] == "different"
    rel_l2 = _rel_l2(CLEAN + 1, CLEAN + np.float32(1.001))
    assert latents["distances"][0]["rel_l2"] == rel_l2
    assert run(tmp_path, "diff", str(OLD), str(NEW)) == 1
    assert f"{rel_l2:.3g}" in capsys.readouterr().out


def test_diff_names_one_sided_checks_other_noise_and_estimates(tmp_path, capsys):
    store = fill(tmp_path)
    put(store, CheckId(IMAGE.module, "test_new", "image"), NEW, CLEAN)
    put(store, CheckId(IMAGE.module, "test_old", "image"), OLD, CLEAN)
    put(store, CheckId(IMAGE.module, "test_seed", "image"), OLD, CLEAN, seed=0)
    put(store, CheckId(IMAGE.module, "test_seed", "image"), NEW, CLEAN, seed=1)
    tensor_file(tmp_path, CLEAN + 1).unlink()
    assert run(tmp_path, "diff", str(OLD), str(NEW)) == 1
    rows = {
        line.split("::")[1]: line for line in capsys.readouterr().out.splitlines() if "::" in line
    }
    assert "only second" in rows["test_new"]
    assert "only first" in rows["test_old"]
    assert "noise" in rows["test_seed"]
    assert "~" in rows["TestBatch"]
    assert "tensor absent" in rows["TestBatch"]


def test_diff_wants_one_key_a_side(tmp_path, capsys):
    fill(tmp_path)
    assert run(tmp_path, "diff", "avx2", str(SSE)) == 2
    assert "selects 2 keys" in capsys.readouterr().err


def test_matrix_shows_groups_axes_and_distances(tmp_path, capsys):
    fill(tmp_path)
    assert run(tmp_path, "matrix") == 0
    out = capsys.readouterr().out
    rows = {line.split("::")[1]: line.split()[-3:] for line in out.splitlines() if "::" in line}
    assert rows["test_ddim"] == ["A", "A", "B"]
    assert rows["TestBatch"] == ["A", "B", "C"]
    assert "mindspore-2.9.0  mindspore-2.10.0  1 of 2  50.0%" in out
    assert run(tmp_path, "matrix", "--far", "--check", "image", "--json", "-") == 0
    (check,) = _json(capsys)["checks"]
    (distance,) = check["distances"]
    assert distance["rel_l2"] == _rel_l2(CLEAN, CLEAN * np.float32(1 + 1e-6))


def test_matrix_far_says_what_is_within_the_envelope_and_what_a_policy_forbids(tmp_path, capsys):
    fill(tmp_path)
    image = ["matrix", "--far", "--check", "image"]
    assert run(tmp_path, *image) == 0
    assert "1 differ, 1 of them by no more than the tolerance" in capsys.readouterr().out
    rule = "schema: 1\nrules:\n  - check: '*'\n    tolerance: {rel_l2: 1.0e-7}\n    reason: x\n"
    (tmp_path / "baselines" / "policy.yaml").write_text(rule)
    assert run(tmp_path, *image) == 0
    out = capsys.readouterr().out
    assert "1 differ, 0 of them by no more than the tolerance" in out
    assert re.search(r"test_ddim::image +A +A +B! ", out)
    assert re.search(r"avx2-2c +cpu-x86_64-sse41-2c +0 of 1 +0.0% +0 +1$", out, re.MULTILINE)
    (tmp_path / "baselines" / "policy.yaml").write_text("schema: 1\nrule: []\n")
    assert run(tmp_path, *image) == 2
    assert "policy.yaml" in capsys.readouterr().err
    assert run(tmp_path, "matrix") == 0  # nothing is judged, so nothing is asked


def test_matrix_marks_estimates_and_writes_both_files(tmp_path, capsys):
    fill(tmp_path)
    tensor_file(tmp_path, CLEAN).unlink()
    files = [str(tmp_path / "m.html"), str(tmp_path / "m.json")]
    arguments = ["matrix", "--far", "--check", "image", "--html", files[0], "--json", files[1]]
    assert run(tmp_path, *arguments) == 0
    assert " ~" in capsys.readouterr().out
    assert "rel_l2 about" in (tmp_path / "m.html").read_text()
    written = json.loads((tmp_path / "m.json").read_text())
    assert written["checks"][0]["distances"][0]["is_estimate"]
    assert run(tmp_path, "matrix", "--html", str(tmp_path / "absent" / "m.html")) == 3
    assert "cannot write" in capsys.readouterr().err


def test_matrix_without_far_parses_no_block(tmp_path, capsys, monkeypatch):
    fill(tmp_path)

    def refuse(text, *, where):
        raise CorruptBaseline("a block was parsed", where=where)

    monkeypatch.setattr("pytest_repro.store.manifest.load_yaml", refuse)
    assert run(tmp_path, "matrix") == 0
    assert "A" in capsys.readouterr().out
    assert run(tmp_path, "matrix", "--far") == 3
    assert "a block was parsed" in capsys.readouterr().err


def test_history_follows_versions_from_the_oldest_on_each_hardware(tmp_path, capsys):
    store = fill(tmp_path)
    newest = EnvironmentKey(OLD.hardware, "mindspore-2.11.0")
    put(store, IMAGE, newest, CLEAN * np.float32(2))
    assert run(tmp_path, "history", "test_ddim::image", "--json") == 0
    rows = _json(capsys)["rows"]
    assert [row["key"] for row in rows] == [str(key) for key in (OLD, NEW, newest, SSE)]
    assert [row["since"] for row in rows] == ["", "exact", "different", ""]
    assert rows[2]["rel_l2"] == 1.0
    assert run(tmp_path, "history", "test_ddim::image") == 0
    assert capsys.readouterr().out.count("(first)") == 2


def test_history_calls_equal_bits_of_other_noise_as_a_diff_does(tmp_path, capsys):
    store = fill(tmp_path)
    put(store, IMAGE, NEW, CLEAN, seed=1)
    assert run(tmp_path, "history", "test_ddim::image", "--key", OLD.hardware, "--json") == 0
    assert [row["since"] for row in _json(capsys)["rows"]] == ["", "noise"]
    assert run(tmp_path, "diff", str(OLD), str(NEW), "--check", "test_ddim::image", "--json") == 1
    assert "noise" in capsys.readouterr().out


def test_versions_are_ordered_as_versions():
    texts = ["2.9.0", "2.10.0rc1", "2.10.0", "2.10.1", "2.7.0"]
    keys = [EnvironmentKey("h", f"mindspore-{text}") for text in texts]
    ordered = [key.framework.partition("-")[2] for key in sorted(keys, key=by_version)]
    assert ordered == ["2.7.0", "2.9.0", "2.10.0rc1", "2.10.0", "2.10.1"]


def test_sensitivity_lists_checks_with_an_envelope_only(tmp_path, capsys):
    fill(tmp_path)
    assert run(tmp_path, "sensitivity", "--json") == 0
    rows = _json(capsys)["rows"]
    assert [(row["check"], row["key"]) for row in rows] == [
        (str(IMAGE), str(OLD)),
        (str(IMAGE), str(NEW)),
    ]
    moved = _rel_l2(CLEAN, CLEAN * np.float32(1 + 1e-5))
    assert rows[0]["amplification"] == pytest.approx(moved / 2.0**-24)
    assert rows[0]["digits"] == pytest.approx(-np.log10(moved))
    assert run(tmp_path, "sensitivity") == 0
    out = capsys.readouterr().out
    assert out.count(str(IMAGE)) == 1
    assert "2 tensors; 0 keep less than one digit" in out
    assert run(tmp_path, "sensitivity", "--each-key") == 0
    assert capsys.readouterr().out.count(str(IMAGE)) == 2
    assert run(tmp_path, "sensitivity", "--check", "latents") == 0
    assert "no selected check has an envelope" in capsys.readouterr().out


def test_env_prints_the_key_and_marks_what_changes_bits(tmp_path, capsys):
    assert run(tmp_path, "env", "--framework", "numpy", "--json") == 0
    document = _json(capsys)
    assert document["key"].endswith(f"/numpy-{np.__version__}")
    assert document["facts"]
    assert run(tmp_path, "env", "--framework", "numpy") == 0
    out = capsys.readouterr().out
    assert f"key  {document['key']}" in out
    marked = [line.split()[1] for line in out.splitlines() if line.startswith("* ")]
    changing = [fact["name"] for fact in document["facts"] if fact["changes_bits"]]
    assert marked[: len(changing)] == changing


def test_an_id_in_an_odd_script_survives_a_terminal_that_lacks_it(
    tmp_path, monkeypatch, capfdbinary
):
    import io
    import sys

    store = store_in(tmp_path)
    put(store, CheckId("tests/test_a.py", "test_ß☃", "image"), NEW, CLEAN)
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", narrow)
    assert run(tmp_path, "list") == 0
    narrow.flush()
    assert b"test_\\xdf\\u2603" in narrow.buffer.getvalue()


def test_show_writes_a_stored_image_that_a_viewer_reads(tmp_path, capsys):
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.Generator(np.random.PCG64(1)).integers(0, 256, (2, 9, 12, 3), np.uint8)
    store, path = store_in(tmp_path), tmp_path / "out.png"
    put(store, IMAGE, NEW, pixels)
    put(store, LATENTS, NEW, CLEAN)
    assert run(tmp_path, "show", str(IMAGE), "--image", str(path)) == 0
    assert str(NEW) in capsys.readouterr().out
    assert np.array_equal(np.asarray(image.open(path)), pixels.reshape(18, 12, 3))
    assert run(tmp_path, "show", str(LATENTS), "--image", str(path)) == 2
    assert "shape of an image" in capsys.readouterr().err
    put(store, IMAGE, OLD, pixels[:1])
    assert run(tmp_path, "show", str(IMAGE), "--image", str(path)) == 2
    assert "choose one with --key" in capsys.readouterr().err
    tensor_file(tmp_path, pixels).unlink()
    assert run(tmp_path, "show", str(IMAGE), "--key", str(NEW), "--image", str(path)) == 3
    assert "pytest-repro pull" in capsys.readouterr().err


def test_misspelt_check_is_answered_with_the_nearest(tmp_path, capsys):
    fill(tmp_path)
    assert run(tmp_path, "show", "imgae") == 2
    error = capsys.readouterr().err
    assert f"did you mean {IMAGE}" in error
    assert str(LATENTS) not in error
    assert run(tmp_path, "show", "zzz") == 2
    assert "did you mean" not in capsys.readouterr().err
