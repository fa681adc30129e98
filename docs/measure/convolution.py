"""Times one convolution of MindSpore, the second call of each, in the process's own SIMD level.

Run: ``python docs/measure/convolution.py``, and again with ``ONEDNN_MAX_CPU_ISA=AVX2``; needs
MindSpore only.
"""

from __future__ import annotations

import os
import time

import mindspore
import numpy as np
from mindspore import nn

# One layer of ddpm-cifar10-32: 128 channels, 32 x 32, 3 x 3.
SHAPE = (1, 128, 32, 32)


def main() -> None:
    """Print the time in milliseconds."""
    cell = nn.Conv2d(128, 128, 3, pad_mode="pad", padding=1)
    value = mindspore.Tensor(np.zeros(SHAPE, np.float32))
    for call in (1, 2):
        begin_s = time.perf_counter()
        cell(value).asnumpy()
        elapsed_s = time.perf_counter() - begin_s
        level = os.environ.get("ONEDNN_MAX_CPU_ISA", "not set")
        print(
            f"ONEDNN_MAX_CPU_ISA {level}: call {call} took {elapsed_s * 1000.0:.1f} ms", flush=True
        )


if __name__ == "__main__":
    main()
