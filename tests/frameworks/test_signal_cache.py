"""Records of tensors are of the bits at that moment, whatever is written there later."""

from __future__ import annotations

import threading

import ml_dtypes
import numpy as np
import pytest

from pytest_repro.frameworks import recorder
from pytest_repro.frameworks.recorder import SignalCache
from pytest_repro.tensors.record import make_record
from pytest_repro.trace.records import short_digest, trace_signal

LARGE = 1 << 16


def noise(size, seed=0, dtype=np.float32):
    return np.random.Generator(np.random.PCG64(seed)).standard_normal(size).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16, np.uint8, np.bool_])
@pytest.mark.parametrize("size", [0, 1, 63, 64, 1025, LARGE, LARGE + 3])
def test_a_record_is_the_one_that_measuring_at_once_gives(size, dtype):
    array, tensors = noise(size, dtype=dtype), SignalCache()
    wanted = trace_signal(make_record(array), sketched=size >= 64)
    assert [tensors.take(array, sketched=True)() for _ in range(3)] == [wanted] * 3


@pytest.mark.parametrize("size", [8, 2000, LARGE])
def test_what_the_next_kernel_writes_there_is_not_in_the_record(size):
    memory, tensors = noise(size), SignalCache()
    wanted = trace_signal(make_record(memory.copy()), sketched=size >= 64)
    pending = tensors.take(memory, sketched=True)
    memory[:] = 7.0
    assert pending() == wanted


@pytest.mark.parametrize("place", [0, 1000, -1])
def test_one_bit_written_in_place_is_another_tensor(place):
    memory, tensors = noise(LARGE), SignalCache()
    before = tensors.take(memory, sketched=False)
    memory.view(np.uint32)[place] ^= 1
    after = tensors.take(memory, sketched=False)
    assert before().digest != after().digest == short_digest(make_record(memory).digest)


def test_equality_is_of_bits_not_of_numbers():
    zeros, tensors = np.zeros(LARGE, np.float32), SignalCache()
    plus = tensors.take(zeros, sketched=False)()
    assert tensors.take(-zeros, sketched=False)().digest != plus.digest
    nans = np.full(LARGE, np.nan, np.float32)
    assert tensors.take(nans, sketched=False)() is tensors.take(nans.copy(), sketched=False)()


def test_dtype_and_shape_belong_to_the_tensor():
    array, tensors = noise(LARGE), SignalCache()
    seen = [
        tensors.take(one, sketched=False)().digest
        for one in (array, array.reshape(2, -1), array.view(np.int32))
    ]
    assert len(set(seen)) == 3


def test_what_was_taken_a_moment_ago_is_not_hashed_again(monkeypatch):
    hashed = []
    monkeypatch.setattr(
        recorder, "make_record", lambda array: hashed.append(array) or make_record(array)
    )
    array, tensors = noise(LARGE), SignalCache()
    records = {id(tensors.take(array.copy(), sketched=False)()) for _ in range(5)}
    assert (len(hashed), len(records)) == (1, 1)


def test_a_sketch_that_is_wanted_later_is_taken_then():
    array, tensors = noise(LARGE), SignalCache()
    assert tensors.take(array, sketched=False)().sketch == ()
    assert len(tensors.take(array, sketched=True)().sketch) == 16
    assert len(tensors.take(array, sketched=False)().sketch) == 16


def test_copies_are_few_and_small_together():
    tensors = SignalCache()
    for seed in range(20):
        tensors.take(noise(1 << 20, seed), sketched=False)
    tensors.finish()
    kept = tensors._newest.values()
    assert 1 < len(kept) <= 8
    assert sum(record.array.nbytes for record in kept) <= 32 << 20


def test_its_thread_ends_when_finished_and_starts_again():
    # Threads of earlier tests may end meanwhile, so only new ones count.
    tensors, before = SignalCache(), set(threading.enumerate())
    for seed in range(2):
        pending = tensors.take(noise(LARGE, seed), sketched=True)
        (own,) = set(threading.enumerate()) - before
        tensors.finish()
        assert not own.is_alive()
        assert pending().shape == (LARGE,)


def test_what_measuring_raises_is_raised_where_it_is_asked_for(monkeypatch):
    def broken(record, *, sketched):
        raise MemoryError("no room")

    monkeypatch.setattr(recorder, "trace_signal", broken)
    tensors = SignalCache()
    tensors.take(noise(LARGE), sketched=False)
    with pytest.raises(MemoryError, match="no room"):
        tensors.finish()
