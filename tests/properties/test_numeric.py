"""What holds of records, digests, statistics and differences for any array of any dtype."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pytest_repro.tensors.compare import compare_records
from pytest_repro.tensors.dtypes import DTYPES, bits_of
from pytest_repro.tensors.record import make_record, owned
from pytest_repro.tensors.sketch import PROJECTIONS, sketch_array
from pytest_repro.tensors.statistics import summarise

COMMON = settings(max_examples=150, deadline=None)
NAMES = sorted(DTYPES)
SHAPES = st.lists(st.integers(0, 4), max_size=3).map(tuple)


def from_bytes(name, shape, raw):
    """An array with exactly these bits (bool: 0 or 1), NaN payloads and -0.0 included."""
    row = DTYPES[name]
    if name == "bool":
        raw = bytes(byte & 1 for byte in raw)
    return np.frombuffer(raw, f"<u{row.itemsize}").view(row.numpy).reshape(shape).copy()


@st.composite
def bit_patterns(draw, name, shape):
    size = math.prod(shape)
    width = DTYPES[name].itemsize
    top = 1 << (8 * width - 1)
    special = [0, 1, top, top | 1, top - 1, 2 * top - 1]
    if DTYPES[name].is_float:
        infinity = int(bits_of(DTYPES[name], np.array([np.inf], DTYPES[name].numpy))[0])
        special += [infinity, infinity | top, infinity + 1, infinity + 2, infinity | top | 5]
    pattern = st.one_of(st.sampled_from(special), st.integers(0, 2 * top - 1))
    patterns = draw(st.lists(pattern, min_size=size, max_size=size))
    return b"".join(value.to_bytes(width, "little") for value in patterns)


@st.composite
def arrays(draw):
    name, shape = draw(st.sampled_from(NAMES)), draw(SHAPES)
    return name, from_bytes(name, shape, draw(bit_patterns(name, shape)))


@st.composite
def pairs(draw):
    name, shape = draw(st.sampled_from(NAMES)), draw(SHAPES)
    one = from_bytes(name, shape, draw(bit_patterns(name, shape)))
    other = from_bytes(name, shape, draw(bit_patterns(name, shape)))
    kept = np.array(draw(st.lists(st.booleans(), min_size=one.size, max_size=one.size)), bool)
    bits_one, bits_other = (bits_of(DTYPES[name], a.reshape(-1)) for a in (one, other))
    bits_other[kept] = bits_one[kept]
    return one, other


def disguised(array, layout):
    """The same elements in another memory layout."""
    if layout == "big-endian":
        return array.astype(array.dtype.newbyteorder(">"))
    if layout == "fortran":
        return np.asarray(array, order="F")
    if layout == "reversed" and array.ndim:
        return np.ascontiguousarray(array[::-1])[::-1]
    if layout == "strided" and array.ndim:
        return np.repeat(array, 2, axis=-1)[..., ::2]
    return array


@COMMON
@given(arrays(), st.sampled_from(["plain", "big-endian", "fortran", "reversed", "strided"]))
def test_a_record_has_the_elements_bits_whatever_the_layout(named, layout):
    name, array = named
    raw = array.tobytes()
    record = make_record(disguised(array, layout))
    assert (record.dtype, record.shape) == (name, array.shape)
    assert record.array.tobytes() == owned(record).array.tobytes() == raw
    assert record.digest == make_record(array).digest
    assert array.tobytes() == raw
    assert array.flags.writeable


@COMMON
@given(arrays(), st.data())
def test_one_flipped_bit_is_always_counted_at_its_place(named, data):
    name, array = named
    assume(array.size)
    row = DTYPES[name]
    place = data.draw(st.integers(0, array.size - 1))
    bit = 0 if name == "bool" else data.draw(st.integers(0, 8 * row.itemsize - 1))
    flipped = array.copy()
    bits = bits_of(row, flipped.reshape(-1))
    bits[place] ^= bits.dtype.type(1 << bit)
    one, other = make_record(array), make_record(flipped)
    seen = compare_records(one, other)
    assert seen.differing_count == 1
    assert one.digest != other.digest
    named_place = seen.non_finite or seen.worst_abs
    assert named_place.index == tuple(int(i) for i in np.unravel_index(place, array.shape))
    assert named_place.baseline != named_place.observed


@COMMON
@given(arrays())
def test_a_tensor_does_not_differ_from_itself(named):
    _, array = named
    seen = compare_records(make_record(array), make_record(array.copy()))
    assert seen.differing_count == 0
    assert (seen.worst_abs, seen.worst_ulp, seen.non_finite, seen.rel_l2) == (None,) * 3 + (0.0,)


@COMMON
@given(pairs())
def test_counts_equal_brute_force_and_are_symmetric(pair):
    one, other = pair
    records = make_record(one), make_record(other)
    width = one.dtype.itemsize
    raws = [
        [record.array.tobytes()[at : at + width] for at in range(0, record.array.nbytes, width)]
        for record in records
    ]
    by_hand = sum(a != b for a, b in zip(*raws, strict=True))
    forth, back = compare_records(*records), compare_records(*reversed(records))
    assert forth.differing_count == back.differing_count == by_hand
    assert (forth.non_finite is None) == (back.non_finite is None)
    if forth.non_finite:
        assert forth.non_finite.count == back.non_finite.count
        assert forth.non_finite.baseline == back.non_finite.observed
    for measure in ("worst_abs", "worst_ulp"):
        there, again = getattr(forth, measure), getattr(back, measure)
        assert (there and (there.amount, there.index)) == (again and (again.amount, again.index))
    assert forth.baseline_statistics == back.observed_statistics


@COMMON
@given(pairs())
def test_worst_places_equal_brute_force(pair):
    one, other = (array.reshape(-1) for array in pair)
    name = make_record(one).dtype
    values = [(_number(name, b), _number(name, o)) for b, o in zip(one, other, strict=True)]
    gaps = [abs(_exact(o) - _exact(b)) if _finite(b, o) else None for b, o in values]
    seen = compare_records(make_record(one), make_record(other))
    largest = max((gap for gap in gaps if gap is not None), default=0)
    if largest == 0:
        assert seen.worst_abs is None or seen.worst_abs.amount == 0.0
    else:
        # float64 rounds the gap once; overflow is infinity.
        assert seen.worst_abs.amount == _nearest(largest)
        assert _nearest(gaps[seen.worst_abs.index[0]]) == _nearest(largest)
    assert math.isfinite(seen.mean_abs)
    assert seen.rel_l2 >= 0.0
    assert 0.0 <= seen.cosine <= 2.0
    assert not math.isnan(seen.psnr_db)


def _number(name, element):
    return float(element) if DTYPES[name].is_float else int(element)


def _finite(*numbers):
    return all(math.isfinite(number) for number in numbers)


def _exact(number):
    # Floats as integers in units of float64's smallest subnormal: no rounding in Python's integers.
    numerator, denominator = number.as_integer_ratio()
    return numerator * (_UNITS // denominator)


_UNITS = 1 << 1074


def _nearest(gap):
    try:
        return gap / _UNITS
    except OverflowError:
        return math.inf


@COMMON
@given(arrays())
def test_statistics_are_finite_ordered_and_complete(named):
    _, array = named
    seen = summarise(make_record(array))
    finite = array.size - seen.nan_count - seen.posinf_count - seen.neginf_count
    assert 0 <= finite <= array.size
    assert seen.min <= seen.mean <= seen.max
    assert 0.0 <= seen.std <= max(seen.max - seen.min, seen.max, -seen.min)
    assert seen.l2 >= max(abs(seen.min), abs(seen.max)) * (1 - 1e-15)
    assert seen.abs_sum >= seen.l2 * (1 - 1e-15) or seen.abs_sum == math.inf
    sketch = sketch_array(make_record(array))
    assert len(sketch) == PROJECTIONS
    assert all(math.isfinite(projection) for projection in sketch)


_OTHER_PROCESS = """
import sys
import numpy as np
from pytest_repro.tensors.dtypes import DTYPES
from pytest_repro.tensors.record import make_record
from pytest_repro.tensors.sketch import sketch_array
from pytest_repro.tensors.statistics import summarise
for name, row in DTYPES.items():
    raw = np.arange(4 * 64 * row.itemsize, dtype="u4").astype("u1")
    array = (raw & 1 if name == "bool" else raw).view(row.numpy)
    record = make_record(array)
    print(name, record.digest, summarise(record), sketch_array(record))
"""


def test_two_processes_agree_on_digests_statistics_and_sketches():
    runs = [
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _OTHER_PROCESS],
            env={"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]
    digests = [line.split()[1] for line in runs[0].splitlines()]
    assert len(set(digests)) == len(DTYPES)
