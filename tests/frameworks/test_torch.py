"""PyTorch's noise: isolated, guarded, in the draw log, perturbed; and left alone without it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from pytest_repro.errors import RandomnessError
from pytest_repro.frameworks.torch import TorchRecorder, TorchState
from pytest_repro.guard.guard import Isolation, guard_randomness
from pytest_repro.noise.draw_log import compare_draw_logs
from pytest_repro.noise.generator import NoiseBook
from pytest_repro.noise.sources import Disturbed, Fresh, Replay


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


def record(draw, source=None, *, mode="error"):
    """What ``draw`` returned, and the book of its draws, as in a test."""
    book = NoiseBook(Fresh() if source is None else source, store=True)
    recorder = TorchRecorder(lambda: book)
    with Isolation(0, TorchState()):
        recorder.start()
        try:
            with guard_randomness(mode):
                return draw(), book
        finally:
            recorder.stop()


def test_torch_is_never_imported_by_us():
    code = (
        "import sys\n"
        "from pytest_repro.frameworks.torch import TorchRecorder, TorchState\n"
        "from pytest_repro.guard.guard import Isolation\n"
        "recorder = TorchRecorder(lambda: None)\n"
        "with Isolation(0, TorchState()):\n"
        "    recorder.start()\n"
        "    recorder.stop()\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_draws_enter_the_log_with_method_shape_dtype_and_seed(torch):
    def draw():
        generator = torch.Generator().manual_seed(3)
        first = torch.randn(2, 3, generator=generator)
        torch.manual_seed(5)
        torch.randint(0, 10, (4,))
        return first, torch.rand_like(first)

    (first, second), book = record(draw)
    draw_log = book.draw_log()
    assert draw_log.generators == ("torch.Generator(3)", "torch.default_generator(5)")
    seen = [(one.generator, one.method, one.shape, one.dtype) for one in draw_log.draws]
    assert seen == [
        (0, "torch.randn", (2, 3), "float32"),
        (1, "torch.randint", (4,), "int64"),
        (1, "torch.rand_like", (2, 3), "float32"),
    ]
    assert draw_log.draws[1].arguments == "0, 10"
    plain = torch.randn(2, 3, generator=torch.Generator().manual_seed(3))
    assert torch.equal(first, plain)
    assert second.shape == (2, 3)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_a_perturbation_moves_a_draw_by_one_ulp_of_its_dtype(torch, dtype):
    kind = getattr(torch, dtype)

    def draw():
        return torch.randn(64, generator=torch.Generator().manual_seed(0), dtype=kind)

    clean, book = record(draw)
    moved, _ = record(draw, Disturbed(seed=1, computing_dtype=dtype))
    assert book.draw_log().draws[0].dtype == dtype
    infinity = torch.full_like(clean, float("inf"))
    up, down = torch.nextafter(clean, infinity), torch.nextafter(clean, -infinity)
    assert torch.all((moved == up) | (moved == down))
    assert torch.any(moved == up)
    assert torch.any(moved == down)


def test_whole_numbers_are_not_perturbed(torch):
    def draw():
        torch.manual_seed(0)
        return torch.bernoulli(torch.full((32,), 0.5)), torch.randperm(8)

    clean, _ = record(draw)
    moved, _ = record(draw, Disturbed(seed=1))
    assert all(torch.equal(one, two) for one, two in zip(clean, moved, strict=True))


def test_a_recorded_draw_is_given_again(torch):
    def draw(seed):
        return torch.randn(5, generator=torch.Generator().manual_seed(seed))

    first, book = record(lambda: draw(0))
    again, _ = record(lambda: draw(1), Replay(book.draw_log(), book.arrays()))
    assert torch.equal(first, again)
    assert not torch.equal(first, draw(1))


def test_another_seed_is_another_log_and_equal_seeds_are_equal(torch):
    def log(seed):
        return record(lambda: torch.randn(3, generator=torch.Generator().manual_seed(seed)))[1]

    assert log(0).draw_log() == log(0).draw_log()
    difference = compare_draw_logs(log(0).draw_log(), log(1).draw_log())
    assert difference is not None
    assert "seed 0 became 1" in str(difference)


def test_a_generator_that_is_seeded_again_is_a_new_one(torch):
    def draw():
        generator = torch.Generator().manual_seed(3)
        values = [torch.randn(2, generator=generator)]
        generator.manual_seed(3)
        values.append(torch.randn(2, generator=generator))
        return values

    values, book = record(draw)
    assert torch.equal(*values)
    assert book.draw_log().generators == ("torch.Generator(3)", "torch.Generator(3)")


def test_dropout_is_seen_as_a_move_of_the_generator(torch):
    def draw():
        torch.manual_seed(0)
        torch.rand(2)
        torch.nn.functional.dropout(torch.ones(8))
        return torch.rand(2)

    _, book = record(draw)
    assert [one.dtype for one in book.draw_log().draws] == ["float32", "state", "float32"]


def test_a_default_generator_that_the_test_did_not_seed_stops_it(torch):
    with pytest.raises(RandomnessError) as caught:
        record(lambda: torch.randn(3))
    message = str(caught.value)
    assert message.startswith("torch.randn draws from the default generator, which the test did")
    assert "tests/frameworks/test_torch.py" in message
    assert "call torch.manual_seed(0) in the test" in message
    value, _ = record(lambda: torch.randn(3), mode="off")
    assert value.shape == (3,)


def test_a_seed_from_the_system_stops_it(torch):
    with pytest.raises(RandomnessError, match=r"torch\.seed takes its seed from the system"):
        record(lambda: torch.seed())


def test_the_constructor_of_a_module_may_draw_and_is_seeded(torch):
    def draw():
        return torch.nn.Linear(3, 3).weight.detach()

    (first, book), (second, _) = record(draw), record(draw)
    assert torch.equal(first, second)
    assert book.draw_log().draws == ()


def test_a_module_that_draws_when_it_computes_is_stopped(torch):
    class Noisy(torch.nn.Module):
        def forward(self, value):
            return value + torch.randn(3)

    with pytest.raises(RandomnessError):
        record(lambda: Noisy()(torch.zeros(3)))


def test_everything_is_given_back(torch):
    torch.manual_seed(11)
    before = torch.default_generator.get_state().clone()
    functions = torch.randn, torch.normal, dict(vars(torch.Tensor))
    record(lambda: torch.manual_seed(0) and torch.randn(3))
    assert torch.equal(torch.default_generator.get_state(), before)
    assert (torch.randn, torch.normal, dict(vars(torch.Tensor))) == functions


def test_numpy_is_guarded_beside_it(torch):
    with pytest.raises(RandomnessError) as caught:
        record(lambda: torch.from_numpy(np.random.randn(3)))
    assert "np.random.randn" in str(caught.value)


def test_a_test_with_pytorchs_noise_has_an_envelope_and_the_cause_noise(torch, pytester):
    body = """
    import pytest, torch
    @pytest.mark.repro
    def test_a(repro_check):
        generator = torch.Generator().manual_seed(0)
        repro_check(torch.randn(4, generator=generator).numpy(), name="x")
    """
    pytester.makeini("[pytest]\nrepro_framework = numpy\n")
    pytester.makepyfile(test_a=body)
    pytester.runpytest_subprocess("--repro-update").assert_outcomes(passed=1)
    (manifest,) = pytester.path.glob("baselines/*/*/test_a.yaml")
    assert "envelope: {method: 'every draw moved by one float32 ULP" in manifest.read_text()
    pytester.runpytest_subprocess().assert_outcomes(passed=1)
    pytester.makepyfile(test_a=body.replace("manual_seed(0)", "manual_seed(1)"))
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*cause noise*", "*seed 0 became 1*"])
