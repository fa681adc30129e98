"""The draw log's digest, and the sentence for every way in which two draw logs can part."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from pytest_repro.model.baseline import DrawLogDifference
from pytest_repro.model.ids import Draw, DrawLog, FactDifference
from pytest_repro.noise.draw_log import compare_draw_logs, make_draw_log
from pytest_repro.noise.generator import LoggedGenerator, NoiseBook
from pytest_repro.tensors.record import digest_text

IMAGE = (1, 3, 8, 8)


def pipeline(generator: LoggedGenerator) -> None:
    """Five draws as a pipeline with noise in every step makes them."""
    generator.standard_normal(IMAGE)
    generator.normal(0.0, 2.0, (4,))
    generator.standard_normal(IMAGE)
    generator.integers(10, size=3)
    generator.standard_normal(IMAGE)


def draw_log_of(draw: Callable[[LoggedGenerator], object], seed: int = 0) -> DrawLog:
    book = NoiseBook()
    draw(book.generator(seed))
    return book.draw_log()


def difference(observed: DrawLog) -> DrawLogDifference | None:
    return compare_draw_logs(draw_log_of(pipeline), observed)


def extra(generator):
    generator.standard_normal(IMAGE)
    generator.normal(0.0, 2.0, (4,))
    generator.random(2)
    generator.standard_normal(IMAGE)
    generator.integers(10, size=3)
    generator.standard_normal(IMAGE)


def extra_at_the_end(generator):
    pipeline(generator)
    generator.standard_normal(IMAGE)
    generator.standard_normal(IMAGE)


def extra_at_the_start(generator):
    generator.random()
    pipeline(generator)


def absent(generator):
    generator.standard_normal(IMAGE)
    generator.standard_normal(IMAGE)
    generator.integers(10, size=3)
    generator.standard_normal(IMAGE)


def swapped(generator):
    generator.standard_normal(IMAGE)
    generator.standard_normal(IMAGE)
    generator.normal(0.0, 2.0, (4,))
    generator.integers(10, size=3)
    generator.standard_normal(IMAGE)


def other_shape(generator):
    generator.standard_normal(IMAGE)
    generator.normal(0.0, 2.0, (4,))
    generator.standard_normal((2, 3, 8, 8))
    generator.integers(10, size=3)
    generator.standard_normal(IMAGE)


def float32_draws(generator):
    generator.standard_normal(IMAGE, dtype=np.float32)
    generator.normal(0.0, 2.0, (4,))
    generator.standard_normal(IMAGE, dtype=np.float32)
    generator.integers(10, size=3)
    generator.standard_normal(IMAGE, dtype=np.float32)


def other_arguments(generator):
    generator.standard_normal(IMAGE)
    generator.normal(0.0, 3.0, (4,))
    generator.standard_normal(IMAGE)
    generator.integers(10, size=3)
    generator.standard_normal(IMAGE)


def other_method(generator):
    generator.standard_normal(IMAGE)
    generator.normal(0.0, 2.0, (4,))
    generator.random(IMAGE)
    generator.integers(10, size=3)
    generator.standard_normal(IMAGE)


def moved_by_hand(generator):
    generator.standard_normal(IMAGE)
    generator.bit_generator.random_raw()
    generator.normal(0.0, 2.0, (4,))
    generator.standard_normal(IMAGE)
    generator.integers(10, size=3)
    generator.standard_normal(IMAGE)


PLANTED = [
    (extra, "extra", 2, "one draw more after draw 2"),
    (extra_at_the_end, "extra", 5, "2 draws more after draw 5"),
    (extra_at_the_start, "extra", 0, "one draw more before draw 1"),
    (absent, "absent", 1, "one draw fewer after draw 1"),
    (swapped, "swapped", 1, "draws 2 and 3 swapped places"),
    (
        other_shape,
        "shape",
        2,
        "draw 3 of 5: standard_normal (1, 3, 8, 8) became (2, 3, 8, 8)",
    ),
    (
        float32_draws,
        "dtype",
        0,
        "draw 1 of 5: standard_normal (1, 3, 8, 8) float64 became float32",
    ),
    (other_arguments, "arguments", 1, "draw 2 of 5: normal(scale=2.0) became normal(scale=3.0)"),
    (
        other_method,
        "method",
        2,
        "draw 3 of 5: standard_normal (1, 3, 8, 8) became random (1, 3, 8, 8)",
    ),
    (
        moved_by_hand,
        "extra",
        1,
        "the bit generator was also moved without a draw after draw 1",
    ),
]


@pytest.mark.parametrize(("fault", "kind", "position", "sentence"), PLANTED)
def test_a_planted_fault_is_named(fault, kind, position, sentence):
    found = difference(draw_log_of(fault))
    assert found is not None
    assert (found.kind, found.position, found.sentence) == (kind, position, sentence)


def test_the_clean_twin_is_silent():
    assert difference(draw_log_of(pipeline)) is None


def test_another_seed_is_named():
    found = difference(draw_log_of(pipeline, seed=1))
    assert found is not None
    assert (found.kind, found.position, found.sentence) == ("generator", 0, "seed 0 became 1")


def test_another_bit_generator_is_named():
    book = NoiseBook()
    pipeline(book.adopt(np.random.MT19937(0)))
    found = difference(book.draw_log())
    assert found is not None
    assert (found.kind, found.sentence) == ("generator", "bit generator PCG64 became MT19937")


def test_the_generator_of_a_batch_that_changed_is_counted_from_one():
    def batch(*seeds):
        book = NoiseBook()
        for generator in [book.generator(seed) for seed in seeds]:
            generator.standard_normal(IMAGE)
        return book.draw_log()

    found = compare_draw_logs(batch(0, 1, 2), batch(0, 7, 2))
    assert found is not None
    assert (found.position, found.sentence) == (1, "generator 2 of 3: seed 1 became 7")
    fewer = compare_draw_logs(batch(0, 1, 2), batch(0, 1))
    assert fewer is not None
    assert fewer.sentence == "3 generators became 2: PCG64(2)"
    assert compare_draw_logs(batch(0, 1, 2), batch(0, 1, 2)) is None


def test_generators_that_draw_in_another_order_are_swapped():
    def batch(order):
        book = NoiseBook()
        generators = [book.generator(0), book.generator(1)]
        for at in order:
            generators[at].standard_normal(IMAGE)
        return book.draw_log()

    found = compare_draw_logs(batch((0, 1)), batch((1, 0)))
    assert found is not None
    assert (found.kind, found.sentence) == ("swapped", "draws 1 and 2 swapped places")


def test_other_bits_of_the_same_calls_name_numpy_where_it_changed():
    clean = draw_log_of(pipeline)
    digest = draw_log_of(pipeline, seed=1).draws[2].digest
    draws = [*clean.draws]
    draws[2] = replace(draws[2], digest=digest)
    other = make_draw_log(clean.generators, draws)
    plain = compare_draw_logs(clean, other)
    assert plain is not None
    assert plain.kind == "bits"
    assert plain.sentence == "same calls, different bits (first in draw 3 of 5)"
    facts = (
        FactDifference("python", "3.10", "3.11", changes_bits=False),
        FactDifference("numpy", "1.26.4", "2.4.6", changes_bits=True),
    )
    named = compare_draw_logs(clean, other, facts)
    assert named is not None
    assert named.sentence == "same calls, different bits: numpy 1.26.4 -> 2.4.6"


def test_other_bits_before_an_extra_draw_are_other_bits():
    clean = draw_log_of(pipeline)
    shifted = draw_log_of(extra_at_the_end)
    draws = [replace(one, digest=clean.draws[4].digest) for one in shifted.draws]
    found = compare_draw_logs(clean, make_draw_log(clean.generators, draws))
    assert found is not None
    assert (found.kind, found.position) == ("bits", 0)
    assert found.sentence == "draw 1 of 5: same call, different bits"


def test_other_bits_before_an_extra_draw_of_the_same_kind_are_other_bits():
    def draws(count, seed):
        return draw_log_of(lambda g: [g.standard_normal(IMAGE) for _ in range(count)], seed)

    clean, other = draws(2, 0), draws(3, 1)
    found = compare_draw_logs(clean, make_draw_log(clean.generators, other.draws))
    assert found is not None
    assert (found.kind, found.position) == ("bits", 0)
    appended = compare_draw_logs(clean, draws(3, 0))
    assert appended is not None
    assert (appended.kind, appended.position) == ("extra", 2)


def test_a_changed_generator_does_not_hide_what_differs_before_it_draws():
    def batch(shape, seed):
        book = NoiseBook()
        generators = book.generator(0), book.generator(seed)
        generators[0].standard_normal(shape)
        generators[1].standard_normal(IMAGE)
        return book.draw_log()

    both = compare_draw_logs(batch(IMAGE, 1), batch((2, 3, 8, 8), 7))
    assert both is not None
    assert (both.kind, both.position) == ("shape", 0)
    one = compare_draw_logs(batch(IMAGE, 1), batch(IMAGE, 7))
    assert one is not None
    assert (one.kind, one.position) == ("generator", 1)


@pytest.mark.parametrize(
    ("reverse", "kind", "word"), [(0, "extra", "more"), (1, "absent", "fewer")]
)
def test_the_first_of_several_draws_more_or_fewer_is_named(reverse, kind, word):
    def steps(extra_steps):
        def draw(generator):
            for step in range(6):
                generator.standard_normal((step + 1,))
                if step in extra_steps:
                    generator.random(2)

        return draw_log_of(draw)

    pair = [steps(()), steps((1, 4))]
    found = compare_draw_logs(*(reversed(pair) if reverse else pair))
    assert found is not None
    assert (found.kind, found.sentence) == (kind, f"one draw {word} after draw 2")


def test_a_difference_carries_both_draws():
    found = difference(draw_log_of(other_shape))
    assert found is not None
    assert found.baseline is not None
    assert found.observed is not None
    assert (found.baseline.shape, found.observed.shape) == (IMAGE, (2, 3, 8, 8))
    last = difference(draw_log_of(extra_at_the_end))
    assert last is not None
    assert last.baseline is None


def test_the_digest_of_a_book_is_that_of_its_draw_log():
    for fault, *_ in [(pipeline,), *PLANTED]:
        draw_log = draw_log_of(fault)
        assert make_draw_log(draw_log.generators, draw_log.draws).digest == draw_log.digest


def test_every_field_of_a_draw_and_every_generator_reaches_the_digest():
    clean = draw_log_of(pipeline)
    first = clean.draws[0]
    changes = (
        replace(first, generator=1),
        replace(first, method="normal"),
        replace(first, shape=(3, 1, 8, 8)),
        replace(first, dtype="float32"),
        replace(first, arguments="loc=1.0"),
        replace(first, digest=clean.draws[1].digest),
    )
    draw_logs = [make_draw_log(clean.generators, (one, *clean.draws[1:])) for one in changes]
    draw_logs.append(make_draw_log(("PCG64(1)",), clean.draws))
    draw_logs.append(make_draw_log(("PCG64(0)", "PCG64(0)"), clean.draws))
    digests = {one.digest for one in draw_logs} | {clean.digest}
    assert len(digests) == len(draw_logs) + 1


def spelt(calls, generators=("PCG64(0)",)):
    """A draw log of draws whose calls are letters; a digit after a letter is for different bits."""
    draws = [
        Draw(0, call[0], (), "float64", "", digest_text(call))
        for call in re.findall("[a-z]\\d?", calls)
    ]
    return make_draw_log(generators, draws)


@pytest.mark.parametrize(
    ("ours", "theirs", "kind", "sentence"),
    [
        ("abcd", "xabcd", "extra", "one draw more before draw 1"),
        ("abcd", "axybcd", "extra", "2 draws more after draw 1"),
        ("abcdef", "abef", "absent", "2 draws fewer after draw 2"),
        ("abcdef", "abcd", "absent", "2 draws fewer after draw 4"),
        ("abcd", "xabcy", "extra", "one draw more before draw 1"),
        ("xabcy", "abcd", "absent", "one draw fewer before draw 1"),
        ("abcd", "axbcyz", "extra", "one draw more after draw 1"),
        # As many draws as before: none is extra, however the calls agree again.
        ("abc", "xab", "method", "draw 1 of 3: a () became x ()"),
        ("xab", "abc", "method", "draw 1 of 3: x () became a ()"),
        # More draws, and no call that agrees again.
        ("abcd", "axyzuv", "method", "draw 2 of 4: b () became x ()"),
        ("axyzuv", "abcd", "method", "draw 2 of 6: x () became b ()"),
        ("abcd", "cbad", "swapped", "draws 1 and 3 swapped places"),
        ("a1a2b", "a2a1b", "swapped", "draws 1 and 2 swapped places"),
        ("abcd", "cxad", "method", "draw 1 of 4: a () became c ()"),
        ("abcd", "baxd", "method", "draw 1 of 4: a () became b ()"),
        ("a1a2b", "a2a1c", "bits", "draw 1 of 3: same call, different bits"),
    ],
)
def test_every_way_in_which_calls_can_part(ours, theirs, kind, sentence):
    found = compare_draw_logs(spelt(ours), spelt(theirs))
    assert found is not None
    assert (found.kind, found.sentence) == (kind, sentence)


def test_a_draw_from_another_generator_is_named():
    clean = spelt("ab", ("PCG64(0)", "PCG64(1)"))
    moved = (clean.draws[0], replace(clean.draws[1], generator=1))
    found = compare_draw_logs(clean, make_draw_log(clean.generators, moved))
    assert found is not None
    assert found.kind == "generator"
    assert found.sentence == "draw 2 of 2: b from generator 0 became 1"


@pytest.mark.parametrize(
    ("ours", "theirs", "sentence"),
    [
        ("PCG64(0)", "PCG64(7)", "seed 0 became 7"),
        ("PCG64(0)", "MT19937(0)", "bit generator PCG64 became MT19937"),
        ("PCG64(0)", "MT19937(7)", "PCG64(0) became MT19937(7)"),
        ("PCG64(0, 1)", "PCG64(0, 2)", "PCG64(0, 1) became PCG64(0, 2)"),
        ("PCG64(0)", "PCG64(0, 2)", "PCG64(0) became PCG64(0, 2)"),
        ("by hand", "PCG64(0)", "by hand became PCG64(0)"),
        ("PCG64(0)", "by hand", "PCG64(0) became by hand"),
        ("A(0) B(0)", "A(0) B(1) C(0)", "generator 2 of 2: seed 0 became 1"),
        ("A(0)", "A(0) B(1)", "1 generator became 2: B(1)"),
        ("A(0) B(1)", "A(0)", "2 generators became 1: B(1)"),
        ("A(0)", "A(0) B(1) C(2) D(3)", "1 generator became 4: B(1), C(2), D(3)"),
        ("A(0)", "A(0) B(1) C(2) D(3) E(4)", "1 generator became 5: B(1), C(2), D(3), ..."),
    ],
)
def test_every_way_in_which_generators_can_part(ours, theirs, sentence):
    texts = [re.findall(r"\w+\([^)]*\)|by hand", one) for one in (ours, theirs)]
    found = compare_draw_logs(*(make_draw_log(one, ()) for one in texts))
    assert found is not None
    assert (found.kind, found.sentence) == ("generator", sentence)


def test_two_of_the_facts_that_explain_other_bits_are_named():
    facts = [FactDifference(name, "1", "2", True) for name in ("a.version", "b", "c")]
    found = compare_draw_logs(spelt("a1"), spelt("a2"), facts)
    assert found is not None
    assert found.sentence == "same calls, different bits: a 1 -> 2, b 1 -> 2"
