"""Runs the pipelines of the fault score in one environment and keeps what they gave as files.

``python -m benchmarks.fault_runs``: a process of its own for each environment, because MindSpore
chooses its kernels once, when it is imported.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_repro.noise.generator import NoiseBook
from pytest_repro.noise.sources import Disturbed
from pytest_repro.settings import DISTURBANCE_SEED
from pytest_repro.tensors.compare import compare_records
from pytest_repro.tensors.record import make_record
from pytest_repro.tolerance.measured import FEWEST_RUNS, runs_wanted
from tests.faults.catalogue import FAULTS
from tests.faults.fault import DDIM, UNCLIP, Fault

__all__ = [
    "LEAVES",
    "PRIOR_STEPS",
    "RUNS",
    "Kept",
    "Run",
    "compute",
    "disturbed_runs",
    "kept_in",
    "launch_one_by_one",
    "load_kept",
    "load_pipeline",
    "save_kept",
]

LEAVES = ("image", "sample", "prediction")
"""What a run is judged by, as in tests/models: the image, and the last latents before clipping."""

PRIOR_STEPS = 2
"""Of UnCLIP's prior, in every run of it."""


@dataclass(frozen=True, slots=True)
class Run:
    """One way of calling a pipeline, as a model test does.

    Attributes:
        name: Short, for the table.
        pipeline: Name of the class.
        steps: Of DDIM, or of UnCLIP's decoder and super resolution.
        module, test: The model test that does the same.
        weights: What ``--repro-weights`` would say: ``seeded``, or the folder of a pipeline.
    """

    name: str
    pipeline: str
    steps: int
    module: str
    test: str
    weights: str = "seeded"


_DDIM_TESTS = "tests/models/test_ddim.py"
_DIGITS_TESTS = "tests/models/test_digits.py"
_TRAINED = str(Path(__file__).resolve().parent.parent / "tests" / "models" / "digits")
RUNS = (
    Run("ddim-2", DDIM, 2, _DDIM_TESTS, "test_two_steps"),
    Run("ddim-10", DDIM, 10, _DDIM_TESTS, "test_ten_steps"),
    Run("unclip-3", UNCLIP, 3, "tests/models/test_unclip.py", "test_text_to_image"),
    Run("digits-2", DDIM, 2, _DIGITS_TESTS, "test_two_steps", _TRAINED),
    Run("digits-10", DDIM, 10, _DIGITS_TESTS, "test_ten_steps", _TRAINED),
    Run("digits-50", DDIM, 50, _DIGITS_TESTS, "test_fifty_steps", _TRAINED),
)


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """What one execution gave.

    Attributes:
        arrays: By the names of `LEAVES`: float32; image (1, row, column, channel) in [0, 1], the
            others (1, channel, row, column).
        noise: Digest of the draw log.
        input_rel_l2: Relative size of the disturbance of the noise; 0.0 for a clean run.
    """

    arrays: dict[str, NDArray[Any]]
    noise: str
    input_rel_l2: float = 0.0


def kept_in(folder: Path, run: str, what: str) -> Path:
    """Where ``what`` (``clean``, ``again``, ``disturbed-0``, ``fault-<name>``) of a run is."""
    return folder / run / f"{what}.npz"


def save_kept(path: Path, kept: Kept) -> None:
    """Write it whole or not at all, so that a killed benchmark can be resumed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial.npz")
    numbers = {"noise": np.array(kept.noise), "input_rel_l2": np.array(kept.input_rel_l2)}
    named: dict[str, Any] = {**numbers, **kept.arrays}
    np.savez(partial, **named)
    partial.replace(path)


def load_kept(path: Path) -> Kept:
    """What `save_kept` wrote."""
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in LEAVES}
        return Kept(arrays, str(stored["noise"]), float(stored["input_rel_l2"]))


def disturbed_runs(folder: Path, run: str) -> list[Kept]:
    """The disturbed runs that are kept, in their order."""
    found: list[Kept] = []
    while (path := kept_in(folder, run, f"disturbed-{len(found)}")).exists():
        found.append(load_kept(path))
    return found


def load_pipeline(run: Run) -> Any:
    """The pipeline of a run."""
    from pytest_repro.pipelines.registry import load_pipeline
    from pytest_repro.pipelines.source import parse_source

    source = parse_source(run.weights)
    return load_pipeline("ddim" if run.pipeline == DDIM else "unclip", source)


def _keywords(run: Run) -> dict[str, Any]:
    if run.pipeline == DDIM:
        return {"num_inference_steps": run.steps}
    return {
        "prompt": "a photo of a red panda",
        "prior_num_inference_steps": PRIOR_STEPS,
        "decoder_num_inference_steps": run.steps,
        "super_res_num_inference_steps": run.steps,
    }


def compute(run: Run, pipeline: Any, generator: Any) -> dict[str, NDArray[Any]]:
    """The arrays of `LEAVES` that one call of ``pipeline`` with ``generator`` gives."""
    from tests.models.latents import watch_latents

    scheduler = "scheduler" if run.pipeline == DDIM else "super_res_scheduler"
    with watch_latents(pipeline, scheduler) as watch:
        image = pipeline(output_type="np", generator=generator, **_keywords(run))[0]
    latents = {"sample": watch.last_sample, "prediction": watch.last_model_output}
    return {"image": np.asarray(image), **latents}


def _execute(run: Run, pipeline: Any, book: NoiseBook) -> Kept:
    arrays = compute(run, pipeline, book.generator(0))
    return Kept(arrays, str(book.draw_log().digest), book.input_rel_l2)


@dataclass(frozen=True, slots=True)
class _Task:
    """One execution: under which name it is kept, with which noise, with which fault."""

    what: str
    book: NoiseBook
    fault: Fault | None = None

    def injected(self, pipeline: Any) -> AbstractContextManager[None]:
        return nullcontext() if self.fault is None else self.fault.inject(pipeline)


def _tasks(job: str, run: Run, faults: tuple[str, ...], folder: Path) -> Iterator[_Task]:
    if job == "disturbed":
        # As many as a recording makes, which depends on those that were made: one at a time.
        while (at := len(kept := disturbed_runs(folder, run.name))) < _wanted(folder, run, kept):
            source = Disturbed(DISTURBANCE_SEED + at, "float32")
            yield _Task(f"disturbed-{at}", NoiseBook(source))
    elif job == "faults":
        for fault in FAULTS:
            if run.pipeline in fault.pipelines and (not faults or fault.name in faults):
                yield _Task(f"fault-{fault.name}", NoiseBook(), fault)
        yield _Task("after", NoiseBook())
    else:
        yield _Task(job, NoiseBook())


def _wanted(folder: Path, run: Run, disturbed: list[Kept]) -> int:
    if len(disturbed) < FEWEST_RUNS:
        return FEWEST_RUNS
    clean = load_kept(kept_in(folder, run.name, "clean"))
    moved = [
        [_rel_l2(clean.arrays[leaf], one.arrays[leaf]) for one in disturbed] for leaf in LEAVES
    ]
    return runs_wanted(moved, FEWEST_RUNS)


def _rel_l2(baseline: NDArray[Any], observed: NDArray[Any]) -> float:
    return compare_records(make_record(baseline), make_record(observed)).rel_l2


def _work(folder: Path, run: Run, jobs: tuple[str, ...], faults: tuple[str, ...]) -> None:
    pipeline = None
    for task in (task for job in jobs for task in _tasks(job, run, faults, folder)):
        path = kept_in(folder, run.name, task.what)
        if path.exists():
            continue
        pipeline = load_pipeline(run) if pipeline is None else pipeline
        with task.injected(pipeline):
            kept = _execute(run, pipeline, task.book)
        save_kept(path, kept)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fault_runs", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="of this environment")
    parser.add_argument("--cores", type=int, required=True, help="how many the process may use")
    parser.add_argument(
        "--job", action="append", required=True, metavar="RUN:JOB",
        help="a run's name and clean, again, disturbed or faults",
    )  # fmt: skip
    parser.add_argument("--fault", action="append", default=[], help="all by default")
    return parser.parse_args()


def _keep_to_cores(count: int) -> None:
    allowed = sorted(os.sched_getaffinity(0))
    if count > len(allowed):
        raise SystemExit(f"{count} cores were asked for, {len(allowed)} are allowed here")
    os.sched_setaffinity(0, allowed[:count])


def launch_one_by_one() -> None:
    """Let no kernel wait in a queue: the same bits, and on a busy machine several times faster.

    That the bits are the same is counted: beside a recorded baseline, `again` ran so.
    """
    import mindspore

    mindspore.runtime.launch_blocking()


def main() -> None:
    """Do the jobs, skipping what is kept already."""
    chosen = _arguments()
    _keep_to_cores(chosen.cores)
    from pytest_repro.frameworks.mindspore import MindSporeAdapter

    mindspore = MindSporeAdapter()
    mindspore.enable_determinism()
    mindspore.seed_globals(0)
    launch_one_by_one()
    asked = [text.partition(":") for text in chosen.job]
    for run in RUNS:
        jobs = tuple(job for name, _, job in asked if name == run.name)
        _work(chosen.folder, run, jobs, tuple(chosen.fault))


if __name__ == "__main__":
    main()
