"""Runs tests/suites in suite mode on releases of MindSpore; writes docs/evidence/suites.md.

Run: ``python -m docs.measure.suites --work DIR PYTHON...`` from the root of the checkout, with an
interpreter for each release of MindSpore (with mindone 0.2.0 and pytest-xdist); this one needs no
MindSpore. The faults are planted into a copy of the suites. What is in DIR is not computed again.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.page import table

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "evidence" / "suites.md"
SUITES = {"test_ddim.py": "suite_pipelines.py", "test_latents.py": "suite_latents.py"}
STAGES = {
    "recorded": ("AVX2", "--repro-update"),
    "compared": ("AVX2",),
    "with -n 2": ("AVX2", "-n", "2"),
    "on AVX": ("AVX",),
}
"""The SIMD level of each stage, and its options."""
_MODES = {"test_inference_1": "PYNATIVE", "test_inference_2": "GRAPH"}
_INI = "[pytest]\nrepro_suite =\n    tests/pipelines trace=cells\n"
Checks = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Fault:
    """A change of a suite's text.

    Attributes:
        before, after: The text, and what replaces it.
        cause: The cause that a check must name; ``""`` where the run must be refused.
        named: A pattern that the evidence, the beginning or the refusal must contain.
    """

    before: str
    after: str
    cause: str
    named: str


_MADE = "        pipe = make()\n"
_DENOISER = "(getattr(pipe, 'unet', None) or pipe.transformer)"
_GENERATOR = '            "generator": np.random.Generator(np.random.PCG64(seed)),\n'
FAULTS = {
    "a weight": Fault(
        _MADE,
        f"{_MADE}        one = next(iter({_DENOISER}.get_parameters()))\n"
        "        one.set_data(one * 1.01)\n",
        "weights",
        r"the weights of (unet|transformer) differ",
    ),
    "a component from another seed": Fault(
        "default_rng(seed)",
        "default_rng(seed + 9 * (seed == 0))",
        "weights",
        r"the weights of (unet|transformer) differ",
    ),
    "another scheduler after construction": Fault(
        _MADE,
        f"{_MADE}        kind = type(pipe.scheduler)\n"
        "        pipe.scheduler = kind.from_config(pipe.scheduler.config, beta_end=0.021)\n",
        "settings",
        r"beta_end",
    ),
    "another seed": Fault("seed=0):", "seed=1):", "noise", r"standard_normal"),
    "another attention scale": Fault(
        _MADE,
        f"{_MADE}        cells = {_DENOISER}.cells_and_names()\n"
        "        one = next(c for _, c in cells if type(c).__name__ == 'Attention')\n"
        "        one.scale *= 1.01\n        one.scale_sqrt *= 1.01\n",
        "code",
        r"attn|attention",
    ),
}


def version_of(python: str) -> str:
    code = "from importlib.metadata import version as v; print(v('mindspore'))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout


def run(python: str, project: Path, job: str, level: str, *options: str) -> Checks:
    """The checks of a run's report, by id; a run that was made before is read."""
    folder = project / "jobs" / job.replace(" ", "-")
    if not (folder / "report.json").is_file():
        command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        command += [f"--repro-report={folder}", *options, "tests/pipelines"]
        # MindSpore 2.7 and 2.8 ship an oneDNN that reads the older name only.
        found = {**os.environ, "ONEDNN_MAX_CPU_ISA": level, "DNNL_MAX_CPU_ISA": level}
        done = subprocess.run(
            command, cwd=project, capture_output=True, text=True, check=False, env=found
        )
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "output.txt").write_text(done.stdout, encoding="utf-8")
    found_checks = json.loads((folder / "report.json").read_text(encoding="utf-8"))["checks"]
    return {one["check"].partition("::")[2]: one for one in found_checks}


def write_project(project: Path, fault: Fault | None = None) -> None:
    """A project that has the suites, with a fault in that of latents."""
    place = project / "tests" / "pipelines"
    place.mkdir(parents=True, exist_ok=True)
    (project / "pytest.ini").write_text(_INI, encoding="utf-8")
    for name, suite in SUITES.items():
        text = (ROOT / "tests" / "suites" / suite).read_text(encoding="utf-8")
        if fault is not None and name == "test_latents.py":
            if fault.before not in text:
                raise ValueError(f"{suite} does not contain {fault.before!r}")
            text = text.replace(fault.before, fault.after)
        (place / name).write_text(text, encoding="utf-8")


def _said(one: Mapping[str, Any]) -> str:
    share = one.get("share")
    return f"{one['verdict']} ({share:.2g})" if one["verdict"] == "within" else str(one["verdict"])


def stage_rows(python: str, work: Path) -> list[list[str]]:
    """The verdict of each check in each stage."""
    version = version_of(python).strip()
    project = work / version
    write_project(project)
    made = {job: run(python, project, job, *options) for job, options in STAGES.items()}
    rows = []
    for check in made["recorded"]:
        suite, test, name = check.split("::")
        mode = next((mode for part, mode in _MODES.items() if part in test), "PYNATIVE")
        verdicts = (_said(one[check]) if check in one else "not made" for one in made.values())
        rows.append([version, f"{suite}, {name}", mode, *verdicts])
    return rows


def _named(fault: Fault, one: Mapping[str, Any] | None) -> str:
    if one is None:
        return "**not made**"
    text = " ".join([*one["evidence"], *one["began"]])
    right = one["verdict"] == "drift" and one["cause"] == fault.cause
    where = re.search(fault.named, text)
    if not right or where is None:
        return f"**{one['verdict']}, {one['cause']}**"
    return f"{one['cause']}: {where[0]}"


def fault_rows(python: str, work: Path) -> list[list[str]]:
    """What each fault is called, by pipeline, in PYNATIVE mode."""
    project = work / version_of(python).strip()
    made = {}
    for name, fault in FAULTS.items():
        write_project(project, fault)
        made[name] = run(python, project, name, "AVX2", "-k", "Fast and test_inference_1")
    write_project(project)
    checks = sorted({check for one in made.values() for check in one if "DDIM" not in check})
    return [
        [
            check.split("::")[0],
            *(_named(FAULTS[name], one.get(check)) for name, one in made.items()),
        ]
        for check in checks
    ]


def page_text(pythons: Sequence[str], work: Path) -> str:
    stages = [row for python in pythons for row in stage_rows(python, work)]
    head = ("MindSpore", "pipeline", "mode", *STAGES)
    faults = fault_rows(pythons[-1], work)
    return "\n".join(
        [
            "# Whole suites",
            "",
            "Written by `python -m docs.measure.suites`. `tests/suites` has the form of mindone's own suites:",
            "`TestCase`, ddt, a replaced `randn_tensor`, tiny components, PYNATIVE and GRAPH mode. It runs unedited in",
            "suite mode (`repro_suite = tests/pipelines trace=cells`) with the guard on. The number after `within` is the",
            "used share of the tolerance.",
            "",
            *table(head, stages),
            "",
            "## Faults",
            "",
            f"Each is planted into a copy of the suite, on MindSpore {version_of(pythons[-1]).strip()} in PYNATIVE mode. An entry gives the cause",
            "that the failure names and what it points at; bold where that is wrong.",
            "",
            *table(("suite", *FAULTS), faults),
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("pythons", nargs="+", metavar="PYTHON")
    asked = parser.parse_args()
    text = page_text(asked.pythons, asked.work.resolve())
    PAGE.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
