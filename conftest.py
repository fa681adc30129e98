"""What all tests of the checkout share: nested pytest runs, how MindSpore launches kernels."""

from __future__ import annotations

from collections.abc import Iterator

# A nested run forgets what it imported, and numpy refuses to be told of bfloat16 twice.
import ml_dtypes  # noqa: F401
import pytest

pytest_plugins = ["pytester"]


@pytest.fixture(scope="session")
def one_kernel_at_a_time() -> Iterator[None]:
    """Launch kernels one by one: the same bits, several times less CPU time on few cores.

    MindSpore hands kernels to a queue whose threads spin while they wait. The model tests took
    59 s of CPU time with the queue and 20 s without, all 14 checks exact both ways.
    """
    import mindspore

    before = mindspore.get_context("pynative_synchronize")
    mindspore.set_context(pynative_synchronize=True)
    yield
    mindspore.set_context(pynative_synchronize=before)
