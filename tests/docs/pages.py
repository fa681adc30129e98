"""Reads the code blocks of a page and runs them, in order, in one folder, as a reader would.

The words after the language say what a block is; GitHub and PyPI do not show them::

    ```python file=test_noise.py     writes the file
    ```console run                   runs each line that begins with `$ `; the lines below it must
                                     appear in its output, in order; `exit=1` is its exit code
    ```console shown="why"           is not run
    ``` needs=mindspore              runs only where mindone is installed
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[2]
_DOCS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", *_DOCS)

# A block in a list is indented as its fence is.
_BLOCK = re.compile(r"^( *)```(\w*)([^\n]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
# What another machine, another day or another numpy may show otherwise.
_CHANGING = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "TIME"),
    (re.compile(r"cpu-\w+-\w+-\d+c"), "HARDWARE"),
    (re.compile(r"numpy-[0-9][\w.]*"), "NUMPY"),
    (re.compile(r" in \d+\.\d+s( \(.*\))?"), " in SECONDS"),
)
_FIGURE = re.compile(r"[-+]?\b\d[\d.,e+-]*\b|\binf\b|\b[0-9a-f]{12,64}\b")
# A shell in which the names of the pages mean this interpreter.
_PRELUDE = """set -e
pytest() { "$PAGE_PYTHON" -m pytest "$@"; }
pytest-repro() { "$PAGE_PYTHON" -m pytest_repro.cli "$@"; }
python() { "$PAGE_PYTHON" "$@"; }
"""
# Plugins whose loading costs more than the small runs of a page.
_WITHOUT = "-p no:cacheprovider -p no:xdist -p no:hypothesispytest -p no:rerunfailures"


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, what it says it is, its text and its line in the page."""

    language: str
    is_run: bool
    options: tuple[tuple[str, str], ...]
    text: str
    line: int

    def option(self, name: str) -> str:
        return dict(self.options).get(name, "")

    @property
    def exit_code(self) -> int:
        return int(self.option("exit") or 0)

    @property
    def is_declared(self) -> bool:
        return self.is_run or bool(self.option("file") or self.option("shown"))


@dataclass(frozen=True)
class Command:
    """A command of a console block and the lines that must appear in its output."""

    line: str
    output: tuple[str, ...]


def blocks_of(text: str) -> tuple[Block, ...]:
    """Every fenced block of a page."""
    fenced = _BLOCK.finditer(text)
    # `{toctree}` and its like are directives to Sphinx, which its own build checks.
    return tuple(_block(text, found) for found in fenced if not found[3].startswith("{"))


def _block(text: str, found: re.Match[str]) -> Block:
    indent, language, rest, body = found.groups()
    body = "".join(line.removeprefix(indent) for line in body.splitlines(keepends=True))
    words = shlex.split(rest)
    pairs = (word.partition("=") for word in words)
    options = tuple((name, value) for name, equals, value in pairs if equals)
    return Block(language, "run" in words, options, body, text.count("\n", 0, found.start()) + 1)


def commands_of(block: Block) -> tuple[Command, ...]:
    """The commands of a console block."""
    commands: list[Command] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            commands.append(Command(line[2:], ()))
        elif commands and line.strip():
            last = commands[-1]
            commands[-1] = Command(last.line, (*last.output, line))
    return tuple(commands)


def normal(line: str, *, figures: bool) -> str:
    """A line without what changes from run to run; without figures where they depend on kernels."""
    for pattern, word in _CHANGING:
        line = pattern.sub(word, line)
    if not figures:
        line = _FIGURE.sub("#", line)
    return " ".join(line.split())


def absent(shown: Sequence[str], seen: str, *, figures: bool) -> str:
    """The first shown line that the output lacks, in order; ``""`` when it has all.

    A line of ``...`` matches any lines; ``...`` at the end of a line matches its rest.
    """
    lines: Iterator[str] = iter([normal(one, figures=figures) for one in seen.splitlines()])
    for line in shown:
        if line.strip() == "...":
            continue
        wanted = normal(line, figures=figures)
        if not any(_is_like(one, wanted) for one in lines):
            return line
    return ""


def _is_like(seen: str, wanted: str) -> bool:
    if wanted.endswith("..."):
        return seen.startswith(wanted.removesuffix("...").rstrip())
    return seen == wanted


def has_mindone() -> bool:
    return find_spec("mindone") is not None


class Reader:
    """Follows a page in a folder of its own.

    Attributes:
        ran: Blocks that were written or run; a page whose every block was left out proves nothing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.ran = 0

    def follow(self, text: str) -> list[str]:
        """What does not hold, a sentence each."""
        faults: list[str] = []
        for block in blocks_of(text):
            if not block.is_declared:
                faults.append(f"line {block.line}: the block says neither file=, run nor shown=")
            elif block.option("needs") and not has_mindone():
                continue
            else:
                faults.extend(self._do(block))
        return faults

    def _do(self, block: Block) -> Iterator[str]:
        if block.option("file"):
            path = self._folder / block.option("file")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
            self.ran += 1
        elif block.is_run:
            self.ran += 1
            for command in commands_of(block):
                yield from self._run(block, command)

    def _run(self, block: Block, command: Command) -> Iterator[str]:
        done = subprocess.run(
            ["bash", "-c", _PRELUDE + command.line],
            cwd=self._folder,
            env=_environment(block),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=900,
            check=False,
        )
        place = f"line {block.line}, `{command.line}`"
        if done.returncode != block.exit_code:
            yield f"{place}: exit {done.returncode}, not {block.exit_code}\n{done.stdout}"
        missing = absent(command.output, done.stdout, figures=not block.option("needs"))
        if missing:
            yield f"{place}: the output lacks {missing!r}\n{done.stdout}"


def _environment(block: Block) -> dict[str, str]:
    mindspore = {"ONEDNN_MAX_CPU_ISA": os.environ.get("ONEDNN_MAX_CPU_ISA", "AVX2")}
    framework = "mindspore" if block.option("needs") else "numpy"
    ours = {
        "PAGE_PYTHON": sys.executable,
        "PYTEST_ADDOPTS": f"{_WITHOUT} --repro-framework {framework}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "COLUMNS": "100",
        "NO_COLOR": "1",
    }
    return {**os.environ, **ours, **mindspore}
