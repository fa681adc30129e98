"""The generator that keeps a draw log: numpy's stream, nothing unseen, replay and disturbance."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref

import ml_dtypes
import numpy as np
import pytest

from pytest_repro.errors import RandomnessError, UsageError
from pytest_repro.noise.generator import DRAWING_METHODS, LoggedGenerator, NoiseBook, PipelineCall
from pytest_repro.noise.sources import Disturbed, Fresh, Replay, disturb_by_one_ulp
from pytest_repro.tensors.record import digest_array

CALLS = {
    "beta": lambda g: g.beta(2.0, 3.0, 4),
    "binomial": lambda g: g.binomial(10, 0.4, 4),
    "bytes": lambda g: g.bytes(9),
    "chisquare": lambda g: g.chisquare(3.0, 4),
    "choice": lambda g: g.choice(20, 4, p=np.full(20, 0.05)),
    "dirichlet": lambda g: g.dirichlet([1.0, 2.0], 4),
    "exponential": lambda g: g.exponential(2.0, 4),
    "f": lambda g: g.f(3.0, 5.0, 4),
    "gamma": lambda g: g.gamma(2.0, 1.0, 4),
    "geometric": lambda g: g.geometric(0.2, 4),
    "gumbel": lambda g: g.gumbel(0.0, 1.0, 4),
    "hypergeometric": lambda g: g.hypergeometric(9, 7, 5, 4),
    "integers": lambda g: g.integers(0, 99, 4, dtype=np.int16),
    "laplace": lambda g: g.laplace(0.0, 1.0, 4),
    "logistic": lambda g: g.logistic(0.0, 1.0, 4),
    "lognormal": lambda g: g.lognormal(0.0, 1.0, 4),
    "logseries": lambda g: g.logseries(0.5, 4),
    "multinomial": lambda g: g.multinomial(9, [0.2, 0.8], 4),
    "multivariate_hypergeometric": lambda g: g.multivariate_hypergeometric([9, 7], 5, 4),
    "multivariate_normal": lambda g: g.multivariate_normal([0.0, 1.0], np.eye(2), 4),
    "negative_binomial": lambda g: g.negative_binomial(5, 0.5, 4),
    "noncentral_chisquare": lambda g: g.noncentral_chisquare(3.0, 1.0, 4),
    "noncentral_f": lambda g: g.noncentral_f(3.0, 5.0, 1.0, 4),
    "normal": lambda g: g.normal(1.0, 2.0, 4),
    "pareto": lambda g: g.pareto(3.0, 4),
    "permutation": lambda g: g.permutation(np.arange(6.0)),
    "permuted": lambda g: g.permuted(np.arange(6.0).reshape(2, 3), axis=1),
    "poisson": lambda g: g.poisson(3.0, 4),
    "power": lambda g: g.power(3.0, 4),
    "random": lambda g: g.random(4),
    "rayleigh": lambda g: g.rayleigh(1.0, 4),
    "shuffle": lambda g: shuffled(g),
    "standard_cauchy": lambda g: g.standard_cauchy(4),
    "standard_exponential": lambda g: g.standard_exponential(4),
    "standard_gamma": lambda g: g.standard_gamma(2.0, 4),
    "standard_normal": lambda g: g.standard_normal(4),
    "standard_t": lambda g: g.standard_t(3.0, 4),
    "triangular": lambda g: g.triangular(0.0, 1.0, 2.0, 4),
    "uniform": lambda g: g.uniform(-1.0, 1.0, 4),
    "vonmises": lambda g: g.vonmises(0.0, 1.0, 4),
    "wald": lambda g: g.wald(1.0, 1.0, 4),
    "weibull": lambda g: g.weibull(2.0, 4),
    "zipf": lambda g: g.zipf(3.0, 4),
}


def shuffled(generator):
    values = np.arange(6.0)
    assert generator.shuffle(values) is None
    return values


def plain(seed=0):
    return np.random.Generator(np.random.PCG64(seed))


def as_array(value):
    return np.frombuffer(value, np.uint8) if isinstance(value, bytes) else np.asarray(value)


def test_no_drawing_method_of_numpy_is_forgotten():
    public = {
        name
        for name in dir(np.random.Generator)
        if not name.startswith("_") and name not in ("bit_generator", "spawn")
    }
    assert set(DRAWING_METHODS) == public == set(CALLS)
    for name in public:
        assert name in vars(LoggedGenerator)


@pytest.mark.parametrize("method", sorted(CALLS))
def test_a_draw_has_numpys_bits_and_is_written_down_once(method):
    book = NoiseBook()
    drawn = as_array(CALLS[method](book.generator(0)))
    assert drawn.tobytes() == as_array(CALLS[method](plain())).tobytes()
    (draw,) = book.draw_log().draws
    assert (draw.method, draw.shape, draw.dtype) == (method, drawn.shape, drawn.dtype.name)
    assert draw.digest == digest_array(drawn.dtype.name, drawn)


@pytest.mark.parametrize("method", sorted(CALLS))
def test_another_seed_gives_another_digest(method):
    draw_logs = []
    for seed in (0, 1):
        book = NoiseBook()
        for _ in range(3):  # single permutations of a few elements may agree by chance
            CALLS[method](book.generator(seed))
        draw_logs.append([draw.digest for draw in book.draw_log().draws])
    assert draw_logs[0] != draw_logs[1]


def test_the_stream_is_that_of_the_guide():
    generator = NoiseBook().generator(0)
    assert isinstance(generator, np.random.Generator)
    image = generator.standard_normal((1, 3, 8, 8))
    assert image.tobytes() == plain().standard_normal((1, 3, 8, 8)).tobytes()
    words = NoiseBook().generator(0).bit_generator.random_raw(2)
    assert list(words) == [11749869230777074271, 4976686463289251617]


@pytest.mark.parametrize(
    "draw",
    [
        lambda g: g.standard_normal(),
        lambda g: g.standard_normal(dtype=np.float32),
        lambda g: g.integers(9),
        lambda g: g.integers(9, dtype=np.int8),
        lambda g: g.choice([1.5, 2.5]),
    ],
)
def test_scalars_stay_scalars_and_are_0d_in_the_draw_log(draw):
    book = NoiseBook()
    value = draw(book.generator(0))
    assert value == draw(plain())
    assert type(value) is type(draw(plain()))
    assert book.draw_log().draws[0].shape == ()


def test_out_is_filled_and_returned():
    book = NoiseBook()
    out = np.zeros((2, 3), np.float32)
    assert book.generator(0).standard_normal(out=out, dtype=np.float32) is out
    assert out.tobytes() == plain().standard_normal((2, 3), dtype=np.float32).tobytes()
    assert book.draw_log().draws[0].dtype == "float32"
    assert book.draw_log().draws[0].digest == digest_array("float32", out)


def test_a_list_is_shuffled_in_place_and_told_from_another_order():
    digests = set()
    for seed in range(8):
        book = NoiseBook()
        names, same = list("abcdef"), list("abcdef")
        book.generator(seed).shuffle(names)
        plain(seed).shuffle(same)
        assert names == same
        digests.add(book.draw_log().draws[0].digest)
    assert len(digests) > 5


def test_addresses_of_objects_do_not_reach_the_draw_log():
    class Thing:
        pass

    def digest():
        book = NoiseBook()
        book.generator(0).shuffle([Thing(), Thing()])
        return book.draw_log().digest

    kept = [Thing() for _ in range(100)]
    assert digest() == digest()
    assert len(kept) == 100


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda g: g.normal(0.0, 2.0, 3), lambda g: g.normal(size=(3,), scale=2.0)),
        (lambda g: g.normal(0.0, 1.0, 3), lambda g: g.normal(size=3)),
        (lambda g: g.choice([1, 2, 3], 2), lambda g: g.choice(a=np.array([1, 2, 3]), size=2)),
    ],
)
def test_one_call_has_one_text_however_it_is_written(one, other):
    texts = []
    for draw in (one, other):
        book = NoiseBook()
        draw(book.generator(0))
        texts.append(book.draw_log().digest)
    assert texts[0] == texts[1]


def test_other_arguments_have_other_texts():
    def text(*args, **kwargs):
        book = NoiseBook()
        book.generator(0).normal(*args, **kwargs)
        return book.draw_log().draws[0].arguments

    assert text(size=3) == ""
    assert text(1.0, 2.0) == "loc=1.0, scale=2.0"
    arrays = {text(np.array([1.0, at])) for at in (2.0, 3.0)}
    assert len(arrays) == 2
    assert all(len(one) < 60 for one in arrays)


def test_a_refused_call_is_no_draw_and_leaves_the_generator_usable():
    book = NoiseBook()
    generator = book.generator(0)
    with pytest.raises(ValueError, match="scale"):
        generator.normal(0.0, -1.0)
    generator.standard_normal(3)
    assert [draw.method for draw in book.draw_log().draws] == ["standard_normal"]


def test_raw_use_of_the_bit_generator_never_goes_unseen():
    def methods(use):
        book = NoiseBook()
        generator = book.generator(0)
        generator.random()
        use(generator)
        generator.random()
        return [draw.method for draw in book.draw_log().draws]

    def another_generator(g):
        np.random.Generator(g.bit_generator).random()

    raw = ["random", "bit_generator", "random"]
    assert methods(lambda g: g.bit_generator.random_raw()) == raw
    assert methods(another_generator) == raw
    assert methods(lambda g: setattr(g.bit_generator, "state", np.random.PCG64(9).state)) == raw
    assert methods(lambda g: g.bit_generator.state) == ["random", "random"]


def test_raw_use_after_the_last_draw_is_seen_by_the_snapshot():
    book = NoiseBook()
    generator = book.adopt(np.random.MT19937(3))
    assert book.draw_log().draws == ()
    generator.bit_generator.random_raw()
    assert [draw.method for draw in book.draw_log().draws] == ["bit_generator"]
    assert len(book.draw_log().draws) == 1


def test_spawned_children_are_numpys_and_keep_their_draw_log_in_the_book():
    book = NoiseBook()
    children = book.generator(0).spawn(2)
    again = plain().spawn(2)
    for child, other in zip(children, again, strict=True):
        assert isinstance(child, LoggedGenerator)
        assert child.random() == other.random()
    draw_log = book.draw_log()
    assert draw_log.generators == (
        "PCG64(0)",
        "PCG64(0, spawn_key=(0,))",
        "PCG64(0, spawn_key=(1,))",
    )
    assert [draw.generator for draw in draw_log.draws] == [1, 2]


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_a_copy_goes_on_alone_in_the_same_book(duplicate):
    book = NoiseBook()
    generator = book.generator(0)
    generator.random()
    other = duplicate(generator)
    assert other.random(3).tobytes() == generator.random(3).tobytes()
    draw_log = book.draw_log()
    assert draw_log.generators == ("PCG64(0)", "copy of PCG64(0)")
    assert [draw.generator for draw in draw_log.draws] == [0, 1, 0]


def test_a_pickle_carries_the_stream_and_not_the_book():
    book = NoiseBook()
    generator = book.generator(0)
    generator.random()
    other = pickle.loads(pickle.dumps(generator))
    assert type(other) is LoggedGenerator
    assert other.random(3).tobytes() == generator.random(3).tobytes()
    assert len(book.draw_log().draws) == 2
    assert other.book.draw_log().generators == ("unpickled PCG64(0)",)


def test_a_draw_log_of_a_list_of_generators_keeps_the_order_of_all_draws():
    book = NoiseBook()
    generators = [book.generator(seed) for seed in (5, 6)]
    for at in (1, 0, 1):
        generators[at].standard_normal(2)
    assert [draw.generator for draw in book.draw_log().draws] == [1, 0, 1]


def test_a_snapshot_does_not_grow():
    book = NoiseBook()
    generator = book.generator(0)
    generator.random()
    before = book.draw_log()
    generator.random()
    assert len(before.draws) == 1
    assert before.digest != book.draw_log().digest


def test_a_book_keeps_no_generator_alive():
    book = NoiseBook()
    generator = book.generator(0)
    generator.random(3)
    alive = weakref.ref(generator)
    del generator
    gc.disable()
    try:
        assert alive() is None
    finally:
        gc.enable()


# Replay


def record(draw, seed=0):
    book = NoiseBook(Fresh(), store=True)
    draw(book.generator(seed))
    return Replay(book.draw_log(), book.arrays())


def every_kind(g):
    out = np.zeros(3, np.float32)
    g.standard_normal(out=out, dtype=np.float32)
    values = np.arange(5)
    g.shuffle(values)
    big_endian = np.arange(4, dtype=">f8")
    g.shuffle(big_endian)
    return [
        g.standard_normal((2, 3)),
        g.standard_normal(),
        g.integers(100),
        g.bytes(5),
        out,
        values,
        big_endian,
        g.standard_normal((0, 3)),
    ]


def test_replay_gives_the_recorded_numbers_whatever_the_stream():
    source = record(every_kind)
    other_stream = NoiseBook(source)
    replayed = every_kind(other_stream.generator(99))
    for one, two in zip(replayed, every_kind(plain(0)), strict=True):
        assert type(one) is type(two)
        assert as_array(one).tobytes() == as_array(two).tobytes()
    assert other_stream.draw_log().draws == source.draw_log.draws
    assert every_kind(plain(99))[0][0, 0] != replayed[0][0, 0]


def test_replay_moves_the_stream_as_drawing_does():
    source = record(lambda g: g.standard_normal(5))
    generator = NoiseBook(source).generator(0)
    generator.standard_normal(5)
    same = plain()
    same.standard_normal(5)
    assert generator.bit_generator.state == same.bit_generator.state


@pytest.mark.parametrize(
    ("asks", "words"),
    [
        (lambda g: g.standard_normal(6), "standard_normal (6,) float64"),
        (lambda g: g.random(5), "random (5,) float64"),
        (lambda g: g.standard_normal(5, dtype=np.float32), "standard_normal (5,) float32"),
    ],
)
def test_replay_says_what_was_asked_and_what_was_recorded(asks, words):
    generator = NoiseBook(record(lambda g: g.standard_normal(5))).generator(0)
    with pytest.raises(RandomnessError, match="draw 1 of 1 is not the recorded one") as caught:
        asks(generator)
    assert "recorded  standard_normal (5,) float64" in str(caught.value)
    assert f"observed  {words}" in str(caught.value)


def test_replay_of_more_draws_than_recorded_is_refused():
    generator = NoiseBook(record(lambda g: g.standard_normal(5))).generator(0)
    generator.standard_normal(5)
    with pytest.raises(RandomnessError, match="draw 2 was not recorded"):
        generator.standard_normal(5)


def test_an_incomplete_recording_is_refused():
    source = record(lambda g: g.standard_normal(5))
    with pytest.raises(UsageError, match="0 arrays cannot replay 1 draws"):
        NoiseBook(Replay(source.draw_log, ()))


def test_stored_arrays_do_not_follow_what_the_test_does_to_its_own():
    book = NoiseBook(store=True)
    drawn = book.generator(0).standard_normal(5)
    drawn[:] = 0.0
    (kept,) = book.arrays()
    assert kept is not None
    assert kept.tobytes() == plain().standard_normal(5).tobytes()


def test_a_book_that_stores_nothing_says_so():
    book = NoiseBook()
    book.generator(0).random()
    with pytest.raises(UsageError, match="store=True"):
        book.arrays()


def test_what_is_stored_is_undisturbed_and_what_was_replayed():
    clean = record(lambda g: g.standard_normal(5))
    for source, seed in ((Disturbed(1), 0), (clean, 99)):
        book = NoiseBook(source, store=True)
        book.generator(seed).standard_normal(5)
        (kept,) = book.arrays()
        assert kept is not None
        assert kept.tobytes() == plain().standard_normal(5).tobytes()


# Disturbance


@pytest.mark.parametrize("name", ["float32", "float16", "bfloat16", "float64"])
def test_every_float_moves_by_exactly_one_ulp_of_the_computing_dtype(name):
    dtype = np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)
    book = NoiseBook(Disturbed(seed=3, computing_dtype=name))
    given = book.generator(0).standard_normal((40, 50))
    assert given.dtype == np.float64
    clean = plain().standard_normal((40, 50)).astype(dtype)
    moved = given.astype(dtype)
    bits = np.dtype(f"i{dtype.itemsize}")
    steps = moved.view(bits).astype(object) - clean.view(bits).astype(object)
    assert set(steps.ravel()) == {-1, 1}
    rises = np.count_nonzero(moved > clean)
    assert 850 < rises < 1150  # a fair coin: 1000 +- 6.7 standard deviations of 22.4


def test_a_draw_coarser_than_the_computing_dtype_moves_by_its_own_ulp():
    given = NoiseBook(Disturbed(3, "float64")).generator(0).standard_normal(99, dtype=np.float32)
    clean = plain().standard_normal(99, dtype=np.float32)
    assert given.dtype == np.float32
    assert set(given.view(np.int32) - clean.view(np.int32)) == {-1, 1}


def test_the_draw_log_of_a_disturbed_run_is_the_clean_one():
    clean, disturbed = NoiseBook(), NoiseBook(Disturbed(1))
    for book in (clean, disturbed):
        book.generator(0).standard_normal((4, 4))
    assert clean.draw_log() == disturbed.draw_log()


def test_the_signs_are_seeded():
    def drawn(seed):
        return NoiseBook(Disturbed(seed)).generator(0).standard_normal(64).tobytes()

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_integers_and_rearrangements_are_left_alone():
    def draws(g):
        values = np.arange(6.0)
        g.shuffle(values)
        return [g.integers(9, size=5), g.permutation(np.arange(5.0)), values, g.bytes(4)]

    disturbed = draws(NoiseBook(Disturbed(1)).generator(0))
    for one, two in zip(disturbed, draws(plain()), strict=True):
        assert as_array(one).tobytes() == as_array(two).tobytes()


def test_scalars_and_out_are_disturbed_too():
    book = NoiseBook(Disturbed(1))
    generator, clean = book.generator(0), plain()
    assert generator.standard_normal() != clean.standard_normal()
    out = np.zeros(3, np.float32)
    assert generator.standard_normal(out=out, dtype=np.float32) is out
    assert np.all(out != clean.standard_normal(3, dtype=np.float32))


def test_the_size_of_the_disturbance_is_reported():
    book = NoiseBook(Disturbed(1))
    generator = book.generator(0)
    given = [generator.standard_normal((50, 50)) for _ in range(2)]
    clean = plain()
    sizes = []
    for one in given:
        cast = clean.standard_normal((50, 50)).astype(np.float32).astype(np.float64)
        sizes.append(np.linalg.norm(one - cast) / np.linalg.norm(cast))
    assert book.input_rel_l2 == pytest.approx(np.mean(sizes), rel=1e-12)
    assert 2.0**-25 < book.input_rel_l2 < 2.0**-22
    assert NoiseBook().input_rel_l2 == 0.0


def test_a_disturbance_makes_nothing_infinite():
    largest = float(np.finfo(np.float32).max)
    values = np.array([np.inf, -np.inf, np.nan, 1e300, largest, 0.0])
    moved, size = disturb_by_one_ulp(values, np.ones(6, np.bool_), "float32")
    assert moved[:5].tobytes() == values[:5].tobytes()
    assert moved[5] == np.nextafter(np.float32(0.0), np.float32(1.0))
    assert size == 0.0


def test_a_computing_dtype_that_is_no_float_is_refused():
    with pytest.raises(UsageError, match="'int32' is not one of float16"):
        NoiseBook(Disturbed(1, "int32"))


# Misuse


def calls(book, *numbers):
    upcoming = iter(numbers)
    book.pipeline_call = lambda: PipelineCall("Ddim", next(upcoming))


def test_one_generator_in_two_pipeline_calls_is_explained():
    book = NoiseBook()
    generator = book.generator(0)
    calls(book, 1, 1, 2)
    generator.random()
    generator.random()
    with pytest.raises(RandomnessError, match="used for two pipeline calls") as caught:
        generator.random()
    assert "call 1 (Ddim)" in str(caught.value)
    assert "call 2 (Ddim)" in str(caught.value)
    assert len(book.draw_log().draws) == 2


def test_a_fresh_generator_for_each_pipeline_call_is_silent():
    book = NoiseBook()
    calls(book, 1, 2)
    book.generator(0).random()
    book.generator(0).random()
    assert len(book.draw_log().draws) == 2


def test_reuse_may_be_allowed():
    book = NoiseBook(allow_reuse=True)
    generator = book.generator(0)
    calls(book, 1, 2)
    generator.random()
    generator.random()
    assert len(book.draw_log().draws) == 2


def test_in_a_replay_a_generator_is_called_as_it_was_recorded():
    book = NoiseBook(record(lambda g: g.random(2), seed=3))
    book.generator(8)
    book.generator(9)  # more of them than were recorded
    assert [book.description(number) for number in (0, 1)] == ["PCG64(3)", "PCG64(9)"]


def test_a_bit_generator_that_hides_its_seed_is_named_without_it():
    legacy = np.random.RandomState(5)._bit_generator
    book = NoiseBook()
    book.adopt(legacy)
    assert book.description(0) == "MT19937(?)"


@pytest.mark.parametrize(
    "draw",
    [
        lambda g: g.choice(5, size=3, p=[0.1, 0.2, 0.3, 0.2, 0.2]),
        lambda g: g.choice(5, size=3, replace=False, p=[0.1, 0.2, 0.3, 0.2, 0.2]),
        lambda g: g.multivariate_normal([0.0, 0.0], np.eye(2), size=3),
    ],
)
def test_a_method_that_draws_with_others_is_one_draw(draw):
    book = NoiseBook()
    draw(book.generator(0))
    assert len(book.draw_log().draws) == 1
