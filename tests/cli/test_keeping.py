"""policy, prune and gc: what they name, what they refuse, and what they never touch."""

from __future__ import annotations

import json
import os
import textwrap
from dataclasses import replace

import numpy as np
import pytest

from pytest_repro.model.ids import CheckId, EnvironmentKey
from pytest_repro.tensors.record import make_record
from pytest_repro.trace.records import measure_signal
from tests.cli.stores import (
    CLEAN,
    IMAGE,
    LATENTS,
    NEW,
    OLD,
    fill,
    put,
    run,
    store_in,
    tensor_file,
)
from tests.store.test_repack import trace
from tests.trace.older import old_rows

POLICY = """\
schema: 1
rules:
  - check: "tests/models/*"
    tolerance: measured
    factor: 4
  - check: "*::test_ddim::image"
    tolerance: {rel_l2: 1.0e-5}
    reason: "the reviewer said so"
  - check: "tests/model/*"
    reference: own
"""


def _snapshot(root):
    return {
        path.relative_to(root): path.read_bytes()
        for path in sorted((root / "baselines").rglob("*"))
        if path.is_file()
    }


def _policy(root, text=POLICY):
    (root / "baselines" / "policy.yaml").write_text(text)


def test_policy_explain_names_rule_line_reason_and_what_it_overrides(tmp_path, capsys):
    fill(tmp_path)
    _policy(tmp_path)
    assert run(tmp_path, "policy", "explain", "test_ddim::image") == 0
    out = capsys.readouterr().out
    for word in ("rel_l2 <= 1e-05", "line 7", "the reviewer said so", "overrides line 4"):
        assert word in out
    assert run(tmp_path, "policy", "explain", "tests/models/new.py::test::image", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert [(one["field"], one["text"]) for one in document["decisions"]] == [
        ("tolerance", "measured"),
        ("factor", "4"),
    ]
    assert document["undecided"] == ["reference", "ceiling", "inputs"]
    assert run(tmp_path, "policy", "explain", "never-recorded") == 2
    assert "no check is or contains" in capsys.readouterr().err


def test_policy_check_names_rules_that_match_nothing(tmp_path, capsys):
    fill(tmp_path)
    _policy(tmp_path)
    assert run(tmp_path, "policy", "check") == 1
    out = capsys.readouterr().out
    assert "line 9: 'tests/model/*' matches none" in out
    assert "3 rules against 2 checks: 1 without a match" in out
    _policy(tmp_path, POLICY.replace("tests/model/*", "*"))
    assert run(tmp_path, "policy", "check") == 0
    _policy(tmp_path, POLICY.replace("factor", "facter"))
    assert run(tmp_path, "policy", "check") == 2
    said = capsys.readouterr().err
    assert " baselines/policy.yaml:" in said
    assert str(tmp_path) not in said


SUITE = """
    import pytest

    def test_ddim(): ...

    class TestBatch:
        @pytest.mark.parametrize("x", ["float16-1"])
        def test_four(self, x): ...
"""


def _suite(root, text=SUITE):
    path = root / IMAGE.module
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    (root / "pytest.ini").write_text("[pytest]\n")
    return path


def _prune(root, capsys, *arguments):
    code = run(root, "prune", *arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture(autouse=True)
def _inner_pytest_finds_the_package(monkeypatch):
    here = str(__import__("pathlib").Path(__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([here, os.environ.get("PYTHONPATH", "")]))
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    # Start-up of everything else that is installed is no part of the claim.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


def test_prune_finds_nothing_where_every_test_is_there(tmp_path, capsys):
    fill(tmp_path)
    _suite(tmp_path)
    before = _snapshot(tmp_path)
    code, out, _ = _prune(tmp_path, capsys, "--yes")
    assert (code, out) == (0, "0 entries deleted; pytest-repro gc frees their tensors\n")
    assert _snapshot(tmp_path) == before


def test_prune_shows_orphans_first_and_deletes_them_only_when_told(tmp_path, capsys):
    store = fill(tmp_path)
    _suite(tmp_path, SUITE.replace("test_ddim", "test_renamed"))
    gone = CheckId("tests/test_deleted.py", "test_x", "image")
    put(store, gone, OLD, CLEAN)
    before = _snapshot(tmp_path)
    code, out, _ = _prune(tmp_path, capsys)
    assert code == 0
    assert out.count(str(IMAGE)) == 3
    assert out.count(str(gone)) == 1
    assert str(LATENTS) not in out
    assert "4 entries would be deleted" in out
    assert _snapshot(tmp_path) == before
    code, out, _ = _prune(tmp_path, capsys, "--yes")
    assert (code, "4 entries deleted" in out) == (0, True)
    left = store_in(tmp_path)
    assert set(left.index(NEW, IMAGE.module)) == {LATENTS.entry}
    assert left.modules(OLD) == (IMAGE.module,)
    assert run(tmp_path, "verify") == 0


@pytest.mark.parametrize(
    ("ini", "text", "why"),
    [
        ("addopts = -k ddim", SUITE, "--keyword narrows it: 'ddim'"),
        ("addopts = -m 'not slow'\nmarkers = slow", SUITE, "--markexpr narrows it"),
        ("addopts = --ignore=tests/other", SUITE, "--ignore narrows it"),
        ("addopts = --deselect tests/models/test_ddim.py::test_ddim", SUITE, "deselected"),
        ("addopts = tests/models", SUITE, "path arguments narrow it"),
        ("", "import no_such_module_anywhere", "test_ddim.py cannot be collected"),
        ("", "", "pytest collected no tests"),
    ],
)
def test_prune_refuses_a_collection_that_is_not_whole(tmp_path, capsys, ini, text, why):
    fill(tmp_path)
    _suite(tmp_path, text)
    (tmp_path / "pytest.ini").write_text(f"[pytest]\n{ini}\n")
    before = _snapshot(tmp_path)
    code, _, error = _prune(tmp_path, capsys, "--yes")
    assert code == 2
    assert why in error
    assert _snapshot(tmp_path) == before


def test_prune_refuses_a_shard_whose_plugin_drops_tests_without_a_word(tmp_path, capsys):
    fill(tmp_path)
    _suite(tmp_path)
    shard = "def pytest_collection_modifyitems(items):\n    items[:] = items[::2]\n"
    (tmp_path / "conftest.py").write_text(shard)
    before = _snapshot(tmp_path)
    code, _, error = _prune(tmp_path, capsys, "--yes")
    assert code == 2
    assert "1 collected tests were removed by a plugin" in error
    assert _snapshot(tmp_path) == before


@pytest.mark.parametrize(
    "text",
    [
        'import pytest\npytest.skip("needs Ascend", allow_module_level=True)\n',
        'import pytest\npytest.importorskip("no_such_module_anywhere")\n',
    ],
)
def test_prune_keeps_what_a_skipped_module_holds(tmp_path, capsys, text):
    store = fill(tmp_path)
    _suite(tmp_path)
    skipped = CheckId("tests/test_ascend.py", "test_x", "image")
    put(store, skipped, NEW, CLEAN)
    (tmp_path / skipped.module).write_text(text)
    before = _snapshot(tmp_path)
    code, out, _ = _prune(tmp_path, capsys, "--yes")
    assert code == 0
    kept = "1 check kept: the module or test exists but was not collected (tests/test_ascend.py)"
    assert kept in out
    assert _snapshot(tmp_path) == before


def test_prune_deletes_the_check_that_is_named_without_collecting(tmp_path, capsys):
    store = fill(tmp_path)
    put(store, CheckId(IMAGE.module, IMAGE.test, "image-2"), OLD, CLEAN)
    before = _snapshot(tmp_path)
    code, out, error = _prune(tmp_path, capsys, "--check", str(IMAGE), "--key", str(OLD))
    assert (code, "collecting" in error) == (0, False)
    assert "1 entry would be deleted" in out
    assert "image-2" not in out
    assert _snapshot(tmp_path) == before
    code, out, _ = _prune(tmp_path, capsys, "--check", str(IMAGE), "--yes")
    assert (code, "3 entries deleted" in out) == (0, True)
    left = store_in(tmp_path)
    assert set(left.index(NEW, IMAGE.module)) == {LATENTS.entry}
    assert f"{IMAGE.test}::image-2" in left.index(OLD, IMAGE.module)
    code, out, _ = _prune(tmp_path, capsys, "--check", "*::image-2", "--yes")
    assert (code, "1 entry deleted" in out) == (0, True)
    assert run(tmp_path, "verify") == 0


def test_prune_deletes_no_check_that_is_named_in_part(tmp_path, capsys):
    fill(tmp_path)
    before = _snapshot(tmp_path)
    code, _, error = _prune(tmp_path, capsys, "--check", "image", "--yes")
    assert code == 2
    assert "no check is 'image'" in error
    assert f"{IMAGE} contains it" in error
    assert _snapshot(tmp_path) == before


def test_prune_looks_under_the_selected_keys_only(tmp_path, capsys):
    fill(tmp_path)
    _suite(tmp_path, SUITE.replace("test_ddim", "test_renamed"))
    code, out, _ = _prune(tmp_path, capsys, "--key", str(OLD), "--yes")
    assert (code, "1 entry deleted" in out) == (0, True)
    assert IMAGE.entry in store_in(tmp_path).index(NEW, IMAGE.module)


def test_prune_says_when_pytest_cannot_run(tmp_path, capsys):
    fill(tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    code, _, error = _prune(tmp_path, capsys)
    assert code == 2
    assert "ended with exit code 4" in error
    code, _, error = _prune(tmp_path, capsys, "--python", str(tmp_path / "no-python"))
    assert (code, "cannot run" in error) == (2, True)


def _with_garbage(root):
    store = fill(root)
    orphan = make_record(np.arange(5.0))
    store.write(NEW, "tests/test_gone.py", [], [orphan])
    (root / "baselines" / NEW.hardware / NEW.framework / "tests" / "test_gone.yaml").unlink()
    left = root / "baselines" / NEW.hardware / ".test_ddim.yaml.abc.tmp"
    left.write_text("half")
    return tensor_file(root, np.arange(5.0)), left


def test_gc_takes_unnamed_tensors_and_old_temporary_files_only(tmp_path, capsys):
    tensor, left = _with_garbage(tmp_path)
    whole = _snapshot(tmp_path)
    assert run(tmp_path, "gc", "--yes") == 0
    out = capsys.readouterr().out
    assert "2 files kept: written less than 3600 s ago" in out
    assert _snapshot(tmp_path) == whole
    assert run(tmp_path, "gc", "--older-than-s", "0") == 0
    assert "1 tensor that no manifest names, 1 temporary file" in capsys.readouterr().out
    assert _snapshot(tmp_path) == whole
    assert run(tmp_path, "gc", "--older-than-s", "0", "--yes") == 0
    assert "deleted" in capsys.readouterr().out
    doomed = {tensor.relative_to(tmp_path), left.relative_to(tmp_path)}
    assert _snapshot(tmp_path) == {k: v for k, v in whole.items() if k not in doomed}
    assert run(tmp_path, "verify") == 0


def test_gc_keeps_tensors_of_draws_that_were_stored_for_a_replay(tmp_path, capsys):
    store = fill(tmp_path)
    noise = make_record(np.random.Generator(np.random.PCG64(0)).standard_normal((2, 3)))
    store.write(NEW, IMAGE.module, [], [noise])
    assert run(tmp_path, "gc", "--older-than-s", "0", "--yes") == 0
    assert "0 tensors" in capsys.readouterr().out
    assert store.tensor_path(noise.digest).is_file()


def test_gc_refuses_where_a_manifest_cannot_be_read(tmp_path, capsys):
    tensor, _ = _with_garbage(tmp_path)
    manifest = next((tmp_path / "baselines" / OLD.hardware).rglob("*.yaml"))
    manifest.write_text(manifest.read_text()[:200])
    assert run(tmp_path, "gc", "--older-than-s", "0", "--yes") == 3
    assert manifest.name in capsys.readouterr().err
    assert tensor.is_file()


@pytest.mark.parametrize("age", ["-1", "nan", "inf", "soon"])
def test_gc_refuses_an_age_that_is_none(tmp_path, capsys, age):
    fill(tmp_path)
    assert run(tmp_path, "gc", f"--older-than-s={age}") == 2
    assert "--older-than-s" in capsys.readouterr().err


ELSEWHERE = EnvironmentKey("ascend910b1", "mindspore-2.10.0")


def test_prune_leaves_other_kinds_of_hardware_alone_unless_their_key_is_named(tmp_path, capsys):
    store = fill(tmp_path)
    _suite(tmp_path, SUITE.replace("test_ddim", "test_renamed"))
    put(store, IMAGE, ELSEWHERE, CLEAN)
    code, out, _ = _prune(tmp_path, capsys, "--yes")
    assert code == 0
    assert f"other hardware than cpu, left alone without --key: {ELSEWHERE}" in out
    assert "3 entries deleted" in out
    assert IMAGE.entry in store_in(tmp_path).index(ELSEWHERE, IMAGE.module)
    code, out, _ = _prune(tmp_path, capsys, "--key", "ascend", "--yes")
    assert (code, "1 entry deleted" in out) == (0, True)


@pytest.mark.parametrize("there", ["0", "1"])
def test_prune_keeps_a_test_that_is_defined_under_a_condition(tmp_path, capsys, monkeypatch, there):
    fill(tmp_path)
    below = textwrap.indent(textwrap.dedent(SUITE), "    ")
    always = "def test_always():\n    pass\n"
    _suite(tmp_path, f"{always}import os\nif os.environ['THERE'] == '1':\n{below}")
    monkeypatch.setenv("THERE", there)
    before = _snapshot(tmp_path)
    code, out, _ = _prune(tmp_path, capsys, "--yes")
    assert code == 0
    assert "0 entries deleted" in out
    assert ("exists but was not collected" in out) == (there == "0")
    assert _snapshot(tmp_path) == before


def test_gc_repacks_older_traces_only_when_told(tmp_path, capsys):
    store = fill(tmp_path)
    rows = tuple(old_rows(trace(measure_signal)))
    store.write_rows({rows[0][-1]: rows})
    store.write(NEW, IMAGE.module, [replace(store.baseline(NEW, IMAGE), trace=rows[0][-1])], ())
    whole = _snapshot(tmp_path)
    assert run(tmp_path, "gc", "--repack") == 0
    assert "1 trace of an older format would be rewritten" in capsys.readouterr().out
    assert _snapshot(tmp_path) == whole
    assert run(tmp_path, "gc", "--repack", "--yes") == 0
    assert "1 trace rewritten: " in capsys.readouterr().out
    assert not store.record_path(rows[0][-1]).exists()
    assert run(tmp_path, "verify") == 0
    assert run(tmp_path, "gc", "--repack") == 0
    assert "0 traces of an older format" in capsys.readouterr().out
