"""Whatever lies on disk, the readers give what was written or one of our own errors, and soon."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pytest_repro.errors import CorruptBaseline, ReproError
from pytest_repro.store import files
from pytest_repro.store import manifest as codec
from pytest_repro.store.manifest import scan_index
from pytest_repro.store.policy_file import load_policy
from pytest_repro.tensors.record import make_record
from pytest_repro.trace.components import weights_from_rows
from pytest_repro.trace.envelope import step_envelope_from_rows
from pytest_repro.trace.records import trace_from_rows
from tests.store.stored import KEY, MODULE, baseline_of
from tests.torture.readers import READERS

WHERE = "baselines/x.yaml"
BASELINES = tuple(
    baseline_of(np.arange(4.0) + n, test=f"test_{n}", name=name)[0]
    for n, name in enumerate(("image", "a b", "yes", "x: [y]"))
)
MANIFEST = codec.encode_manifest(codec.Manifest(KEY, MODULE, BASELINES)).encode()
RECORD = make_record(np.arange(24, dtype=np.float32).reshape(4, 6))
POLICY = b"""\
schema: 1
rules:
  - check: 'tests/*'
    tolerance: {rel_l2: 1e-5, max_ulp: 4}
    reason: 'measured'
"""
ROWS = files.encode_rows([("cell", 1, "a" * 64, None, 0.5)] * 3)

TOKENS = [
    *(b"&a ", b"*a", b"!!int ", b"!x", b"[", b"]", b"{", b"}", b": ", b"- ", b"? ", b"\n---\n"),
    *(b"0x", b"1:59:59", b"9" * 5000, b".inf", b".nan", b"1e999", b"-0", b"null", b"~", b"<<: "),
    *(b"'", b'"', b"#", b"|", b">", b"\0", b"\xff", b"\xf0\x9f\x92\xa9", b"\t", b"\r\n", b"..."),
    *(b"../", b"/etc/passwd", b"\xe2\x80\xa8", b"true", b"2001-01-01", b"[[[[", b"%YAML 1.2\n"),
]


@st.composite
def damaged(draw, whole: bytes):
    """``whole`` after one to six cuts, repetitions, flipped bytes and foreign pieces."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data)))
        until = min(len(data), at + draw(st.integers(0, 80)))
        how = draw(st.sampled_from(["cut", "end", "repeat", "token", "bytes"]))
        piece = {
            "cut": b"",
            "end": b"",
            "repeat": bytes(data[at:until]) * 2,
            "token": draw(st.sampled_from(TOKENS)),
            "bytes": draw(st.binary(max_size=8)),
        }[how]
        data[at : len(data) if how == "end" else until] = piece
    return bytes(data)


fuzzed = settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "ignore")


def _index_or_none(text):
    try:
        return codec.decode_index(text, where=WHERE)
    except ReproError:
        return None


def test_the_undamaged_are_read():
    assert codec.decode_manifest(_text(MANIFEST), where=WHERE).baselines == tuple(
        sorted(BASELINES, key=lambda one: one.check.entry)
    )
    tensor = files.decode_tensor(_tensor_file(), digest=RECORD.digest, where=WHERE)
    assert np.array_equal(tensor.array, RECORD.array)
    assert len(files.decode_rows(ROWS, where=WHERE)) == 3


@fuzzed
@given(damaged(MANIFEST) | st.binary(max_size=200))
def test_a_damaged_manifest_gives_our_error_or_a_whole_manifest(data):
    try:
        manifest = codec.decode_manifest(_text(data), where=WHERE)
    except ReproError:
        return
    assert {one.check.entry for one in manifest.baselines} == set(
        _index_or_none(_text(data)).entries
    )
    for one in manifest.baselines:
        assert len(one.index.value) == len(one.index.noise) == 64


# The fast reader leaves names with blanks or quotes to the codec.
PLAIN = codec.encode_manifest(codec.Manifest(KEY, MODULE, BASELINES[::2])).partition("---\n")[0]


def test_the_fast_reader_reads_an_undamaged_index():
    assert scan_index(PLAIN) == _slow_index(PLAIN)
    assert set(scan_index(PLAIN).entries) == {"test_0::image", "test_2::yes"}


@fuzzed
@given(damaged(PLAIN.encode()))
def test_the_fast_reader_never_reads_a_damaged_index_otherwise_than_the_codec(data):
    found = scan_index(_text(data))
    assert found is None or found == _slow_index(_text(data))


def _slow_index(text):
    """The index by the YAML parser alone."""
    return codec._index(codec.load_yaml(text, where=WHERE), WHERE)


@fuzzed
@given(st.data())
def test_a_damaged_tensor_is_never_taken_for_the_tensor(data):
    file = data.draw(damaged(_tensor_file()))
    try:
        record = files.decode_tensor(file, digest=RECORD.digest, where=WHERE)
    except ReproError:
        return
    assert (record.dtype, record.shape) == (RECORD.dtype, RECORD.shape)
    assert record.array.tobytes() == RECORD.array.tobytes()


def test_one_flipped_bit_anywhere_in_the_numbers_is_seen():
    file = _tensor_file()
    for position in range(len(file) - RECORD.array.nbytes, len(file)):
        wrong = bytearray(file)
        wrong[position] ^= 1
        with pytest.raises(CorruptBaseline, match="another digest"):
            files.decode_tensor(bytes(wrong), digest=RECORD.digest, where=WHERE)


@fuzzed
@given(damaged(ROWS) | damaged(gzip.decompress(ROWS)).map(gzip.compress))
@example(gzip.compress(b"[" * 100_000))
@example(gzip.compress(b"[" + b"9" * 100_000 + b"]"))
@example(gzip.compress(b"\xff"))
def test_a_damaged_trace_gives_our_error_or_rows(data):
    try:
        rows = files.decode_rows(data, where=WHERE)
    except ReproError:
        return
    assert all(isinstance(row, tuple) for row in rows)


@fuzzed
@given(data=damaged(POLICY) | st.binary(max_size=100))
def test_a_damaged_policy_gives_our_error_or_a_policy(tmp_path, data):
    path = tmp_path / "policy.yaml"
    path.write_bytes(data)
    try:
        policy = load_policy(path)
    except ReproError:
        return
    assert policy.source == "policy.yaml"


@pytest.mark.parametrize("document", [0, 1], ids=["index", "blocks"])
def test_a_duplicate_check_is_refused(document):
    """As a merge of two branches may leave it; the last one would win without a word."""
    documents = _text(MANIFEST).split("\n---\n")
    again = documents[document].index("  test_0::image:")
    row = "  test_0::image: {}\n"
    documents[document] = documents[document][:again] + row + documents[document][again:]
    if not document:
        assert scan_index(f"{documents[0]}\n".replace("{}", "{value: 1, noise: 2}")) is None
    with pytest.raises(CorruptBaseline, match="duplicate key"):
        codec.decode_manifest("\n---\n".join(documents), where=WHERE)


def test_the_fast_reader_leaves_a_duplicate_check_to_the_codec():
    head = _text(MANIFEST).partition("\n---\n")[0] + "\n"
    plain = head[: head.index("  test_")] + "".join(
        line for line in head.splitlines(keepends=True) if line.startswith("  test_0::image:")
    )
    assert scan_index(plain) is not None
    assert scan_index(plain + plain.splitlines(keepends=True)[-1]) is None


TRACE = READERS["trace"].seeds[0]
INFINITE = {
    "the place of a step": TRACE.replace(b'"scheduler",0,', b'"scheduler",1e999,'),
    "a count of NaN": TRACE.replace(b",0,0,-80", b",1e999,0,-80"),
    "a number beyond float64": TRACE.replace(b",23.0,", b"," + b"9" * 400 + b","),
    "the runs of an envelope": b'["step envelope",1,1e999]',
    "the shape of weights": b'["a","float32",[1e999],"d",1,1,1,1,1,1,1]',
}


@pytest.mark.parametrize("name", INFINITE)
def test_rows_with_an_infinite_whole_number_are_refused(name):
    """Fuzzing found OverflowError where there should be an error of ours."""
    assert INFINITE[name] != TRACE
    assert READERS["trace"].read(TRACE)
    for reader in (
        trace_from_rows,
        lambda rows: weights_from_rows("unet", rows),
        step_envelope_from_rows,
    ):
        with pytest.raises(CorruptBaseline):
            reader([json.loads(line) for line in INFINITE[name].splitlines()])


def test_a_report_with_infinite_runs_is_refused():
    (whole,) = READERS["report"].seeds
    assert READERS["report"].read(whole)
    harmed = whole.replace(b'"runs": 2', b'"runs": 1e999')
    assert harmed != whole
    assert not READERS["report"].read(harmed)


def test_the_readers_see_a_tensor_taken_for_another(monkeypatch):
    """Without its digest: the fuzzers would find it."""
    file, *_ = READERS["tensor"].seeds
    assert READERS["tensor"].read(file)
    whole = files.decode_tensor(file, digest=RECORD.digest, where=WHERE)
    monkeypatch.setattr(files, "decode_tensor", lambda *_, **__: whole)
    with pytest.raises(AssertionError, match="a wrong exact"):
        READERS["tensor"].read(file)


@pytest.mark.parametrize("name", READERS)
@fuzzed
@given(st.data())
def test_every_reader_answers_or_refuses_what_is_damaged(name, data):
    reader = READERS[name]
    whole = data.draw(st.sampled_from(reader.seeds))
    reader.read(data.draw(damaged(whole) | st.binary(max_size=200)))


def _tensor_file() -> bytes:

    return files.encode_tensor(RECORD)


def _header(text: str, *, length: int | None = None) -> bytes:
    data = text.encode()
    return (len(data) if length is None else length).to_bytes(8, "little") + data


LYING = {
    "length": _header("{}", length=2**63),
    "offsets": _header('{"value":{"dtype":"F32","shape":[4],"data_offsets":[0,99999999999]}}'),
    "shape": _header('{"value":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,0]}}'),
    "overflow": _header(
        '{"value":{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,0]}}'
    ),
    "dtype": _header('{"value":{"dtype":"F99","shape":[0],"data_offsets":[0,0]}}'),
    "none": _header("{}"),
    "nested": _header('{"value":' + "[" * 10_000),
}


@pytest.mark.parametrize("name", LYING)
def test_a_tensor_file_that_lies_about_itself_is_refused(name):
    with pytest.raises(CorruptBaseline):
        files.decode_tensor(LYING[name], digest=RECORD.digest, where=WHERE)


HEAD = "schema: 1\nkey: a/b\nmodule: m.py\nchecks:\n"
ENTRY = HEAD + "  t::n: {value: %s, noise: 1}\n---\n{}\n"
BOMBS = {
    "brackets": "[" * 200_000 + "\n---\n{}\n",
    "brackets in lines": "[\n" * 200_000 + "\n---\n{}\n",
    "mappings": "{a: " * 100_000 + "\n---\n{}\n",
    "dashes": "- " * 100_000 + "x\n---\n{}\n",
    "question marks": "? " * 100_000 + "x\n---\n{}\n",
    "many lists": ENTRY % ("[" + "[]," * 500_000 + "]"),
    "aliases": "a: &a [x, x]\n"
    + "".join(f"b{n}: &b{n} [*b{n - 1}, *b{n - 1}]\n" for n in range(1, 40)).replace("*b0", "*a")
    + "\n---\n{}\n",
    "decimal": ENTRY % ("9" * 1_000_000),
    "hexadecimal": ENTRY % ("0x" + "f" * 1_000_000),
    "base 60": ENTRY % ("1" + ":59" * 300_000),
    "base 60 float": ENTRY % ("1" + ":59" * 300_000 + ".5"),
    "second document": HEAD.replace("checks:", "checks: {}") + "---\n" + "- " * 100_000,
}
POLICY_HEAD = "schema: 1\nrules:\n  - check: 'a'\n    reason: 'a'\n    factor: "
POLICY_BOMBS = {
    "brackets": "[" * 100_000,
    "mappings": "{a: " * 30_000,
    "dashes": "- " * 60_000,
    "question marks": "? " * 60_000,
    "aliases": BOMBS["aliases"].partition("\n---\n")[0],
    "many lists": POLICY_HEAD + "[" + "[]," * 40_000 + "]",
    "decimal": POLICY_HEAD + "9" * 120_000,
    "exponent": POLICY_HEAD + "1e" + "9" * 120_000,
    "base 60": POLICY_HEAD + "1" + ":59" * 40_000,
    "too large": "#" * 200_000_000,
    "a program": "!!python/object/apply:os.system ['true']",
}
REPORT_BOMBS = {
    "brackets": "[" * 1_000_000,
    "mappings": '{"a":' * 200_000,
    "brackets in a report": '{"kind": "pytest-repro report", "schema": 1, "files": '
    + "[" * 900
    + "]" * 900
    + "}",
    "decimal": '{"kind": "pytest-repro report", "schema": ' + "9" * 1_000_000 + "}",
    "exponent": '{"kind": "pytest-repro report", "schema": 1e' + "9" * 1_000_000 + "}",
    "many lists": '{"kind": "pytest-repro report", "schema": 1, "files": ['
    + "[]," * 300_000
    + "[]]}",
}
EMPTY = '{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
TENSOR_BOMBS = {
    **LYING,
    "blank header": _header(" " * 50_000_000),
    "many tensors": _header("{" + ",".join(f'"{n}":{EMPTY}' for n in range(9999)) + "}"),
    "endless shape": _header(
        '{"value":{"dtype":"F32","shape":[' + "1," * 500_000 + '0],"data_offsets":[0,0]}}'
    ),
}
_READ = """
    import json, resource, sys, tempfile
    from pathlib import Path
    import numpy, safetensors, yaml
    from pytest_repro.store import files, manifest as codec
    from pytest_repro.store.policy_file import load_policy
    from pytest_repro.errors import BaselineError, PolicyError
    from pytest_repro.report.document import read_report

    # Allocations beyond this fail, so that a bomb cannot hurt the machine either.
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    kind = sys.argv[1]
    path = Path(sys.argv[2])
    data = None if kind == "policy" else path.read_bytes()
    readers = {
        "rows": lambda: files.decode_rows(data, where="w"),
        "manifest": lambda: codec.decode_manifest(data.decode(), where="w"),
        "tensor": lambda: files.decode_tensor(data, digest="0" * 64, where="w"),
        "report": lambda: read_report(data.decode(), where="w"),
        "policy": lambda: load_policy(path),
    }
    before = resource.getrusage(resource.RUSAGE_SELF)
    try:
        readers[kind]()
        raise SystemExit("not refused")
    except (BaselineError, PolicyError):
        after = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps([cpu_s, (after.ru_maxrss - before.ru_maxrss) / 1024]))
"""


@pytest.fixture
def refused(tmp_path):
    """Demand that a reader refuses data within 1 s of CPU and 100 MiB, in a process of its own."""

    def demand(kind, data):
        (tmp_path / "data").write_bytes(data)
        command = [sys.executable, "-c", textwrap.dedent(_READ), kind, str(tmp_path / "data")]
        done = subprocess.run(command, capture_output=True, timeout=300, check=False)
        assert done.returncode == 0, (done.returncode, done.stderr.decode()[-500:])
        cpu_s, mebibytes = json.loads(done.stdout)
        assert cpu_s < 1.0
        assert mebibytes < 100

    return demand


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_of_a_manifest_is_refused_within_a_second_and_100_mib(name, refused):
    refused("manifest", BOMBS[name].encode())


@pytest.mark.parametrize("name", POLICY_BOMBS)
def test_a_bomb_of_a_policy_is_refused_within_a_second_and_100_mib(name, refused):
    refused("policy", POLICY_BOMBS[name].encode())


@pytest.mark.parametrize("name", REPORT_BOMBS)
def test_a_bomb_of_a_report_is_refused_within_a_second_and_100_mib(name, refused):
    refused("report", REPORT_BOMBS[name].encode())


@pytest.mark.parametrize("name", TENSOR_BOMBS)
def test_a_tensor_file_that_lies_is_refused_within_a_second_and_100_mib(name, refused):
    refused("tensor", TENSOR_BOMBS[name])


def test_a_bomb_of_a_trace_is_refused_within_a_second_and_100_mib(refused):
    refused("rows", gzip.compress(b"[1]\n" * 50_000_000, compresslevel=1))


def test_the_measure_of_bombs_sees_what_is_not_refused(refused):
    with pytest.raises(AssertionError, match="not refused"):
        refused("manifest", MANIFEST)
