"""How large the page of a run with 5,000 drifted checks is, and how fast a browser opens it.

Run: ``python -m docs.measure.page [--checks 5000] [--opens 5]`` with the extra ``report`` and with
chromium (ten minutes). Every check is an image of 16 x 16 that really drifted: a suite is recorded, one
factor in it is changed, and pytest writes the report. What is timed is chromium's own clock
(``performance.now()`` in the load event), from the start of the navigation.
"""

from __future__ import annotations

import argparse
import html
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SUITE = """
import numpy as np
import pytest

@pytest.mark.repro
@pytest.mark.parametrize("number", range({tests}))
def test_image(number, repro_generator, repro_check):
    for place in range({each}):
        repro_check(repro_generator.random((16, 16, 3)) * {factor}, name=f"image {{place}}")
"""
INI = "[pytest]\nrepro_framework = numpy\naddopts = -q --tb=no -p no:cacheprovider\n"
OPENED = """<script>addEventListener("load", () => {
  const pre = document.createElement("pre"); pre.id = "opened";
  const { chosen } = /of (?<chosen>[0-9]+) shown/.exec(document.getElementById("shown").textContent).groups;
  pre.textContent = JSON.stringify([Number(chosen), performance.now()]);
  document.body.append(pre);
});</script>"""
EACH = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checks", type=int, default=5000)
    parser.add_argument("--opens", type=int, default=5)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        page = _page(folder, wanted.checks // EACH)
        opened = sorted(_open(folder, page) for _ in range(wanted.opens))
        print(f"{wanted.checks} drifted checks: {page.stat().st_size:,} bytes")
        print(f"opened in {opened[0]:.0f} to {opened[-1]:.0f} ms ({wanted.opens} times)")


def _page(folder: Path, tests: int) -> Path:
    (folder / "pytest.ini").write_text(INI, encoding="utf-8")
    for factor, arguments in (
        (1, ["--repro-update", "--repro-envelope", "0"]),
        (2, ["--repro-report", "report"]),
    ):
        text = SUITE.format(tests=tests, each=EACH, factor=factor)
        (folder / "test_images.py").write_text(text, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        counts = re.search(r"^\d+ checks: .*", done.stdout, re.MULTILINE)
        if counts is None:
            raise SystemExit(done.stdout + done.stderr)
        print(counts[0])
    return folder / "report" / "index.html"


def _open(folder: Path, page: Path) -> float:
    """Milliseconds until the page with its first rows was there."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("chromium is not installed")
    timed = folder / "timed.html"
    timed.write_text(
        page.read_text(encoding="utf-8").replace("</body>", OPENED + "</body>"), encoding="utf-8"
    )
    profile = tempfile.mkdtemp(dir=folder)
    done = subprocess.run(
        [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", "--disable-quic",
            "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", f"--user-data-dir={profile}", timed.as_uri(),
        ],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = re.search(r'<pre id="opened">(.*?)</pre>', done.stdout)
    if found is None:
        raise SystemExit("the page did not open")
    checks, opened_ms = json.loads(html.unescape(found[1]))
    if checks < EACH:
        raise SystemExit(f"the page holds {checks} checks only")
    return float(opened_ms)


if __name__ == "__main__":
    main()
