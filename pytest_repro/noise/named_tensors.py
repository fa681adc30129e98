"""The tensors that a test names to be disturbed, because they come from no generator of ours."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from pytest_repro.errors import UsageError
from pytest_repro.noise.sources import Disturbed, NoiseSource, SignStream, disturb_by_one_ulp
from pytest_repro.tensors.dtypes import dtype_of

__all__ = ["NamedTensors"]

_APART = 2**32
"""Added to the seed of the signs, so that draws and named tensors do not share theirs."""


class NamedTensors:
    """Disturbs named tensors where the noise of the run is disturbed, and leaves them alone else.

    Args:
        source: Where the run's noise comes from.

    Attributes:
        count: How many were named so far.
    """

    def __init__(self, source: NoiseSource) -> None:
        self.count = 0
        self._source = source if isinstance(source, Disturbed) else None
        self._signs = SignStream(source.seed + _APART) if isinstance(source, Disturbed) else None
        self._sizes: list[float] = []

    @property
    def input_rel_l2(self) -> float:
        """Mean relative L2 size of the disturbance over the named tensors; 0.0 if none."""
        return sum(self._sizes) / len(self._sizes) if self._sizes else 0.0

    def disturb(self, array: NDArray[Any]) -> NDArray[Any]:
        """``array`` itself, or in a disturbed run its numbers moved by one ULP, as draws are.

        Args:
            array: Floats of any shape; the ULP is that of the computing dtype, or of the array's
                own where that is coarser (`noise.disturb_by_one_ulp`).

        Raises:
            UsageError: It holds no floats, so that there is no ULP to move by.
        """
        dtype = dtype_of(array)
        if not dtype.is_float:
            raise UsageError(
                f"repro_disturb: {dtype.name} has no unit in the last place",
                next_step="name a tensor of floats that the result depends on",
            )
        self.count += 1
        if self._source is None or self._signs is None:
            return array
        rises = self._signs.rises(array.shape)
        given, size = disturb_by_one_ulp(array, rises, self._source.computing_dtype)
        if array.size:
            self._sizes.append(size)
        return given
