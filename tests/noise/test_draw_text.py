"""What a draw log says of one call: texts of arguments, and of what is no array of numbers."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_repro.noise.generator import arguments_text, drawn_from, give_back
from pytest_repro.tensors.record import digest_array, digest_text


def head(text):
    return digest_text(text)[:16]


# --- arguments ----------------------------------------------------------------------------------


def test_a_call_with_everything_at_its_default_has_no_text():
    assert arguments_text("random", (), {}) == ""
    assert arguments_text("normal", (0.0, 1.0, (2, 3)), {}) == ""
    out = np.zeros(3)
    assert arguments_text("standard_normal", (), {"out": out, "dtype": np.float32}) == ""


def test_arguments_stand_in_the_order_of_numpys_signature():
    assert arguments_text("uniform", (), {"high": 2.0, "low": 1.0}) == "low=1.0, high=2.0"
    assert arguments_text("normal", (1.0,), {"scale": 2.0}) == "loc=1.0, scale=2.0"
    options = {"shuffle": False, "replace": False}
    assert arguments_text("choice", (5,), options) == "a=5, replace=False, shuffle=False"


def test_an_argument_that_has_only_a_keyword_has_its_default_too():
    usual = arguments_text("multivariate_normal", ([0.0], [[1.0]]), {})
    svd = arguments_text("multivariate_normal", ([0.0], [[1.0]]), {"method": "svd"})
    other = arguments_text("multivariate_normal", ([0.0], [[1.0]]), {"method": "eigh"})
    assert svd == usual
    assert other == f"{usual}, method='eigh'"


def test_what_the_signature_does_not_name_is_said_all_the_same():
    text = arguments_text("normal", (1.0, 2.0, 3, 4), {"z": 1, "b": 2})
    assert text == "loc=1.0, scale=2.0, argument 3=4, b=2, z=1"


def test_a_method_whose_docstring_shows_no_call_has_arguments_by_number():
    # As a method of a later numpy might be.
    assert arguments_text("__repr__", (3,), {"x": 1, "b": 2}) == "argument 0=3, b=2, x=1"


def test_an_array_is_told_by_dtype_shape_and_the_head_of_its_digest():
    digest = digest_array("int64", np.array([[1], [2]]))
    assert arguments_text("choice", ([[1], [2]],), {}) == f"a=int64(2, 1):{digest[:16]}"
    assert arguments_text("choice", (np.array([[1], [2]]),), {}) == f"a=int64(2, 1):{digest[:16]}"


def test_a_list_without_elements_is_written_out():
    assert arguments_text("choice", ([],), {}) == "a=[]"


def test_a_list_that_is_no_array_is_told_by_its_elements():
    assert arguments_text("choice", (["a", "b"],), {}) == f"a=list(2,):{head(str(['a', 'b']))}"
    ragged = [[1], [2, 3]]
    assert arguments_text("choice", (ragged,), {}) == f"a=list(2,):{head(str(ragged))}"
    objects = np.array([["a"], [None]], dtype=object)
    text = f"a=object(2, 1):{head(str([['a'], [None]]))}"
    assert arguments_text("choice", (objects,), {}) == text


def test_a_text_of_64_characters_is_written_out_and_a_longer_one_is_not():
    longest, longer = "x" * 62, "x" * 63  # and two quotes
    assert arguments_text("choice", (longest,), {}) == f"a='{longest}'"
    assert arguments_text("choice", (longer,), {}) == f"a=str:{head(repr(longer))}"


# --- what was drawn -----------------------------------------------------------------------------


def test_a_text_that_was_drawn_is_one_value():
    drawn = drawn_from("choice", (["abc", "d"],), {}, np.str_("abc"))
    assert (drawn.shape, drawn.dtype, drawn.array) == ((), "<U3", None)
    assert drawn.digest == digest_text("'abc'")
    plain = drawn_from("choice", (["abc", "d"],), {}, "abc")
    assert (plain.shape, plain.dtype, plain.digest) == ((), "str", drawn.digest)


def test_texts_and_objects_that_were_drawn_have_the_shape_of_their_array():
    texts = drawn_from("choice", (), {}, np.array([["a"], ["b"]]))
    assert (texts.shape, texts.dtype, texts.array) == ((2, 1), "<U1", None)
    objects = drawn_from("permutation", (), {}, np.array([[None], ["b"]], dtype=object))
    assert (objects.shape, objects.dtype, objects.array) == ((2, 1), "object", None)
    assert objects.digest == digest_text("[[None], ['b']]")


def test_an_object_that_was_drawn_is_one_value_without_its_address():
    one, other = (drawn_from("choice", (), {}, object()) for _ in range(2))
    assert (one.shape, one.dtype, one.array) == ((), "object", None)
    assert one.digest == other.digest == digest_text("<object object at 0x>")


@pytest.mark.parametrize(("args", "kwargs"), [((["a", "b", "c"],), {}), ((), {"x": list("abc")})])
def test_a_shuffled_list_is_what_was_drawn(args, kwargs):
    drawn = drawn_from("shuffle", args, kwargs, None)
    assert drawn.holder is (args[0] if args else kwargs["x"])
    assert (drawn.shape, drawn.dtype, drawn.array) == ((3,), "list", None)
    assert drawn.digest == digest_text("['a', 'b', 'c']")


def test_scalars_of_numpy_inside_a_list_are_written_as_pythons():
    # numpy 2 writes np.float64(0.5): one list must have one digest under both.
    numpys = [np.float64(0.5), (np.int64(2), [np.bool_(True)]), "x"]
    drawn = drawn_from("shuffle", (numpys,), {}, None)
    assert drawn.digest == digest_text("[0.5, [2, [True]], 'x']")


@pytest.mark.parametrize(
    ("value", "dtype"), [(3, "int64"), (0.5, "float64"), (True, "bool"), (np.int8(3), "int8")]
)
def test_a_number_that_was_drawn_is_an_array_without_dimensions(value, dtype):
    drawn = drawn_from("integers", (), {}, value)
    assert (drawn.shape, drawn.dtype) == ((), dtype)
    assert drawn.digest == digest_array(dtype, np.asarray(value))


def test_a_number_that_no_array_holds_is_told_by_its_text():
    drawn = drawn_from("choice", ([10**30],), {}, 10**30)
    assert (drawn.shape, drawn.dtype, drawn.array) == ((), "int", None)
    assert drawn.digest == digest_text(str(10**30))


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_that_were_drawn_are_numbers(kind):
    drawn = drawn_from("bytes", (3,), {}, kind(b"abc"))
    assert (drawn.shape, drawn.dtype) == ((3,), "uint8")
    assert drawn.array.tobytes() == b"abc"


# --- other numbers ------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.25, np.float32(0.25), np.float64(0.25), 7, b"ab"])
def test_other_numbers_have_the_type_of_the_drawn_ones(value):
    drawn = drawn_from("random", (), {}, value)
    other = np.asarray(drawn.array + 1, dtype=drawn.array.dtype)
    given = give_back(value, drawn, other)
    assert type(given) is type(value)
    assert np.array_equal(np.frombuffer(given, np.uint8) if value == b"ab" else given, other)


def test_other_numbers_are_written_into_the_array_that_was_drawn():
    out = np.zeros(2)
    assert give_back(out, drawn_from("random", (2,), {}, out), np.ones(2)) is out
    assert out.tolist() == [1.0, 1.0]
    shuffled = np.arange(2.0)
    drawn = drawn_from("shuffle", (shuffled,), {}, None)
    assert give_back(None, drawn, np.array([5.0, 6.0])) is None
    assert shuffled.tolist() == [5.0, 6.0]
