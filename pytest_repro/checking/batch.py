"""Compares a batch with its images made alone: equal noise, and equal images except rounding.

A generator of `repro_check.batch` has its own book, so the test's draw log does not change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pytest_repro.checking.context import RunContext
from pytest_repro.checking.trial import Trial
from pytest_repro.errors import BaselineError, CheckFailed, UsageError
from pytest_repro.frameworks.values import TensorFramework, value_from
from pytest_repro.model.baseline import Envelope
from pytest_repro.model.ids import CheckId, DrawLog, TensorRecord
from pytest_repro.model.words import Distance
from pytest_repro.noise.batch import compare_batch_noise
from pytest_repro.noise.generator import LoggedGenerator, NoiseBook
from pytest_repro.noise.sources import Fresh
from pytest_repro.tensors.compare import summary_of
from pytest_repro.tensors.record import make_record
from pytest_repro.tolerance.bounds import describe, tolerance_from
from pytest_repro.tolerance.choose import Chosen, LeafJudgement, choose_tolerance, judge_leaves

Maker = Callable[[LoggedGenerator], object]
"""Makes one image alone from a generator."""


@dataclass(frozen=True, slots=True)
class BatchImage:
    """How far one image of a batch is from the image made alone.

    Attributes:
        number: Its place in the batch, from 0.
        rel_l2: ``||batch - alone||_2 / ||alone||_2``; 0.0 if they are bitwise equal.
        max_abs: Largest absolute difference.
        share: Used share of the tolerance; above 1.0 it is exceeded.
    """

    number: int
    rel_l2: float
    max_abs: float
    share: float

    def __str__(self) -> str:
        far = f"rel_l2 {self.rel_l2:.2g}, max_abs {self.max_abs:.2g}"
        return f"image {self.number}: {far}, used {self.share:.2g} of 1.0"


def check_batch(
    context: RunContext,
    trial: Trial,
    images: object,
    alone: Maker,
    *,
    name: str,
    seeds: Sequence[int] | None,
    tolerance: object,
    framework: TensorFramework,
) -> tuple[BatchImage, ...]:
    """Make every image of a batch alone, and require that they differ only by rounding.

    With perturbed or replayed noise nothing is compared, and ``()`` is returned: an image made
    alone would draw from the stream. The arguments are those of `repro_check.batch`.

    Raises:
        CheckFailed: The noise of an image differs in one bit, or the image exceeds the tolerance.
        UsageError: There is no check of that name yet, the images are not an array of that many
            images, or `alone` returns another kind.
        SettingError: The tolerance is wrong.
    """
    if not isinstance(trial.book.source, Fresh):
        return ()
    check = CheckId(trial.spec.module, trial.spec.test, name)
    if name not in trial.calls:
        # Another name would find no envelope, and a weaker tolerance would count.
        raise UsageError(
            f"{check}: the batch needs a check of that name before it, for its envelope",
            facts=(f"checked so far: {', '.join(trial.calls) or 'nothing'}",),
            next_step=f"repro_check(images, name={name!r}) before repro_check.batch",
        )
    batch = _split(images, framework, str(check))
    seeds = (
        tuple(range(trial.spec.asked.seed, trial.spec.asked.seed + len(batch)))
        if seeds is None
        else seeds
    )
    if len(seeds) != len(batch):
        raise UsageError(f"{check}: {len(seeds)} seeds for a batch of {len(batch)} images")
    draw_log = trial.book.draw_log()
    pairs, books = [], []
    for number, seed in enumerate(seeds):
        books.append(NoiseBook())
        made = alone(books[-1].generator(seed))
        pairs.append((_one(made, batch[number], framework, f"{check}, image {number}"), number))
    _demand_noise(check, draw_log, [book.draw_log() for book in books], seeds)
    choose = _chooser(context, check, tolerance)
    judged = [_judge(one, batch[number], choose) for one, number in pairs]
    found = tuple(_image(number, leaf) for number, leaf in enumerate(judged))
    _demand_values(check, found, judged)
    return found


def _split(images: object, framework: TensorFramework, check: str) -> tuple[TensorRecord, ...]:
    leaves = value_from(images, check=check, framework=framework).tensors
    record = leaves[0][1]
    if len(leaves) != 1 or not record.shape or not record.shape[0]:
        raise UsageError(
            f"{check}: a batch is one array with the images along its first axis",
            facts=(f"{len(leaves)} arrays, the first of shape {record.shape}",),
        )
    return tuple(make_record(image) for image in record.array)


def _one(
    value: object, image: TensorRecord, framework: TensorFramework, place: str
) -> TensorRecord:
    leaves = value_from(value, check=f"{place} alone", framework=framework).tensors
    record = leaves[0][1]
    if record.shape == (1, *image.shape):
        record = make_record(record.array[0])
    if len(leaves) != 1 or (record.dtype, record.shape) != (image.dtype, image.shape):
        raise UsageError(
            f"{place} made alone has another dtype or shape than in the batch",
            facts=(
                f"alone  {record.dtype} {record.shape}",
                f"batch  {image.dtype} {image.shape}",
            ),
            next_step="return one image, e.g. pipeline(..., generator=generator)[0]",
        )
    return record


def _demand_noise(
    check: CheckId, batch: DrawLog, alone: Sequence[DrawLog], seeds: Sequence[int]
) -> None:
    draws = [one.draws for one in alone]
    noise = compare_batch_noise(batch.draws, draws, batch.generators, seeds)
    if noise is not None:
        raise CheckFailed(
            f"{check.name!r}: a batch of {len(alone)} is not its images made alone (cause noise)\n"
            f"  check  {check}\n"
            f"  noise  {noise.sentence}\n"
            f"  next   give the batch generator=repro_generators({len(alone)}), in that order"
        )


Choose = Callable[[TensorRecord], Chosen]


def _chooser(context: RunContext, check: CheckId, tolerance: object) -> Choose:
    """The tolerance for one image: of the call, or from the envelope of the batch."""
    asked = None if tolerance is None else tolerance_from(tolerance, origin="repro_check.batch")
    envelope = _envelope(context, check)

    def choose(alone: TensorRecord) -> Chosen:
        chosen = choose_tolerance(
            ((asked, "repro_check.batch"),),
            context.resolve(check),
            Distance.ANY,
            replace(summary_of("", alone), envelope=envelope),
        )
        if chosen.written:
            return chosen
        # Statistics over the batch do not bound one image; the movement of elements does.
        return replace(chosen, tolerance=replace(chosen.tolerance, statistics=()))

    return choose


def _envelope(context: RunContext, check: CheckId) -> Envelope | None:
    try:
        found = context.references.find(check, context.settings.reference)
        if found is None:
            return None
        baseline, _ = context.references.load(found, check)
    except BaselineError:
        return None  # the check itself says so when the test ends
    return baseline.tensors[0].envelope


def _judge(alone: TensorRecord, image: TensorRecord, choose: Choose) -> LeafJudgement | None:
    """How far an image is from the one made alone; ``None`` if they are bitwise equal."""
    leaves = judge_leaves(
        [summary_of("", alone)],
        [("", image)],
        {alone.digest: alone}.get,
        lambda _: choose(alone),
    )
    return leaves[0] if leaves else None


def _image(number: int, leaf: LeafJudgement | None) -> BatchImage:
    if leaf is None:
        return BatchImage(number, 0.0, 0.0, 0.0)
    worst = leaf.difference.worst_abs
    share = max((use.share for use in leaf.uses), default=0.0)
    return BatchImage(number, leaf.difference.rel_l2, worst.amount if worst else 0.0, share)


def _demand_values(
    check: CheckId, images: Sequence[BatchImage], judged: Sequence[LeafJudgement | None]
) -> None:
    worst = max(images, key=lambda one: one.share)
    leaf = judged[worst.number]
    if leaf is None or leaf.passes:
        return
    lines = "".join(f"  {one}\n" for one in images[:8])
    proves_nothing = f"  {leaf.chosen.proves_nothing}\n" if leaf.chosen.proves_nothing else ""
    raise CheckFailed(
        f"{check.name!r}: a batch of {len(images)} is not its images made alone (cause code)\n"
        f"  check  {check}\n"
        f"  noise  bitwise equal for every image\n{lines}{proves_nothing}"
        f"  tolerance  {describe(leaf.chosen.tolerance)}, from {leaf.chosen.origin}\n"
        f"  next   find out how other images of the batch change image {worst.number}"
    )
