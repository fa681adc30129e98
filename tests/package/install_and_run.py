"""Installs what was built into fresh environments and runs the README's first test story there.

Run: ``python tests/package/install_and_run.py DIST``; `tox -e package` does. The folder of the
story is empty and outside the checkout. Where this interpreter has mindone, the environment may see
it, and the story is the README's DDIM test; else it is the story of the page without MindSpore.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import venv
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

_ROOT = Path(__file__).parents[2]
PAGES = (_ROOT / "README.md", _ROOT / "docs" / "how-to" / "without-mindspore.md")
_FILE = re.compile(r"^```python file=(\S+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LOCAL_WEIGHTS = """
import shutil
from pytest_repro.pipelines.ddim import DDIM
from pytest_repro.pipelines.family import source_folder
from pytest_repro.pipelines.source import parse_source
shutil.copytree(source_folder(DDIM, parse_source("seeded")), "google/ddpm-cifar10-32")
"""


@dataclass(frozen=True)
class Story:
    """A test file of a page."""

    file: str
    source: str
    needs_mindspore: bool


@dataclass(frozen=True)
class Scene:
    """One run of the story: what pytest is told, and what must come of it."""

    arguments: tuple[str, ...]
    exit_code: int
    closing: str
    says: str = ""


MISSING = Scene((), 1, "1 check: 1 missing", "missing (gate value)")
RECORDED = Scene(("--repro-update",), 0, "1 check: 1 recorded")
EXACT = Scene((), 0, "1 check: 1 exact")
DRIFT = Scene((), 1, "1 check: 1 drift", "seed 0 became 1")
UPDATED = Scene(("--repro-update",), 0, "1 check: 1 updated")


def stories(text: str) -> tuple[Story, ...]:
    """The test files of the pages, in their order."""
    return tuple(
        Story(name, source, "needs=mindspore" in rest) for name, rest, source in _FILE.findall(text)
    )


def chosen(found: tuple[Story, ...], *, mindone: bool) -> Story:
    """The first story that can run here."""
    return next(one for one in found if mindone or not one.needs_mindspore)


def make_environment(folder: Path, built: Path, *, mindone: bool) -> Path:
    """A fresh environment with the wheel or the sdist; its Python."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    if mindone:
        site = subprocess.check_output(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
        )
        # After the environment's own packages, so that the built one wins over an editable install.
        line = sysconfig.get_path("purelib") + "\n"
        (Path(site.strip()) / "mindone_of_the_caller.pth").write_text(line, encoding="utf-8")
    options = ["--force-reinstall", "--no-deps"] if mindone else []
    subprocess.run([python, "-m", "pip", "install", "--quiet", *options, built], check=True)
    return python


def demand_installed(python: Path, folder: Path) -> None:
    """The package under test is the installed one, not the checkout."""
    code = "import pytest_repro; print(pytest_repro.__file__)"
    place = subprocess.check_output([python, "-P", "-c", code], cwd=folder, text=True).strip()
    if not Path(place).is_relative_to(python.parents[1]):
        raise SystemExit(f"the story would run against {place}")


def play(python: Path, folder: Path, scene: Scene) -> None:
    """Run one scene; stop with the output where it is not as it must be."""
    done = subprocess.run(
        [python, "-m", "pytest", "-q", *scene.arguments],
        cwd=folder,
        env={"ONEDNN_MAX_CPU_ISA": "AVX2", **os.environ},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    if (
        done.returncode != scene.exit_code
        or scene.closing not in lines
        or scene.says not in done.stdout
    ):
        raise SystemExit(f"{scene}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    print(f"{scene.closing}: as it must be")


def run_story(python: Path, folder: Path, story: Story) -> None:
    """From missing over recorded and exact to drift and updated."""
    folder.mkdir()
    demand_installed(python, folder)
    if story.needs_mindspore:
        subprocess.run([python, "-c", _LOCAL_WEIGHTS], cwd=folder, check=True)
    test = folder / story.file
    test.write_text(story.source, encoding="utf-8")
    for scene in (MISSING, RECORDED, EXACT):
        play(python, folder, scene)
    assert "seed=0" in story.source
    test.write_text(story.source.replace("seed=0", "seed=1"), encoding="utf-8")
    for scene in (DRIFT, UPDATED, EXACT):
        play(python, folder, scene)


def main() -> None:
    """Install the one wheel and the one sdist of the folder, each alone, and play the story."""
    folder = Path(sys.argv[1]).resolve()
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    mindone = find_spec("mindone") is not None
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    story = chosen(stories(text), mindone=mindone)
    for built in (wheel, sdist):
        with tempfile.TemporaryDirectory() as place:
            python = make_environment(Path(place) / "env", built, mindone=mindone)
            run_story(python, Path(place) / "story", story)
        print(f"{story.file}: the story holds against {built.name}")


if __name__ == "__main__":
    main()
