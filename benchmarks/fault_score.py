"""The fault score: which regressions six rules catch, and how often they cry over nothing.

``python -m benchmarks.fault_score --work DIR --python PATH --python PATH ...`` from the root of the
checkout. Runs are kept in ``--work``, so that an interrupted benchmark goes on where it stopped
(empty it when a fault or a pipeline changes); the table is made from them and the baselines alone.
A recorded baseline represents the clean run of its environment, with its own envelope.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fault_baselines import recorded_run, stored_drifts
from benchmarks.fault_counting import (
    Alarms,
    CleanRun,
    Drift,
    FaultResult,
    Place,
    count_alarms,
    count_own_alarms,
    drifts_between,
    group_equal,
    judge_faults,
    references_of,
)
from benchmarks.fault_rules import Rule
from benchmarks.fault_runs import RUNS, Run, kept_in, load_kept
from benchmarks.fault_table import Score, page
from tests.faults.catalogue import FAULTS, NO_OPS
from tests.faults.fault import Fault

__all__ = ["main"]

_ROOT = Path(__file__).resolve().parent.parent
_ASK_VERSION = "from importlib.metadata import version; print(version('mindspore'))"


@dataclass(frozen=True, slots=True)
class _Interpreter:
    """A Python with MindSpore and mindone."""

    path: str
    version: str


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is to be run, where."""

    work: Path
    baselines: Path
    interpreters: tuple[_Interpreter, ...]
    simd: tuple[str, ...]
    cores: tuple[int, ...]
    runs: tuple[Run, ...]
    faults: tuple[Fault, ...]

    @property
    def places(self) -> tuple[Place, ...]:
        """All environments."""
        return tuple(
            Place(one.version, simd.lower(), cores)
            for one in self.interpreters
            for cores in self.cores
            for simd in self.simd
        )

    @property
    def home(self) -> Place:
        """Where faults are observed: first interpreter, last SIMD level, most cores."""
        return Place(self.interpreters[0].version, self.simd[-1].lower(), max(self.cores))

    @property
    def siblings(self) -> tuple[Place, ...]:
        """The home environment at its other SIMD levels."""
        home = self.home
        levels = (simd.lower() for simd in self.simd)
        return tuple(Place(home.version, one, home.cores) for one in levels if one != home.simd)

    @property
    def releases(self) -> tuple[Place, ...]:
        """The home environment under the other MindSpore versions."""
        home = self.home
        return tuple(
            Place(one.version, home.simd, home.cores)
            for one in self.interpreters
            if one.version != home.version
        )


def _plan(chosen: argparse.Namespace) -> _Plan:
    paths = chosen.python or [sys.executable]
    return _Plan(
        work=chosen.work.resolve(),
        baselines=chosen.baselines.resolve(),
        interpreters=tuple(_Interpreter(path, _version_of(path)) for path in paths),
        simd=tuple(chosen.simd.split(",")),
        cores=tuple(int(one) for one in chosen.cores.split(",")),
        runs=tuple(run for run in RUNS if run.name in chosen.runs.split(",")),
        faults=tuple(one for one in FAULTS if not chosen.fault or one.name in chosen.fault),
    )


def _version_of(interpreter: str) -> str:
    command = [interpreter, "-c", _ASK_VERSION]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{interpreter} has no MindSpore: {done.stderr.strip()[-200:]}")
    return done.stdout.strip()


def _run(plan: _Plan, place: Place, jobs: Sequence[str]) -> None:
    """A process of its own for ``jobs``; ends the benchmark when it fails."""
    path = next(one.path for one in plan.interpreters if one.version == place.version)
    command = [path, "-m", "benchmarks.fault_runs", "--folder", str(place.folder(plan.work))]
    command += ["--cores", str(place.cores), *(f"--job={job}" for job in jobs)]
    command += [f"--fault={fault.name}" for fault in plan.faults]
    # MindSpore 2.7 and 2.8 ship oneDNN 2.2, which reads the older of the two names only.
    names = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
    environment = {**os.environ, **dict.fromkeys(names, place.simd.upper())}
    print(f"{place}: {', '.join(jobs)}", file=sys.stderr, flush=True)
    subprocess.run(command, cwd=_ROOT, env=environment, check=True)


def _run_all(plan: _Plan) -> None:
    for place in plan.places:
        lacking = [run for run in plan.runs if _clean(plan, place, run) is None]
        if lacking:
            _run(plan, place, [f"{run.name}:clean" for run in lacking])
    measured = {run.name: _measured_places(plan, run) for run in plan.runs}
    # The faults first: they say most, and a benchmark may be stopped.
    for place in sorted(plan.places, key=lambda one: one != plan.home):
        # In a second process: a run that repeats itself in one process may not in two.
        jobs = []
        for run in plan.runs:
            jobs.append(f"{run.name}:again")
            jobs += [f"{run.name}:disturbed"] if place in measured[run.name] else []
            jobs += [f"{run.name}:faults"] if place == plan.home else []
        _run(plan, place, jobs)


def _clean(plan: _Plan, place: Place, run: Run) -> CleanRun | None:
    """The recorded baseline where there is one, else what was kept, else nothing yet."""
    recorded = recorded_run(plan.baselines, place, run) if plan.baselines.is_dir() else None
    path = kept_in(place.folder(plan.work), run.name, "clean")
    if recorded is not None or not path.exists():
        return recorded
    return CleanRun(place, load_kept(path))


def _all_clean(plan: _Plan, run: Run) -> list[CleanRun]:
    found = [_clean(plan, place, run) for place in plan.places]
    return [one for one in found if one is not None]


def _measured_places(plan: _Plan, run: Run) -> tuple[Place, ...]:
    """Where envelopes are measured: the first of each group of equal bits, none of it recorded."""
    return tuple(
        group[0].place
        for group in group_equal(_all_clean(plan, run))
        if all(one.baseline is None for one in group)
    )


def _again(plan: _Plan, run: Run) -> list[CleanRun]:
    return [
        CleanRun(place, load_kept(kept_in(place.folder(plan.work), run.name, "again")))
        for place in plan.places
    ]


@dataclass(frozen=True, slots=True)
class _Counted:
    """What one run contributes to the score."""

    results: tuple[FaultResult, ...]
    alarms: tuple[tuple[Rule, str, Alarms], ...]
    groups: tuple[tuple[Place, ...], ...]
    drifts: tuple[Drift, ...]


def _count(plan: _Plan, run: Run) -> _Counted:
    clean, again = _all_clean(plan, run), _again(plan, run)
    references = references_of(plan.work, run, clean)
    folder = plan.home.folder(plan.work)
    _require_taken_back(plan, run)
    faults = [fault for fault in plan.faults if run.pipeline in fault.pipelines]
    home, siblings = references[plan.home], [references[place] for place in plan.siblings]
    releases = [found for place in plan.releases if (found := references[place]) is not home]
    results = tuple(judge_faults(folder, run, faults, home, siblings, releases))
    others = [rule for rule in Rule if rule is not Rule.OWN]
    alarms = [
        (rule, run.name, one) for rule in others for one in count_alarms(rule, clean, references)
    ]
    near = [one for one in clean if one.place in (plan.home, *plan.siblings)]
    return _Counted(
        results,
        ((Rule.OWN, run.name, count_own_alarms(clean, again)), *alarms),
        tuple(tuple(one.place for one in group) for group in group_equal(clean)),
        tuple(drifts_between(run, near, references)),
    )


def _require_taken_back(plan: _Plan, run: Run) -> None:
    """After the last fault the pipeline gave the clean run's bits again, or nothing is proven."""
    folder = plan.home.folder(plan.work)
    kept = [
        CleanRun(plan.home, load_kept(kept_in(folder, run.name, what)))
        for what in ("again", "after")
    ]
    if len(group_equal(kept)) > 1:
        raise SystemExit(f"{run.name}: a fault was not taken back; its successors are worthless")


def _score(plan: _Plan, command: str) -> Score:
    counted = [(run, _count(plan, run)) for run in plan.runs]
    results = [result for _, one in counted for result in one.results]
    order = [fault.name for fault in plan.faults]
    return Score(
        command=command,
        home=plan.home,
        references=plan.siblings,
        places=plan.places,
        faults=plan.faults,
        no_ops=NO_OPS,
        results=tuple(sorted(results, key=lambda result: order.index(result.fault))),
        alarms=tuple(alarm for _, one in counted for alarm in one.alarms),
        groups=tuple((run.name, one.groups) for run, one in counted),
        drifts=tuple(drift for _, one in counted for drift in one.drifts),
        stored=stored_drifts(plan.baselines) if plan.baselines.is_dir() else (),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fault_score", description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder that keeps the runs")
    parser.add_argument("--python", action="append", metavar="PATH", help="repeat; default: this")
    parser.add_argument("--simd", default="SSE41,AVX,AVX2", help="the last one sees the faults")
    parser.add_argument("--cores", default="1,2", help="numbers of cores")
    parser.add_argument("--runs", default=",".join(run.name for run in RUNS))
    parser.add_argument("--fault", action="append", default=[], help="repeat; default: all")
    parser.add_argument("--baselines", type=Path, default=_ROOT / "baselines")
    parser.add_argument(
        "--output", type=Path, default=_ROOT / "docs" / "evidence" / "fault_score.md"
    )
    parser.add_argument("--table-only", action="store_true", help="from what --work holds")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is not kept yet, count, and write the table."""
    chosen = _parser().parse_args(arguments)
    plan = _plan(chosen)
    if not chosen.table_only:
        _run_all(plan)
    score = _score(plan, "python -m benchmarks.fault_score")
    chosen.output.write_text(page(score), encoding="utf-8")


if __name__ == "__main__":
    main()
