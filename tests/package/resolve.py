"""Asks pip what it would install in several environments, and demands that nothing is downgraded.

Run by ``tox -e resolve``; needs a package index. ``python tests/package/resolve.py CHECKOUT``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """Packages that are asked for together, and what must come of it.

    Attributes:
        extra: Extra of pytest-repro.
        beside: What the user wants as well.
        demands: Package and the beginning of its version.
    """

    name: str
    extra: str = ""
    beside: tuple[str, ...] = ()
    demands: tuple[tuple[str, str], ...] = ()


CASES = (
    Case("alone"),
    Case("numpy 1.26", beside=("numpy==1.26.4",), demands=(("numpy", "1.26"),)),
    Case("numpy 2", beside=("numpy>=2",), demands=(("numpy", "2."),)),
    Case("newest transformers", beside=("transformers>=5",), demands=(("transformers", "5"),)),
    Case("newest Hub client", beside=("huggingface_hub>=1",)),
    Case(
        "mindone 0.2.0", "mindone", ("mindone==0.2.0",), (("mindone", "0.2.0"), ("numpy", "1.26"))
    ),
    Case("mindone 0.4.0", "mindone", ("mindone==0.4.0",), (("mindone", "0.4.0"),)),
    Case("mindone 0.5.0", "mindone", ("mindone==0.5.0",), (("mindone", "0.5.0"),)),
)


def resolved(checkout: Path, case: Case) -> dict[str, str] | str:
    """Name and version of all that pip would install; its error where it finds nothing."""
    target = f"{checkout}[{case.extra}]" if case.extra else str(checkout)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        done = subprocess.run(
            [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet",
             "--report", str(report), target, *case.beside],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            return "\n".join(line for line in done.stderr.splitlines() if "ERROR" in line)
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    return {one["metadata"]["name"].lower(): one["metadata"]["version"] for one in found}


def faults(case: Case, found: dict[str, str] | str) -> list[str]:
    """What is not as it must be, in sentences."""
    if isinstance(found, str):
        return [f"{case.name}: pip finds no solution: {found}"]
    return [
        f"{case.name}: {name} {found.get(name, 'absent')}, not {version}"
        for name, version in case.demands
        if not found.get(name, "").startswith(version)
    ]


def main() -> None:
    """Resolve every case; exit code 1 with the faults."""
    checkout, wrong = Path(sys.argv[1]).resolve(), []
    for case in CASES:
        found = resolved(checkout, case)
        wrong += faults(case, found)
        shown = (
            "huggingface-hub",
            "huggingface_hub",
            "ml_dtypes",
            "ml-dtypes",
            "mindone",
            "mindspore",
            "numpy",
            "transformers",
        )
        count = 0 if isinstance(found, str) else len(found)
        text = ", ".join(
            f"{n} {found[n]}" for n in shown if not isinstance(found, str) and n in found
        )
        print(f"{case.name}: {count} packages; {text}", flush=True)
    if wrong:
        raise SystemExit("\n".join(wrong))


if __name__ == "__main__":
    main()
