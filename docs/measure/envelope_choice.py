"""Measures what K and the seed of the disturbed runs decide: records with each, judges with each.

Run: ``python -m docs.measure.envelope_choice --work DIR`` from the root of the checkout; needs mindone
and a CPU with AVX2. DDIM of two steps with seeded weights, of ten with trained ones, and UnCLIP from
text are recorded under every SIMD level by so many disturbed runs of every seed, into one folder
each; what the model tests recorded of the same under every level (``baselines/``) is judged against
every one of them. Writes docs/evidence/envelope.md; what is in DIR is not computed again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.fault_runs import launch_one_by_one
from benchmarks.page import table
from pytest_repro.checking.context import RunContext, open_run
from pytest_repro.checking.disturb import DisturbedRun, Disturbing
from pytest_repro.checking.judging import Judging
from pytest_repro.checking.recording import Recording, Writing
from pytest_repro.checking.references import References
from pytest_repro.checking.spec import make_spec
from pytest_repro.checking.trial import CheckCall, Trial
from pytest_repro.checking.writer import Writer
from pytest_repro.frameworks.mindspore import MindSporeAdapter
from pytest_repro.guard.guard import Isolation
from pytest_repro.model.baseline import Baseline
from pytest_repro.model.ids import CheckId, EnvironmentKey, IndexEntry
from pytest_repro.model.outcome import Observation, Outcome, Reference
from pytest_repro.model.words import Distance, TraceLevel, Verdict
from pytest_repro.noise.generator import NoiseBook
from pytest_repro.noise.sources import Disturbed, Fresh, NoiseSource, SignStream, disturb_by_one_ulp
from pytest_repro.pipelines.registry import load_pipeline
from pytest_repro.pipelines.source import parse_source
from pytest_repro.settings import DISTURBANCE_SEED, TABLE, Settings, settings_from
from pytest_repro.store.store import Store
from pytest_repro.tolerance.bounds import DEFAULT_FACTOR
from pytest_repro.tolerance.measured import ALIKE, FEWEST_RUNS, MOST_RUNS, runs_wanted
from pytest_repro.tolerance.policy import Policy, Resolved
from pytest_repro.trace.divergence import first_divergence, how_far
from pytest_repro.trace.envelope import StepBounds, step_envelope_from_rows, within_steps
from pytest_repro.trace.records import trace_from_rows
from tests.models.latents import watch_latents

LEVELS = ("SSE41", "AVX", "AVX2")
COUNTS = (1, 4, 8, 16)
"""Disturbed runs of an envelope."""
ASKED = (1, 4, 8, 16)
"""K: how many runs are asked for; `runs_wanted` says how many are made."""
EVERYWHERE = 8
"""Runs in which the steps are disturbed, too."""
RECORDINGS = 400_000
"""Of the computed chances."""
SCALES = (1.0, 2.5)
"""How far hardware moves a result, in movements of a run; DDIM was seen at 2.5."""
FEW = 100.0
"""Degrees of freedom from which on no decimals are shown."""
SEEDS = (DISTURBANCE_SEED, 1_000, 2_000)
"""Further apart than the most runs, so that no disturbed run is in two of them."""

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "evidence" / "envelope.md"
MODULE = "docs/measure/envelope_choice.py"
_UNCLIP: dict[str, Any] = {
    "prompt": "a photo of a red panda",
    "prior_num_inference_steps": 2,
    "decoder_num_inference_steps": 3,
    "super_res_num_inference_steps": 3,
}
FRAMEWORK = f"mindspore-{version('mindspore')}"
MODEL_TESTS = {
    "DDIM, 2 steps": ("tests/models/test_ddim.py", "test_two_steps"),
    "DDIM trained, 10 steps": ("tests/models/test_digits.py", "test_ten_steps"),
    "UnCLIP from text": ("tests/models/test_unclip.py", "test_text_to_image"),
}
CALLS: dict[str, dict[str, Any]] = {
    "DDIM, 2 steps": {"num_inference_steps": 2},
    "DDIM trained, 10 steps": {"num_inference_steps": 10},
    "UnCLIP from text": _UNCLIP,
}


@dataclass(frozen=True)
class Choice:
    """How an envelope is measured."""

    count: int
    seed: int

    def folder(self, work: Path, level: str) -> Path:
        return work / f"{level}-{self.count}-{self.seed}"


CHOICES = [Choice(count, seed) for count, seed in product(COUNTS, SEEDS)]


@dataclass(frozen=True)
class Judged:
    """One check under one level against the baseline of another, recorded with one choice.

    ``worst_step`` is the largest distance of a step's signal over its envelope; ``steps_outside``
    says whether any step was judged to be outside.
    """

    test: str
    name: str
    recorded: str
    judged: str
    count: int
    seed: int
    verdict: str
    share: float
    measure: str
    rel_l2: float
    envelope: float
    worst_step: float
    steps_outside: bool


def _settings(folder: Path, choice: Choice) -> Settings:
    options = {setting.name: None for setting in TABLE}
    made = settings_from(options, {})
    return replace(made, baselines=str(folder), envelope=choice.count, envelope_seed=choice.seed)


def _load(test: str) -> Any:
    digits = ROOT / "tests" / "models" / "digits"
    source = parse_source(str(digits) if "trained" in test else "seeded")
    return load_pipeline("unclip", source) if "UnCLIP" in test else load_pipeline("ddim", source)


def _find_nothing(check: CheckId, entry: IndexEntry) -> tuple[bool, Reference | None]:
    return False, None


def _execute(
    context: RunContext, test: str, pipeline: Any, source: NoiseSource, level: TraceLevel
) -> Trial:
    spec = make_spec((MODULE, test), {"seed": 0}, context.settings, marked=True)
    trial = Trial(spec, lambda: NoiseBook(source), MindSporeAdapter(), _find_nothing, level)
    scheduler = "super_res_scheduler" if "UnCLIP" in test else "scheduler"
    with Isolation(spec.asked.seed, context.framework):
        trial.watch(pipeline)
        try:
            with watch_latents(pipeline, scheduler) as watch:
                image = pipeline(output_type="np", generator=trial.generator(), **CALLS[test])[0]
            trial.check(image, "image", called_at=f"{MODULE}:1")
            latents = {"sample": watch.last_sample, "prediction": watch.last_model_output}
            trial.check(latents, "latents", called_at=f"{MODULE}:1")
        finally:
            trial.watching.stop()
    return trial


def record(work: Path, level: str) -> None:
    """Record under this process's level with every choice, and keep how far the runs moved."""
    launch_one_by_one()
    context = open_run(_settings(work, CHOICES[0]), root=ROOT)
    rows: list[dict[str, Any]] = []
    for test in CALLS:
        pipeline = _load(test)
        first, again = (
            _execute(context, test, pipeline, Fresh(), TraceLevel.STEPS) for _ in range(2)
        )
        for seed in SEEDS:
            runs = _disturbed(context, test, pipeline, seed, max(COUNTS))
            for count in COUNTS:
                _record(work, level, Choice(count, seed), first, again, runs[:count])
            made = {asked: _runs_made(first, runs, context.settings, asked) for asked in ASKED}
            rows.append(_row(level, test, seed, first, runs, made))
        with _disturbing_steps(pipeline, SEEDS[0]):
            everywhere = _disturbed(context, test, pipeline, SEEDS[0], EVERYWHERE)
        rows.append(_row(level, test, None, first, everywhere, {}))
    (work / f"{level}.json").write_text(json.dumps(rows), encoding="utf-8")


def _disturbed(
    context: RunContext, test: str, pipeline: Any, seed: int, count: int
) -> list[DisturbedRun]:
    runs = []
    for at in range(count):
        trial = _execute(context, test, pipeline, Disturbed(seed + at), TraceLevel.STEPS)
        runs.append(DisturbedRun(trial, None))
        print(test, seed, at, flush=True)
    return runs


@contextmanager
def _disturbing_steps(pipeline: Any, seed: int) -> Iterator[None]:
    """While open, sample and model output of every step are moved by one ULP, too."""
    signs = SignStream(seed + 1_000_000)
    schedulers = [one for one in pipeline.components.values() if hasattr(one, "step")]
    plain = [one.step for one in schedulers]
    try:
        for one, step in zip(schedulers, plain, strict=True):
            one.step = partial(_disturbed_step, step, signs)
        yield
    finally:
        for one in schedulers:
            del one.step


def _disturbed_step(
    step: Callable[..., Any],
    signs: SignStream,
    output: Any,
    timestep: Any,
    sample: Any,
    **more: Any,
) -> Any:
    moved = [
        type(one)(disturb_by_one_ulp(one.asnumpy(), signs.rises(one.shape))[0])
        for one in (output, sample)
    ]
    return step(moved[0], timestep, moved[1], **more)


def _row(
    level: str,
    test: str,
    seed: int | None,
    first: Trial,
    runs: Sequence[DisturbedRun],
    made: dict[int, int],
) -> dict[str, Any]:
    """How far (rel_l2) the image moved in each run, along how many directions.

    ``seed`` is ``None`` where the steps were disturbed, too.
    """
    clean, *moved = (_image(one) for one in (first, *(run.trial for run in runs)))
    apart = np.stack([one - clean for one in moved])
    energies = np.linalg.eigvalsh(apart @ apart.T)[::-1]
    rel_l2 = np.linalg.norm(apart, axis=1) / np.linalg.norm(clean)
    return {
        "level": level,
        "test": test,
        "seed": seed,
        "rel_l2": rel_l2.tolist(),
        "two_directions": float(energies[:2].sum() / energies.sum()),
        "made": made,
    }


def _image(trial: Trial) -> NDArray[np.float64]:
    (_, record), *_ = trial.calls["image"].observation.tensors
    return record.array.astype(np.float64).ravel()


def _record(
    work: Path,
    level: str,
    choice: Choice,
    first: Trial,
    again: Trial,
    runs: Sequence[DisturbedRun],
) -> None:
    settings = _settings(choice.folder(work, level), choice)
    target = Writer(open_run(settings, root=ROOT))
    disturbing = Disturbing(first, runs, settings)
    made, writing = Recording(target.context, first, [again], 2, disturbing, {}), Writing()
    for name in first.calls:
        assert made.record(name, Verdict.RECORDED, writing) is Verdict.RECORDED
    target.commit(writing)
    target.flush()


def _runs_made(first: Trial, runs: Sequence[DisturbedRun], settings: Settings, asked: int) -> int:
    """How many of ``runs`` a recording that asks for ``asked`` makes."""
    made = 0
    while made < (wanted := _wanted(first, runs[:made], settings, asked)):
        made = wanted
    return made


def _wanted(first: Trial, runs: Sequence[DisturbedRun], settings: Settings, asked: int) -> int:
    if len(runs) < asked:
        return asked
    disturbing = Disturbing(first, runs, settings)
    moved = [one for name in first.calls for one in disturbing.movements(name, Resolved())]
    return runs_wanted(moved, asked)


def judge(work: Path) -> list[Judged]:
    """Judge what the model tests recorded under each level against everything recorded here.

    Those are runs of other processes, on other days; they lie in ``baselines/``.
    """
    return [
        one
        for test, observed, recorded in product(CALLS, LEVELS, LEVELS)
        for choice in CHOICES
        for one in _judge(work, test, observed, recorded, choice)
    ]


def _judge(work: Path, test: str, observed: str, recorded: str, choice: Choice) -> Iterator[Judged]:
    stored = Store(ROOT / "baselines", root=ROOT)
    key = EnvironmentKey(f"cpu-x86_64-{observed.lower()}-2c", FRAMEWORK)
    settings = _settings(choice.folder(work, recorded), choice)
    for name in ("image", "latents"):
        seen = stored.baseline(key, CheckId(*MODEL_TESTS[test], name))
        environment, store = seen.provenance.environment, Store(Path(settings.baselines), root=ROOT)
        against = RunContext(
            settings,
            key=environment.key,
            environment=environment,
            store=store,
            references=References(store, environment.key),
            framework=MindSporeAdapter(),
            policy=Policy(),
        )
        observation = _observation(stored, seen, CheckId(MODULE, test, name))
        call = CheckCall(observation, None, Distance.ANY, f"{MODULE}:1")
        spec = make_spec((MODULE, test), {"seed": 0}, settings, marked=True)
        outcome = Judging(against).judge(spec, call)
        yield _judged(against, observation, outcome, (test, name, recorded, observed), choice)


def _observation(stored: Store, seen: Baseline, check: CheckId) -> Observation:
    leaves = []
    for one in seen.tensors:
        record = stored.tensor(one.digest)
        assert record is not None
        leaves.append((one.path, record))
    assert seen.trace is not None
    rows = stored.rows(seen.trace)
    assert rows is not None
    return Observation(
        check=check,
        tensors=tuple(leaves),
        digest=seen.index.value,
        draw_log=seen.draw_log,
        trace=trace_from_rows(rows),
    )


def _judged(
    context: RunContext,
    seen: Observation,
    outcome: Outcome,
    place: tuple[str, str, str, str],
    choice: Choice,
) -> Judged:
    test, name, recorded, level = place
    rel_l2 = envelope = worst = 0.0
    outside = False
    if outcome.baseline is not None:
        worst, outside = _steps(context, seen, outcome.baseline)
        path, difference = outcome.differences[0]
        summary = next(one for one in outcome.baseline.tensors if one.path == path)
        rel_l2 = difference.rel_l2
        envelope = 0.0 if summary.envelope is None else summary.envelope.rel_l2_max
    return Judged(
        test=test,
        name=name,
        recorded=recorded,
        judged=level,
        count=choice.count,
        seed=choice.seed,
        verdict=str(outcome.verdict),
        share=outcome.share,
        measure=outcome.uses[0].measure if outcome.uses else "",
        rel_l2=rel_l2,
        envelope=envelope,
        worst_step=worst,
        steps_outside=outside,
    )


def _steps(context: RunContext, seen: Observation, baseline: Baseline) -> tuple[float, bool]:
    assert baseline.trace is not None
    assert baseline.step_envelope is not None
    rows, moved = context.store.rows(baseline.trace), context.store.rows(baseline.step_envelope)
    assert rows is not None
    assert moved is not None
    assert seen.trace is not None
    before, envelope = trace_from_rows(rows), step_envelope_from_rows(moved)
    within = within_steps(before, StepBounds(envelope, DEFAULT_FACTOR))
    outside = first_divergence(before, seen.trace, within=within) is not None
    ratios = [
        apart / max(envelope.rel_l2(old.scheduler, old.position, label), sys.float_info.min)
        for old, new in zip(before.steps, seen.trace.steps, strict=True)
        for label, signal in old.signals
        if (other := new.signal(label)) and (apart := how_far(signal, other).rel_l2)
    ]
    return max(ratios, default=0.0), outside


@dataclass(frozen=True)
class Moved:
    """How far the disturbed runs of one test moved its image under one level.

    Attributes:
        rel_l2: Of every run of every seed, whose noise alone was disturbed.
        everywhere: Of the runs whose steps were disturbed, too.
        two_directions: The smallest share of a seed's movements (energy) in two directions.
        made: By seed and K, how many runs a recording makes.
    """

    level: str
    test: str
    rel_l2: NDArray[np.float64]
    everywhere: NDArray[np.float64]
    two_directions: float
    made: dict[tuple[int, int], int]

    @property
    def freedom(self) -> float:
        """Degrees of freedom of a chi-square with their mean and variance of the squares."""
        squares = self.rel_l2**2
        return float(2.0 * squares.mean() ** 2 / squares.var(ddof=1))


def moved_in(work: Path) -> list[Moved]:
    """What `record` kept of all levels."""
    rows = [
        row for level in LEVELS for row in json.loads((work / f"{level}.json").read_text("utf-8"))
    ]
    found = []
    for level, test in product(LEVELS, CALLS):
        mine = [row for row in rows if (row["level"], row["test"]) == (level, test)]
        noise = [row for row in mine if row["seed"] is not None]
        everywhere = next(row for row in mine if row["seed"] is None)
        found.append(
            Moved(
                level,
                test,
                np.concatenate([row["rel_l2"] for row in noise]),
                np.array(everywhere["rel_l2"]),
                min(row["two_directions"] for row in noise),
                {(r["seed"], int(k)): n for r in noise for k, n in r["made"].items()},
            )
        )
    return found


def page(judged: Sequence[Judged], moved: Sequence[Moved]) -> str:
    """The page as text."""
    made = {(one.level, one.test): one.made for one in moved}
    own = [one for one in judged if one.recorded == one.judged]
    far = [one for one in judged if one.recorded != one.judged]
    ruled = [
        one
        for one in far
        for asked in ASKED
        if made[one.recorded, one.test][one.seed, asked] == one.count
    ]
    outside = sum(one.steps_outside for one in far)
    lines = [
        "# What K and the seed of the disturbed runs decide",
        "",
        "Written by `docs/measure/envelope_choice.py`; nothing here is typed. DDIM (the architecture",
        "of ddpm-cifar10-32, seeded weights), a small trained DDIM (`tests/models/digits`) and a tiny",
        f"UnCLIP with seeded weights are recorded under {len(LEVELS)} SIMD levels with the seeds",
        f"{', '.join(map(str, SEEDS))} and exactly {', '.join(map(str, COUNTS))} disturbed runs. What the",
        "model tests recorded under each level in other processes (`baselines/`) is judged against all",
        "of it. A recording that asks for K runs makes K, at least 4; where those move a tensor by unlike",
        f"amounts (largest above {ALIKE:g} times the smallest), it makes at least {MOST_RUNS}.",
        "",
        f"- Own key: {len(own)} comparisons, {_count(own, Verdict.EXACT)} exact.",
        f"- Fallback, K = {', '.join(map(str, ASKED))}, every seed: {len(ruled)} comparisons,",
        f"  {_count(ruled, Verdict.WITHIN)} within. Another K or seed changes the verdict of",
        f"  {len(_changed(ruled))} of {len(_groups(ruled))} checks.",
        "- Fallback with exactly n runs instead: "
        + "; ".join(_by_count(far, count) for count in COUNTS)
        + ".",
        f"- Steps: {len(far)} traces, {outside} with a step outside {DEFAULT_FACTOR:g} times its",
        "  envelope.",
        "",
        *_other_verdicts(far),
        *_directions(moved),
        *_chances(),
        *_places(moved),
        "## Every comparison",
        "",
        "Columns: the largest used share of the tolerance (1.0 would be drift), smallest to largest",
        "over the seeds, for exactly n runs; the last two say how far the result and the worst step",
        f"were, in envelopes of rel_l2 (the observed over the predicted drift), for n >= {FEWEST_RUNS}.",
        "",
        *_table(far),
        "",
        _versions(),
    ]
    return "\n".join(lines) + "\n"


def _table(far: Sequence[Judged]) -> list[str]:
    shares = [f"used, n = {count}" for count in COUNTS]
    rows = []
    for group in _groups(far):
        one, made = group[0], [e for e in group if e.count >= FEWEST_RUNS]
        rows.append(
            (
                one.test,
                one.name,
                one.recorded,
                one.judged,
                ", ".join(sorted({each.verdict for each in group})),
                *(_range([e.share for e in group if e.count == count]) for count in COUNTS),
                _range([e.rel_l2 / e.envelope for e in made if e.envelope]),
                _range([e.worst_step for e in made]),
            )
        )
    head = ("test", "check", "recorded", "judged", "verdicts", *shares, "result", "worst step")
    return table(head, rows)


def _other_verdicts(far: Sequence[Judged]) -> Iterator[str]:
    """The comparisons behind every verdict that depends on seed and number of runs."""
    changed = _changed(far)
    if not changed:
        return
    yield "Verdicts that the seed decides where the number of runs is fixed:"
    yield ""
    for group in changed:
        one = group[0]
        choices = ", ".join(
            f"n = {e.count} with seed {e.seed} ({e.verdict}, used {e.share:.2f} by {e.measure})"
            for e in group
            if e.verdict != Verdict.WITHIN
        )
        yield f"- {one.test}, {one.name}, {one.recorded} judged under {one.judged}: {choices}."
    yield ""


def _directions(moved: Sequence[Moved]) -> Iterator[str]:
    runs = len(SEEDS) * max(COUNTS)
    yield "## Why some results need more runs"
    yield ""
    yield f"The image's movement (rel_l2) in {runs} disturbed runs. Degrees of freedom: those of a"
    yield "chi-square with the same mean and variance of the squares. In two directions: share of the"
    yield f"movements' energy along their two main directions, the least of {len(SEEDS)} seeds. Where"
    yield "rounding can move a result in one or two directions only, all runs move it along them, some"
    yield "hardly; where it has many, every run moves it as far as any other. Runs made: for K = 4."
    yield ""
    head = (
        "test", "recorded", "smallest", "largest", "largest / smallest", "degrees of freedom",
        "in two directions", "runs made",
    )  # fmt: skip
    yield from table(head, [_direction(one) for one in sorted(moved, key=lambda one: one.test)])
    yield ""


def _direction(one: Moved) -> tuple[str, ...]:
    least, most = one.rel_l2.min(), one.rel_l2.max()
    return (
        one.test,
        one.level,
        f"{least:.1e}",
        f"{most:.1e}",
        f"{most / least:.2f}",
        f"{one.freedom:,.1f}" if one.freedom < FEW else f"{one.freedom:,.0f}",
        f"{one.two_directions:.0%}",
        _range([float(one.made[seed, FEWEST_RUNS]) for seed in SEEDS]).replace(".00", ""),
    )


def _chances() -> Iterator[str]:
    yield "What that means, computed: movements are drawn from a chi distribution with v degrees of"
    yield f"freedom, {RECORDINGS:,} recordings each. Beyond: how often a clean result that moves s times as"
    yield f"far as a disturbed run, by the same distribution, exceeds {DEFAULT_FACTOR:g} times the largest"
    yield "run. Going on: how often the first 4 runs are unlike."
    yield ""
    head = (
        "v", "going on", *(
            f"beyond, s = {scale:g}, {runs}"
            for scale in SCALES
            for runs in ("4 runs", f"{MOST_RUNS} runs", "by the rule")
        ),
    )  # fmt: skip
    yield from table(head, [_chance(freedom) for freedom in (1, 2, 4, 8, 100)])
    yield ""


def _chance(freedom: int) -> tuple[str, ...]:
    generator = np.random.Generator(np.random.PCG64(freedom))
    runs = np.sqrt(generator.chisquare(freedom, (RECORDINGS, MOST_RUNS)))
    seen = np.sqrt(generator.chisquare(freedom, RECORDINGS))
    few, many = runs[:, :FEWEST_RUNS].max(axis=1), runs.max(axis=1)
    unlike = few > ALIKE * runs[:, :FEWEST_RUNS].min(axis=1)
    ruled = np.where(unlike, many, few)
    beyond = [
        float(np.mean(scale * seen > DEFAULT_FACTOR * envelope))
        for scale in SCALES
        for envelope in (few, many, ruled)
    ]
    return (str(freedom), f"{unlike.mean():.1%}", *(f"{one:.4%}" for one in beyond))


def _places(moved: Sequence[Moved]) -> Iterator[str]:
    yield "## Disturbing more than the noise"
    yield ""
    yield "Other hardware rounds everywhere, not in the noise alone. Root mean square of the image's"
    yield "movement where the noise alone is disturbed, and where the sample and the model's output of"
    yield f"every step are, too ({EVERYWHERE} runs)."
    yield ""
    rows = []
    for one in sorted(moved, key=lambda one: one.test):
        noise, everywhere = (
            float(np.sqrt(np.mean(values**2))) for values in (one.rel_l2, one.everywhere)
        )
        ratio = f"{everywhere / noise:.2f}"
        rows.append((one.test, one.level, f"{noise:.1e}", f"{everywhere:.1e}", ratio))
    yield from table(("test", "recorded", "noise", "noise and steps", "ratio"), rows)
    yield ""


def _changed(judged: Sequence[Judged]) -> list[list[Judged]]:
    """The checks whose verdict is not the same for all choices."""
    return [group for group in _groups(judged) if len({one.verdict for one in group}) > 1]


def _groups(judged: Sequence[Judged]) -> list[list[Judged]]:
    groups: dict[tuple[str, ...], list[Judged]] = {}
    for one in judged:
        place = (one.test, one.name, one.recorded, one.judged)
        groups.setdefault(place, []).append(one)
    return [groups[place] for place in sorted(groups)]


def _by_count(far: Sequence[Judged], count: int) -> str:
    mine = [one for one in far if one.count == count]
    return f"n = {count} {_count(mine, Verdict.WITHIN)} of {len(mine)} within"


def _count(judged: Sequence[Judged], verdict: Verdict) -> int:
    return sum(one.verdict == verdict for one in judged)


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low} to {high}"


def _versions() -> str:
    names = ("mindspore", "mindone", "numpy")
    return f"*{', '.join(f'{name} {version(name)}' for name in names)}.*"


def _record_in_process(work: Path, level: str) -> None:
    if (work / f"{level}.json").exists():
        return
    levels = {"ONEDNN_MAX_CPU_ISA": level, "DNNL_MAX_CPU_ISA": level}
    command = [sys.executable, "-m", "docs.measure.envelope_choice", "--work", str(work)]
    environment = {**os.environ, **levels}
    subprocess.run([*command, "--record", level], cwd=ROOT, env=environment, check=True)


def main() -> None:
    """Record under every level, judge and write the page, or record under this process's level."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--record", choices=LEVELS, metavar="LEVEL")
    chosen = parser.parse_args()
    work = chosen.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    if chosen.record:
        record(work, chosen.record)
        return
    for level in LEVELS:
        _record_in_process(work, level)
    text = page(judge(work), moved_in(work))
    PAGE.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    np.seterr(all="ignore")
    main()
