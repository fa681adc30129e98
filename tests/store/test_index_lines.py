"""The fast reader of an index gives what the codec gives, or nothing."""

from __future__ import annotations

import string
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_repro.errors import ReproError
from pytest_repro.model.ids import CheckId
from pytest_repro.store import manifest as codec
from pytest_repro.store.manifest import Manifest, encode_manifest, read_head, scan_index
from tests.cli.stores import MODULE, NEW, baseline_of

PLAIN = baseline_of(CheckId(MODULE, "test_a", "image"), NEW, np.zeros(2))[0]


def _text(*tests: str) -> str:
    baselines = [replace(PLAIN, check=CheckId(MODULE, test, "image")) for test in tests]
    return encode_manifest(Manifest(NEW, MODULE, tuple(baselines)))


def _head(text: str) -> str:
    return text.split("---\n", maxsplit=1)[0]


def test_plain_ids_are_read_fast_and_right():
    text = _text("test_a", "TestB::test_c[float16-1]", "test_d[x/y:z=1]")
    found = scan_index(_head(text))
    assert found is not None
    assert found == codec.decode_index(text, where="m")
    assert len(found) == 3


@settings(max_examples=60, deadline=None)
@given(st.text(st.sampled_from(string.printable + "äß☃'\"#&*!|>%@`"), min_size=1, max_size=30))
def test_any_id_is_read_as_the_codec_reads_it_or_left_to_it(test):
    try:
        text = _text(f"test_{test}")
        wanted = codec.decode_index(text, where="m")
    except ReproError:  # an id that the codec refuses says nothing about this reader
        return
    found = scan_index(text.partition("\n---\n")[0] + "\n")
    assert found is None or found == wanted


@pytest.mark.parametrize("digit", ["1", "0b1"])
def test_a_digest_that_yaml_takes_for_a_number_is_left_to_the_codec(digit):
    digest = (digit + "1" * 64)[:64]
    head = _head(_text("test_a"))
    old = head[head.index("value: ") + 7 :][:64]
    assert scan_index(head) is not None
    assert scan_index(head.replace(old, digest)) is None
    assert scan_index(head.replace(old, f"'{digest}'")) is not None


@pytest.mark.parametrize(
    "fault",
    [
        lambda head: head.replace("schema: 1", "schema: 2"),
        lambda head: head.replace("noise: ", "noise: &x "),
        lambda head: head + "  garbage\n",
        lambda head: head[:-10],
        lambda head: head.replace("  test_a", " test_a"),
    ],
)
def test_anything_odd_is_left_to_the_codec(fault):
    head = _head(_text("test_a"))
    assert scan_index(head) is not None
    assert scan_index(fault(head)) is None


def test_only_the_first_document_is_read(tmp_path):
    text = _text(*(f"test_{n}" for n in range(300)))
    path = tmp_path / "m.yaml"
    # What follows the index is not even UTF-8: it is never looked at.
    path.write_bytes(_head(text).encode() + b"---\n" + b"\xff" * 1_000_000)
    assert read_head(path) == _head(text)
    path.write_text(_head(text))
    assert read_head(path) is None


def test_an_index_that_lost_all_its_lines_is_not_taken_for_an_empty_one():
    head = _head(_text("test_a"))
    lost = head[: head.index("checks:\n") + len("checks:\n")]
    assert scan_index(lost) is None
    with pytest.raises(ReproError, match="cannot be read"):
        codec.decode_index(f"{lost}---\n", where="m")
