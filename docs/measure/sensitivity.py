"""Measures how far pipelines move when their noise moves by one ULP; writes docs/evidence/sensitivity.md.

Run: ``python -m docs.measure.sensitivity --work DIR`` from the root of the checkout; needs mindone.
What was measured is kept in ``DIR``, so that an interrupted run goes on where it stopped. About half
an hour on two cores.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.fault_runs import launch_one_by_one
from benchmarks.page import replace_section, table
from docs.measure.conditioning import on_rails
from pytest_repro.analysis.sensitivity import Sensitivity, least_probability, sensitivity_of
from pytest_repro.model.ids import CheckId, EnvironmentKey
from pytest_repro.noise.generator import NoiseBook
from pytest_repro.noise.sources import Disturbed
from pytest_repro.settings import DISTURBANCE_SEED
from pytest_repro.tensors.compare import compare_records, summary_of
from pytest_repro.tensors.record import make_record
from pytest_repro.tolerance.bounds import DEFAULT_FACTOR
from pytest_repro.tolerance.measured import (
    FEWEST_RUNS,
    MOST_RUNS,
    ceiling,
    envelope_from,
    runs_wanted,
)

ROOT = Path(__file__).resolve().parents[2]
_PAGE = ROOT / "docs" / "evidence" / "sensitivity.md"
_TRAINED = ROOT / "tests" / "models" / "digits"
_SIZE = "input_rel_l2"
Arrays = dict[str, NDArray[Any]]
Execution = Callable[[NoiseBook], Arrays]
_NO_KEY = EnvironmentKey("any", "any-0")
_NETWORKS = {
    "DDIM, seeded": "the 35.7 M parameters of docs/pipelines.md",
    "DDIM, seeded, naive": "the same before its conditioning",
    "DDIM, trained": "the 431,377 parameters of tests/models/digits",
    "UnCLIP, seeded": "the pipeline of docs/pipelines.md; steps of decoder and super resolution",
}


@dataclass(frozen=True, slots=True)
class Case:
    """One way of calling one network."""

    network: str
    dtype: str
    steps: int

    @property
    def name(self) -> str:
        words = f"{self.network} {self.dtype} {self.steps}".lower().replace(",", "")
        return words.replace(" ", "-")


CASES = (
    *(Case("DDIM, seeded", "float32", steps) for steps in (2, 10, 50)),
    *(Case("DDIM, trained", "float32", steps) for steps in (2, 10, 50)),
    *(Case("DDIM, seeded, naive", "float32", steps) for steps in (2, 10, 50)),
    *(Case("UnCLIP, seeded", "float32", steps) for steps in (2, 3, 10)),
    *(Case("DDIM, trained", "float16", steps) for steps in (2, 10, 50)),
    *(Case("DDIM, seeded", "float16", steps) for steps in (2, 10)),
    *(Case("UnCLIP, seeded", "float16", steps) for steps in (3,)),
)


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """What the runs of one case gave.

    Attributes:
        clean: Arrays by name: the image (1, row, column, channel), and the noise that the network
            predicted in the last step, which shows what a clipped image hides.
        moved: By the same names, a run each along a first axis.
        input_rel_l2: Mean relative size of the disturbance.
    """

    clean: Arrays
    moved: Arrays
    input_rel_l2: float


def execute_all(case: Case, execute: Execution, folder: Path) -> None:
    """Run clean, then disturbed, as often as a recording would; what is kept is not made again."""
    while not is_kept(folder, case):
        at = len(_runs(folder, case))
        book = NoiseBook(Disturbed(DISTURBANCE_SEED + at - 1, case.dtype)) if at else NoiseBook()
        arrays = execute(book)
        path = _kept_in(folder, case, at)
        partial = path.with_suffix(".partial.npz")
        named: dict[str, Any] = {_SIZE: np.array(book.input_rel_l2), **arrays}
        np.savez(partial, **named)
        partial.replace(path)


def _kept_in(folder: Path, case: Case, run: int) -> Path:
    return folder / f"{case.name}-{run}.npz"


def is_kept(folder: Path, case: Case) -> bool:
    """Whether all runs of ``case`` are."""
    clean, *disturbed = _runs(folder, case) or [{}]
    if len(disturbed) < FEWEST_RUNS:
        return False
    names = clean.keys() - {_SIZE}
    moved = [[_rel_l2(clean[name], one[name]) for one in disturbed] for name in names]
    # A recording ends, too, where no fallback could be judged any more.
    limit = ceiling(case.dtype) / DEFAULT_FACTOR
    return len(disturbed) >= runs_wanted([one for one in moved if max(one) <= limit], FEWEST_RUNS)


def _rel_l2(baseline: NDArray[Any], observed: NDArray[Any]) -> float:
    return compare_records(make_record(baseline), make_record(observed)).rel_l2


def _runs(folder: Path, case: Case) -> list[Arrays]:
    """What is kept of ``case``: clean, then disturbed, in their order."""
    runs: list[Arrays] = []
    while (path := _kept_in(folder, case, len(runs))).exists():
        with np.load(path) as stored:
            runs.append({name: stored[name] for name in stored.files})
    return runs


def load_kept(folder: Path, case: Case) -> Kept:
    """What `execute_all` kept: the clean run first."""
    clean, *disturbed = _runs(folder, case)
    clean.pop(_SIZE)
    sizes = [float(one.pop(_SIZE)) for one in disturbed]
    moved = {name: np.stack([one[name] for one in disturbed]) for name in clean}
    return Kept(clean, moved, sum(sizes) / len(sizes))


def sensitivity(case: Case, kept: Kept, name: str) -> Sensitivity:
    """How the tensor ``name`` answered."""
    record = make_record(kept.clean[name])
    envelope = envelope_from(
        [compare_records(record, make_record(one)) for one in kept.moved[name]],
        method=f"every draw moved by one {case.dtype} ULP, random signs",
        seed=DISTURBANCE_SEED,
        input_rel_l2=kept.input_rel_l2,
    )
    summary = replace(summary_of(name, record), envelope=envelope)
    # The work folder is of one environment, which is named above the table.
    check = CheckId("docs/measure/sensitivity.py", case.name, name)
    found = sensitivity_of(check, _NO_KEY, summary)
    assert found is not None
    return found


def free_psnr_db(clean: NDArray[Any], moved: NDArray[Any]) -> float:
    """``10 log10(1 / mse)`` of images in [0, 1], over what is not on the image's two commonest values.

    Values that are clipped in the clean image hide how far they moved, and would raise the figure.
    Infinity where nothing moved, NaN where everything is on two values.
    """
    free = ~on_rails(clean)
    if not free.any():
        return math.nan
    squares = (moved[free].astype(np.float64) - clean[free].astype(np.float64)) ** 2
    return -10.0 * math.log10(squares.mean()) if squares.any() else math.inf


def _load(case: Case) -> Any:
    from docs.measure.conditioning import unconditioned
    from pytest_repro.pipelines.registry import load_pipeline
    from pytest_repro.pipelines.source import parse_source

    source = parse_source(str(_TRAINED) if "trained" in case.network else "seeded")
    if case.network.startswith("UnCLIP"):
        return load_pipeline("unclip", source, dtype=case.dtype)
    ddim = load_pipeline("ddim", source, dtype=case.dtype)
    if "naive" in case.network:
        unconditioned(ddim, "ddim", ("unet",))
    return ddim


def _execution(case: Case) -> Execution:
    from tests.models.latents import watch_latents

    pipeline = _load(case)
    is_ddim = case.network.startswith("DDIM")
    scheduler = "scheduler" if is_ddim else "super_res_scheduler"
    keywords: dict[str, Any] = {"num_inference_steps": case.steps}
    if not is_ddim:
        keywords = {
            "prompt": "a photo of a red panda",
            "prior_num_inference_steps": 2,
            "decoder_num_inference_steps": case.steps,
            "super_res_num_inference_steps": case.steps,
        }

    def execute(book: NoiseBook) -> Arrays:
        with watch_latents(pipeline, scheduler) as watch:
            image = pipeline(output_type="np", generator=book.generator(0), **keywords)[0]
        return {"image": np.asarray(image), "prediction": watch.last_model_output}

    return execute


def _key() -> EnvironmentKey:
    from pytest_repro.environment.observe import observe_environment
    from pytest_repro.frameworks.mindspore import MindSporeAdapter

    adapter = MindSporeAdapter()
    adapter.enable_determinism()
    adapter.seed_globals(0)
    launch_one_by_one()
    return observe_environment(root=ROOT, extra={}, mindspore=adapter).key


def _measure_all(folder: Path, cases: Sequence[Case]) -> None:
    """Measure what is lacking, under the environment of what is there."""
    key, kept_key = str(_key()), folder / "key.txt"
    folder.mkdir(parents=True, exist_ok=True)
    if kept_key.exists() and kept_key.read_text(encoding="utf-8") != key:
        raise SystemExit(f"{folder} was measured under {kept_key.read_text('utf-8')}, not {key}")
    kept_key.write_text(key, encoding="utf-8")
    for case in cases:
        if not is_kept(folder, case):
            execute_all(case, _execution(case), folder)
            sys.stderr.write(f"{case.name}\n")


_HEAD = (
    "network", "dtype", "steps", "runs", "noise moved", "image rel_l2", "amplification", "digits left",
    "on two values", "PSNR of the rest", "prediction rel_l2", "amplification", "digits left",
)  # fmt: skip


def _row(case: Case, kept: Kept) -> tuple[str, ...]:
    image = kept.clean["image"]
    psnr_db = min(free_psnr_db(image, one) for one in kept.moved["image"])
    return (
        case.network,
        case.dtype,
        str(case.steps),
        str(len(kept.moved["image"])),
        f"{kept.input_rel_l2:.1e}",
        *_cells(sensitivity(case, kept, "image")),
        f"{on_rails(image).mean():.0%}",
        "-" if math.isnan(psnr_db) else f"{psnr_db:.0f} dB",
        *_cells(sensitivity(case, kept, "prediction")),
    )


def _cells(one: Sensitivity) -> tuple[str, str, str]:
    digits = "all" if math.isinf(one.digits) else f"{one.digits:.1f}"
    return f"{one.output_rel_l2_max:.1e}", f"{one.amplification or 0.0:.3g}", digits


def lines(found: Mapping[Case, Kept], key: str) -> list[str]:
    """The section of the page, measured under ``key``."""
    lacking = [case.name for case in CASES if case not in found]
    return [
        f"Measured under `{key}`, by as many disturbed runs as a recording makes (the first with the "
        f"signs of seed {DISTURBANCE_SEED}). With {FEWEST_RUNS} runs, at least "
        f"{least_probability(FEWEST_RUNS):.0%} of all disturbances leave as many digits, with "
        f"{MOST_RUNS} runs {least_probability(MOST_RUNS):.0%}, at a confidence of 95 %.",
        "",
        *table(_HEAD, [_row(case, kept) for case, kept in found.items()]),
        "",
        *(f"- {network}: {words}." for network, words in _NETWORKS.items()),
        *([f"- Not measured: {', '.join(lacking)}."] if lacking else []),
    ]


def main() -> None:
    """Measure what is lacking and write the table."""
    parser = argparse.ArgumentParser(prog="python -m docs.measure.sensitivity")
    parser.add_argument("--work", type=Path, required=True, help="folder that keeps the figures")
    parser.add_argument("--case", action="append", help="e.g. ddim-trained-float32-2; default: all")
    chosen = parser.parse_args()
    names = chosen.case or [case.name for case in CASES]
    _measure_all(chosen.work, [case for case in CASES if case.name in names])
    found = {case: load_kept(chosen.work, case) for case in CASES if is_kept(chosen.work, case)}
    key = (chosen.work / "key.txt").read_text(encoding="utf-8")
    replace_section(_PAGE, "sensitivity", lines(found, key))


if __name__ == "__main__":
    main()
