"""The streams that a manifest's end tells of, against what the codec writes and reads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pytest_repro.model.baseline import Environment, Fact
from pytest_repro.store import manifest as codec
from pytest_repro.store.store import RecordedStream, read_streams
from tests.store.stored import KEY, MODULE, baseline_of

# YAML quotes what would be a number otherwise.
CANARIES = ["73909d2549cb824f", "1234567890123456", "12345678901234e5", "0b10101010101010"]


def written(tmp_path, *facts):
    """A manifest with a baseline of each of some environments."""
    baselines = []
    for number, one in enumerate(facts):
        baseline, _ = baseline_of(np.arange(4.0) + number, name=f"check-{number}")
        environment = Environment(KEY, tuple(Fact(*fact) for fact in sorted(one)))
        provenance = replace(baseline.provenance, environment=environment)
        baselines.append(replace(baseline, provenance=provenance))
    path = tmp_path / "test_it.yaml"
    path.write_text(codec.encode_manifest(codec.Manifest(KEY, MODULE, tuple(baselines))), "utf-8")
    return path


def facts_of(value, numpy="1.26.4"):
    return [("canary.normal", value, True), ("env.x", "a: {b}, 'c'"), ("numpy.version", numpy)]


@pytest.mark.parametrize("value", CANARIES)
def test_a_streams_facts_are_those_the_codec_wrote(tmp_path, value):
    path = written(tmp_path, facts_of(value))
    (stream,) = read_streams(path)
    assert stream == RecordedStream((("canary.normal", value),), "1.26.4")
    (baseline,) = codec.decode_manifest(path.read_text("utf-8"), where="").baselines
    assert baseline.provenance.environment.value("canary.normal") == value


def test_every_environment_of_a_manifest_is_told(tmp_path):
    streams = read_streams(written(tmp_path, *(facts_of(one, one[:3]) for one in CANARIES)))
    assert {stream.canary[0][1] for stream in streams} == set(CANARIES)
    assert {stream.numpy for stream in streams} == {one[:3] for one in CANARIES}


def test_an_environment_without_a_canary_has_none(tmp_path):
    (stream,) = read_streams(written(tmp_path, [("host.arch", "x86_64", False)]))
    assert stream == RecordedStream((), "")


def test_what_cannot_be_read_says_nothing(tmp_path):
    assert read_streams(tmp_path / "absent.yaml") == ()
    path = written(tmp_path, facts_of(CANARIES[0]))
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"\nenvironments:")])
    assert read_streams(path) == ()
    path.write_bytes(b"\xff\xfe" + b"environments:\n  x\n")
    assert read_streams(path) == ()


def test_a_manifest_of_any_size_is_read_from_its_end(tmp_path):
    path = written(tmp_path, facts_of(CANARIES[0]))
    path.write_bytes(b"# padding\n" * 100_000 + path.read_bytes())
    assert len(read_streams(path)) == 1
