"""Runs the model tests on releases of MindSpore and mindone; writes docs/evidence/releases.md.

Run: ``python -m docs.measure.releases --work DIR --full PYTHON... --record PYTHON...`` from the root
of the checkout, with an interpreter for each pair of releases; this one needs no MindSpore. Each of
``--full`` records and compares all pipelines and plants the faults of tests/faults/planted.py; each
of ``--record`` records DDIM and UnCLIP with cells. What is in DIR already is not computed again.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.page import table
from pytest_repro.analysis.agreement import farthest, leaf_distances
from pytest_repro.checking.explain import weights_tables
from pytest_repro.environment.key import parse_key, version_rank
from pytest_repro.model.baseline import Baseline
from pytest_repro.model.ids import CheckId
from pytest_repro.store.store import Store
from pytest_repro.trace.components import (
    SettingChange,
    compare_configurations,
    compare_weights,
    configurations_from_rows,
)
from pytest_repro.trace.divergence import Change, first_divergence
from pytest_repro.trace.records import trace_from_rows
from tests.faults.planted import BICUBIC, PLANTS, unnamed

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "evidence" / "releases.md"
BOTH = ("tests/models/test_ddim.py", "tests/models/test_unclip.py")
ALL = (*BOTH, "tests/models/test_latent_pipelines.py")
PIPELINES = {
    "DDIM": "test_ddim.py::test_(?!float16)",
    "DDIM, float16": "test_float16",
    "UnCLIP, text": "test_text_to_image",
    "UnCLIP, image variation": "test_image_variation",
    "Stable Diffusion, PNDM": "test_stable_diffusion::",
    "Stable Diffusion, Euler": "test_stable_diffusion_with_euler",
    "SDXL": "test_stable_diffusion_xl",
    "Stable Diffusion 3": "test_stable_diffusion_3",
    "DiT": "test_dit",
    "AnimateDiff": "test_animatediff",
}
_PLANTED = "not ten_steps and not eta and not batch"
"""Faults are not planted into the long tests of DDIM."""
Checks = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Pair:
    """An interpreter with a release of MindSpore and one of mindone."""

    python: str
    mindspore: str
    mindone: str

    @property
    def name(self) -> str:
        return f"{self.mindspore} + {self.mindone}"


def pair_of(python: str) -> Pair:
    code = "from importlib.metadata import version as v; print(v('mindspore'), v('mindone'))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return Pair(python, *done.stdout.split())


def run(pair: Pair, work: Path, job: str, tests: Sequence[str], *options: str) -> Checks:
    """The checks of a run's report, by id; a run that was made before is read."""
    folder = work / pair.name.replace(" + ", "_") / job
    if not (folder / "report.json").is_file():
        _pytest(
            pair, folder, *tests, "-p", "tests.faults.planted", "--repro-trace=cells",
            "-o", "repro_key_facts=mindone.version",
            f"--repro-baselines={work / 'baselines'}", f"--repro-report={folder}", *options,
        )  # fmt: skip
    found = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return {one["check"]: one for one in found["checks"]}


def _pytest(pair: Pair, folder: Path, *arguments: str) -> None:
    """Run pytest, and keep what it prints beside the report."""
    mint = () if pair.mindone.startswith("0.2.") else ("--repro-mint-cpu",)
    command = [pair.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    level = os.environ.get("ONEDNN_MAX_CPU_ISA", "AVX2")
    # MindSpore 2.7 and 2.8 ship an oneDNN that reads the older name only.
    found = {**os.environ, "ONEDNN_MAX_CPU_ISA": level, "DNNL_MAX_CPU_ISA": level}
    found["PYTEST_ADDOPTS"] = " ".join(mint)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=found)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "output.txt").write_text(done.stdout, encoding="utf-8")


def full(pair: Pair, work: Path) -> dict[str, Checks]:
    """What each run of a release gave: recorded, compared, and with each fault."""
    jobs = {"record": ("--repro-update", "--repro-envelope=0"), "compare": ()}
    made = {job: run(pair, work, job, ALL, *options) for job, options in jobs.items()}
    for plant in PLANTS:
        made[plant] = run(pair, work, plant, ALL, f"--plant={plant}", "-k", _PLANTED)
    return made


def suite(pair: Pair, work: Path) -> str:
    """The last line of tests/suites, whose tests record, compare and plant by themselves."""
    folder = work / pair.name.replace(" + ", "_") / "suite"
    if not (folder / "output.txt").is_file():
        _pytest(pair, folder, "tests/suites")
    last = (folder / "output.txt").read_text(encoding="utf-8").strip().splitlines()[-1]
    return re.sub(r",? \d+ warnings?| in .*", "", last)


def of(checks: Checks, part: str) -> list[Mapping[str, Any]]:
    return [one for name, one in checks.items() if re.search(part, name)]


def _cell(made: Mapping[str, Checks], part: str) -> str:
    verdicts = {job: [one["verdict"] for one in of(made[job], part)] for job in made}
    recorded = sum(one in ("recorded", "unchanged") for one in verdicts["record"])
    if not recorded:
        return "-"
    exact = verdicts["compare"].count("exact")
    planted = [(plant, one) for plant in PLANTS for one in of(made[plant], part)]
    named = sum(one["verdict"] == "drift" and not unnamed(plant, one) for plant, one in planted)
    return f"{recorded}; {exact}; {named} of {len(planted)}"


def release_rows(pairs: Sequence[Pair], work: Path) -> list[list[str]]:
    made = [full(pair, work) for pair in pairs]
    rows = [[name, *(_cell(one, part) for one in made)] for name, part in PIPELINES.items()]
    return [*rows, ["tests/suites", *(suite(pair, work) for pair in pairs)]]


@dataclass(frozen=True, slots=True)
class Apart:
    """How one check of two combinations differs.

    Attributes:
        rel_l2: Between the values; 0.0 for equal bits.
        inputs: Draws, weights and entries of settings that differ, and both sides have.
        began: First step and cell that differ, by bits.
    """

    rel_l2: float
    inputs: tuple[str, ...]
    began: str


def compare(store: Store, first: Baseline, second: Baseline) -> Apart:
    found = farthest(leaf_distances(first.tensors, second.tensors, store.tensor))
    tables = [weights_tables(store, one.weights) for one in (first, second)]
    weights = compare_weights(
        first.weights, second.weights, baseline_tensors=tables[0], observed_tensors=tables[1]
    )
    settings = [one for one in _settings(store, first, second) if not one.is_one_sided]
    unlike = (
        *(() if first.draw_log.digest == second.draw_log.digest else ("draws",)),
        *(f"weights of {one.component}" for one in weights),
        *(f"{one.component}.{one.name}" for one in settings),
    )
    return Apart(found.rel_l2 if found else 0.0, unlike, _began(store, first, second))


def _settings(store: Store, first: Baseline, second: Baseline) -> tuple[SettingChange, ...]:
    rows = [store.rows(one.configuration) for one in (first, second) if one.configuration]
    sides = [configurations_from_rows(one) for one in rows if one is not None]
    return compare_configurations(*sides) if len(sides) == 2 else ()


def _began(store: Store, first: Baseline, second: Baseline) -> str:
    rows = [store.rows(one.trace) if one.trace else None for one in (first, second)]
    if rows[0] is None or rows[1] is None:
        return "no trace"
    divergence = first_divergence(trace_from_rows(rows[0]), trace_from_rows(rows[1]))
    if divergence is None:
        return ""
    step = divergence.step.step if divergence.step else None
    where = f"{step.scheduler} step {step.position}" if step else "after the steps"
    cell = divergence.cell or divergence.entered
    if cell is None:
        return f"{where}, no cell"
    sides = [side.class_name for side in (cell.baseline, cell.observed) if side is not None]
    how = " became ".join(dict.fromkeys(sides))
    what = {
        Change.INPUTS: " got other inputs",
        Change.ABSENT: " is not called any more",
        Change.EXTRA: " is new",
    }
    return f"{where}, `{cell.call.name}` ({how}){what.get(cell.change, '')}"


def recorded_keys(pairs: Sequence[Pair], work: Path) -> dict[str, str]:
    """The key of each combination, by its name; records what is not recorded."""
    keys = {}
    for pair in pairs:
        made = run(pair, work, "record", BOTH, "--repro-update", "--repro-envelope=0")
        keys[pair.name] = next(iter(made.values()))["key"]
    return keys


def neighbours(pairs: Sequence[Pair]) -> Iterator[tuple[Pair, Pair]]:
    """Each combination and the next release of one of its two."""
    ordered = sorted(
        pairs, key=lambda one: (version_rank(one.mindspore), version_rank(one.mindone))
    )
    for fixed in ("mindone", "mindspore"):
        for value in dict.fromkeys(getattr(one, fixed) for one in ordered):
            line = [one for one in ordered if getattr(one, fixed) == value]
            yield from pairwise(line)


def difference_rows(pairs: Sequence[Pair], work: Path) -> list[list[str]]:
    keys = {name: parse_key(key) for name, key in recorded_keys(pairs, work).items()}
    store, rows = Store(work / "baselines", root=ROOT), []
    for before, after in neighbours(pairs):
        sides = [_baselines(store, keys[one.name]) for one in (before, after)]
        for name, part in PIPELINES.items():
            shared = [one for one in sides[0] if re.search(part, str(one)) and one in sides[1]]
            apart = [compare(store, sides[0][one], sides[1][one]) for one in shared]
            if apart:
                rows.append([before.name, after.name, name, *_summary(apart)])
    return rows


def _baselines(store: Store, key: Any) -> dict[CheckId, Baseline]:
    modules = store.modules(key)
    return {one.check: one for module in modules for one in store.manifest(key, module)}


def _summary(apart: Sequence[Apart]) -> list[str]:
    equal = sum(one.rel_l2 == 0.0 for one in apart)
    inputs = sorted({name for one in apart for name in one.inputs})
    began = Counter(one.began for one in apart if one.began)
    most = [f"{place} ({count} of {len(apart)} checks)" for place, count in began.most_common(2)]
    far = max((one.rel_l2 for one in apart), default=0.0)
    return [
        f"{equal} of {len(apart)}",
        f"{far:.1e}" if far else "0",
        ", ".join(inputs) or "none",
        "; ".join(most) or "nowhere",
    ]


def bicubic(pairs: Sequence[Pair], work: Path) -> str:
    """How far the last release's image variations are from the first's, by either operator."""
    keys = {name: parse_key(key) for name, key in recorded_keys(pairs, work).items()}
    first, last = pairs[0], pairs[-1]
    apart, images = work / "bicubic", []
    run(last, work, BICUBIC, BOTH[1:], "-k", "image_variation", f"--plant={BICUBIC}",
        "--repro-update", "--repro-envelope=0", f"--repro-baselines={apart}")  # fmt: skip
    stores = [Store(folder, root=ROOT) for folder in (work / "baselines", apart)]
    wanted = CheckId(BOTH[1], "test_image_variation", "image")
    for store, pair in ((stores[0], first), (stores[0], last), (stores[1], last)):
        (summary,) = store.baseline(keys[pair.name], wanted).tensors
        record = store.tensor(summary.digest)
        assert record is not None
        images.append(record.array)
    far = [float(np.linalg.norm(one - images[0]) / np.linalg.norm(images[0])) for one in images[1:]]
    return (
        f"The image variation of mindone {last.mindone} is {far[0]:.1e} from that of {first.mindone}; "
        f"with the bicubic operator of {first.mindone}, {far[1]:.1e}."
    )


_HEAD = """\
# Releases of MindSpore and mindone

Written by `python -m docs.measure.releases`, on hardware `{hardware}`. Baselines are in a temporary folder, with
`repro_key_facts = mindone.version`, so that each release has its own key; mindone 0.3.0 and later run with `repro_mint_cpu = on`.

## Pipelines by release of mindone

MindSpore {mindspore}. Each entry: checks recorded; exact in a second run; drifts that name the planted fault (another seed, a
weight with the other sign, another entry of the scheduler, another attention scale: `tests/faults/planted.py`) by cause, place,
first step and, for weight and attention, first cell. -: does not run; Stable Diffusion 3 with mindone 0.2.0 draws noise without a
generator. `tests/suites` records, compares and plants by itself.
"""
_DIFFERENCES = """
## What differs between two releases, and where it begins

Every check with cells, compared by bits; pipelines of latents on one MindSpore only. Equal: checks with equal bits. rel_l2: the largest. Inputs: which of
draws, weights and settings differ. Begins: first step and cell that differ, for most checks.
"""

_NOTES = (
    "",
    "- The Euler scheduler of mindone 0.2.0 draws noise in every step and leaves it; later ones draw",
    "  none unless it is used. So draws differ in Euler and SDXL: a drift with cause noise.",
    "- mindone 0.4 and later name the class embedding of DiT `weight`, not `embedding_table`. Its bits",
    "  are equal, so it counts as the same weights.",
    "- The last block of AnimateDiff's network in mindone 0.2.0 has 32 groups in its motion modules,",
    "  whatever is asked for. The test asks for 32.",
    "- mindone 0.4 and later take layers of `mindspore.mint`: the first cell is where one of them",
    "  computes other bits than the layer before, as a composition does.",
)


def main() -> None:
    """Run what was not run, and write the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--full", nargs="+", default=[])
    parser.add_argument("--record", nargs="+", default=[])
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    releases, others = (
        [pair_of(one) for one in names] for names in (arguments.full, arguments.record)
    )
    rows = release_rows(releases, work)
    everything = [*releases, *others]
    key = parse_key(next(iter(recorded_keys(everything[:1], work).values())))
    text = _HEAD.format(hardware=key.hardware, mindspore=releases[0].mindspore)
    lines = [text, *table(["pipeline", *(one.mindone for one in releases)], rows), _DIFFERENCES]
    head = ["from", "to", "pipeline", "equal", "rel_l2", "inputs", "begins"]
    lines += table(head, difference_rows(everything, work))
    lines += [
        "",
        f"{bicubic(releases, work)} [The two operators](mint.md#bicubic-interpolation).",
        *_NOTES,
    ]
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
