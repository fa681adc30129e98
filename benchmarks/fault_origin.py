"""Negative controls of the message: does it name the origin of every fault of the fault list?

``python -m benchmarks.fault_origin`` from the root of the checkout, in one process. A baseline of
DDIM and one of UnCLIP are recorded; then each fault is put into its pipeline and the check runs in
the objects that ``pytest`` drives: context, trial, evaluation with its repeated run, failure text.
What the text names is counted beside the catalogue. Writes docs/evidence/fault_origin.md.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from benchmarks.fault_messages import named_in, right_parts
from benchmarks.fault_origin_table import Found, OriginScore, page
from benchmarks.fault_runs import (
    PRIOR_STEPS,
    RUNS,
    Run,
    compute,
    launch_one_by_one,
    load_pipeline,
)
from pytest_repro.checking.context import open_run
from pytest_repro.checking.evaluation import Ending
from pytest_repro.checking.spec import make_spec
from pytest_repro.checking.trial import Trial
from pytest_repro.checking.writer import Writer
from pytest_repro.model.words import TraceLevel
from pytest_repro.noise.sources import NoiseSource
from pytest_repro.plugin.active import ActiveTest
from pytest_repro.report.failure import failure_text
from pytest_repro.settings import settings_from
from tests.faults.catalogue import FAULTS
from tests.faults.fault import DDIM, Fault

__all__ = ["Study", "main", "recorded"]

_ROOT = Path(__file__).resolve().parent.parent
_MODULE = "benchmarks/fault_origin.py"


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """One run of a pipeline as a test, under a run's context.

    Attributes:
        writer: Records or compares.
        run: How the pipeline is called.
        pipeline: It.
    """

    writer: Writer
    run: Run
    pipeline: Any

    def message(self, fault: Fault | None = None) -> str:
        """The failure text of the test, ``""`` when it passes; run again where a gate asks."""
        context = self.writer.context
        place = _MODULE, self.run.name
        spec = make_spec(place, {"seed": 0}, context.settings, marked=True)
        active = ActiveTest(context, self.writer, spec)
        with self._injected(fault):
            try:
                active.begin()
                self.compute(active)
                active.judge(Ending(), _StudyRunner(self, active))
                self.writer.commit(active.recorded)
            finally:
                active.end()
        return failure_text(active.outcomes)

    def _injected(self, fault: Fault | None) -> AbstractContextManager[None]:
        return nullcontext() if fault is None else fault.inject(self.pipeline)

    def compute(self, active: ActiveTest) -> None:
        """What the model tests do: image, and the latents that clipping hides."""
        with active.body():
            trial = active.trial
            arrays = compute(self.run, trial.watch(self.pipeline), trial.generator())
            trial.check(arrays.pop("image"), name="image")
            trial.check(arrays, name="latents")


@dataclass(frozen=True, slots=True, eq=False)
class _StudyRunner:
    study: Study
    active: ActiveTest

    def announce(self, runs: int) -> None:
        pass

    def again(self, source: NoiseSource, level: TraceLevel) -> tuple[Trial, None]:
        self.active.begin_again(source, level)
        self.study.compute(self.active)
        return self.active.trial, None

    def in_fresh_process(self) -> NoReturn:
        raise AssertionError("no run in a fresh process was asked for")


def recorded(root: Path, run: Run, pipeline: Any) -> Study:
    """A study whose baseline was recorded below ``root`` a moment ago, of this very pipeline.

    Raises:
        SystemExit: The test cannot be recorded.
    """
    first = _writer(root, update="all", envelope="0")
    if Study(first, run, pipeline).message():
        raise SystemExit(f"{run.name}: cannot be recorded")
    first.flush()
    return Study(_writer(root, reference="own"), run, pipeline)


def _writer(root: Path, **options: str) -> Writer:
    return Writer(open_run(settings_from(options, {}), root=root))


def _examine(study: Study, faults: Sequence[Fault], steps: dict[str, int]) -> Iterator[Found]:
    _require_exact(study)
    for fault in faults:
        named = named_in(study.message(fault))
        origin = fault.case(study.run.pipeline).origin
        right = right_parts(origin, steps.get(origin.scheduler, 1), named)
        yield Found(fault, study.run, origin, named, tuple(right.items()))
    _require_exact(study)


def _require_exact(study: Study) -> None:
    """The clean pipeline passes bit for bit, or no fault proves anything."""
    if text := study.message():
        raise SystemExit(f"{study.run.name}: the clean run does not pass\n{text}")


def _steps(run: Run) -> dict[str, int]:
    if run.pipeline == DDIM:
        return {"scheduler": run.steps}
    stages = {"decoder_scheduler": run.steps, "super_res_scheduler": run.steps}
    return {**stages, "prior_scheduler": PRIOR_STEPS}


def main() -> None:
    """Record, inject, count, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fault_origin", description=__doc__)
    parser.add_argument("--runs", default="ddim-2,unclip-3")
    parser.add_argument("--fault", action="append", default=[], help="repeat; default: all")
    parser.add_argument(
        "--output", type=Path, default=_ROOT / "docs" / "evidence" / "fault_origin.md"
    )
    chosen = parser.parse_args()
    launch_one_by_one()
    found: list[Found] = []
    for run in (one for one in RUNS if one.name in chosen.runs.split(",")):
        faults = [one for one in FAULTS if run.pipeline in one.pipelines]
        faults = [one for one in faults if not chosen.fault or one.name in chosen.fault]
        with tempfile.TemporaryDirectory() as folder:
            study = recorded(Path(folder), run, load_pipeline(run))
            key = str(study.writer.context.key)
            found += _examine(study, faults, _steps(run))
    chosen.output.write_text(page(OriginScore(key, tuple(found))), encoding="utf-8")


if __name__ == "__main__":
    main()
