"""Measures at which step a fault is named when another SIMD level's baseline is the reference.

Run: ``python docs/measure/step_faults.py --work DIR``; needs mindone and a CPU with AVX2. DDIM of ten
steps is recorded under AVX2 and computed under SSE4.1, clean and with the model's output of one
step scaled. Writes docs/evidence/step_envelope.md; what is in DIR already is not computed again.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

from pytest_repro.frameworks.mindspore import MindSporeAdapter
from pytest_repro.frameworks.watch import Watching
from pytest_repro.model.baseline import Trace
from pytest_repro.model.words import TraceLevel
from pytest_repro.noise.generator import NoiseBook
from pytest_repro.noise.sources import Disturbed, Fresh, NoiseSource
from pytest_repro.pipelines.registry import load_pipeline
from pytest_repro.pipelines.source import parse_source
from pytest_repro.settings import DISTURBANCE_SEED
from pytest_repro.tolerance.bounds import DEFAULT_FACTOR
from pytest_repro.trace.divergence import first_divergence, how_far
from pytest_repro.trace.envelope import StepBounds, StepEnvelope, measure_steps, within_steps
from pytest_repro.trace.records import trace_from_rows, trace_rows

RECORDED, OBSERVED = "AVX2", "SSE41"
STEPS = 10
PLANTED = (0, 3, 6, 9)
SIZES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
DISTURBED_RUNS = 4
MADE = {"record": "recorded", "observe": "observed"}
PAGE = Path(__file__).resolve().parent.parent / "evidence" / "step_envelope.md"


def _trace(pipeline: Any, source: NoiseSource, planted: int = -1, size: float = 0.0) -> Trace:
    framework = MindSporeAdapter()
    watching = Watching(framework, TraceLevel.STEPS)
    watching.add(pipeline)
    tap = pipeline.scheduler.step
    count = iter(range(STEPS))

    @functools.wraps(tap)
    def step(model_output: Any, *args: Any, **kwargs: Any) -> Any:
        if next(count) == planted:
            model_output = model_output * (1.0 + size)
        return tap(model_output, *args, **kwargs)

    pipeline.scheduler.step = step
    try:
        generator = NoiseBook(source).generator(0)
        pipeline(num_inference_steps=STEPS, output_type="np", generator=generator)
    finally:
        pipeline.scheduler.step = tap
        watching.stop()
    found = watching.trace()
    assert found is not None
    return found


def _pipeline() -> Any:
    framework = MindSporeAdapter()
    framework.enable_determinism()
    framework.seed_globals(0)
    return load_pipeline("ddim", parse_source("seeded"))


def record(work: Path) -> None:
    """The clean trace and the disturbed ones."""
    pipeline = _pipeline()
    sources: list[NoiseSource] = [
        Fresh(),
        *(Disturbed(DISTURBANCE_SEED + at) for at in range(DISTURBED_RUNS)),
    ]
    rows = [trace_rows(_trace(pipeline, source)) for source in sources]
    (work / "recorded.json").write_text(json.dumps(rows), encoding="utf-8")


def observe(work: Path) -> None:
    """The clean trace and a faulty one for every planted step and size."""
    pipeline = _pipeline()
    found: dict[str, Any] = {"clean": trace_rows(_trace(pipeline, Fresh()))}
    for planted, size in product(PLANTED, SIZES):
        found[f"{planted} {size:g}"] = trace_rows(_trace(pipeline, Fresh(), planted, size))
        print(planted, size, flush=True)
    (work / "observed.json").write_text(json.dumps(found), encoding="utf-8")


def page(recorded: list[Any], observed: dict[str, Any]) -> str:
    """The page as text."""
    clean, *disturbed = (trace_from_rows(rows) for rows in recorded)
    envelope = measure_steps(clean, disturbed)
    assert envelope is not None
    seen = {name: trace_from_rows(rows) for name, rows in observed.items()}
    bounds = StepBounds(envelope, DEFAULT_FACTOR)
    lines = [
        "# Where a fault is named through the drift of other hardware",
        "",
        "Written by `docs/measure/step_faults.py`; nothing here is typed. DDIM (the architecture of",
        f"ddpm-cifar10-32, seeded weights, {STEPS} steps) is recorded under {RECORDED} with",
        f"{DISTURBED_RUNS} disturbed runs and computed under {OBSERVED}.",
        "",
        "## The clean run, step by step",
        "",
        "Distance of the clean run in envelopes of rel_l2; up to "
        f"{DEFAULT_FACTOR:g} counts as agreeing.",
        f"First step outside: {_named(clean, seen['clean'], bounds)}.",
        "",
        *_clean_table(clean, seen["clean"], envelope),
        "",
        "## Planted faults",
        "",
        "The model's output of one step is scaled by 1 + size. The cells say which step is named as",
        "the first outside its envelope; `-`: none is, the fault drowns in what hardware does.",
        "",
        "| size | " + " | ".join(f"planted in step {at}" for at in PLANTED) + " |",
        "| --- |" + " --- |" * len(PLANTED),
        *(
            f"| {size:g} | "
            + " | ".join(_named(clean, seen[f"{at} {size:g}"], bounds) for at in PLANTED)
            + " |"
            for size in SIZES
        ),
        "",
        "Bit by bit, without envelopes, every one of these runs parts at step "
        f"{_bitwise(clean, seen)}.",
    ]
    return "\n".join(lines) + "\n"


def _named(clean: Trace, observed: Trace, bounds: StepBounds) -> str:
    found = first_divergence(clean, observed, within=within_steps(clean, bounds))
    return "-" if found is None or found.step is None else f"{found.step.step.position}"


def _bitwise(clean: Trace, seen: dict[str, Trace]) -> str:
    found = [first_divergence(clean, trace) for trace in seen.values()]
    steps = {one.step.step.position for one in found if one is not None and one.step is not None}
    return ", ".join(map(str, sorted(steps)))


def _clean_table(clean: Trace, observed: Trace, envelope: StepEnvelope) -> list[str]:
    names = ("sample", "model_output", "result")
    lines = [f"| step | {' | '.join(names)} |", "| --- |" + " --- |" * len(names)]
    for old, new in zip(clean.steps, observed.steps, strict=True):
        cells = []
        for name in names:
            before, after = old.signal(name), new.signal(name)
            assert before is not None
            assert after is not None
            apart = how_far(before, after).rel_l2
            moved = envelope.rel_l2(old.scheduler, old.position, name)
            cells.append(f"{apart / moved if moved else 0.0:.2f} ({apart:.1e})")
        lines.append(f"| {old.position} | {' | '.join(cells)} |")
    return lines


def _in_process(work: Path, phase: str, level: str) -> None:
    if not (work / f"{MADE[phase]}.json").exists():
        levels = {"ONEDNN_MAX_CPU_ISA": level, "DNNL_MAX_CPU_ISA": level}
        command = [sys.executable, __file__, "--work", str(work), "--phase", phase]
        subprocess.run(command, env={**os.environ, **levels}, check=True)


def main() -> None:
    """Record, observe and write the page, or do one phase under this process's level."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--phase", choices=("record", "observe"))
    chosen = parser.parse_args()
    work = chosen.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    if chosen.phase:
        {"record": record, "observe": observe}[chosen.phase](work)
        return
    _in_process(work, "record", RECORDED)
    _in_process(work, "observe", OBSERVED)
    read = (json.loads((work / f"{name}.json").read_text()) for name in MADE.values())
    PAGE.write_text(page(*read), encoding="utf-8")
    print(PAGE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
