"""rename: baselines follow their test, whole and under every key, and overwrite nothing."""

from __future__ import annotations

import pytest

from pytest_repro.model.ids import CheckId
from tests.cli.stores import CLEAN, IMAGE, LATENTS, NEW, OLD, SSE, fill, put, run, store_in

MOVED = "tests/pipelines/test_ddim.py"


def _snapshot(root):
    return {
        path.relative_to(root): path.read_bytes()
        for path in sorted((root / "baselines").rglob("*"))
        if path.is_file()
    }


def _rename(root, capsys, *arguments):
    code = run(root, "rename", *arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize(
    ("old", "new", "checks"),
    [
        (IMAGE.module, MOVED, {IMAGE: MOVED, LATENTS: MOVED}),
        ("tests/models", "tests/pipelines/", {IMAGE: MOVED, LATENTS: MOVED}),
        (f"{IMAGE.module}::test_ddim", f"{MOVED}::test_ddim", {IMAGE: MOVED}),
        (str(LATENTS), f"{MOVED}::{LATENTS.entry}", {LATENTS: MOVED}),
    ],
)
def test_what_is_stored_follows_under_every_key(tmp_path, capsys, old, new, checks):
    store = fill(tmp_path)
    before = {
        (key, check): store.baseline(key, check)
        for key in (OLD, NEW, SSE)
        for check in checks
        if check.entry in store.index(key, check.module)
    }
    files = _snapshot(tmp_path)
    code, out, _ = _rename(tmp_path, capsys, old, new)
    assert code == 0
    assert "would be renamed; --yes renames" in out
    assert _snapshot(tmp_path) == files
    code, out, _ = _rename(tmp_path, capsys, old, new, "--yes")
    assert (code, f"{len(before)} entries under 3 keys renamed" in out) == (0, True)
    left = store_in(tmp_path)
    for (key, check), baseline in before.items():
        assert check.entry not in left.index(key, check.module)
        renamed = left.baseline(key, CheckId(checks[check], check.test, check.name))
        assert renamed.tensors == baseline.tensors
        assert renamed.draw_log == baseline.draw_log
        assert renamed.provenance == baseline.provenance
    assert run(tmp_path, "verify") == 0
    # There and back again is where it began, to the byte.
    assert _rename(tmp_path, capsys, new, old, "--yes")[0] == 0
    assert _snapshot(tmp_path) == files


def test_parameters_follow_their_test_and_longer_names_do_not(tmp_path, capsys):
    store = store_in(tmp_path)
    for test in ("test_a[1]", "test_a[2]", "test_ab[1]", "test_a2"):
        put(store, CheckId(IMAGE.module, test, "image"), NEW, CLEAN)
    module = IMAGE.module
    code, _, _ = _rename(tmp_path, capsys, f"{module}::test_a", f"{module}::test_b", "--yes")
    assert code == 0
    assert set(store_in(tmp_path).index(NEW, module)) == {
        "test_b[1]::image",
        "test_b[2]::image",
        "test_ab[1]::image",
        "test_a2::image",
    }


def test_only_the_selected_keys_are_renamed(tmp_path, capsys):
    fill(tmp_path)
    code, _, _ = _rename(tmp_path, capsys, IMAGE.module, MOVED, "--key", str(OLD), "--yes")
    assert code == 0
    left = store_in(tmp_path)
    assert left.modules(OLD) == (MOVED,)
    assert left.modules(NEW) == (IMAGE.module,)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("tests/mod", "tests/m", "no stored check has the id 'tests/mod' or begins with it"),
        ("test_ddim", "test_image", "test_ddim.py::test_ddim::image contains it"),
        (f"{IMAGE.module}::test_ddim", MOVED, "is not the id of a check"),
        (IMAGE.module, "tests/pipelines", "is not the id of a check"),
        (str(IMAGE), str(LATENTS), f"'{LATENTS}' already has baselines"),
        (IMAGE.module, IMAGE.module, "already"),
    ],
)
def test_what_cannot_be_meant_changes_nothing(tmp_path, capsys, old, new, words):
    fill(tmp_path)
    before = _snapshot(tmp_path)
    code, _, error = _rename(tmp_path, capsys, old, new, "--yes")
    assert code == 2
    assert words in error
    assert _snapshot(tmp_path) == before


def test_rules_that_are_left_behind_are_named(tmp_path, capsys):
    fill(tmp_path)
    rules = ("tests/models/*", "*::image", "tests/other/*")
    text = "schema: 1\nrules:\n" + "".join(
        f'  - check: "{rule}"\n    reference: own\n' for rule in rules
    )
    (tmp_path / "baselines" / "policy.yaml").write_text(text, encoding="utf-8")
    _, out, _ = _rename(tmp_path, capsys, IMAGE.module, MOVED)
    assert "line 3: 'tests/models/*' matches an old id, not the new" in out
    assert out.count("matches an old id") == 1
