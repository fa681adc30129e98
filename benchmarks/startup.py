"""What the plugin costs where it is installed and not used: beside a plugin that is empty.

``python benchmarks/startup.py [--short]``
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import ALONE, REPRO, Variant, side_by_side
from page import GOALS, mark, table, write_section

_HEAVY = ("numpy", "yaml", "safetensors", "huggingface_hub", "mindspore", "ml_dtypes")
_CONFTEST = f"""
import sys

def pytest_unconfigure():
    found = [name for name in {_HEAVY!r} if name in sys.modules]
    print("imported:", *found)
"""


def heavy_imports(folder: Path) -> list[str]:
    """Which heavy packages an empty run with the plugin imports."""
    command = [sys.executable, "-m", "pytest", "-q", "-s", *REPRO]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **ALONE}, capture_output=True, text=True, check=True
    )
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("imported:")]
    return line.split()[1:]


def main() -> None:
    rounds = 15 if "--short" in sys.argv else 41
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "test_one.py").write_text("def test_one():\n    pass\n", encoding="utf-8")
        (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        (folder / "empty_plugin.py").write_text("", encoding="utf-8")
        # With -p pytest looks through everything that is installed, as it does without being asked
        # where plugins load by themselves: the floor pays for that look, too.
        empty = ("-p", "empty_plugin")
        variants = [
            Variant("without", folder, empty),
            Variant("without, again", folder, empty),
            Variant("with", folder, REPRO),
        ]
        costs = side_by_side(variants, rounds)
        (folder / "conftest.py").write_text(_CONFTEST, encoding="utf-8")
        heavy = heavy_imports(folder)
    floor, twin, ours = (costs[variant.name].cpu_s for variant in variants)
    noise = f"{abs(twin / floor - 1) * 100:.2g}"
    rows = [
        ("extra CPU time, %", *mark((ours / floor - 1) * 100, 3)),
        ("the same between two equal runs (noise), %", "", noise, ""),
        ("heavy packages imported", *mark(len(heavy), 0)),
    ]
    lines = table(("a run of one empty test", *GOALS), rows)
    write_section("startup", "Installed and not used", lines)


if __name__ == "__main__":
    main()
