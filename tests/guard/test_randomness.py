"""The randomness guard and the isolation of global generators: planted faults, clean twins."""

from __future__ import annotations

import concurrent.futures
import contextlib
import copy
import gc
import importlib
import inspect
import pickle
import random
import subprocess
import sys
import tempfile
import threading
import types
import uuid
import weakref
from pathlib import Path
from random import random as random_by_name
from typing import ClassVar

import numpy as np
import pytest
from numpy.random import default_rng as default_rng_by_name
from numpy.random import randn as randn_by_name

from pytest_repro.errors import RandomnessError, UsageError
from pytest_repro.frameworks.framework import default_framework
from pytest_repro.guard.events import EventKind, explain_misuse, wrongly_handed
from pytest_repro.guard.guard import Isolation, RandomnessWarning, guard_randomness
from pytest_repro.guard.patches import guard_patches
from pytest_repro.guard.pipeline_calls import watch_pipeline_calls
from pytest_repro.noise.generator import NoiseBook


def line_of(function):
    """The line of a one-line lambda."""
    return inspect.getsourcelines(function)[1]


UNSEEDED = [
    lambda: np.random.default_rng(),
    lambda: np.random.default_rng(None),
    lambda: default_rng_by_name(),
    lambda: np.random.PCG64(),
    lambda: np.random.PCG64DXSM(),
    lambda: np.random.MT19937(),
    lambda: np.random.Philox(),
    lambda: np.random.SFC64(),
    lambda: np.random.SeedSequence(),
    lambda: np.random.RandomState(),
    lambda: np.random.RandomState(seed=None),
    lambda: np.random.seed(),
    lambda: random.Random().random(),
]
GLOBAL = [
    (EventKind.NUMPY_GLOBAL, lambda: np.random.randn(3)),
    (EventKind.NUMPY_GLOBAL, lambda: np.random.normal(size=3)),
    (EventKind.NUMPY_GLOBAL, lambda: np.random.sample()),
    (EventKind.NUMPY_GLOBAL, lambda: np.random.shuffle([1, 2, 3])),
    (EventKind.NUMPY_GLOBAL, lambda: randn_by_name(3)),
    (EventKind.RANDOM_GLOBAL, lambda: random_by_name()),
    (EventKind.RANDOM_GLOBAL, lambda: random.random()),
    (EventKind.RANDOM_GLOBAL, lambda: random.choice([1, 2])),
    (EventKind.RANDOM_GLOBAL, lambda: random.gauss(0.0, 1.0)),
]


def jumped_by_name():
    """Jumped without a line that says ``.jumped(``, and with a letter of two bytes before it."""
    jump = np.random.PCG64(0).jumped
    return ("é", jump(3))[1]


KEPT_ASIDE = {"randn": np.random.randn, "random": random.random}
PLANTED = [(EventKind.UNSEEDED, draw) for draw in UNSEEDED] + GLOBAL


def pickled(value):
    return pickle.loads(pickle.dumps(value))


CLEAN = [
    lambda: np.random.default_rng(0).standard_normal(3),
    lambda: default_rng_by_name(0).standard_normal(3),
    lambda: np.random.Generator(np.random.PCG64(0)).standard_normal(3),
    lambda: np.random.RandomState(0).randn(3),
    lambda: np.random.RandomState(np.array([1, 2])).randn(3),
    lambda: np.random.RandomState(np.random.PCG64(0)).randn(3),
    lambda: np.random.MT19937(3).random_raw(),
    lambda: np.random.SeedSequence(0).spawn(3),
    lambda: np.random.default_rng(0).spawn(3),
    lambda: np.random.PCG64(0).jumped().random_raw(),
    lambda: jumped_by_name().random_raw(),
    lambda: (
        np.random.PCG64(0)
        .jumped()
        .jumped(
            2,
        )
        .random_raw()
    ),
    lambda: NoiseBook().generator(0).standard_normal(3),
    lambda: copy.deepcopy(np.random.default_rng(0)).standard_normal(3),
    lambda: copy.deepcopy(NoiseBook().generator(0)).standard_normal(3),
    lambda: pickled(np.random.default_rng(0)).standard_normal(3),
    lambda: pickled(np.random.RandomState(0)).randn(3),
    lambda: random.Random(0).random(),
    lambda: random.SystemRandom().random(),
    lambda: uuid.uuid4(),
    lambda: tempfile.mkdtemp(),
    lambda: np.random.seed(5),
    lambda: random.seed(5),
    lambda: np.random.set_state(np.random.get_state()),
    lambda: random.setstate(random.getstate()),
]


@pytest.mark.parametrize(("kind", "draw"), PLANTED)
def test_planted_randomness_is_stopped_where_it_drew(kind, draw):
    seen = []
    with (
        pytest.raises(RandomnessError) as caught,
        guard_randomness("error", seen.append),
    ):
        draw()
    (event,) = seen
    assert (event.kind, event.file, event.line) == (kind, __file__, line_of(draw))
    assert event.code_line.startswith(("lambda: ", "(EventKind."))
    assert f"test_randomness.py:{line_of(draw)}" in str(caught.value)
    assert "  next   " in str(caught.value)


@pytest.mark.parametrize("draw", CLEAN)
def test_what_is_seeded_or_private_passes(draw):
    with guard_randomness("error") as guard:
        draw()
    assert guard.events == []


@pytest.mark.parametrize(("kind", "draw"), PLANTED)
def test_a_warning_lets_it_draw(kind, draw):
    with (
        pytest.warns(RandomnessWarning) as caught,
        guard_randomness("warn") as guard,
    ):
        draw()
    assert [event.kind for event in guard.events] == [kind]
    assert (caught[0].filename, caught[0].lineno) == (__file__, line_of(draw))
    assert len(caught) == 1


@pytest.mark.parametrize(("kind", "draw"), PLANTED)
def test_off_lets_everything_pass_also_inside_a_guard(kind, draw):
    with guard_randomness("error") as outer, guard_randomness("off") as inner:
        draw()
        randn_by_name()
    assert outer.events == inner.events == []


@pytest.mark.parametrize(
    ("kept", "kind", "owner"),
    [
        (KEPT_ASIDE["randn"], EventKind.NUMPY_GLOBAL, "numpy"),
        (KEPT_ASIDE["random"], EventKind.RANDOM_GLOBAL, "random"),
    ],
)
def test_a_function_that_was_kept_aside_is_caught_at_the_end(kept, kind, owner):
    guard = guard_randomness("error")
    words = f"{owner}'s global state was drawn from by a function that the test reached before"
    np.random.standard_normal()  # one more is kept; to give it out counts as a draw
    with pytest.raises(RandomnessError, match=words), guard:
        kept()
    assert [event.kind for event in guard.events] == [kind]


BY_NAME = """
from random import choice, random as draw
from numpy.random import randn, seed
def one(): return draw()
def two(): return choice([1, 2])
def three(): return randn(3)
def fine(): seed(3)
"""


@pytest.fixture
def by_name(tmp_path, monkeypatch):
    """A module that holds functions of the global states by name."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "holds_by_name", raising=False)
    (tmp_path / "holds_by_name.py").write_text(BY_NAME, encoding="utf-8")
    importlib.invalidate_caches()
    return lambda: importlib.import_module("holds_by_name")


@pytest.mark.parametrize("inside", [False, True], ids=["loaded before", "loaded under a guard"])
@pytest.mark.parametrize(("name", "line"), [("one", 4), ("two", 5), ("three", 6)])
def test_a_function_imported_by_name_is_stopped_at_its_line(by_name, inside, name, line):
    with guard_randomness("error") if inside else contextlib.nullcontext():
        module = by_name()
    event, message = stopped(getattr(module, name))
    assert (Path(event.file).name, event.line) == ("holds_by_name.py", line)
    assert f"holds_by_name.py:{line}" in message
    with guard_randomness("error") as clean:
        module.fine()
    assert clean.events == []
    assert module.draw is random.random
    assert module.randn is np.random.randn


def test_a_name_that_means_something_else_by_now_is_left_alone(by_name, monkeypatch):
    module = by_name()
    with guard_randomness("error"):
        assert module.draw is random.random  # both stand in for it
        assert module.draw is not KEPT_ASIDE["random"]
        monkeypatch.setattr(module, "randn", len)
    assert module.draw is random.random
    assert module.randn is len
    monkeypatch.undo()
    with guard_randomness("error"):
        pass
    assert module.randn is np.random.randn  # and not what stood there when it was exchanged


def test_a_module_with_functions_by_name_is_kept_no_longer_than_the_next_guard(by_name):
    module = by_name()
    with guard_randomness("error"):
        pass
    gone = weakref.ref(module)
    del sys.modules["holds_by_name"], module
    with guard_randomness("error"):
        pass
    gc.collect()
    assert gone() is None


def test_an_error_that_the_test_swallows_comes_back_at_the_end():
    def swallowed():
        with contextlib.suppress(RandomnessError):
            np.random.randn()

    _, message = stopped(swallowed)
    assert message.startswith("np.random.randn draws from a global state")


def test_an_error_of_the_test_itself_is_not_masked():
    def fails():
        KEPT_ASIDE["randn"]()
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"), guard_randomness("error"):
        fails()


def test_where_global_states_may_draw_an_unseeded_generator_may_not():
    with guard_randomness("error", globals_may_draw=True) as guard:
        for _, draw in GLOBAL:
            draw()
        KEPT_ASIDE["randn"]()
    assert guard.events == []
    guard = guard_randomness("error", globals_may_draw=True)
    with pytest.raises(RandomnessError, match="without a seed"), guard:
        np.random.default_rng()


def test_what_is_jumped_must_have_a_seed():
    _, message = stopped(lambda: np.random.default_rng().bit_generator.jumped())
    assert message.startswith("a numpy generator was made without a seed")


def test_an_alias_of_a_seeded_class_is_no_false_alarm():
    make = np.random.RandomState
    with guard_randomness("error") as guard:
        make(0).randn(3)
    assert guard.events == []


def test_a_seeded_legacy_draw_is_explained():
    def seeded_just_before():
        np.random.seed(0)
        np.random.randn(3)

    event, message = stopped(seeded_just_before)
    line = inspect.getsourcelines(seeded_just_before)[1]
    assert event.line == line + 2
    assert f"seeded  np.random.seed at tests/guard/test_randomness.py:{line + 1}" in message
    assert "draw from np.random.RandomState(seed), which gives the same numbers" in message


KEPT = """
import random
import numpy as np
FIRST, SECOND = np.random.default_rng(3), random.Random()
def draw(): return FIRST.random(3)
def seeded(): SECOND.seed(1); return SECOND.random()
def unseeded(): return SECOND.random()
"""


@pytest.fixture
def keeps(tmp_path, monkeypatch):
    """A module that keeps generators."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "keeps_generators.py").write_text(KEPT, encoding="utf-8")
    importlib.invalidate_caches()
    yield importlib.import_module("keeps_generators")
    del sys.modules["keeps_generators"]


@pytest.mark.parametrize(("draws", "name"), [("draw", "FIRST"), ("unseeded", "SECOND")])
def test_a_generator_that_a_module_keeps_is_named_when_it_draws(keeps, draws, name):
    event, message = stopped(getattr(keeps, draws))
    assert message.startswith(f"keeps_generators.{name} drew: ")
    assert (Path(event.file).name, event.line) == ("keeps_generators.py", 4)
    assert "FIRST, SECOND = np.random" in message


def test_a_generator_that_a_module_keeps_may_draw_once_the_test_has_seeded_it(keeps):
    with guard_randomness("error") as guard:
        keeps.seeded()
    assert guard.events == []


def snapshot():
    names = [np.random, random, np.random.bit_generator, np.random.mtrand]
    return [dict(vars(module)) for module in names]


def test_every_patch_is_gone_afterwards():
    before = snapshot()
    with guard_randomness("error"):
        assert snapshot() != before
        with guard_randomness("warn"):
            pass
        assert snapshot() != before
    assert snapshot() == before
    with pytest.raises(RandomnessError), guard_randomness("error"):
        np.random.randn()
    assert snapshot() == before


def test_a_monkeypatch_that_outlives_the_guard_leaves_no_patch_for_good():
    before = snapshot()
    patch = pytest.MonkeyPatch()
    with guard_randomness("error"):
        patch.setattr(np.random, "randn", lambda: 0.0)
    patch.undo()
    with guard_randomness("error"):
        pass
    assert snapshot() == before


def test_a_monkeypatch_of_mindones_randn_is_what_runs_under_a_later_guard(monkeypatch):
    module = types.ModuleType("mindspore_utils")
    module.randn = lambda size, generator=None, dtype=None: "theirs"
    monkeypatch.setitem(sys.modules, "mindone.diffusers.utils.mindspore_utils", module)
    patches = guard_patches(Unheard())
    for exchanged in ("first", "second"):
        monkeypatch.setattr(module, "randn", lambda *_, words=exchanged, **__: words)
        stood = module.randn
        for _ in range(2):
            patches.install()
            assert module.randn is not stood
            assert module.randn((1,)) == exchanged
            patches.remove()
            assert module.randn is stood


class Unheard:
    """Is told of every draw and does not mind."""

    def drawing(self, kind, what):
        pass

    moved = reseeded = lambda self, kind: None
    handed = seeding = lambda self, one, two: None


def test_classes_of_numpy_are_not_replaced():
    with guard_randomness("error"):
        state = np.random.RandomState(0)
        bits = np.random.PCG64(0)
        assert type(bits) is np.random.PCG64
        assert isinstance(state, np.random.RandomState)
        assert pickled(np.random.PCG64) is np.random.PCG64

        class Mine(np.random.PCG64):
            pass

        assert issubclass(Mine, np.random.BitGenerator)
    # What was made under the guard goes on with equal bits, and its pickle names no class of ours.
    assert b"pytest_repro" not in pickle.dumps(state)
    clean = np.random.RandomState(0)
    assert state.randn(5).tobytes() == clean.randn(5).tobytes()
    assert pickled(state).randn(5).tobytes() == clean.randn(5).tobytes()


def test_an_unseeded_generator_that_is_let_through_is_still_random():
    events = []
    with guard_randomness("warn", events.append):
        draws = {np.random.RandomState().randint(2**31) for _ in range(8)}
        draws |= {int(np.random.default_rng().integers(2**31)) for _ in range(8)}
    assert len(draws) == 16
    assert len(events) == 16


def test_other_threads_are_left_alone():
    def work():
        np.random.randn(10)
        np.random.default_rng()
        return random.random()

    with (
        guard_randomness("error") as guard,
        concurrent.futures.ThreadPoolExecutor(1) as pool,
    ):
        assert pool.submit(work).result() < 1.0
    assert guard.events == []


def test_two_threads_have_their_own_guards():
    ready, go = threading.Barrier(2), threading.Event()
    caught = []

    def guarded():
        try:
            with guard_randomness("error"):
                ready.wait(10)
                go.wait(10)
                np.random.randn()
        except RandomnessError as error:
            caught.append(error)

    before = snapshot()
    thread = threading.Thread(target=guarded)
    thread.start()
    with guard_randomness("error") as ours:
        ready.wait(10)
    go.set()
    thread.join(10)
    assert len(caught) == 1
    assert ours.events == []
    assert snapshot() == before


def test_the_standard_library_may_draw_for_itself():
    source = "import random\ndef draw():\n    return random.random()\n"
    stdlib = compile(source, inspect.getfile(inspect), "exec")
    ours = compile(source, __file__, "exec")
    for code, caught in ((stdlib, False), (ours, True)):
        space = {"__name__": "somewhere"}
        exec(code, space)
        guard = guard_randomness("warn", lambda event: None)
        with guard:
            space["draw"]()
        assert bool(guard.events) is caught


@pytest.mark.parametrize(
    ("installed", "imported", "caught"),
    [(True, True, False), (True, False, True), (False, True, True)],
    ids=["an installed module's import", "its function, called", "the project's own import"],
)
def test_what_an_import_draws_is_no_property_of_a_test(
    tmp_path, monkeypatch, installed, imported, caught
):
    folder = tmp_path / ("site-packages" if installed else "src")
    folder.mkdir()
    source = "import numpy as np\ndef draw():\n    return np.random.default_rng().random()\n"
    call = "CONSTANT = draw()\n" if imported else ""
    (folder / "draws_as_it_loads.py").write_text(source + call, encoding="utf-8")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "draws_as_it_loads", raising=False)
    guard = guard_randomness("warn", lambda event: None)
    with guard:
        module = importlib.import_module("draws_as_it_loads")
        if not imported:
            module.draw()
    assert bool(guard.events) is caught


# Isolation


class Framework:
    """Stands in for MindSpore's adapter: it seeds numpy as well, as MindSpore does."""

    def __init__(self):
        self.state = "before"

    def seed_globals(self, seed):
        self.state = f"seeded {seed}"
        np.random.seed(99)

    def save_state(self):
        return self.state

    def restore_state(self, state):
        self.state = state
        np.random.seed(98)


def globals_now(framework):
    return random.getstate(), np.random.get_state()[1].tobytes(), framework.state


def test_globals_are_seeded_and_given_back():
    framework = Framework()
    before = globals_now(framework)
    draws = []
    for _ in range(2):
        with Isolation(7, framework):
            assert framework.state == "seeded 7"
            draws.append((random.random(), np.random.randn()))
        assert globals_now(framework) == before
    assert draws[0] == draws[1]
    assert draws[0] == (random.Random(7).random(), np.random.RandomState(7).randn())
    with Isolation(8, framework):
        assert random.random() != draws[0][0]


def test_what_others_do_while_the_globals_are_held_is_undone():
    isolation = Isolation(3)
    with isolation:
        fresh = np.random.randn(2).tobytes(), random.random()
    with isolation:
        isolation.hold()
        np.random.seed(77)
        random.seed(77)
        isolation.release()
        assert (np.random.randn(2).tobytes(), random.random()) == fresh
        isolation.hold()
        isolation.release()
        assert (np.random.randn(2).tobytes(), random.random()) != fresh


def test_a_number_kept_for_the_next_call_is_held_too():
    def drawn(between):
        isolation = Isolation(3)
        with isolation:
            isolation.hold()
            isolation.release()
            np.random.randn(3)
            random.gauss(0.0, 1.0)
            isolation.hold()
            between()
            isolation.release()
            return np.random.randn(2).tobytes(), random.gauss(0.0, 1.0)

    def reseed():
        np.random.seed(77)
        random.seed(77)

    assert drawn(reseed) == drawn(lambda: None)


def test_a_guard_does_not_take_the_giving_back_for_a_draw():
    isolation = Isolation(3)
    with isolation, guard_randomness("error") as guard:
        isolation.hold()
        np.random.seed(77)
        random.seed(77)
        isolation.release()
    assert guard.events == []


def test_globals_are_given_back_after_an_exception():
    framework = Framework()
    before = globals_now(framework)
    with pytest.raises(KeyError), Isolation(7, framework):
        raise KeyError
    assert globals_now(framework) == before


def test_one_state_that_cannot_be_given_back_does_not_keep_the_others():
    framework = Framework()
    before = globals_now(framework)[:2]

    def fails(state):
        raise OSError("gone")

    framework.restore_state = fails
    with pytest.raises(OSError, match="gone"), Isolation(7, framework):
        pass
    assert globals_now(framework)[:2] == before


def test_a_seed_beyond_what_numpy_takes_is_allowed():
    with Isolation(2**40 + 3):
        assert np.random.randn() == np.random.RandomState(3).randn()


# Pipelines


class DiffusionPipeline:
    pass


class Ddim(DiffusionPipeline):
    def __call__(self, generator):
        return [generator.standard_normal(4), generator.standard_normal(4)]


class Unclip(DiffusionPipeline):
    def __call__(self, generator):
        return Ddim()(generator) + Ddim()(generator)


class Callable:
    def __call__(self, generator):
        return generator.standard_normal(4)


class Failing(DiffusionPipeline):
    def __call__(self, generator):
        generator.standard_normal(4)
        raise KeyError("inside")


def called(*pipelines, fresh=False, allow_reuse=False):
    book = NoiseBook(allow_reuse=allow_reuse)
    generator = book.generator(0)
    with watch_pipeline_calls(book):
        for pipeline in pipelines:
            pipeline(book.generator(0) if fresh else generator)
    return book


@pytest.mark.parametrize(
    ("first", "second"),
    [(Ddim(), Ddim()), (Ddim(), Unclip()), (Unclip(), Unclip()), (Unclip(), Ddim())],
)
def test_one_generator_in_two_calls_is_explained(first, second):
    with pytest.raises(RandomnessError, match="used for two pipeline calls") as caught:
        called(first, second)
    assert f"first   call 1 ({type(first).__name__})" in str(caught.value)
    assert f"again   call 2 ({type(second).__name__})" in str(caught.value)


def test_the_same_pipeline_called_many_times_is_told_apart():
    book = NoiseBook()
    once = Ddim()
    with watch_pipeline_calls(book):
        for _ in range(5):
            once(book.generator(0))
        kept = book.generator(0)
        once(kept)
        with pytest.raises(RandomnessError, match=r"call 7 \(Ddim\)"):
            once(kept)


@pytest.mark.parametrize("pipeline", [Ddim(), Unclip()])
def test_one_call_may_draw_as_often_as_it_likes(pipeline):
    assert len(called(pipeline).draw_log().draws) in (2, 4)


def test_fresh_generators_or_leave_to_reuse_pass():
    assert len(called(Ddim(), Ddim(), Ddim(), fresh=True).draw_log().draws) == 6
    assert len(called(Ddim(), Ddim(), allow_reuse=True).draw_log().draws) == 4
    assert len(called(Callable(), Callable()).draw_log().draws) == 2


def test_a_generator_may_prepare_latents_outside_of_a_call():
    def prepare(generator):
        generator.standard_normal(3)

    assert len(called(prepare, Ddim(), prepare).draw_log().draws) == 4


def test_a_pipeline_inside_a_pipeline_is_part_of_its_call():
    book = called(Ddim(), Unclip(), Ddim(), Unclip(), fresh=True)
    assert len(book.draw_log().draws) == 12


def test_a_failed_call_is_still_a_call():
    def guarded(generator):
        with pytest.raises(KeyError):
            Failing()(generator)

    with pytest.raises(RandomnessError):
        called(guarded, Ddim())


def test_pipeline_classes_are_left_as_they_were():
    before = {kind: vars(kind)["__call__"] for kind in (Ddim, Unclip, Failing)}
    with pytest.raises(RandomnessError):
        called(Unclip(), Ddim(), Unclip())
    assert {kind: vars(kind)["__call__"] for kind in before} == before


class Tensor:
    alive: ClassVar[list[weakref.ref[Tensor]]] = []

    def __init__(self):
        self.alive.append(weakref.ref(self))


class Rebinding(DiffusionPipeline):
    def __call__(self, generator):
        latents = Tensor()
        generator.standard_normal(4)
        latents = Tensor()  # as a loop over steps does
        generator.standard_normal(4)
        assert Tensor.alive[-2]() is None
        return latents is None


def test_nothing_of_a_call_stays_alive():
    gc.disable()
    try:
        called(Rebinding())
        assert len(Tensor.alive) == 2
        assert Tensor.alive[-1]() is None
    finally:
        gc.enable()
        Tensor.alive.clear()


class Generator:
    """Is called as numpy's is."""


Generator.__module__ = "mindspore.common.generator"
ONE, OTHER = NoiseBook().generator(0), NoiseBook().generator(0)


@pytest.mark.parametrize(
    ("generator", "count", "words"),
    [
        (Generator(), None, "a mindspore.Generator was passed to a pipeline as generator"),
        ((ONE, OTHER), None, "a tuple was passed to a pipeline as generator"),
        ([ONE], 3, ""),  # mindone takes a list of one for the generator itself
        ([ONE, ONE], 2, "a list of 2 holds only 1 generator"),
        ([ONE, OTHER, ONE], None, "a list of 3 holds only 2 generators"),
        ([ONE, OTHER], 2, ""),  # equal seeds are the user's to choose
        ([ONE], 1, ""),
        (ONE, 4, ""),
        (None, 4, ""),
    ],
)
def test_what_a_pipeline_was_handed_is_judged_by_its_kind_and_number(generator, count, words):
    said = wrongly_handed(generator, count)
    assert said.startswith(words)
    assert bool(said) is bool(words)


def test_mindones_own_words_are_explained():
    text = (
        "You have passed a list of generators of length 2, but requested an effective batch size "
        "of 4. Make sure the batch size matches the length of the generators."
    )
    explained = explain_misuse(ValueError(text))
    assert explained is not None
    assert "2 generators were passed for a batch of 4 images" in str(explained)
    assert "repro_generators(4)" in str(explained)
    assert explain_misuse(ValueError("something else")) is None
    assert explain_misuse(KeyError(text)) is None
    number = explain_misuse(AttributeError("'int' object has no attribute 'standard_normal'"))
    assert number is not None
    assert "generator=int(...)" in str(number)
    assert explain_misuse(AttributeError("'int' object has no attribute 'x'")) is None


class Careless(DiffusionPipeline):
    def __call__(self):
        return self.prepare()

    def prepare(self):
        return randn_tensor_of_a_library((2,))


def randn_tensor_of_a_library(size):
    return np.random.default_rng().standard_normal(size)


def test_a_pipeline_that_draws_without_a_generator_is_named_with_its_own_line():
    event, message = stopped(lambda: Careless()())
    line = inspect.getsourcelines(Careless.prepare)[1] + 1
    assert (event.file, event.line, event.pipeline) == (__file__, line, "Careless")
    assert message.startswith("Careless draws without a generator: a numpy generator was made")
    assert "line   return randn_tensor_of_a_library((2,))" in message
    below = inspect.getsourcelines(randn_tensor_of_a_library)[1] + 1
    assert event.drew_at == f"tests/guard/test_randomness.py:{below}"
    assert "next   pass generator=repro_generator to the pipeline" in message


def test_the_traceback_ends_at_the_users_line():
    with pytest.raises(RandomnessError) as caught, guard_randomness("error"):
        UNSEEDED[0]()
    files = [Path(str(entry.path)).name for entry in caught.traceback]
    assert set(files) == {"test_randomness.py"}
    assert caught.traceback[-1].lineno + 1 == line_of(UNSEEDED[0])


# MindSpore and mindone


@pytest.fixture(scope="module")
def ms():
    return pytest.importorskip("mindspore")


@pytest.fixture(scope="module")
def mindone_utils(ms):
    pytest.importorskip("mindone")
    from mindone.diffusers.utils import mindspore_utils

    return mindspore_utils


def stopped(draw):
    seen = []
    with pytest.raises(RandomnessError) as caught, guard_randomness("error", seen.append):
        draw()
    assert len(seen) == 1
    return seen[0], str(caught.value)


def test_every_primitive_that_draws_is_caught_in_the_test_that_drew(ms):
    from mindspore import nn, ops
    from mindspore.ops import standard_normal

    ones = ms.Tensor(np.ones((2, 3)), ms.float32)
    draws = [
        lambda: ops.standard_normal((2,)),
        lambda: standard_normal((2,)),
        lambda: ops.StandardNormal()((2,)),
        lambda: ops.randn(2),
        lambda: ops.rand(2),
        lambda: ops.randint(0, 5, (2,)),
        lambda: ops.randperm(5),
        lambda: ops.normal((2,), ms.Tensor(0.0), ms.Tensor(1.0)),
        lambda: ops.uniform((2,), ms.Tensor(0.0), ms.Tensor(1.0)),
        lambda: ops.multinomial(ms.Tensor([0.5, 0.5]), 3),
        lambda: ops.bernoulli(ms.Tensor([0.5, 0.5])),
        lambda: ops.shuffle(ones),
        lambda: ops.dropout(ones, p=0.5, training=True),
        lambda: nn.Dropout(p=0.5).set_train()(ones),
        lambda: ms.numpy.randn(3),
        lambda: ms.mint.randn(2),
        lambda: ms.mint.rand(2),
        lambda: ms.mint.normal(0.0, 1.0, (2,)),
        lambda: ms.mint.nn.functional.dropout(ones),
    ]
    for draw in draws:
        event, message = stopped(draw)
        assert event.kind is EventKind.MINDSPORE_GLOBAL
        assert (event.file, event.line) == (__file__, line_of(draw))
        assert "MindSpore's " in message


def test_computing_with_mindspore_is_silent(ms):
    from mindspore import nn, ops

    with guard_randomness("error") as guard:
        ones = ms.Tensor(np.ones((1, 3, 4, 4)), ms.float32)
        layer = nn.SequentialCell(nn.Conv2d(3, 4, 3), nn.Dropout(p=0.5)).set_train(False)
        ops.relu(layer(ones)).asnumpy()
        ms.Tensor(NoiseBook().generator(0).standard_normal(3), ms.float32).asnumpy()
        ms.set_seed(3)
    assert guard.events == []


def test_initialising_weights_is_legal_and_seeded(ms):
    from mindspore import nn

    def weights(seed):
        with Isolation(seed), guard_randomness("error"):
            cells = (nn.Dense(3, 4), nn.Conv2d(3, 4, 3), nn.LSTM(3, 4))
            values = [p.asnumpy() for cell in cells for p in cell.get_parameters()]
        return b"".join(value.tobytes() for value in values)

    assert weights(0) == weights(0)
    assert weights(0) != weights(1)


def test_a_constructor_may_draw_and_is_seeded_and_computing_may_not(ms):
    from mindspore import nn, ops

    class Noisy(nn.Cell):
        def __init__(self):
            super().__init__()
            self.weight = ms.Parameter(ops.randn(4), name="weight")
            self.table = np.random.randn(4)

        def construct(self, value):
            return value + ops.randn(4)

    def built(seed):
        with Isolation(seed, default_framework()), guard_randomness("error"):
            cell = Noisy()
            return cell.weight.asnumpy().tobytes() + cell.table.tobytes()

    assert built(0) == built(0)
    assert built(0) != built(1)
    cell = Noisy()
    event, _ = stopped(lambda: cell(ms.Tensor(np.ones(4), ms.float32)))
    assert event.kind is EventKind.MINDSPORE_GLOBAL


def test_determinism_may_be_switched_on_again_and_not_off(ms):
    default_framework().enable_determinism()
    with guard_randomness("error"):
        ms.set_deterministic(True)
        with pytest.raises(UsageError, match="switches MindSpore's deterministic") as caught:
            ms.set_deterministic(False)
    assert "test_randomness.py" in caught.value.where


def test_a_draw_beside_the_initialising_of_weights_is_still_caught(ms):
    from mindspore import nn

    def drawn_between_layers():
        nn.Dense(3, 4)
        randn_by_name()
        nn.Dense(3, 4)

    _, message = stopped(drawn_between_layers)
    assert "draws from a global state" in message


def test_randn_tensor_without_a_generator_names_the_line_in_mindone(mindone_utils):
    event, message = stopped(lambda: mindone_utils.randn_tensor((1, 3)))
    assert event.kind is EventKind.UNSEEDED
    assert event.file == mindone_utils.__file__
    assert event.code_line == "generator = np.random.default_rng()"
    assert "mindone/diffusers/utils/mindspore_utils.py" in message
    assert "test_randomness.py" in event.called_from


@pytest.mark.parametrize(
    ("generator", "words"),
    [
        (np.random.RandomState(0), "a RandomState was passed"),
        (0, "an int was passed"),
        ([np.random.default_rng(0), 1, 2, 3], "an int was passed"),
        ([np.random.default_rng(0)] * 2, "2 generators were passed for a batch of 4 images"),
        ([np.random.default_rng(0)] * 5, "5 generators were passed for a batch of 4 images"),
        (
            [*[np.random.default_rng(0)] * 2, np.random.default_rng(1), np.random.default_rng(2)],
            "a list of 4 holds only 3 generators: each image needs",
        ),
    ],
)
def test_a_wrong_generator_is_recognised_by_name(mindone_utils, generator, words):
    from mindone.diffusers.utils.mindspore_utils import randn_tensor as imported_by_name

    event, message = stopped(lambda: imported_by_name((4, 3), generator=generator))
    assert event.kind is EventKind.MISUSE
    assert message.startswith(words)


def test_right_generators_pass_and_mindone_is_left_as_it_was(mindone_utils):
    before = mindone_utils.randn
    with guard_randomness("error") as guard:
        assert mindone_utils.randn is not before
        book = NoiseBook()
        four = [book.generator(seed) for seed in range(4)]
        batch = mindone_utils.randn_tensor((4, 3), generator=four)
        mindone_utils.randn_tensor((4, 3), generator=book.generator(0))
    assert guard.events == []
    assert mindone_utils.randn is before
    alone = mindone_utils.randn_tensor((1, 3), generator=NoiseBook().generator(2))
    assert batch.asnumpy()[2:3].tobytes() == alone.asnumpy().tobytes()


def tiny_ddim():
    from mindone.diffusers import DDIMPipeline, DDIMScheduler, UNet2DModel

    unet = UNet2DModel(
        sample_size=8,
        block_out_channels=(8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
    )
    return DDIMPipeline(unet, DDIMScheduler())


def test_a_real_pipeline_is_guarded_and_watched(mindone_utils):
    book = NoiseBook()
    with Isolation(0), watch_pipeline_calls(book):
        with guard_randomness("error") as guard:
            pipeline = tiny_ddim()
            pipeline.set_progress_bar_config(disable=True)
            generator = book.generator(0)
            pipeline(num_inference_steps=2, output_type="np", generator=generator)
        assert guard.events == []
        (draw,) = book.draw_log().draws
        assert (draw.method, draw.shape, draw.dtype) == ("standard_normal", (1, 3, 8, 8), "float64")
        event, message = stopped(lambda: pipeline(num_inference_steps=1))
        assert message.startswith("DDIMPipeline draws without a generator")
        assert event.file.endswith("pipelines/ddim/pipeline_ddim.py")
        assert event.code_line.startswith("image = randn_tensor(")
        assert event.drew_at.startswith("mindone/diffusers/utils/mindspore_utils.py:")
        assert event.called_from.startswith("tests/guard/test_randomness.py:")
        with pytest.raises(RandomnessError, match=r"call 2 \(DDIMPipeline\)"):
            pipeline(num_inference_steps=1, generator=generator)
        with pytest.raises(ValueError, match="effective batch size") as caught:
            pipeline(num_inference_steps=1, batch_size=3, generator=[generator] * 2)
        assert explain_misuse(caught.value) is not None


def test_importing_mindspore_and_mindone_under_a_guard_is_silent(ms):
    code = (
        "from pytest_repro.guard.guard import guard_randomness\n"
        "with guard_randomness('error') as guard:\n"
        "    from mindone.diffusers import DDIMPipeline\n"
        "    import mindspore\n"
        "assert guard.events == []\n"
    )
    pytest.importorskip("mindone")
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
