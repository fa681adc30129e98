"""Every reader of untrusted bytes, what it may answer, and the bytes from which damage starts.

A reader answers with what was written or with one of our own errors. Anything else it raises, and
an answer that contradicts the bytes, is a find. Hypothesis (`tests/properties`) and the fuzzer
(`fuzz_readers.py`) drive the same readers.
"""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pytest_repro.errors import ReproError
from pytest_repro.model.baseline import StepRecord
from pytest_repro.model.ids import CheckId, EnvironmentKey, TensorRecord
from pytest_repro.model.outcome import Outcome
from pytest_repro.model.words import Gate, TraceLevel, Verdict
from pytest_repro.report.document import entries_from, read_report, report_text, seal
from pytest_repro.store import files
from pytest_repro.store import manifest as codec
from pytest_repro.store.manifest import scan_index
from pytest_repro.store.policy_file import load_policy
from pytest_repro.tensors.record import make_record
from pytest_repro.tolerance.policy import resolve
from pytest_repro.trace.components import configurations_from_rows, weights_from_rows
from pytest_repro.trace.envelope import step_envelope_from_rows
from pytest_repro.trace.records import make_trace, measure_signal, trace_from_rows
from pytest_repro.trace.records import trace_rows as rows_of_trace
from tests.store.stored import KEY, MODULE, baseline_of

__all__ = ["READERS", "Reader"]

WHERE = "w"
ARRAYS: dict[str, Any] = {
    "float32": np.arange(24, dtype=np.float32).reshape(4, 6),
    "empty": np.zeros((0, 3), dtype=np.float16),
    "0-d": np.array(-0.0),
    "bool": np.array([True, False]),
}
RECORDS = {name: make_record(array) for name, array in ARRAYS.items()}
BASELINES = tuple(
    baseline_of(np.arange(4.0) + n, test=f"test_{n}", name=name)[0]
    for n, name in enumerate(("image", "x: [y]"))
)
MANIFEST = codec.encode_manifest(codec.Manifest(KEY, MODULE, BASELINES)).encode()
POLICY = b"""\
schema: 1
rules:
  - check: 'tests/*'
    tolerance: {rel_l2: 1e-5, max_ulp: 4}
    reason: 'measured'
  - check: 'tests/models/*::image'
    tolerance: measured
    factor: 3
    ceiling: 0.5
    reason: 'a'
"""


@dataclass(frozen=True)
class Reader:
    """One reader.

    Attributes:
        seeds: Whole inputs, all of which it accepts.
        read: True when it answered, False when it refused with one of our own errors.
        tokens: Pieces that mean something to it.
    """

    name: str
    seeds: tuple[bytes, ...]
    read: Callable[[bytes], bool]
    tokens: tuple[bytes, ...]


def _index_or_none(text: str) -> codec.Index | None:
    try:
        return codec.decode_index(text, where=WHERE)
    except ReproError:
        return None


def _read_manifest(data: bytes) -> bool:
    """The fast and the full reader agree, and each digest is on the line of its check."""
    text = data.decode("utf-8", "ignore")
    head, separator, _ = text.partition("\n---\n")
    index = _index_or_none(text)
    fast = scan_index(f"{head}\n") if separator else None
    assert fast is None or index in (None, fast), "the two readers of an index disagree"
    for entry, digests in (fast.entries if fast else {}).items():
        lines = [line for line in head.splitlines() if line.startswith(f"  {entry}: ")]
        assert len(lines) == 1, "a check is twice in the index"
        assert digests.value in lines[0], "a digest of another check"
    try:
        manifest = codec.decode_manifest(text, where=WHERE)
    except ReproError:
        return False
    assert index is not None, "a manifest without an index"
    assert {one.check.entry: one.index for one in manifest.baselines} == index.entries
    return True


def _read_policy(data: bytes) -> bool:
    path = _scratch() / "policy.yaml"
    path.write_bytes(data)
    try:
        policy = load_policy(path)
        resolve(policy, "tests/models/a.py::test_a::image")
    except ReproError:
        return False
    return True


_SCRATCH: list[tempfile.TemporaryDirectory[str]] = []


def _scratch() -> Path:
    if not _SCRATCH:
        memory = Path("/dev/shm")
        _SCRATCH.append(tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None))
    return Path(_SCRATCH[0].name)


def _read_report(data: bytes) -> bool:
    """The text as it is, and sealed again, as an attacker would."""
    text = data.decode("utf-8", "replace")
    as_it_is = _report_or_none(text) is not None
    try:
        document = json.loads(text)
        resealed = json.dumps({**document, "digest": seal(document)})
    except (ValueError, TypeError, AttributeError, RecursionError):
        assert not as_it_is
        return False
    return _report_or_none(resealed) is not None


def _report_or_none(text: str) -> object:
    try:
        return read_report(text, where=WHERE)
    except ReproError:
        return None


def _read_tensor(data: bytes) -> bool:
    """Only the very bytes of a record pass under its digest."""
    found = [record for record in RECORDS.values() if _passes(data, record)]
    assert len(found) <= 1, "one file passed as two tensors"
    return bool(found)


def _passes(data: bytes, record: TensorRecord) -> bool:
    try:
        read = files.decode_tensor(data, digest=record.digest, where=WHERE)
    except ReproError:
        return False
    assert (read.dtype, read.shape) == (record.dtype, record.shape), "a wrong exact"
    assert read.array.tobytes() == record.array.tobytes(), "a wrong exact"
    return True


def _read_rows(data: bytes) -> bool:
    """Packed rows as they are, or the text of rows packed, through all that is made of rows."""
    packed = data if data[:2] == b"\x1f\x8b" else gzip.compress(data, compresslevel=0)
    try:
        rows = files.decode_rows(packed, where=WHERE)
    except ReproError:
        return False
    readers = (
        trace_from_rows,
        lambda rows: weights_from_rows("unet", rows),
        configurations_from_rows,
        step_envelope_from_rows,
    )
    # Every one of them, whatever the first says.
    accepted = [_accepts(reader, rows) for reader in readers]
    return any(accepted)


def _accepts(reader: Callable[[Any], object], rows: Any) -> bool:
    try:
        reader(rows)
    except ReproError:
        return False
    return True


def _trace_text() -> bytes:
    signal = measure_signal(RECORDS["float32"], sketched=True)
    steps = [StepRecord("scheduler", n, 10.0 * n, (("sample", signal),)) for n in range(2)]
    rows = rows_of_trace(make_trace(TraceLevel.STEPS, steps, ()))
    return gzip.decompress(files.encode_rows(rows))


def _report() -> bytes:
    outcome = Outcome(CheckId("tests/a.py", "test_a", "image"), Verdict.EXACT, Gate.EXACT, None)
    key = str(EnvironmentKey("cpu-x86_64-avx2-2c", "numpy-1.26.4"))
    entries = entries_from([outcome], (), key)
    entries = [{**entry, "runs": 2} for entry in entries]
    made = {"tool": "pytest-repro 0", "made_at": "2026-01-02T03:04:05Z"}
    return report_text(entries, {}, **made, files={"o/a.yaml": "0" * 64}).encode()


def _tensor_file(record: TensorRecord) -> bytes:

    data: bytes = files.encode_tensor(record)
    return data


_YAML = (
    *(b"&a ", b"*a", b"!!int ", b"!x", b"[", b"]", b"{", b"}", b": ", b"- ", b"? ", b"\n---\n"),
    *(b"0x", b"1:59:59", b"9" * 30, b".inf", b".nan", b"1e999", b"-0", b"null", b"~", b"<<: "),
    *(b"'", b'"', b"#", b"|", b">", b"\0", b"\xff", b"\t", b"\r\n", b"...", b"../", b"true"),
    *(b"2001-01-01", b"%YAML 1.2\n", b"schema: 1\n", b"checks:\n", b"reason: "),
)
_JSON = (
    *(b"[", b"]", b"{", b"}", b'"', b":", b",", b"null", b"true", b"NaN", b"Infinity", b"1e999"),
    *(b"9" * 30, b"-1", b"0.5", b"\\ud800", b"\\u0000", b"../", b'"runs"', b'"trace"', b'"step"'),
    *(b'"signal"', b'"cell"', b'"schema"', b'"files"', b'"checks"', b'"key"'),
)
_SAFETENSORS = (
    *(b'"F32"', b'"BF16"', b'"F8_E4M3"', b'"shape":[', b'"data_offsets":[0,0]', b"4294967296"),
    *(b'"value":', b'"__metadata__":{}', b"\xff" * 8, b"\0" * 8, b"[0]", b"-1"),
)
READERS = {
    one.name: one
    for one in (
        Reader("manifest", (MANIFEST,), _read_manifest, _YAML),
        Reader("policy", (POLICY,), _read_policy, _YAML),
        Reader("report", (_report(),), _read_report, _JSON),
        Reader("tensor", tuple(map(_tensor_file, RECORDS.values())), _read_tensor, _SAFETENSORS),
        Reader(
            "trace", (_trace_text(), files.encode_rows([("a", "B", "c", "d")])), _read_rows, _JSON
        ),
    )
}
