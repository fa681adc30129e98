"""Values of other libraries: pictures, and whatever numpy reads as an array."""

from __future__ import annotations

import dataclasses
import io
import re
from collections import OrderedDict, namedtuple
from enum import Enum

import numpy as np
import pytest

from pytest_repro.errors import ValueRefused
from pytest_repro.frameworks.mindspore import MindSporeAdapter
from pytest_repro.frameworks.values import value_from
from pytest_repro.tensors.record import digest_leaves, make_record

PIXELS = np.random.Generator(np.random.PCG64(0)).integers(0, 256, (4, 6, 3)).astype("uint8")


def read(value):
    return value_from(value, check="test.py::test::image", framework=MindSporeAdapter())


def leaves(value):
    return read(value).tensors


GREY = PIXELS[..., 0]


@pytest.mark.parametrize("pixels", [PIXELS, GREY, GREY.astype("float32")], ids=["RGB", "L", "F"])
def test_a_picture_is_its_pixels(pixels):
    picture = pytest.importorskip("PIL.Image").fromarray(pixels)
    (lone,) = leaves(picture)
    assert lone[1].digest == leaves(pixels)[0][1].digest
    assert [place for place, _ in leaves({"images": [picture, picture]})] == [
        "images[0]",
        "images[1]",
    ]


def test_one_changed_pixel_is_another_picture():
    image = pytest.importorskip("PIL.Image")
    changed = PIXELS.copy()
    changed[2, 3, 1] ^= 1
    one, other = (leaves(image.fromarray(pixels))[0][1] for pixels in (PIXELS, changed))
    assert one.digest != other.digest


def test_a_palette_is_not_lost_without_a_word():
    picture = pytest.importorskip("PIL.Image").fromarray(PIXELS).convert("P")
    with pytest.raises(ValueRefused, match="indices into a palette") as caught:
        leaves([picture])
    assert 'picture.convert("RGB")' in str(caught.value)


@pytest.mark.parametrize("name", ["__array__", "__array_interface__"])
def test_what_numpy_reads_as_an_array_is_one(name):
    class Wrapped:
        pass

    held = PIXELS.__array_interface__
    given = (lambda self, *_, **__: PIXELS) if name == "__array__" else property(lambda self: held)
    setattr(Wrapped, name, given)
    assert leaves(Wrapped())[0][1].digest == leaves(PIXELS)[0][1].digest


def digest(value):
    seen = read(value)
    return digest_leaves(((p, r.digest) for p, r in seen.tensors), seen.structure)


Pair = namedtuple("Pair", "images latents")
Other = namedtuple("Other", "images noise")


@dataclasses.dataclass
class Output:
    images: object


class Colour(Enum):
    RED = 1


ONE, TWO = np.arange(3.0), np.arange(4.0)
UNLIKE = {
    "tuple and list": ((ONE, TWO), [ONE, TWO]),
    "tuple and namedtuple": ((ONE, TWO), Pair(ONE, TWO)),
    "renamed field": (Pair(ONE, TWO), Other(ONE, TWO)),
    "tuple and dict of positions": ((ONE, TWO), {0: ONE, 1: TWO}),
    "dict and dataclass": ({"images": ONE}, Output(ONE)),
    "dict and OrderedDict": ({"images": ONE}, OrderedDict(images=ONE)),
    "array and list of numbers": (np.array([1.0, 2.0]), [1.0, 2.0]),
    "tuple and list of numbers": ((1.0, 2.0), [1.0, 2.0]),
    "array and tuple of it": (ONE, (ONE,)),
    "None and nothing": ((ONE, None), (ONE,)),
    "None before and after": ((ONE, None), (None, ONE)),
    "list inside": ({"a": (ONE,)}, {"a": [ONE]}),
    "number and text as key": ({1: ONE}, {"1": ONE}),
    "number and bool as key": ({1: ONE}, {True: ONE}),
    "text and bytes as key": ({"a": ONE}, {b"a": ONE}),
    "text and enum as key": ({"Colour.RED": ONE}, {Colour.RED: ONE}),
    "dotted and nested key": ({"a.b": ONE}, {"a": {"b": ONE}}),
    "swapped keys": ({"a": ONE, "b": TWO}, {"a": TWO, "b": ONE}),
    "zero-size shapes": (np.zeros((0, 3)), np.zeros((3, 0))),
    "array subclass": (ONE, ONE.view(type("Named", (np.ndarray,), {}))),
}


@pytest.mark.parametrize("change", UNLIKE)
def test_structure_is_part_of_the_value(change):
    one, other = UNLIKE[change]
    assert digest(one) == digest(one) != digest(other)


ALIKE = {
    "order of keys": ({"a": ONE, "b": TWO}, {"b": TWO, "a": ONE}),
    "numpy number as key": ({981: ONE}, {np.int64(981): ONE}),
    "numpy text as key": ({"a b": ONE}, {np.str_("a b"): ONE}),
    "numpy numbers in a tuple as key": ({(1, 2): ONE}, {(np.int8(1), np.int64(2)): ONE}),
    "byte order": (ONE, ONE.astype(">f8")),
    "strides": (ONE, np.repeat(ONE, 2)[::2]),
    "number and 0-d array": (1.5, np.array(1.5)),
}


@pytest.mark.parametrize("pair", ALIKE)
def test_what_says_the_same_is_the_same_value(pair):
    one, other = ALIKE[pair]
    assert digest(one) == digest(other)


def test_what_pipelines_return_keeps_the_digest_it_had_before_structure():
    record = make_record(ONE).digest
    assert digest(ONE) == record
    assert digest((ONE,)) == digest_leaves([("[0]", record)])
    assert digest({"sample": ONE}) == digest_leaves([("sample", record)])


def test_no_print_option_changes_a_place():
    with np.printoptions(precision=2, legacy="1.13"):
        narrow = digest({np.float64(0.123456789): ONE})
    assert narrow == digest({0.123456789: ONE})


PICTURES = {"RGBA": "CMYK", "RGB": "HSV", "L": "array", "1": "array"}


@pytest.mark.parametrize("mode", PICTURES)
def test_the_mode_of_a_picture_is_part_of_the_value(mode):
    image = pytest.importorskip("PIL.Image")
    picture = image.new(mode, (3, 2))
    other = PICTURES[mode]
    unlike = np.asarray(picture) if other == "array" else image.new(other, (3, 2))
    assert np.array_equal(np.asarray(picture), np.asarray(unlike))
    assert digest(picture) != digest(unlike)


def _reopened(picture, **saved):
    file = io.BytesIO()
    picture.save(file, "PNG", **saved)
    file.seek(0)
    return pytest.importorskip("PIL.Image").open(file)


def test_what_a_picture_of_a_file_carries_beside_its_numbers_is_part_of_the_value():
    image = pytest.importorskip("PIL.Image")
    plain, turned, straight = image.new("RGB", (3, 2), 50), image.Exif(), image.Exif()
    turned[0x0112], straight[0x0112] = 6, 1
    for saved in ({"transparency": (50, 0, 0)}, {"exif": turned}):
        carrying = _reopened(plain, **saved)
        assert np.array_equal(np.asarray(carrying), np.asarray(plain))
        assert digest(carrying) != digest(plain), saved
    # The control: what changes nothing about its look.
    assert digest(_reopened(plain)) == digest(plain)
    assert digest(_reopened(plain, exif=straight)) == digest(plain)


def test_a_picture_of_two_frames_is_refused_but_not_its_frames():
    image = pytest.importorskip("PIL.Image")
    sequence = pytest.importorskip("PIL.ImageSequence")
    frames = [image.new("L", (3, 2), level) for level in (1, 2)]
    frames[0].save(file := io.BytesIO(), "TIFF", save_all=True, append_images=frames[1:])
    picture = image.open(file)
    with pytest.raises(ValueRefused, match="the picture has 2 frames"):
        leaves(picture)
    assert len(leaves([frame.copy() for frame in sequence.Iterator(picture)])) == 2


def _class(package, name, /, **members):
    return type(name, (), {"__module__": package, **members})


class Labels(list):
    names = (None,)


def frame(columns, numbers, index=(0, 1, 2)):
    """What pandas gives, as far as it is read."""
    members = {
        "columns": columns,
        "index": Labels(index),
        "__getitem__": lambda self, name: numbers[list(columns).index(name)],
        "__array__": lambda self, dtype=None, copy=None: np.stack(numbers),
    }
    return _class("pandas.core.frame", "DataFrame", **members)()


def test_names_and_index_of_a_table_are_part_of_the_value():
    tables = [
        frame(["a", "b"], [ONE, ONE]),
        frame(["a", "c"], [ONE, ONE]),
        frame(["b", "a"], [ONE, ONE]),
        frame(["a", "b"], [ONE, ONE], index=(1, 2, 3)),
        frame(["a", "b"], [ONE, ONE], index=("x", "y", "z")),
        {"a": ONE, "b": ONE},
    ]
    assert len({digest(table) for table in tables}) == len(tables)
    assert digest(tables[0]) == digest(frame(["a", "b"], [ONE, ONE]))


class PandasDtype:
    """What a dtype of pandas is beside one of numpy."""

    ordered = False

    def __init__(self, name, categories=None):
        self.name = name
        self.categories = categories

    def __str__(self):
        return self.name


def column(dtype):
    members = {
        "dtype": dtype,
        "name": "a",
        "index": Labels((0, 1, 2)),
        "__array__": lambda self, *_, **__: ONE,
    }
    return _class("pandas.core.series", "Series", **members)()


def test_the_dtype_of_a_column_is_part_of_the_value_where_its_numbers_do_not_show_it():
    dtypes = [
        np.dtype("float64"),
        PandasDtype("Float64"),
        PandasDtype("category", [1, 2]),
        PandasDtype("category", [2, 1]),
    ]
    assert len({digest(column(dtype)) for dtype in dtypes}) == len(dtypes)
    assert digest(column(np.dtype("float32"))) == digest(column(np.dtype("float64")))  # the control


def test_columns_of_one_name_are_refused():
    with pytest.raises(ValueRefused, match="two columns have the same name"):
        leaves(frame(["a", "a"], [ONE, ONE]))


@pytest.mark.parametrize("name", ["dims", "coords", "columns", "unit"])
def test_names_that_would_be_lost_are_refused(name):
    members = {"__array__": lambda self, dtype=None, copy=None: ONE, name: ("x",)}
    with pytest.raises(ValueRefused, match=rf"the {name} of a \w+ would be lost"):
        leaves(_class("xarray", "DataArray", **members)())


def _raising(self, dtype=None, copy=None):
    raise RuntimeError("no numpy for this one")


REFUSED = {
    "raises": (type("Grad", (), {"__array__": _raising})(), "RuntimeError: no numpy for this one"),
    "dlpack": (type("Dlpack", (), {"__dlpack__": lambda self: None})(), "numpy.from_dlpack"),
    "masked": (
        type(
            "Hidden", (), {"__array__": lambda self, *_, **__: np.ma.array(ONE, mask=[0, 1, 0])}
        )(),
        "the mask would be lost",
    ),
    "too large": ([2**64, 1], "no 64-bit dtype"),
    "rounded": ([2**63, -1], "no 64-bit dtype"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_read_is_refused_with_the_place(kind):
    value, words = REFUSED[kind]
    with pytest.raises(ValueRefused, match=re.escape(words)) as caught:
        leaves({"a": value})
    assert "test.py::test::image, at a: " in str(caught.value)


def test_a_tensor_that_needs_a_gradient_is_read():
    plain = _class("torch", "Tensor", __array__=lambda self, dtype=None, copy=None: ONE)()
    members = {"detach": lambda self: self, "cpu": lambda self: plain, "__array__": _raising}
    assert digest(_class("torch", "Tensor", **members)()) == digest(ONE)
