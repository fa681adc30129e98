"""Values of other libraries: pictures, and whatever numpy reads as an array."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_repro.errors import ValueRefused
from pytest_repro.frameworks.mindspore import MindSporeAdapter
from pytest_repro.frameworks.values import records_from

PIXELS = np.random.Generator(np.random.PCG64(0)).integers(0, 256, (4, 6, 3)).astype("uint8")


def leaves(value):
    return records_from(value, check="test.py::test::image", framework=MindSporeAdapter())


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
    with pytest.raises(ValueRefused, match="places in a palette") as caught:
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
