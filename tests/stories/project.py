"""A small project in a folder of its own: write tests, run pytest, see what a user would see."""

from __future__ import annotations

import linecache
import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# A nested run forgets the modules that it was the first to import; numpy can be imported only once.
import numpy as np  # noqa: F401
import pytest
import safetensors.numpy  # noqa: F401
import yaml  # noqa: F401

import pytest_repro.plugin.conclusion  # noqa: F401  nested runs share it: seconds each

MODULE = "test_story.py"
_PREAMBLE = "import random\nimport numpy as np\nimport pytest\nfrom pytest_repro import repro\n"
_INI = "[pytest]\nrepro_framework = numpy\n"
_ALONE = "repro_isolate = off\n"  # a fresh process for each recording would double the time
# Loading them in every nested run costs more than the run.
_WITHOUT = ("-p", "no:xdist", "-p", "no:hypothesispytest", "-p", "no:rerunfailures")
_BLOCK = re.compile(r"(?<=block: )\S+(?=}$)", re.MULTILINE)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@dataclass(frozen=True)
class Ran:
    """One nested run.

    Attributes:
        exit_code: pytest's.
        text: Everything on the terminal.
        failures: What the reports of a test say that failed, by what follows the module.
        verdicts: Verdict of every check, by ``test::name``; ``""`` for a test that checked nothing.
        rows: The whole rows behind them.
        counts: pytest's own counts, e.g. ``passed``.
    """

    exit_code: int
    text: str
    failures: Mapping[str, str]
    verdicts: Mapping[str, str]
    rows: tuple[Mapping[str, Any], ...]
    counts: Mapping[str, int]

    @property
    def failure(self) -> str:
        """The one failure of the run."""
        (text,) = self.failures.values()
        return text

    @property
    def closing(self) -> list[str]:
        """The closing lines."""
        lines = self.text.splitlines()
        begin = next(i for i, line in enumerate(lines) if re.fullmatch(r"-+ repro -+", line))
        ends = (i for i, line in enumerate(lines) if i > begin and line.startswith("="))
        return [line for line in lines[begin + 1 : next(ends, len(lines))] if line]


class Project:
    """The project under test; its tests use framework numpy, so that MindSpore stays out."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self._pytester = pytester
        self.folder: Path = pytester.path
        self.baselines = self.folder / "baselines"
        self.ini("")

    def ini(self, lines: str) -> None:
        """Set the ini file's keys beside the framework."""
        alone = "" if "repro_isolate" in lines else _ALONE
        text = _INI + alone + textwrap.dedent(lines)
        (self.folder / "pytest.ini").write_text(text, encoding="utf-8")

    def write(self, source: str, name: str = MODULE) -> None:
        """Write a test file; numpy, pytest, random and the decorator are imported already."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_PREAMBLE + textwrap.dedent(source), encoding="utf-8")

    def conftest(self, source: str) -> None:
        (self.folder / "conftest.py").write_text(textwrap.dedent(source), encoding="utf-8")

    def policy(self, source: str) -> None:
        self.baselines.mkdir(exist_ok=True)
        (self.baselines / "policy.yaml").write_text(textwrap.dedent(source), encoding="utf-8")

    def run(self, *arguments: str) -> Ran:
        """Run pytest in this process."""
        linecache.checkcache()
        result = self._pytester.runpytest_inprocess(*_WITHOUT, *arguments)
        # A run that ended with a usage error has none.
        gather = getattr(result.reprec, "getreports", lambda name: [])
        reports = gather("pytest_runtest_logreport")
        rows = tuple(row for report in reports for row in getattr(report, "repro", ()))
        return Ran(
            exit_code=int(result.ret),
            text=result.stdout.str() + result.stderr.str(),
            failures={_test(one): _words(one) for one in reports if one.failed},
            verdicts={row["check"].partition("::")[2]: row["verdict"] for row in rows},
            rows=rows,
            counts=result.parseoutcomes() if _has_summary(result) else {},
        )

    def run_apart(self, *arguments: str) -> Ran:
        """Run pytest in a process of its own, as xdist needs it; gives no reports."""
        result = self._pytester.runpytest_subprocess(*arguments, timeout=300)
        text = result.stdout.str() + result.stderr.str()
        counts = result.parseoutcomes() if _has_summary(result) else {}
        return Ran(int(result.ret), text, {}, {}, (), counts)

    def record(self, *arguments: str) -> Ran:
        """Record, and demand that it worked."""
        ran = self.run("--repro-update", *arguments)
        assert ran.exit_code == 0, ran.text
        return ran

    def files(self) -> dict[str, bytes]:
        """Every file below the baselines folder."""
        found = sorted(self.baselines.rglob("*")) if self.baselines.is_dir() else []
        return {
            path.relative_to(self.baselines).as_posix(): path.read_bytes()
            for path in found
            if path.is_file()
        }

    def files_without_times(self) -> dict[str, bytes]:
        """The same with the times of recording, and the digests of blocks, made equal."""
        texts = {name: data.decode("latin-1") for name, data in self.files().items()}
        return {name: _BLOCK.sub("B", _TIME.sub("T", text)) for name, text in texts.items()}

    @property
    def manifest(self) -> Path:
        """The one manifest."""
        (path,) = (p for p in self.baselines.rglob("*.yaml") if p.name != "policy.yaml")
        return path

    @property
    def tensor(self) -> Path:
        """The one tensor."""
        (path,) = self.baselines.rglob("*.safetensors")
        return path

    def rename_hardware(self, text: str) -> str:
        """Make the recorded baselines those of other hardware; returns its name."""
        return self._rename(self.manifest.parent.parent, text)

    def rename_framework(self, text: str) -> str:
        """Make the recorded baselines those of another framework version; returns its name."""
        return self._rename(self.manifest.parent, text)

    def _rename(self, folder: Path, name: str) -> str:
        manifest = self.manifest
        old_key = "/".join(manifest.parent.relative_to(self.baselines).parts)
        folder.rename(folder.with_name(name))
        moved = self.manifest
        new_key = "/".join(moved.parent.relative_to(self.baselines).parts)
        text = moved.read_text(encoding="utf-8").replace(f"key: {old_key}", f"key: {new_key}", 1)
        moved.write_text(text, encoding="utf-8")
        return new_key


def _has_summary(result: Any) -> bool:
    return any(re.match(r"=+ .* in [\d.]+s", line) for line in result.outlines)


def _test(report: Any) -> str:
    return str(report.nodeid).partition("::")[2]


def _words(report: Any) -> str:
    sections = [f"{title}\n{text}" for title, text in report.sections]
    return "\n".join([report.longreprtext, *sections])
