"""Makes the pictures of the pages: a real run that drifts, its report, its terminal, the matrix.

Run: ``python docs/make_screenshots.py`` with the extras ``mindone``, ``cli`` and ``report`` and with
chromium. Nothing in the pictures is drawn by hand: one weight tensor of the trained network of digits
(tests/models/digits) is made 1 % larger, and what pytest and the report say of it is shown. Times of
recording differ from run to run.
"""

from __future__ import annotations

import io
import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
IMAGES = Path(__file__).parent / "images"
MAX_BYTES = 150_000
DIGITS = ROOT / "tests" / "models" / "digits"

TESTS = """
import os

import pytest
from mindone.diffusers import DDIMPipeline


@pytest.fixture
def digits(repro_watch):
    pipeline = DDIMPipeline.from_pretrained(os.environ["DIGITS"], use_safetensors=True)
    pipeline.set_progress_bar_config(disable=True)
    if os.environ.get("FAULT"):
        parameters = dict(pipeline.unet.parameters_and_names())
        weight = parameters["mid_block.attentions.0.to_q.weight"]
        weight.set_data(weight * 1.01)
    return repro_watch(pipeline)


@pytest.mark.repro(seed=0)
def test_digits(digits, repro_generator, repro_check):
    image = digits(num_inference_steps=10, output_type="np", generator=repro_generator)[0]
    repro_check(image, name="image")


@pytest.mark.repro(seed=1)
def test_noise(repro_generator, repro_check):
    noise = repro_generator.standard_normal((2, 64)).astype("float32")
    repro_check(noise, name="noise")
    repro_check(noise.mean(axis=1), name="means")
"""
INI = "[pytest]\naddopts = -p no:cacheprovider -p no:hypothesispytest -p no:xdist -p no:rerunfailures\n"
OPENED = (
    """<script>addEventListener("load", () => document.querySelector(".row").click())</script>"""
)


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "test_digits.py").write_text(TESTS, encoding="utf-8")
        (folder / "pytest.ini").write_text(INI, encoding="utf-8")
        _pytest(folder, "-q", "--repro-update")
        arguments = ("--show-capture=no", "--repro-report", "report")
        shown = _pytest(folder, "--color=yes", *arguments, FAULT="1")
        _terminal(shown, f"pytest {' '.join(arguments)}", IMAGES / "terminal.svg")
        page = (folder / "report/index.html").read_text(encoding="utf-8")
        _photograph(folder, page.replace("</body>", OPENED + "</body>"), "report", (1280, 1500))
        matrix = folder / "matrix.html"
        _command("matrix", "--far", "--root", str(ROOT), "--html", str(matrix))
        _photograph(folder, matrix.read_text(encoding="utf-8"), "matrix", (1420, 1290))


def _pytest(folder: Path, *arguments: str, **variables: str) -> str:
    """pytest as it looks on a terminal 100 columns wide."""
    command = [sys.executable, "-m", "pytest", *arguments]
    environment = {
        **os.environ,
        **variables,
        "COLUMNS": "100",
        "PYTHONDONTWRITEBYTECODE": "1",
        "DIGITS": str(DIGITS),
    }
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL
    )
    os.close(theirs)
    parts = []
    while True:
        try:
            parts.append(os.read(ours, 65536))
        except OSError:  # the other side is gone
            break
        if not parts[-1]:
            break
    os.close(ours)
    text = b"".join(parts).decode().replace("\r\n", "\n")
    if process.wait() not in (0, 1):
        raise SystemExit(text)
    return text.replace(str(folder), "~/project")


def _command(*arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "pytest_repro.cli", *arguments],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def _terminal(shown: str, command: str, path: Path) -> None:
    """What a terminal showed as SVG, without the fonts that rich would fetch from the network."""
    from rich.console import Console
    from rich.text import Text

    console = Console(record=True, width=110, file=io.StringIO(), force_terminal=True)
    console.print(Text(f"$ {command}", style="bold"))
    console.print(Text.from_ansi(shown.strip("\n")))
    svg = console.export_svg(title="pytest-repro", unique_id="terminal")
    svg = re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    path.write_text(svg.replace("Fira Code", "ui-monospace, monospace"), encoding="utf-8")
    _report_size(path)


def _photograph(folder: Path, page: str, name: str, size: tuple[int, int]) -> None:
    """The page as chromium shows it, light and dark."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("chromium is not installed")
    for side, option in {"light": (), "dark": ("--force-dark-mode",)}.items():
        file, target = folder / f"{name}-{side}.html", IMAGES / f"{name}-{side}.png"
        file.write_text(page, encoding="utf-8")
        quiet = (
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        )
        subprocess.run(
            [
                chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *quiet, *option,
                f"--user-data-dir={folder / 'profile'}", f"--window-size={size[0]},{size[1]}",
                "--virtual-time-budget=5000", f"--screenshot={target}", file.as_uri(),
            ],
            check=True, capture_output=True,
        )  # fmt: skip
        _small(target)
        _report_size(target)


def _small(path: Path) -> None:
    """256 colours are enough, if they are chosen for all that there are and not for the greys alone."""
    from PIL import Image

    with Image.open(path) as image:
        flat = image.convert("RGB")
    few = flat.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


def _report_size(path: Path) -> None:
    size = path.stat().st_size
    print(f"{path.relative_to(ROOT)}: {size:,} bytes")
    if size > MAX_BYTES:
        raise SystemExit(f"{path} is larger than {MAX_BYTES:,} bytes")


if __name__ == "__main__":
    main()
