"""Manifests and tensors survive the way to text and back, and nothing foreign is believed."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_repro.errors import CorruptBaseline, NewerSchema
from pytest_repro.store import files
from pytest_repro.store import manifest as codec
from pytest_repro.tensors.dtypes import DTYPES
from pytest_repro.tensors.record import digest_text, make_record
from tests.store.stored import KEY, MODULE, baseline_of

WHERE = "baselines/x.yaml"


def manifest_text(*names: str) -> str:
    baselines = tuple(baseline_of(np.arange(4.0), name=name)[0] for name in names)
    return codec.encode_manifest(codec.Manifest(KEY, MODULE, baselines))


def test_a_manifest_survives_its_text():
    awkward = ("image", "a/b", "ünï-çødé", "x" * 300, "Image", "yes", "1e5", "a: b #c", "'\"")
    manifest = codec.decode_manifest(manifest_text(*awkward), where=WHERE)
    assert manifest.key == KEY
    assert {one.check.name for one in manifest.baselines} == set(awkward)
    assert (
        manifest.baselines[0]
        == baseline_of(np.arange(4.0), name=manifest.baselines[0].check.name)[0]
    )


def test_the_text_does_not_depend_on_the_order_given():
    assert manifest_text("a", "b", "c") == manifest_text("c", "a", "b")


def test_one_line_of_the_index_is_one_check():
    head = manifest_text("a", "b", "c").split("\n---\n")[0]
    assert sum("test_ddim::" in line for line in head.splitlines()) == 3


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda text: text[: len(text) // 2], "cannot be read"),
        (lambda text: text[: text.index("---") - 5], "truncated"),
        (lambda text: text.replace("---", "...", 1), "truncated"),
        (lambda text: "schema: [1\n---\n", "cannot be read"),
        (lambda text: "- 1\n---\n", "mapping"),
        (lambda text: "", "truncated"),
        (lambda text: text.replace("value: ", "value: z", 1), "digest"),
        (lambda text: text.replace("schema: 2", "schema: one"), "schema"),
        (lambda text: text.replace("float64", "complex64"), "dtype"),
        (lambda text: text.replace("shape: [4]", "shape: [-4]"), "shape"),
        (lambda text: text.replace("...\n", "bomb: &a [*a, *a]\n"), "aliases"),
        (lambda text: text.replace("checks:", "checks: " + "[" * 5000, 1), "nest"),
    ],
)
def test_a_damaged_manifest_is_corrupt_and_names_the_file(damage, named):
    text = damage(manifest_text("image"))
    with pytest.raises(CorruptBaseline, match=named) as caught:
        codec.decode_manifest(text, where=WHERE)
    assert WHERE in str(caught.value)


def test_an_index_cut_at_a_line_is_not_taken_for_a_shorter_one():
    text = manifest_text("a", "b", "c")
    cut = text[: text.index("  test_ddim::c")]
    with pytest.raises(CorruptBaseline, match="truncated"):
        codec.decode_index(cut, where=WHERE)


def test_an_alias_bomb_is_refused_before_it_grows():
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)
    )
    with pytest.raises(CorruptBaseline, match="alias"):
        codec.decode_index(bomb + "---\n", where=WHERE)


def test_a_git_lfs_pointer_is_called_one():
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    with pytest.raises(CorruptBaseline, match="git-lfs pointer"):
        codec.decode_index(pointer, where=WHERE)
    with pytest.raises(CorruptBaseline, match="git-lfs pointer"):
        files.decode_tensor(pointer.encode(), digest=digest_text(""), where=WHERE)


def test_a_newer_schema_is_not_guessed_at():
    text = manifest_text("image").replace("schema: 2", "schema: 3")
    with pytest.raises(NewerSchema, match="schema 3"):
        codec.decode_index(text, where=WHERE)


def tensor_bytes(array: np.ndarray) -> bytes:
    return files.encode_tensor(make_record(array))


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3, 4)])
def test_a_tensor_of_every_dtype_survives(name, shape):
    bits = np.random.default_rng(0).integers(0, 2, int(np.prod(shape)), dtype=np.uint8)
    array = bits.astype(DTYPES[name].numpy).reshape(shape)
    record = make_record(array)
    back = files.decode_tensor(tensor_bytes(array), digest=record.digest, where=WHERE)
    assert (back.dtype, back.shape, back.digest) == (name, shape, record.digest)
    assert back.array.tobytes() == array.tobytes()


@pytest.mark.parametrize("view", [lambda a: a.T, lambda a: a[:, ::2], lambda a: a[::-1]])
def test_a_strided_view_is_stored_as_it_is_seen(view):
    array = view(np.arange(12, dtype=np.float32).reshape(3, 4))
    record = make_record(array)
    back = files.decode_tensor(tensor_bytes(array), digest=record.digest, where=WHERE)
    assert np.array_equal(back.array, array)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data[:9],
        lambda data: b"",
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: b"\xff" * 8 + data[8:],
        lambda data: data.replace(b"F32", b"F64"),
        lambda data: data.replace(b"F32", b"I32"),
    ],
)
def test_a_damaged_tensor_is_corrupt(damage):
    array = np.arange(6, dtype=np.float32)
    with pytest.raises(CorruptBaseline, match=r"x\.yaml"):
        files.decode_tensor(
            damage(tensor_bytes(array)), digest=make_record(array).digest, where=WHERE
        )
