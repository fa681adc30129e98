"""The index is read without parsing YAML, and gives what parsing gives, or nothing."""

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
from pytest_repro.store.manifest import Manifest, encode_manifest, scan_index
from tests.cli.stores import MODULE, NEW, baseline_of

PLAIN = baseline_of(CheckId(MODULE, "test_a", "image"), NEW, np.zeros(2))[0]


def _text(*tests: str) -> str:
    baselines = [replace(PLAIN, check=CheckId(MODULE, test, "image")) for test in tests]
    return encode_manifest(Manifest(NEW, MODULE, tuple(baselines)))


def _head(text: str) -> str:
    return text.split("---\n", maxsplit=1)[0]


@pytest.fixture
def no_yaml(monkeypatch):
    """Parsing is an error."""

    def refuse(text, *, where):
        raise AssertionError("YAML was parsed")

    monkeypatch.setattr(codec, "load_yaml", refuse)


def test_an_intact_index_is_read_without_parsing(no_yaml):
    text = _text("test_a", "TestB::test_c[float16-1]", "test_d[x/y:z=1]")
    found = codec.decode_index(text, where="m")
    assert (found.key, found.module) == (NEW, MODULE)
    assert set(found.entries) == {
        "test_a::image",
        "TestB::test_c[float16-1]::image",
        "test_d[x/y:z=1]::image",
    }
    assert set(found.entries.values()) == {PLAIN.index}


def test_a_broken_block_is_found_by_parsing(no_yaml):
    with pytest.raises(AssertionError, match="YAML was parsed"):
        codec.decode_index(_text("test_a").replace("runs: 2", "runs: 3"), where="m")


@settings(max_examples=60, deadline=None)
@given(st.text(st.sampled_from(string.printable + "äß☃'\"#&*!|>%@`"), min_size=1, max_size=200))
def test_any_id_is_read_as_parsing_reads_it(test):
    try:
        text = _text(f"test_{test}", "test_zz")
        wanted = codec.decode_manifest(text, where="m")
    except ReproError:  # an id that the codec refuses says nothing about this reader
        return
    found = codec.decode_index(text, where="m")
    assert found.entries == {one.check.entry: one.index for one in wanted.baselines}
    fast = scan_index(_head(text))
    assert fast is None or fast == found


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
        lambda head: head.replace("schema: 2", "schema: 3"),
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


def test_an_index_that_lost_all_its_lines_is_not_taken_for_an_empty_one():
    head = _head(_text("test_a"))
    lost = head[: head.index("checks:\n") + len("checks:\n")]
    assert scan_index(lost) is None
    with pytest.raises(ReproError, match="cannot be read"):
        codec.decode_index(f"{lost}---\n", where="m")
