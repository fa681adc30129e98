"""Measures how far signals jump over rounding and over faults that an envelope lets pass.

Run: ``python -m docs.measure.cell_jumps --work DIR`` from the root of the checkout, with
``ONEDNN_MAX_CPU_ISA`` and ``DNNL_MAX_CPU_ISA`` set to AVX2; needs mindone and a CPU whose key has
baselines. Clean runs are the stored traces of every key. The faults are those that
docs/evidence/fault_score.md says the fallback misses. Writes docs/evidence/cell_jumps.md; what is
in DIR already is not computed again, and ``--table-only`` computes nothing.
"""

from __future__ import annotations

import argparse
import json
import re
from itertools import permutations
from pathlib import Path

from benchmarks.fault_runs import RUNS, Run, compute, launch_one_by_one, load_pipeline
from benchmarks.page import table
from pytest_repro.frameworks.mindspore import MindSporeAdapter
from pytest_repro.frameworks.watch import watch
from pytest_repro.model.baseline import Trace
from pytest_repro.model.ids import EnvironmentKey
from pytest_repro.model.words import TraceLevel
from pytest_repro.noise.generator import NoiseBook
from pytest_repro.store.store import Store
from pytest_repro.trace.jump import LARGEST, Jump, largest_jump
from pytest_repro.trace.records import trace_from_rows, trace_rows
from tests.faults.catalogue import FAULTS
from tests.faults.fault import UNCLIP

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "evidence" / "cell_jumps.md"
SCORE = ROOT / "docs" / "evidence" / "fault_score.md"
SIBLING = re.compile(r"cpu-x86_64-(sse41|avx)-2c-.*/mindspore-2\.10\.0")
"""The other SIMD levels of the environment in which the faults run."""


def missed() -> list[tuple[str, str]]:
    """Fault and run of everything that the fallback missed, from the page of the score."""
    section = SCORE.read_text(encoding="utf-8").partition("## What the fallback misses")[2]
    return re.findall(r"^- ([\w-]+), ([\w-]+): the fault itself", section, re.MULTILINE)


def judged() -> dict[str, tuple[int, int]]:
    """For all runs and for UnCLIP's: how many faults the fallback caught, of how many."""
    page = SCORE.read_text(encoding="utf-8")
    row = next(line for line in page.splitlines() if line.startswith("| ours, fallback"))
    counts = [(int(one), int(of)) for one, of in re.findall(r"(\d+) of (\d+) \(\d+ %\)", row)]
    names = [run.name for run in RUNS]
    return {"all": counts[len(names)], "UnCLIP": counts[names.index("unclip-3")]}


def observe(work: Path) -> None:
    """Keep the trace of every missed fault, each put into a fresh call of its pipeline."""
    adapter = MindSporeAdapter()
    adapter.enable_determinism()
    adapter.seed_globals(0)
    launch_one_by_one()
    faults = {fault.name: fault for fault in FAULTS}
    for run in RUNS:
        wanted = [name for name, of in missed() if of == run.name]
        wanted = [name for name in wanted if not kept(work, run, name).exists()]
        pipeline = load_pipeline(run) if wanted else None
        for name in wanted:
            watched = watch(pipeline, TraceLevel.CELLS)
            with faults[name].inject(pipeline), watched:
                compute(run, pipeline, NoiseBook().generator(0))
            path = kept(work, run, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(trace_rows(watched.trace())), encoding="utf-8")
            print(run.name, name, flush=True)


def kept(work: Path, run: Run, fault: str) -> Path:
    return work / run.name / f"{fault}.json"


def stored_traces(run: Run) -> dict[EnvironmentKey, Trace]:
    """The stored traces of a run's model test that hold cells, by key."""
    store, found = Store(ROOT / "baselines", root=ROOT), {}
    for key in store.keys():  # noqa: SIM118  a method, the store is no mapping
        for one in store.manifest(key, run.module) if run.module in store.modules(key) else ():
            rows = store.rows(one.trace) if one.trace else None
            if (one.check.test, one.check.name) == (run.test, "image") and rows is not None:
                trace = trace_from_rows(rows)
                if trace.cells:
                    found[key] = trace
    return found


def jump_of(baseline: Trace, observed: Trace) -> Jump:
    jump = largest_jump(baseline, observed)
    assert jump is not None
    return jump


def _place(jump: Jump) -> str:
    return f"{'inputs' if jump.is_input else 'output'} of `{jump.cell.name}`"


def page(work: Path) -> str:
    """The page as text."""
    clean_rows, fault_rows, caught = [], [], []
    alarms = pairs = 0
    for run in RUNS:
        traces = stored_traces(run)
        jumps = [jump_of(traces[one], traces[other]) for one, other in permutations(traces, 2)]
        largest = max(jumps, key=lambda one: one.times)
        alarms += sum(one.times > LARGEST for one in jumps)
        pairs += len(jumps)
        clean_rows.append(
            [run.name, str(len(traces)), str(len(jumps)), f"{largest.times:.2g}", _place(largest)]
        )
        siblings = [trace for key, trace in traces.items() if SIBLING.fullmatch(str(key))]
        for name in (name for name, of in missed() if of == run.name):
            seen = trace_from_rows(json.loads(kept(work, run, name).read_text(encoding="utf-8")))
            least = min((jump_of(one, seen) for one in siblings), key=lambda one: one.times)
            by = "the inputs gate" if name.startswith("weights-") else ""
            by = by or ("the jump" if least.times > LARGEST else "")
            caught += [(name, run)] if by else []
            fault_rows.append([name, run.name, f"{least.times:.2g}", _place(least), by or "missed"])
    unclip = sum(run.pipeline == UNCLIP for _, run in caught)
    scores = judged()
    return "\n".join(
        [
            "# Jumps: local errors below the envelope",
            "",
            "Written by `python -m docs.measure.cell_jumps`; nothing here is typed.",
            "",
            "A jump is how far a signal's statistics moved beside what moved before it in its step and one",
            f"rounding (`pytest_repro/trace/jump.py`). A fallback whose cells jump by more than "
            f"{LARGEST:g} is a drift,",
            "also where the result is within its envelope, if both runs recorded cells.",
            "",
            "## Clean runs",
            "",
            "Every stored trace beside that of every other key, all ordered pairs: "
            f"{alarms} of {pairs} jump by more than {LARGEST:g}.",
            "",
            *table(["run", "keys", "pairs", "largest jump", "where"], clean_rows),
            "",
            "## The faults that the envelope alone lets pass",
            "",
            "Beside the stored traces of the other SIMD levels, the one that shows least. Other",
            "weights are caught by the inputs gate, at every distance; their jumps are shown as well.",
            "",
            *table(["fault", "run", "jump", "where", "caught by"], fault_rows),
            "",
            _scored("all runs", *scores["all"], len(caught)),
            _scored("UnCLIP", *scores["UnCLIP"], unclip),
            "",
            "The first figures are those of fault_score.md, which knows neither the inputs gate nor",
            "jumps. What is still missed moves no statistics of a signal further than rounding does.",
            "",
        ]
    )


def _scored(what: str, before: int, faults: int, more: int) -> str:
    share = (before + more) / faults
    return f"- {what}: {before} of {faults} before, {before + more} of {faults} now ({share:.1%})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--table-only", action="store_true")
    chosen = parser.parse_args()
    if not chosen.table_only:
        observe(chosen.work)
    PAGE.write_text(page(chosen.work), encoding="utf-8")


if __name__ == "__main__":
    main()
