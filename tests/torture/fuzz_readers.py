"""One reader under atheris.

``python -m tests.torture.fuzz_readers READER COUNT_FILE [libFuzzer's options]``

The process ends with libFuzzer's exit code: 0 after ``-runs``, another at the first find, whose
input then lies in the current folder. COUNT_FILE gets two numbers: inputs read, and answered.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["pytest_repro"]):
    from tests.torture.readers import READERS

_COUNTED_AT_ONCE = 256


def main() -> None:
    """Never returns."""
    reader, count_file = READERS[sys.argv[1]], Path(sys.argv[2])
    counts = [0, 0]

    def one(data: bytes) -> None:
        counts[0] += 1
        counts[1] += reader.read(data)
        if counts[0] % _COUNTED_AT_ONCE == 0:
            count_file.write_text(f"{counts[0]} {counts[1]}", encoding="ascii")

    atheris.Setup([sys.argv[0], *sys.argv[3:]], one)
    atheris.Fuzz()


main()
