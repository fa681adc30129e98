"""A manifest that was cut, edited, merged or moved is corrupt; a reformatted one is read."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from pytest_repro.errors import CorruptBaseline, NewerSchema, OlderSchema
from pytest_repro.model.ids import CheckId, EnvironmentKey
from pytest_repro.store.manifest import Manifest, decode_index, decode_manifest, encode_manifest
from tests.cli.stores import CLEAN, IMAGE, MODULE, NEW, OLD, baseline_of, put, store_in

CHECKS = [CheckId(MODULE, f"test_{letter}", "image") for letter in "abc"]
BASELINES = tuple(
    baseline_of(check, NEW, np.arange(4.0) + number, seed=number)[0]
    for number, check in enumerate(CHECKS)
)
TEXT = encode_manifest(Manifest(NEW, MODULE, BASELINES))
LINES = TEXT.splitlines(keepends=True)


def index_line(test: str) -> str:
    return next(line for line in LINES if line.startswith(f"  {test}::image: {{value"))


def refuse(text: str) -> CorruptBaseline:
    """What reading the index says; it must refuse."""
    with pytest.raises(CorruptBaseline) as caught:
        decode_index(text, where="m.yaml")
    with pytest.raises(CorruptBaseline):
        decode_manifest(text, where="m.yaml")
    return caught.value


def test_the_text_itself_is_read():
    assert decode_manifest(TEXT, where="m").baselines == BASELINES
    assert len(decode_index(TEXT, where="m").entries) == 3


def test_a_text_that_was_cut_is_corrupt():
    ends = {at + near for at in range(len(TEXT)) if TEXT[at] == "\n" for near in (-1, 0, 1)}
    for end in sorted({*ends, *range(1, len(TEXT), 41)} & set(range(1, len(TEXT)))):
        with pytest.raises(CorruptBaseline):
            decode_index(TEXT[:end], where="m")


def test_a_line_of_another_side_of_a_merge_is_corrupt():
    changed = baseline_of(CHECKS[0], NEW, np.arange(4.0) + 9)[0]
    other = encode_manifest(Manifest(NEW, MODULE, (changed, *BASELINES[1:])))
    theirs = next(line for line in other.splitlines(keepends=True) if "test_a::image: {" in line)
    error = refuse(TEXT.replace(index_line("test_a"), theirs))
    assert "disagree" in error.what
    assert "test_a::image: index value" in str(error)


def test_the_line_of_another_check_is_corrupt():
    swapped = index_line("test_b").replace("test_b", "test_a")
    assert "disagree" in refuse(TEXT.replace(index_line("test_a"), swapped)).what


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("runs: 2", "runs: 3"),
        ("os.name: Linux", "os.name: Linus"),
        ("l2: ", "l2: 9"),
        ("dtype: float64", "dtype: float32"),
    ],
)
def test_a_block_that_was_edited_is_corrupt(old, new):
    assert old in TEXT
    refuse_by_parsing = TEXT.replace(old, new, 1)
    with pytest.raises(CorruptBaseline):
        decode_manifest(refuse_by_parsing, where="m")


def test_two_lines_of_a_block_that_changed_places_are_corrupt():
    at = next(n for n, line in enumerate(LINES) if line.startswith("      statistics:"))
    later = next(n for n, line in enumerate(LINES[at + 1 :], at + 1) if "statistics:" in line)
    lines = list(LINES)
    lines[at], lines[later] = lines[later], lines[at]
    refuse("".join(lines))


def test_duplicate_keys_are_corrupt():
    assert "duplicate key" in str(
        refuse(TEXT.replace(index_line("test_a"), index_line("test_a") * 2))
    )
    begin, end = (TEXT.index(f"  test_{letter}::image:\n") for letter in "ab")
    refuse(TEXT[:end] + TEXT[begin:end] + TEXT[end:])


@pytest.mark.parametrize("place", ["index", "block", "environments"])
def test_the_marks_of_a_merge_are_named(place):
    begin = {
        "index": TEXT.index(index_line("test_b")),
        "block": TEXT.index("  test_b::image:\n"),
        "environments": TEXT.index("environments:\n"),
    }[place]
    marked = f"{TEXT[:begin]}<<<<<<< HEAD\n=======\n>>>>>>> theirs\n{TEXT[begin:]}"
    assert "<<<<<<< HEAD" in str(refuse(marked))


def test_a_formatter_changes_nothing():
    documents = list(yaml.safe_load_all(TEXT))
    text = yaml.safe_dump_all(documents, sort_keys=False, default_flow_style=False, width=60)
    assert text != TEXT
    assert decode_index(text, where="m").entries == decode_index(TEXT, where="m").entries
    assert decode_manifest(text, where="m").baselines == BASELINES
    documents[1]["checks"]["test_a::image"]["recorded"]["runs"] = 9
    edited = yaml.safe_dump_all(documents, sort_keys=False, default_flow_style=False, width=60)
    assert "edited by hand" in str(refuse(edited))


def test_crlf_line_ends_are_read_and_written_back_as_lf(tmp_path):
    store = store_in(tmp_path)
    put(store, IMAGE, NEW, CLEAN)
    path = store.manifest_path(NEW, MODULE)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    again = store_in(tmp_path)
    assert again.index(NEW, MODULE)[IMAGE.entry].value
    assert [one.check for one in again.manifest(NEW, MODULE)] == [IMAGE]
    put(again, CheckId(MODULE, "test_other", "image"), NEW, CLEAN)
    assert b"\r" not in path.read_bytes()


@pytest.mark.parametrize("copied", [OLD, EnvironmentKey("cpu-x86_64-avx2-1c", NEW.framework)])
def test_a_manifest_in_a_folder_that_it_does_not_name_is_corrupt(tmp_path, copied):
    store = store_in(tmp_path)
    put(store, IMAGE, NEW, CLEAN)
    place = store.manifest_path(copied, MODULE)
    place.parent.mkdir(parents=True)
    place.write_bytes(store.manifest_path(NEW, MODULE).read_bytes())
    for read in (store_in(tmp_path).index, store_in(tmp_path).manifest):
        with pytest.raises(CorruptBaseline, match="not where it belongs") as caught:
            read(copied, MODULE)
        assert f"it names {NEW}" in str(caught.value)
    assert store_in(tmp_path).index(NEW, MODULE)


def test_another_schema_is_named_with_what_to_do():
    with pytest.raises(OlderSchema, match="schema 1") as older:
        decode_index(TEXT.replace("schema: 2", "schema: 1"), where="m")
    assert "pytest-repro migrate" in str(older.value)
    with pytest.raises(NewerSchema, match="schema 3"):
        decode_index(TEXT.replace("schema: 2", "schema: 3"), where="m")
