"""MindSpore behind the protocol of `framework`; imported only inside functions.

Names below ``mindspore._c_expression`` and ``mindspore.common.seed`` are private. If one is
missing, the adapter knows less but does not fail. Tested with MindSpore 2.7 to 2.10 on CPU;
untested on an Ascend device.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_repro.errors import EnvironmentFault
from pytest_repro.frameworks.framework import CallListener, package_version

_PRIVATE_IS_GONE = (ImportError, AttributeError, TypeError)
COMPOSITIONS = 1
"""Number of the compositions in `mint`: raise it when one of them computes other bits."""
_SEED_BOUND = 2**32
"""`mindspore.set_seed` seeds numpy's legacy generator too, which takes seeds below this."""


@dataclass(frozen=True, slots=True, eq=False)
class SavedState:
    """MindSpore's global random state and mode, and the numpy state that MindSpore changes.

    Attributes:
        seed: From `mindspore.get_seed`; ``None`` if none was set.
        kernel_seeds: The current seeds of single operators.
        dataset_seed: The seed of `mindspore.dataset`; ``None`` if that is not imported.
        generator: Copy of the state of the default generator.
        numpy: State of numpy's legacy generator.
        mode: Execution mode, as MindSpore's number.
        jit_level: How far MindSpore optimises graphs.
        as_seeded: What `seed_globals` left there the last time.
    """

    seed: int | None
    kernel_seeds: tuple[tuple[Any, Any], ...]
    dataset_seed: int | None
    generator: NDArray[np.uint8]
    numpy: Any
    mode: int
    jit_level: str
    as_seeded: tuple[tuple[str, str], ...]


class MindSporeAdapter:
    """MindSpore for the rest of the project; see `FrameworkAdapter`.

    Attributes:
        composed: The ``mint`` operators that are replaced in this process; see `mint`.
    """

    composed: tuple[str, ...] = ()

    def installed(self) -> bool:
        # Cached: this reads the metadata of every installed package.
        is_there = "mindspore" in sys.modules or importlib.util.find_spec("mindspore") is not None
        return is_there and bool(self.version())

    def version(self) -> str:
        return package_version("mindspore")

    def package_folder(self) -> Path | None:
        loaded = sys.modules.get("mindspore")
        spec = loaded.__spec__ if loaded is not None else importlib.util.find_spec("mindspore")
        return Path(spec.origin).parent if spec is not None and spec.origin else None

    def device(self) -> tuple[str, int]:
        """The current device target (``CPU``, ``Ascend``, ``GPU``) and its number; imports it."""
        ms = _imported()
        if hasattr(ms, "get_current_device"):
            target, number = ms.get_current_device()
            return str(target), int(number)
        return str(ms.get_context("device_target")), int(ms.get_context("device_id"))

    def device_name(self) -> str:
        target, number = self.device()
        try:
            return str(_imported().hal.get_device_name(number, target) or "")
        except (AttributeError, RuntimeError, ValueError):
            return ""

    def facts(self) -> tuple[tuple[str, str], ...]:
        """Names and current values of MindSpore's switches, sorted by name.

        Of the dispatch threads only ``default`` or ``configured`` can be read, not their number.
        HF32 and precision modes exist only on Ascend.
        """
        ms = _imported()
        target, number = self.device()
        pairs = [
            ("mindspore.device", f"{target}:{number}"),
            ("mindspore.mode", self.mode()),
            ("mindspore.jit_level", str(ms.get_context("jit_level"))),
            ("mindspore.deterministic", str(ms.get_context("deterministic"))),
            ("mindspore.dispatch_threads", _configured("is_dispatch_threads_num_configured")),
            ("mindspore.op_threads", _configured("is_op_threads_num_configured")),
        ]
        if target == "Ascend":
            pairs += _ascend_precision()
        if self.composed:
            pairs.append(("mindspore.mint_cpu", f"{COMPOSITIONS}: {' '.join(self.composed)}"))
        return tuple(sorted(pairs))

    def mode(self) -> str:
        """The execution mode: ``PYNATIVE`` or ``GRAPH``."""
        ms = _imported()
        return "GRAPH" if ms.get_context("mode") == ms.GRAPH_MODE else "PYNATIVE"

    def context(self) -> tuple[tuple[str, str], ...]:
        ms = sys.modules.get("mindspore")
        if ms is None:
            return ()
        found = [("jit_level", str(ms.get_context("jit_level"))), ("mode", self.mode())]
        switched = [pair for pair in found if pair[1] not in ("", "PYNATIVE")]
        return (*switched, *_moved_randomness(ms))

    def enable_determinism(self) -> None:
        """Switch deterministic computation on, before the first kernel; may be called again.

        It stays on: MindSpore fixes the switch at the first operator, and raises if
        `mindspore.set_deterministic` is called twice, even with the same value. MindSpore also sets
        ``HCCL_DETERMINISTIC`` and ``TE_PARALLEL_COMPILER``.

        Raises:
            EnvironmentFault: It is still off afterwards.
        """
        ms = _imported()
        if not _is_determinism_configured(ms):
            try:
                ms.set_deterministic(True)
            except RuntimeError as error:
                if "repeatedly" not in str(error):
                    raise
        if ms.get_context("deterministic") != "ON":
            # The older switch can be turned on again; set_deterministic(False) cannot be overruled.
            ms.set_context(deterministic="ON")
        if ms.get_context("deterministic") != "ON":
            raise EnvironmentFault(
                "MindSpore's deterministic computation cannot be switched on",
                facts=(f"MindSpore {ms.__version__} answers {ms.get_context('deterministic')!r}",),
                next_step="remove calls of mindspore.set_deterministic(False)",
            )

    def is_tensor(self, value: object) -> bool:
        """Whether ``value`` is a MindSpore Tensor or Parameter; never imports MindSpore."""
        ms = sys.modules.get("mindspore")
        tensor = getattr(ms, "Tensor", None)
        return isinstance(tensor, type) and isinstance(value, tensor)

    def to_numpy(self, tensor: Any) -> NDArray[Any]:
        """A copy of the tensor's numbers, bit for bit: same shape and dtype, any shape.

        bfloat16 becomes `ml_dtypes.bfloat16`; NaN payloads are kept.
        """
        return np.array(self.peek(tensor), order="C", copy=True)

    def peek(self, tensor: Any) -> NDArray[Any]:
        """As `to_numpy`, but perhaps in MindSpore's own memory: read it before the next kernel."""
        array = np.asarray(tensor.asnumpy())
        if array.dtype.name == "bfloat16":
            import ml_dtypes

            # MindSpore may have its own bfloat16; both are the upper half of a float32.
            array = array.view(np.uint16).view(ml_dtypes.bfloat16)
        return array

    def from_numpy(self, array: NDArray[Any]) -> Any:
        """A new Tensor with the array's dtype, shape and bits."""
        return _imported().Tensor(np.array(array, order="C", copy=True))

    def seed_globals(self, seed: int) -> None:
        """Seed MindSpore's global generators and numpy's legacy one with ``seed`` modulo 2**32.

        Does nothing while MindSpore is not imported.
        """
        ms = sys.modules.get("mindspore")
        if ms is not None:
            ms.set_seed(seed % _SEED_BOUND)
            ms.manual_seed(seed % _SEED_BOUND)
            _AS_SEEDED.update(_read_randomness(ms))

    def save_state(self) -> SavedState | None:
        """The global random state and the mode; ``None`` while MindSpore is not imported."""
        ms = sys.modules.get("mindspore")
        if ms is None:
            return None
        return SavedState(
            seed=ms.get_seed(),
            kernel_seeds=tuple(getattr(_seed_module(), "_KERNEL_SEED", {}).items()),
            dataset_seed=_dataset_seed(),
            generator=np.array(ms.get_rng_state().asnumpy(), copy=True),
            numpy=np.random.get_state(legacy=False),  # noqa: NPY002  the state MindSpore moves
            mode=int(ms.get_context("mode")),
            jit_level=str(ms.get_context("jit_level")),
            as_seeded=tuple(_AS_SEEDED.items()),
        )

    def restore_state(self, state: SavedState | None) -> None:
        """Restore a state of `save_state`; ``None`` changes nothing."""
        ms = sys.modules.get("mindspore")
        if ms is None or state is None:
            return
        _restore_seed(ms, state)
        ms.set_rng_state(ms.Tensor(state.generator))
        _AS_SEEDED.clear()
        _AS_SEEDED.update(state.as_seeded)
        if state.dataset_seed is not None:
            sys.modules["mindspore.dataset"].config.set_seed(state.dataset_seed)
        if int(ms.get_context("mode")) != state.mode:
            ms.set_context(mode=state.mode)
        if str(ms.get_context("jit_level")) != state.jit_level:
            ms.set_context(jit_level=state.jit_level)
        # Last, because MindSpore's own setters change it.
        np.random.set_state(state.numpy)  # noqa: NPY002

    def is_cell(self, part: object) -> bool:
        nn = sys.modules.get("mindspore.nn")
        return nn is not None and isinstance(part, nn.Cell)

    def cells_of(self, cell: Any) -> Iterator[tuple[str, Any]]:
        return ((str(path), part) for path, part in cell.cells_and_names())

    def parameters_of(self, cell: Any) -> Iterator[tuple[str, Any]]:
        """The path and the tensor of every parameter.

        Not ``Parameter.name``, which MindSpore changes if a run puts a cell into another list, as
        mindone's UnCLIP does (``self.resnets[1:]``).
        """
        return ((str(path), one) for path, one in cell.parameters_and_names())

    def hear_calls(
        self, cells: Iterable[tuple[str, Any]], listener: CallListener
    ) -> Callable[[], None]:
        heard = [_Heard(name, cell, listener) for name, cell in cells]
        for one in heard:
            _CALLS.add(one)

        def end() -> None:
            while heard:
                _CALLS.drop(heard.pop())

        return end


@dataclass(frozen=True, slots=True, eq=False)
class _Heard:
    """One cell, its name, and its listeners."""

    name: str
    cell: Any
    listener: CallListener


class _CellCalls:
    """Listens to calls of cells by wrapping ``nn.Cell.__call__`` while there is a listener.

    MindSpore's own forward hooks would be compiled into graphs, where they cannot run.
    """

    def __init__(self) -> None:
        self._heard: dict[int, list[_Heard]] = {}
        self._plain: Any = None
        self._wrapper: Any = None

    def add(self, one: _Heard) -> None:
        if self._wrapper is None:
            self._wrap()
        self._heard.setdefault(id(one.cell), []).append(one)

    def drop(self, one: _Heard) -> None:
        listeners = self._heard[id(one.cell)]
        listeners.remove(one)
        if not listeners:
            del self._heard[id(one.cell)]
        if not self._heard:
            self._unwrap()

    def _wrap(self) -> None:
        cell_class = _imported().nn.Cell
        plain, heard = cell_class.__call__, self._heard

        @functools.wraps(plain)
        def call(cell: Any, *args: Any, **kwargs: Any) -> Any:
            listeners = tuple(heard.get(id(cell), ()))
            for one in listeners:
                one.listener.call_began(one.name, cell, args, kwargs)
            output = plain(cell, *args, **kwargs)
            for one in listeners:
                one.listener.call_ended(one.name, cell, output)
            return output

        self._plain, self._wrapper = plain, call
        cell_class.__call__ = call

    def _unwrap(self) -> None:
        cell_class = _imported().nn.Cell
        # Inside a wrapper that was added later, this one stays but does nothing.
        if cell_class.__call__ is self._wrapper:
            cell_class.__call__ = self._plain
            self._plain = self._wrapper = None


_CALLS = _CellCalls()
ADAPTER = MindSporeAdapter()


def _imported() -> ModuleType:
    try:
        return importlib.import_module("mindspore")
    except ImportError as error:
        raise EnvironmentFault(
            "MindSpore cannot be imported",
            facts=(str(error),),
            next_step="install mindspore, or set the framework to numpy",
        ) from error


def _is_determinism_configured(ms: ModuleType) -> bool:
    try:
        manager = importlib.import_module("mindspore._c_expression").DeviceManagerConf
        return bool(manager.get_instance().is_deterministic_configured())
    except _PRIVATE_IS_GONE:
        return bool(ms.get_context("deterministic") == "ON")


def _configured(question: str) -> str:
    try:
        runtime = importlib.import_module("mindspore._c_expression").RuntimeConf.get_instance()
        return "configured" if getattr(runtime, question)() else "default"
    except _PRIVATE_IS_GONE:
        return ""


def _ascend_precision() -> list[tuple[str, str]]:
    """The current precision switches of the Ascend backend; ``""`` if one is not set."""
    try:
        conf = importlib.import_module("mindspore._c_expression").AscendOpPrecisionConf
        switches = conf.get_instance()
    except _PRIVATE_IS_GONE:
        return []
    named: tuple[tuple[str, Callable[[], object]], ...] = (
        ("ascend.conv_hf32", switches.conv_allow_hf32),
        ("ascend.matmul_hf32", switches.matmul_allow_hf32),
        ("ascend.precision_mode", switches.precision_mode),
        ("ascend.op_precision_mode", switches.op_precision_mode),
    )
    return [(name, str(ask())) for name, ask in named]


_AS_SEEDED: dict[str, str] = {}


def _read_randomness(ms: ModuleType) -> Iterator[tuple[str, str]]:
    """What is known of draws in a graph, where no hook runs."""
    seed, offset, *_ = ms.get_rng_state().asnumpy().view(np.int64)
    yield "random.offset", str(offset)
    yield "random.seed", str(seed)
    yield "seed", str(ms.get_seed())


def _moved_randomness(ms: ModuleType) -> Iterator[tuple[str, str]]:
    """The seeds and the offset that the test changed since they were seeded."""
    return (pair for pair in _read_randomness(ms) if pair[1] != _AS_SEEDED.get(pair[0], pair[1]))


def _seed_module() -> ModuleType:
    return importlib.import_module("mindspore.common.seed")


def _restore_seed(ms: ModuleType, state: SavedState) -> None:
    module = _seed_module()
    kernel_seeds = getattr(module, "_KERNEL_SEED", None)
    if hasattr(module, "_GLOBAL_SEED"):
        # No public call resets the seed to "none was set".
        module._GLOBAL_SEED = state.seed  # type: ignore[attr-defined]  # noqa: SLF001
    elif state.seed is not None:
        ms.set_seed(state.seed)
    if kernel_seeds is not None:
        kernel_seeds.clear()
        kernel_seeds.update(state.kernel_seeds)


def _dataset_seed() -> int | None:
    dataset = sys.modules.get("mindspore.dataset")
    return int(dataset.config.get_seed()) if dataset is not None else None
