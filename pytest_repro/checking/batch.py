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
from pytest_repro.model.ids import CheckId, Draw, DrawLog, TensorRecord
from pytest_repro.model.words import Distance
from pytest_repro.noise.generator import LoggedGenerator, NoiseBook
from pytest_repro.noise.sources import Fresh
from pytest_repro.tensors.compare import summary_of
from pytest_repro.tensors.record import make_record
from pytest_repro.tolerance.bounds import describe, tolerance_from
from pytest_repro.tolerance.choose import Chosen, LeafJudgement, choose_tolerance, judge_leaves


@dataclass(frozen=True, slots=True)
class BatchNoise:
    """The first image of a batch whose noise differs from the image made alone.

    Attributes:
        image: Its number, from 0; ``None`` if the draws cannot be assigned to images.
        draw: Which of its draws, from 0.
        sentence: What happened, in words.
    """

    image: int | None
    draw: int
    sentence: str


def compare_batch_noise(
    drawn: Sequence[Draw],
    alone: Sequence[Sequence[Draw]],
    generators: Sequence[str],
    seeds: Sequence[int],
) -> BatchNoise | None:
    """The first image whose draws differ bitwise from those of its image made alone.

    A pipeline that gets a list of generators draws for image 0, image 1, ... and then again for
    image 0; one that makes image after image takes all draws of image 0 first. Either order is
    accepted. Draws before those of the batch are skipped: the last ones count.

    Args:
        drawn: The draws of the test before it passed the batch.
        alone: The draws of each image made alone, in the order of the images.
        generators: The descriptions of the generators of ``drawn``, e.g. ``PCG64(0)``.
        seeds: Seeds of the images made alone.
    """
    count, each = len(alone), len(alone[0])
    uneven = next((i for i, draws in enumerate(alone) if len(draws) != each), None)
    if uneven is not None:
        return BatchNoise(
            uneven, 0, f"image 0 alone drew {each} times, image {uneven} {len(alone[uneven])} times"
        )
    if not each:
        return BatchNoise(
            0, 0, "image 0 alone drew nothing: make it with the generator that `alone` gets"
        )
    if len(drawn) < count * each:
        return BatchNoise(None, 0, _too_few(drawn, count, each))
    tail = drawn[-count * each :]
    by_round = [tail[image::count] for image in range(count)]
    by_image = [tail[image * each : (image + 1) * each] for image in range(count)]
    if _is_same(by_image, alone):
        return None
    for draw in range(each):
        for image in range(count):
            one, other = by_round[image][draw], alone[image][draw]
            if _content(one) != _content(other):
                row = [draws[draw] for draws in by_round]
                what = _what(row, image, other, generators, seeds)
                return BatchNoise(image, draw, f"image {image}, draw {draw + 1} of {each}: {what}")
    return None


def _content(draw: Draw) -> tuple[object, ...]:
    return draw.method, draw.shape, draw.dtype, draw.arguments, draw.digest


def _is_same(one: Sequence[Sequence[Draw]], two: Sequence[Sequence[Draw]]) -> bool:
    return all(
        [_content(draw) for draw in ours] == [_content(draw) for draw in theirs]
        for ours, theirs in zip(one, two, strict=True)
    )


def _too_few(drawn: Sequence[Draw], count: int, each: int) -> str:
    if len({draw.generator for draw in drawn}) == 1 and drawn[-1].shape[:1] == (count,):
        return (
            f"one generator drew {drawn[-1].shape} for all {count} images together; give the batch "
            f"a list, generator=repro_generators({count})"
        )
    return f"the batch of {count} drew {len(drawn)} times, its images alone {count * each} times"


def _what(
    row: Sequence[Draw], image: int, alone: Draw, generators: Sequence[str], seeds: Sequence[int]
) -> str:
    """What is wrong with the draw of one image, given those of all images in that round."""
    one, wanted = row[image], f"seed {seeds[image]}"
    if (one.method, one.shape, one.dtype, one.arguments) != (
        alone.method, alone.shape, alone.dtype, alone.arguments,
    ):  # fmt: skip
        return (
            f"{one.method} {one.shape} {one.dtype} in the batch, "
            f"{alone.method} {alone.shape} {alone.dtype} alone"
        )
    shared = next(
        (i for i, draw in enumerate(row[:image]) if draw.generator == one.generator), None
    )
    by = generators[one.generator]
    if shared is not None:
        return f"drawn in the batch from the generator of image {shared}, {by}; alone from {wanted}"
    return f"different bits: drawn in the batch from {by}, alone from {wanted}"


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
