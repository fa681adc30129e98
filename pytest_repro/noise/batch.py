"""Whether image ``i`` of a batch uses the same noise as the image made alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_repro.model.ids import Draw


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
