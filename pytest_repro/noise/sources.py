"""Where a draw's numbers come from: the stream, a recording, or the stream moved by one ULP.

A source is what was asked for, frozen; a feed produces its noise for one book.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pytest_repro.errors import RandomnessError, UsageError
from pytest_repro.model.ids import Draw, DrawLog
from pytest_repro.tensors.dtypes import DTYPES, DType, coarsest, dtype_of

# These reorder the caller's own values: the order is random, not the values.
_REARRANGING = frozenset({"choice", "permutation", "permuted", "shuffle"})


@dataclass(frozen=True, slots=True)
class Fresh:
    """Draw from numpy's stream."""


@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """Use recorded draws instead of new ones; the stream still moves.

    Attributes:
        draw_log: The recorded draws.
        arrays: Their numbers, from `NoiseBook.arrays`; ``None`` for a draw without numbers (lists,
            text, a bit generator moved by hand), which is drawn again.
    """

    draw_log: DrawLog
    arrays: tuple[NDArray[Any] | None, ...]


@dataclass(frozen=True, slots=True)
class Disturbed:
    """Draw, and move every floating-point number by one ULP with random signs.

    Attributes:
        seed: Seed of the signs.
        computing_dtype: The dtype of the ULP (``float32``, ``float16``, ``bfloat16``,
            ``float64``): pipelines draw float64 and cast, and the perturbation must survive that.
    """

    seed: int
    computing_dtype: str = "float32"


NoiseSource = Fresh | Replay | Disturbed
"""Any source of noise."""


@dataclass(frozen=True, slots=True, eq=False)
class Fed:
    """The entry of the draw log, and the numbers for the caller."""

    draw: Draw
    array: NDArray[Any] | None


class Feed(Protocol):
    """A source at work."""

    @property
    def input_rel_l2(self) -> float:
        """Mean relative L2 size of the perturbation over the perturbed draws; 0.0 if none."""
        ...

    def feed(self, position: int, drawn: Draw, array: NDArray[Any] | None) -> Fed:
        """Decide on draw number ``position`` (from 0).

        ``array`` has its numbers, read-only; ``None`` if it is not an array of numbers.

        Raises:
            RandomnessError: A replay needs another draw than the recorded one.
        """
        ...


def can_move(draw: Draw) -> bool:
    """Whether a perturbed run moves any number of a draw."""
    floats = draw.dtype in DTYPES and DTYPES[draw.dtype].is_float
    return floats and draw.method not in _REARRANGING and 0 not in draw.shape


def open_feed(source: NoiseSource) -> Feed:
    """A new feed of ``source``; two feeds of one source give the same.

    Raises:
        UsageError: The computing dtype is not a known float, or a recording is incomplete.
    """
    if isinstance(source, Replay):
        return _ReplayFeed(source)
    if isinstance(source, Disturbed):
        return _DisturbedFeed(source)
    return _FreshFeed()


class SignStream:
    """Random signs from the raw words of a PCG64, which numpy keeps stable for good (NEP 19)."""

    def __init__(self, seed: int) -> None:
        self._words = np.random.PCG64(seed)

    def rises(self, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """For each element, with equal chance, whether it goes up."""
        count = int(np.prod(shape, dtype=np.int64))
        words = np.atleast_1d(self._words.random_raw(-(-count // 64)))
        bits = np.unpackbits(words.astype("<u8").view(np.uint8), count=count)
        return bits.astype(np.bool_).reshape(shape)


def disturb_by_one_ulp(
    array: NDArray[Any], rises: NDArray[np.bool_], computing_dtype: str = "float32"
) -> tuple[NDArray[Any], float]:
    """``array`` moved to the next number of the computing dtype, up where ``rises``, else down.

    The result has the array's dtype and, cast to the computing dtype, differs from the cast array
    by exactly one ULP. If the array's own dtype is coarser, its ULP counts. NaN, infinity and
    elements that would become infinite do not change.

    Returns the new array, and ``||moved - cast||_2 / ||cast||_2`` over the finite elements (0.0 if
    they are all zero).

    Raises:
        UsageError: ``computing_dtype`` is not a known float.
    """
    coarse = coarsest((dtype_of(array), _float_named(computing_dtype))).numpy
    with np.errstate(all="ignore"):
        cast = array.astype(coarse)
        infinity = np.array(np.inf, dtype=coarse)
        moved = np.nextafter(cast, np.where(rises, infinity, -infinity).astype(coarse))
        holds = np.isfinite(moved) & np.isfinite(cast)
        given = np.where(holds, moved.astype(array.dtype), array).astype(array.dtype)
    return given, _relative_size(cast[holds], moved[holds])


def _relative_size(cast: NDArray[Any], moved: NDArray[Any]) -> float:
    clean = cast.astype(np.float64)
    size = float(np.linalg.norm(clean))
    return float(np.linalg.norm(moved.astype(np.float64) - clean)) / size if size else 0.0


def _float_named(name: str) -> DType:
    row = DTYPES.get(name)
    if row is None or not row.is_float:
        floats = ", ".join(one.name for one in DTYPES.values() if one.is_float)
        raise UsageError(f"computing dtype {name!r} is not one of {floats}")
    return row


class _FreshFeed:
    input_rel_l2 = 0.0

    def feed(self, position: int, drawn: Draw, array: NDArray[Any] | None) -> Fed:
        return Fed(drawn, array)


class _DisturbedFeed:
    def __init__(self, source: Disturbed) -> None:
        _float_named(source.computing_dtype)
        self._dtype = source.computing_dtype
        self._signs = SignStream(source.seed)
        self._sizes: list[float] = []

    @property
    def input_rel_l2(self) -> float:
        return sum(self._sizes) / len(self._sizes) if self._sizes else 0.0

    def feed(self, position: int, drawn: Draw, array: NDArray[Any] | None) -> Fed:
        if array is None or drawn.method in _REARRANGING or not dtype_of(array).is_float:
            return Fed(drawn, array)
        given, size = disturb_by_one_ulp(array, self._signs.rises(array.shape), self._dtype)
        if array.size:
            self._sizes.append(size)
        return Fed(drawn, given)


class _ReplayFeed:
    input_rel_l2 = 0.0

    def __init__(self, source: Replay) -> None:
        if len(source.arrays) != len(source.draw_log.draws):
            raise UsageError(
                f"{len(source.arrays)} arrays cannot replay {len(source.draw_log.draws)} draws"
            )
        self._source = source

    def feed(self, position: int, drawn: Draw, array: NDArray[Any] | None) -> Fed:
        draws = self._source.draw_log.draws
        if position >= len(draws):
            raise _replay_refused(
                f"replay: draw {position + 1} was not recorded; the recording has {len(draws)}",
                "recorded  nothing",
                drawn,
            )
        recorded, stored = draws[position], self._source.arrays[position]
        if _asked(recorded) != _asked(drawn):
            raise _replay_refused(
                f"replay: draw {position + 1} of {len(draws)} is not the recorded one",
                f"recorded  {_words(recorded)}",
                drawn,
            )
        if stored is None:
            return Fed(drawn, array)
        return Fed(recorded, _checked(stored, recorded, position))


def _checked(stored: NDArray[Any], recorded: Draw, position: int) -> NDArray[Any]:
    if stored.shape != recorded.shape or dtype_of(stored).name != recorded.dtype:
        raise UsageError(
            f"replay: the array of draw {position + 1} does not match the draw log",
            facts=(
                f"draw log  {recorded.shape} {recorded.dtype}",
                f"array     {stored.shape} {dtype_of(stored).name}",
            ),
        )
    return stored


def _asked(draw: Draw) -> tuple[int, str, tuple[int, ...], str]:
    return draw.generator, draw.method, draw.shape, draw.dtype


def _words(draw: Draw) -> str:
    return f"{draw.method} {draw.shape} {draw.dtype} of generator {draw.generator}"


def _replay_refused(what: str, recorded: str, drawn: Draw) -> RandomnessError:
    return RandomnessError(
        what,
        facts=(recorded, f"observed  {_words(drawn)}"),
        next_step="run without --repro-noise=replay to see the first differing draw, or record "
        "the noise again: pytest --repro-update --repro-noise=store",
    )


_APART = 2**32
"""Added to the seed of the signs, so draws and named tensors have different signs."""


class NamedTensors:
    """Perturbs named tensors in a run with perturbed noise.

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
        """Mean relative L2 size of the perturbation over the named tensors; 0.0 if none."""
        return sum(self._sizes) / len(self._sizes) if self._sizes else 0.0

    def disturb(self, array: NDArray[Any]) -> NDArray[Any]:
        """``array`` itself, or in a perturbed run its floats moved by one ULP, like draws.

        Raises:
            UsageError: It has no floats, so there is no ULP.
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
