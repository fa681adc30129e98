"""The pictures that the network is trained on: scikit-learn's digits, enlarged to 16 x 16."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["HELD_OUT", "held_out_pictures", "labels", "training_pictures"]

HELD_OUT = 297
"""The last pictures of the data set, which the network never sees; 1,500 of 1,797 remain."""

_SIZE, _ENLARGED = 8, 16
_BRIGHTEST = 16.0


@cache
def training_pictures() -> NDArray[np.float32]:
    """(1500, 1, 16, 16) in [-1, 1]."""
    return _enlarged(_digits().images[:-HELD_OUT])


def held_out_pictures() -> NDArray[np.float32]:
    """(297, 1, 16, 16) in [-1, 1]."""
    return _enlarged(_digits().images[-HELD_OUT:])


def labels() -> NDArray[np.int64]:
    """The digits that all 1,797 pictures show, the held out ones last."""
    return np.asarray(_digits().target, dtype=np.int64)


@cache
def _digits():
    from sklearn.datasets import load_digits

    return load_digits()


def _enlarged(pictures: NDArray[np.float64]) -> NDArray[np.float32]:
    """Bilinear, with pixels as areas; from [0, 16] to [-1, 1]."""
    at = (np.arange(_ENLARGED) + 0.5) * _SIZE / _ENLARGED - 0.5
    share = np.maximum(0.0, 1.0 - np.abs(np.clip(at, 0, _SIZE - 1)[:, None] - np.arange(_SIZE)))
    enlarged = np.einsum("ir,nrc,jc->nij", share, pictures, share)
    return (enlarged / (_BRIGHTEST / 2.0) - 1.0).astype(np.float32)[:, None]
