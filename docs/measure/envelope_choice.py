"""Measures what K and the seed of the disturbed runs decide: records with each, judges with each.

Run: ``python docs/measure/envelope_choice.py --work DIR``; needs mindone and a CPU with AVX2. DDIM of
two steps and UnCLIP from text are recorded under every SIMD level with every K and seed, into one
folder each; what the model tests recorded of the same under every level (``baselines/``) is judged
against every one of them. Writes docs/envelope.md; what lies in DIR is not computed again.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from pytest_repro.adapters.mindspore import MindSporeAdapter
from pytest_repro.adapters.store import Store
from pytest_repro.core.divergence import first_divergence, how_far
from pytest_repro.core.generator import NoiseBook
from pytest_repro.core.model import (
    Baseline,
    CheckId,
    Distance,
    EnvironmentKey,
    Observation,
    Outcome,
    Verdict,
)
from pytest_repro.core.noise import Disturbed, Fresh, NoiseSource
from pytest_repro.core.policy import Policy
from pytest_repro.core.settings import DISTURBANCE_SEED, TABLE, Settings, TraceLevel, settings_from
from pytest_repro.core.step_envelope import StepBounds, step_envelope_from_rows, within_steps
from pytest_repro.core.tolerance import DEFAULT_FACTOR
from pytest_repro.core.trace import trace_from_rows
from pytest_repro.pipelines import load_ddim, load_unclip, parse_source, watch_latents
from pytest_repro.session.disturbing import DisturbedRun, Disturbing
from pytest_repro.session.judging import Judging
from pytest_repro.session.recording import Recording
from pytest_repro.session.run import Session, open_session
from pytest_repro.session.trial import CheckCall, Trial

LEVELS = ("SSE41", "AVX", "AVX2")
COUNTS = (1, 4, 8)
SEEDS = (DISTURBANCE_SEED, 1_000, 2_000)
"""Further apart than the largest K, so that no disturbed run is in two of them."""

PAGE = Path(__file__).resolve().parent.parent / "envelope.md"
ROOT = PAGE.parent.parent
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
    "UnCLIP from text": ("tests/models/test_unclip.py", "test_text_to_image"),
}
CALLS: dict[str, dict[str, Any]] = {
    "DDIM, 2 steps": {"num_inference_steps": 2},
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
    source = parse_source("seeded")
    return load_unclip(source) if "UnCLIP" in test else load_ddim(source)


def _execute(
    session: Session, test: str, pipeline: Any, source: NoiseSource, level: TraceLevel
) -> Trial:
    spec = session.spec(MODULE, test, {"seed": 0}, marked=True)
    trial = Trial(spec, NoiseBook(source), MindSporeAdapter(), lambda _: False, level)
    scheduler = "super_res_scheduler" if "UnCLIP" in test else "scheduler"
    with session.isolation(spec):
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
    """Record under this process's level with every choice."""
    session = open_session(_settings(work, CHOICES[0]), root=ROOT)
    for test in CALLS:
        pipeline = _load(test)
        first, again = (
            _execute(session, test, pipeline, Fresh(), TraceLevel.STEPS) for _ in range(2)
        )
        for seed in SEEDS:
            runs = []
            for at in range(max(COUNTS)):
                source = Disturbed(seed + at)
                trial = _execute(session, test, pipeline, source, TraceLevel.STEPS)
                runs.append(DisturbedRun(trial, None))
                print(level, test, seed, at, flush=True)
            for count in COUNTS:
                choice = Choice(count, seed)
                settings = _settings(choice.folder(work, level), choice)
                target = open_session(settings, root=ROOT)
                disturbing = Disturbing(first, runs[:count], settings)
                made = Recording(target, first, [again], 2, disturbing, {})
                for name in first.calls:
                    assert made.record(name, Verdict.RECORDED) is Verdict.RECORDED
                target.flush()
    (work / f"{level}.recorded").touch()


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
        against = Session(
            settings,
            root=ROOT,
            environment=seen.provenance.environment,
            store=Store(Path(settings.baselines), root=ROOT),
            policy=Policy(),
            mindspore=MindSporeAdapter(),
        )
        observation = _observation(stored, seen, CheckId(MODULE, test, name))
        call = CheckCall(observation, None, Distance.ANY, f"{MODULE}:1")
        spec = against.spec(MODULE, test, {"seed": 0}, marked=True)
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
        ledger=seen.ledger,
        trace=trace_from_rows(rows),
    )


def _judged(
    session: Session,
    seen: Observation,
    outcome: Outcome,
    place: tuple[str, str, str, str],
    choice: Choice,
) -> Judged:
    test, name, recorded, level = place
    rel_l2 = envelope = worst = 0.0
    outside = False
    if outcome.baseline is not None:
        worst, outside = _steps(session, seen, outcome.baseline)
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


def _steps(session: Session, seen: Observation, baseline: Baseline) -> tuple[float, bool]:
    assert baseline.trace is not None
    assert baseline.step_envelope is not None
    rows, moved = session.store.rows(baseline.trace), session.store.rows(baseline.step_envelope)
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


def page(judged: Sequence[Judged]) -> str:
    """The page as text."""
    own = [one for one in judged if one.recorded == one.judged]
    far = [one for one in judged if one.recorded != one.judged]
    changed = [group for group in _groups(far) if len({one.verdict for one in group}) > 1]
    outside = sum(one.steps_outside for one in far)
    lines = [
        "# What K and the seed of the disturbed runs decide",
        "",
        "Written by `docs/measure/envelope_choice.py`; nothing here is typed. DDIM (the architecture",
        "of ddpm-cifar10-32) and a tiny UnCLIP, both with seeded weights, are recorded under three",
        f"SIMD levels with K = {', '.join(map(str, COUNTS))} disturbed runs and the seeds",
        f"{', '.join(map(str, SEEDS))}. What the model tests recorded under each level in other",
        "processes (`baselines/`) is judged against all of it.",
        "",
        f"- Own key: {len(own)} comparisons, {_count(own, Verdict.EXACT)} exact.",
        f"- Fallback: {len(far)} comparisons, {_count(far, Verdict.WITHIN)} within: "
        + "; ".join(_by_count(far, count) for count in COUNTS)
        + ".",
        f"  Another K or seed changes the verdict of {len(changed)} of {len(_groups(far))} checks.",
        f"- Steps: {len(far)} traces, {outside} with a step outside {DEFAULT_FACTOR:g} times its",
        "  envelope.",
        "",
        "Columns: the largest used share of the tolerance (1.0 would be drift), smallest to largest",
        "over the seeds; the last two say how far the result and the worst step were, in envelopes",
        "of rel_l2 (the observed over the predicted drift), over all nine choices.",
        "",
        *_table(far),
        "",
        *_changed(changed),
        "## How far the envelope itself depends on the choice",
        "",
        "Largest rel_l2 of the disturbed runs, smallest to largest over the seeds. Where the runs differ",
        "much from each other, the largest of few may be small by chance: such a pipeline needs more",
        "runs, e.g. `--repro-envelope 8`.",
        "",
        *_envelopes(judged),
        "",
        _versions(),
    ]
    return "\n".join(lines) + "\n"


def _table(far: Sequence[Judged]) -> Iterator[str]:
    shares = [f"used, K = {count}" for count in COUNTS]
    head = ["test", "check", "recorded", "judged", "verdicts", *shares, "result", "worst step"]
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    for group in _groups(far):
        one = group[0]
        cells = [one.test, one.name, one.recorded, one.judged]
        cells.append(", ".join(sorted({each.verdict for each in group})))
        cells += [_range([e.share for e in group if e.count == count]) for count in COUNTS]
        cells.append(_range([e.rel_l2 / e.envelope for e in group if e.envelope]))
        cells.append(_range([e.worst_step for e in group]))
        yield f"| {' | '.join(cells)} |"


def _changed(changed: Sequence[Sequence[Judged]]) -> Iterator[str]:
    """The comparisons behind every changed verdict."""
    if not changed:
        return
    yield "## Changed verdicts"
    yield ""
    for group in changed:
        one = group[0]
        worse = [each for each in group if each.verdict != Verdict.WITHIN]
        choices = ", ".join(
            f"K = {each.count} with seed {each.seed} ({each.verdict}, used {each.share:.2f} by {each.measure})"
            for each in worse
        )
        yield f"- {one.test}, {one.name}, {one.recorded} judged under {one.judged}: {choices}."
    yield ""


def _envelopes(judged: Sequence[Judged]) -> Iterator[str]:
    yield f"| test | recorded | {' | '.join(f'K = {count}' for count in COUNTS)} |"
    yield f"|{' --- |' * (2 + len(COUNTS))}"
    for test, level in product(CALLS, LEVELS):
        cells = []
        for count in COUNTS:
            found = [
                one.envelope
                for one in judged
                if (one.test, one.recorded, one.count, one.name) == (test, level, count, "image")
                and one.envelope
            ]
            cells.append(f"{min(found):.1e} to {max(found):.1e}")
        yield f"| {test} | {level} | {' | '.join(cells)} |"


def _groups(judged: Sequence[Judged]) -> list[list[Judged]]:
    groups: dict[tuple[str, ...], list[Judged]] = {}
    for one in judged:
        place = (one.test, one.name, one.recorded, one.judged)
        groups.setdefault(place, []).append(one)
    return [groups[place] for place in sorted(groups)]


def _by_count(far: Sequence[Judged], count: int) -> str:
    mine = [one for one in far if one.count == count]
    return f"K = {count} {_count(mine, Verdict.WITHIN)} of {len(mine)}"


def _count(judged: Sequence[Judged], verdict: Verdict) -> int:
    return sum(one.verdict == verdict for one in judged)


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low} to {high}"


def _versions() -> str:
    names = ("mindspore", "mindone", "numpy")
    return f"*{', '.join(f'{name} {version(name)}' for name in names)}.*"


def _record_in_process(work: Path, level: str) -> None:
    if (work / f"{level}.recorded").exists():
        return
    levels = {"ONEDNN_MAX_CPU_ISA": level, "DNNL_MAX_CPU_ISA": level}
    command = [sys.executable, __file__, "--work", str(work), "--record", level]
    subprocess.run(command, env={**os.environ, **levels}, check=True)


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
    text = page(judge(work))
    PAGE.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    np.seterr(all="ignore")
    main()
