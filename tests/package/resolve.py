"""Asks pip what it would install in several environments, and demands that nothing is replaced.

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
        keeps: Whether ``beside`` must be resolved to the same versions without pytest-repro, so
            that installing it later replaces nothing.
    """

    name: str
    extra: str = ""
    beside: tuple[str, ...] = ()
    demands: tuple[tuple[str, str], ...] = ()
    keeps: bool = False


CASES = (
    Case("alone"),
    Case("numpy 1.26", beside=("numpy==1.26.4",), demands=(("numpy", "1.26"),)),
    Case("numpy 2", beside=("numpy>=2",), demands=(("numpy", "2."),)),
    Case("newest transformers", beside=("transformers>=5",), demands=(("transformers", "5"),)),
    Case("newest Hub client", beside=("huggingface_hub>=1",)),
    *(
        Case(
            f"mindone {release}",
            "mindone",
            (f"mindone=={release}", "mindspore==2.10.0"),
            (("mindone", release), ("numpy", "1.26")),
            keeps=True,
        )
        for release in ("0.2.0", "0.3.0", "0.4.0", "0.5.0")
    ),
)


def resolved(*wanted: str) -> dict[str, str] | str:
    """Name and version of all that pip would install; its error where it finds nothing."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        done = subprocess.run(
            [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet",
             "--report", str(report), *wanted],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            return "\n".join(line for line in done.stderr.splitlines() if "ERROR" in line)
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    pairs = ((one["metadata"]["name"], one["metadata"]["version"]) for one in found)
    return {name.lower().replace("_", "-"): version for name, version in pairs}


def faults(case: Case, found: dict[str, str] | str) -> list[str]:
    """What is not as it must be, in sentences."""
    if isinstance(found, str):
        return [f"{case.name}: pip finds no solution: {found}"]
    return [
        f"{case.name}: {name} {found.get(name, 'absent')}, not {version}"
        for name, version in case.demands
        if not found.get(name, "").startswith(version)
    ]


def replaced(case: Case, before: dict[str, str] | str, found: dict[str, str] | str) -> list[str]:
    """Packages that would be installed without pytest-repro, and in another version with it."""
    if isinstance(before, str) or isinstance(found, str):
        return [f"{case.name}: pip finds no solution"]
    return [
        f"{case.name}: pytest-repro replaces {name} {version} by {found.get(name, 'nothing')}"
        for name, version in before.items()
        if found.get(name) != version
    ]


def main() -> None:
    """Resolve every case; exit code 1 with the faults."""
    checkout, wrong = Path(sys.argv[1]).resolve(), []
    for case in CASES:
        target = f"{checkout}[{case.extra}]" if case.extra else str(checkout)
        found = resolved(target, *case.beside)
        wrong += faults(case, found)
        if case.keeps:
            before = resolved(*case.beside)
            wrong += replaced(case, before, found)
            print(f"{case.name}: {len(before)} packages without pytest-repro, compared", flush=True)
        shown = ("huggingface-hub", "ml-dtypes", "mindone", "mindspore", "numpy", "transformers")
        count = 0 if isinstance(found, str) else len(found)
        text = ", ".join(
            f"{n} {found[n]}" for n in shown if not isinstance(found, str) and n in found
        )
        print(f"{case.name}: {count} packages; {text}", flush=True)
    if wrong:
        raise SystemExit("\n".join(wrong))


if __name__ == "__main__":
    main()
