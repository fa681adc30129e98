"""Damaged bytes to every reader, led by coverage; writes docs/evidence/fuzzing.md.

``python benchmarks/fuzz.py [--inputs N] [READER ...]``: so many inputs to each of these readers, or
of all. Needs atheris. A find ends with exit code 1, and its input is in the current folder.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from page import table, write_section  # noqa: E402

from tests.torture.readers import READERS, Reader  # noqa: E402

PAGE = ROOT / "docs" / "evidence" / "fuzzing.md"
HEAD = """# Fuzzing

Written by `benchmarks/fuzz.py` (`tox -e fuzz`). Each reader of files gets valid inputs
with random damage; atheris keeps inputs that reach new code. A reader must answer, or refuse with
an error of pytest-repro. It must never take damaged bytes for the original tensor or digest
(`tests/torture/readers.py`); the first reader that does ends the run, and no section is written.
Inputs are counted 256 at a time.
"""
_LIMITS = ("-rss_limit_mb=1024", "-timeout=10", "-max_len=16384")


@dataclass(frozen=True, slots=True)
class Run:
    """What one reader went through; the time is elapsed seconds."""

    inputs: int
    answered: int
    reached: int
    kept: int
    took_s: float


def fuzz(reader: Reader, inputs: int) -> Run:
    """Feed so many inputs.

    Raises:
        SystemExit: A find; what the fuzzer said is printed.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus, counts = folder / "corpus", folder / "counts"
        corpus.mkdir()
        for number, seed in enumerate(reader.seeds):
            (corpus / f"seed-{number}").write_bytes(seed)
        words = folder / "words"
        words.write_text("\n".join(map(_quoted, reader.tokens)) + "\n", encoding="ascii")
        command = [sys.executable, "-m", "tests.torture.fuzz_readers", reader.name, str(counts)]
        command += [*_LIMITS, f"-runs={inputs}", f"-dict={words}", str(corpus)]
        began = time.monotonic()
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        took_s = time.monotonic() - began
        if done.returncode:
            raise SystemExit(f"{reader.name}: a find\n{done.stdout[-3000:]}{done.stderr[-6000:]}")
        read, answered = map(int, counts.read_text(encoding="ascii").split())
        reached = int(re.findall(r" cov: (\d+)", done.stderr)[-1])
        return Run(read, answered, reached, len(list(corpus.iterdir())), took_s)


def _quoted(token: bytes) -> str:
    return '"' + "".join(f"\\x{byte:02x}" for byte in token) + '"'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=200_000)
    parser.add_argument("readers", nargs="*", metavar="READER")
    chosen = parser.parse_args()
    for name in chosen.readers or READERS:
        run = fuzz(READERS[name], chosen.inputs)
        rows = [
            ("inputs", f"{run.inputs:,}"),
            ("answered", f"{run.answered:,}"),
            ("refused with an error of pytest-repro", f"{run.inputs - run.answered:,}"),
            ("branches reached", f"{run.reached:,}"),
            ("inputs that reached something new", f"{run.kept:,}"),
            ("inputs a second", f"{run.inputs / run.took_s:,.0f}"),
        ]
        write_section(name, f"The {name} reader", table(("what", "value"), rows), PAGE, HEAD)


if __name__ == "__main__":
    main()
