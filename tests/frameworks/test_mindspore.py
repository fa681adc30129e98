"""MindSpore's adapter: tensors bit for bit, switches, global state; each in the installed version.

What fixes a switch for good runs in a process of its own.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pytest

from pytest_repro.errors import EnvironmentFault
from pytest_repro.frameworks import mindspore as adapter_module
from pytest_repro.frameworks.mindspore import MindSporeAdapter

ADAPTER = MindSporeAdapter()
ROOT = Path(__file__).parents[2]

needs_mindspore = pytest.mark.skipif(not ADAPTER.installed(), reason="MindSpore is not installed")


@pytest.fixture
def ms():
    return pytest.importorskip("mindspore")


def in_new_process(code):
    """The last line that ``code`` prints; the adapter is there as ``adapter``."""
    head = "from pytest_repro.frameworks.mindspore import MindSporeAdapter\nimport sys\n"
    done = subprocess.run(
        [sys.executable, "-c", f"{head}adapter = MindSporeAdapter()\n{textwrap.dedent(code)}"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip().splitlines()[-1]


# --- without importing it -----------------------------------------------------------------------


def test_nothing_imports_mindspore_before_it_is_needed():
    said = in_new_process(
        """
        adapter.installed(), adapter.version(), adapter.package_folder()
        adapter.is_tensor(1), adapter.seed_globals(3)
        adapter.restore_state(adapter.save_state())
        print("mindspore" in sys.modules)
        """
    )
    assert said == "False"


@needs_mindspore
def test_the_version_is_the_one_that_is_imported(ms):
    assert ADAPTER.version() == ms.__version__
    assert ADAPTER.package_folder() == Path(ms.__file__).parent


def test_an_absent_mindspore_is_said_in_words(monkeypatch):
    monkeypatch.setitem(sys.modules, "mindspore", None)
    with pytest.raises(EnvironmentFault, match="cannot be imported") as caught:
        ADAPTER.facts()
    assert "framework to numpy" in caught.value.next_step


# --- tensors ------------------------------------------------------------------------------------

NUMPY_DTYPES = [
    *("float16", "float32", "float64", "int8", "int16", "int32", "int64"),
    *("uint8", "uint16", "uint32", "uint64", "bool"),
]


@pytest.mark.parametrize("shape", [(2, 3), (), (0, 3)], ids=str)
@pytest.mark.parametrize("dtype", NUMPY_DTYPES)
def test_a_tensor_comes_back_bit_for_bit(ms, dtype, shape):
    values = np.random.Generator(np.random.PCG64(0)).standard_normal(shape) * 50
    array = np.asarray(np.abs(values)).astype(dtype)
    observed = ADAPTER.to_numpy(ms.Tensor(array))
    assert (observed.dtype, observed.shape) == (array.dtype, shape)
    assert observed.tobytes() == array.tobytes()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_signed_zeros_and_nan_payloads_survive(ms, dtype):
    array = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0], dtype)
    bits = array.view(f"u{array.itemsize}")
    bits[4:5] |= bits.dtype.type(5)
    observed = ADAPTER.to_numpy(ms.Tensor(array))
    assert observed.tobytes() == array.tobytes()
    assert observed.tobytes() != np.abs(array).tobytes()


def test_all_bfloat16_numbers_come_back_bit_for_bit(ms):
    bits = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
    observed = ADAPTER.to_numpy(ms.Tensor(bits.view(ml_dtypes.bfloat16)))
    assert observed.dtype == ml_dtypes.bfloat16
    assert (observed.shape, observed.view(np.uint16).tobytes()) == (bits.shape, bits.tobytes())


def test_bfloat16_agrees_with_ml_dtypes_rounding(ms):
    wide = np.random.Generator(np.random.PCG64(1)).standard_normal(1000).astype(np.float32)
    observed = ADAPTER.to_numpy(ms.Tensor(wide).astype(ms.bfloat16))
    assert observed.tobytes() == wide.astype(ml_dtypes.bfloat16).tobytes()
    assert ADAPTER.to_numpy(ms.Tensor(1.5, ms.bfloat16)).shape == ()


@pytest.mark.parametrize("shape", [(2, 3), (), (0, 3)], ids=str)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
def test_an_array_becomes_a_tensor_bit_for_bit(ms, dtype, shape):
    kind = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    array = np.random.Generator(np.random.PCG64(0)).standard_normal(shape)
    array = np.asarray(array, dtype=kind)
    tensor = ADAPTER.from_numpy(array)
    assert (ADAPTER.is_tensor(tensor), tensor.dtype) == (True, getattr(ms, dtype))
    assert tensor.shape == shape
    assert ADAPTER.to_numpy(tensor).tobytes() == array.tobytes()


def test_a_parameter_is_a_tensor_and_a_transposed_one_is_in_order(ms):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    parameter = ms.Parameter(ms.Tensor(array), name="w")
    assert ADAPTER.is_tensor(parameter)
    assert ADAPTER.to_numpy(parameter).tobytes() == array.tobytes()
    assert np.array_equal(ADAPTER.to_numpy(ms.Tensor(array).T), array.T)


def test_the_numbers_do_not_move_with_the_tensor(ms):
    tensor = ms.Tensor(np.zeros(3, np.float32))
    observed = ADAPTER.to_numpy(tensor)
    tensor[0] = 7.0
    assert observed.tolist() == [0.0, 0.0, 0.0]
    assert ADAPTER.to_numpy(tensor)[0] == 7.0


def test_only_tensors_are_tensors(ms):
    assert ADAPTER.is_tensor(ms.Tensor([1.0]))
    assert not any(ADAPTER.is_tensor(one) for one in (np.zeros(1), [1.0], None, ms.Tensor, "x"))


# --- switches -----------------------------------------------------------------------------------


def test_the_facts_name_the_switches(ms):
    facts = dict(ADAPTER.facts())
    assert facts["mindspore.device"] == "CPU:0"
    assert facts["mindspore.mode"] in {"PYNATIVE", "GRAPH"}
    assert facts["mindspore.deterministic"] in {"ON", "OFF"}
    assert facts["mindspore.dispatch_threads"] in {"default", "configured"}
    assert not any(name.startswith("ascend.") for name in facts)


@needs_mindspore
def test_dispatch_threads_that_were_set_are_seen():
    said = in_new_process(
        """
        import mindspore
        before = dict(adapter.facts())["mindspore.dispatch_threads"]
        mindspore.runtime.dispatch_threads_num(2)
        print(before, dict(adapter.facts())["mindspore.dispatch_threads"])
        """
    )
    assert said == "default configured"


@needs_mindspore
@pytest.mark.parametrize(
    "before",
    [
        "pass",
        "mindspore.set_deterministic(True)",
        "mindspore.set_deterministic(True); mindspore.set_context(deterministic='OFF')",
        "mindspore.set_context(deterministic='ON')",
        "(mindspore.Tensor([1.0]) + 1).asnumpy()",
    ],
)
def test_determinism_is_on_afterwards_whatever_came_before(before):
    said = in_new_process(
        f"""
        import mindspore
        {before}
        for _ in range(3):
            adapter.enable_determinism()
        print(dict(adapter.facts())["mindspore.deterministic"])
        """
    )
    assert said == "ON"


@needs_mindspore
def test_determinism_that_was_switched_off_for_good_is_a_fault():
    said = in_new_process(
        """
        import mindspore
        from pytest_repro.errors import EnvironmentFault
        mindspore.set_deterministic(False)
        try:
            adapter.enable_determinism()
        except EnvironmentFault as fault:
            print(fault.next_step)
        """
    )
    assert said == "remove calls of mindspore.set_deterministic(False)"


@needs_mindspore
def test_determinism_survives_without_the_private_names():
    said = in_new_process(
        """
        import mindspore
        del mindspore._c_expression.DeviceManagerConf
        adapter.enable_determinism()
        mindspore.set_context(deterministic="OFF")
        adapter.enable_determinism()
        print(dict(adapter.facts())["mindspore.deterministic"])
        """
    )
    assert said == "ON"


@needs_mindspore
def test_mindspore_itself_raises_at_a_second_call():
    said = in_new_process(
        """
        import mindspore
        mindspore.set_deterministic(True)
        try:
            mindspore.set_deterministic(True)
        except RuntimeError as error:
            print("repeatedly" in str(error))
        """
    )
    assert said == "True"


def test_a_switch_that_stays_off_is_a_fault(monkeypatch):
    stubborn = SimpleNamespace(
        __version__="9.9",
        set_deterministic=lambda _: None,
        set_context=lambda **_: None,
        get_context=lambda _: "OFF",
    )
    monkeypatch.setattr(adapter_module, "_imported", lambda: stubborn)
    monkeypatch.setattr(adapter_module, "_is_determinism_configured", lambda _: False)
    with pytest.raises(EnvironmentFault, match="cannot be switched on"):
        ADAPTER.enable_determinism()


def test_another_fault_of_the_switch_is_not_swallowed(monkeypatch):
    def fail(_):
        raise RuntimeError("device lost")

    broken = SimpleNamespace(set_deterministic=fail)
    monkeypatch.setattr(adapter_module, "_imported", lambda: broken)
    monkeypatch.setattr(adapter_module, "_is_determinism_configured", lambda _: False)
    with pytest.raises(RuntimeError, match="device lost"):
        ADAPTER.enable_determinism()


# --- random state -------------------------------------------------------------------------------


def draws(ms, count):
    return [ms.ops.standard_normal((2,)).asnumpy().tolist() for _ in range(count)]


@pytest.fixture
def untouched(ms):
    """Gives back what a test moves, by the public names and not by the adapter."""
    module = importlib.import_module("mindspore.common.seed")
    before = (module._GLOBAL_SEED, dict(module._KERNEL_SEED), np.random.get_state())
    yield
    module._GLOBAL_SEED = before[0]
    module._KERNEL_SEED.clear()
    module._KERNEL_SEED.update(before[1])
    np.random.set_state(before[2])


@pytest.mark.usefixtures("untouched")
def test_a_seed_repeats_the_draws_of_mindspore_and_numpy(ms):
    def both(seed):
        ADAPTER.seed_globals(seed)
        return draws(ms, 2), np.random.standard_normal(2).tolist()

    first = both(5)
    assert both(5) == first
    assert both(5 + 2**32) == first
    mine, numpys = both(6)
    assert mine != first[0]
    assert numpys != first[1]


@pytest.mark.usefixtures("untouched")
def test_an_interrupted_stream_goes_on_where_it_was(ms):
    ms.set_seed(7)
    whole, numpy_whole = draws(ms, 4), np.random.standard_normal(4).tolist()
    ms.set_seed(7)
    head, numpy_head = draws(ms, 2), np.random.standard_normal(2).tolist()

    state = ADAPTER.save_state()
    ADAPTER.seed_globals(0)
    between = draws(ms, 3)
    np.random.standard_normal(3)
    ADAPTER.restore_state(state)

    assert head + draws(ms, 2) == whole
    assert numpy_head + np.random.standard_normal(2).tolist() == numpy_whole
    assert between[0] not in whole


@pytest.mark.usefixtures("untouched")
def test_every_part_of_the_state_is_given_back(ms):
    def parts():
        return (
            ms.get_seed(),
            ms.get_rng_state().asnumpy().tolist(),
            ms.get_context("mode"),
            str(np.random.get_state()),
            sys.modules["mindspore.dataset"].config.get_seed(),
        )

    before = parts()
    state = ADAPTER.save_state()
    ADAPTER.seed_globals(11)
    ms.set_context(mode=ms.GRAPH_MODE)
    moved = parts()
    ADAPTER.restore_state(state)
    assert parts() == before
    assert all(old != new for old, new in zip(before, moved, strict=True))


@needs_mindspore
def test_a_seed_that_was_never_set_is_unset_again():
    said = in_new_process(
        """
        import mindspore
        state = adapter.save_state()
        adapter.seed_globals(3)
        during = mindspore.get_seed()
        adapter.restore_state(state)
        print(during, mindspore.get_seed())
        """
    )
    assert said == "3 None"


@pytest.mark.usefixtures("untouched")
def test_a_saved_state_is_not_moved_by_later_draws(ms):
    state = ADAPTER.save_state()
    kept = state.generator.copy()
    ms.manual_seed(99)
    assert np.array_equal(state.generator, kept)
    assert not np.array_equal(ms.get_rng_state().asnumpy(), kept)
    ADAPTER.restore_state(state)
    assert np.array_equal(ms.get_rng_state().asnumpy(), kept)


def test_seeds_of_a_fixture_inside_a_test_are_not_taken_for_the_tests_own(ms):
    before = ADAPTER.save_state()
    try:
        ADAPTER.seed_globals(1)
        outer = ADAPTER.save_state()
        ADAPTER.seed_globals(2)
        ADAPTER.restore_state(outer)
        assert ADAPTER.context() == ()
        ms.set_seed(9)
        assert ADAPTER.context() == (("seed", "9"),)
    finally:
        ADAPTER.restore_state(before)
