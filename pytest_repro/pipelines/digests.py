"""Owns the digests of a pipeline's weights: one a component, over every parameter."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_repro.model.baseline import WeightsDigest

__all__ = ["weights_digests"]


def weights_digests(pipeline: Any) -> tuple[WeightsDigest, ...]:
    """The digest of each component that has parameters, sorted by component.

    A component's digest is `core.digest.digest_leaves` over its parameters sorted by their path in
    the component, each with the digest of its dtype, shape and bytes. Not by ``Parameter.name``,
    which MindSpore changes where a run puts a cell into another list, as mindone's UnCLIP does.

    Args:
        pipeline: Any mindone pipeline (an object with ``components``).
    """
    if "mindspore" not in sys.modules:
        return ()
    from mindspore import nn

    cells = {name: part for name, part in pipeline.components.items() if isinstance(part, nn.Cell)}
    return tuple(_component(name, cells[name]) for name in sorted(cells))


def _component(name: str, cell: Any) -> WeightsDigest:
    from pytest_repro.tensors.digest import digest_leaves
    from pytest_repro.tensors.record import make_record

    named = cell.parameters_and_names()
    leaves = sorted((str(path), make_record(_numbers(one)).digest) for path, one in named)
    return WeightsDigest(name, digest_leaves(leaves))


def _numbers(parameter: Any) -> NDArray[Any]:
    array = parameter.asnumpy()
    if array.dtype == np.dtype("V2"):
        # MindSpore without its own bfloat16 for numpy hands out raw pairs of bytes.
        import ml_dtypes

        return np.asarray(array.view(ml_dtypes.bfloat16))
    return np.asarray(array)
