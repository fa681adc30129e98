"""PyTorch in tests that have it loaded: its noise, tensors and modules; we never import it.

Its default generator is seeded and restored around each test, and its draws enter the draw log. The
guard stops a draw from the default generator unless the test called ``torch.manual_seed``. Tested
with PyTorch 2.13.0 on CPU. Draws below Python, such as dropout, are not recorded; if they move a
generator, the draw log has an entry without numbers.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pytest_repro.errors import UsageError
from pytest_repro.frameworks.framework import CallListener
from pytest_repro.guard.events import EventKind, calling_frame, is_constructing
from pytest_repro.guard.guard import announce_draw
from pytest_repro.guard.patches import ABSENT, Patch, Patches
from pytest_repro.noise.sources import SignStream, disturb_by_one_ulp
from pytest_repro.tensors.dtypes import DTYPES
from pytest_repro.tensors.record import digest_text

if TYPE_CHECKING:
    from pytest_repro.noise.generator import NoiseBook

_APART = 0x7E570000_00000000
"""Added to the seed of a test, to distinguish its own ``torch.manual_seed``."""
_FUNCTIONS = (
    *("bernoulli", "multinomial", "normal", "poisson", "rand", "rand_like", "randint"),
    *("randint_like", "randn", "randn_like", "randperm"),
)
_METHODS = (
    *("bernoulli", "bernoulli_", "cauchy_", "exponential_", "geometric_", "log_normal_"),
    *("multinomial", "normal_", "random_", "uniform_"),
)
_DISCRETE = frozenset({"bernoulli", "bernoulli_", "geometric_", "poisson", "random_"})
"""They return whole numbers in floating dtypes, which are never perturbed."""
_TAKES_ITS_SHAPE = frozenset({"rand", "randn"})
_TAKES_A_TENSOR = frozenset({"rand_like", "randn_like", "randint_like"})
_NOT_SAID = frozenset(
    {"generator", "dtype", "size", "out", "device", "layout", "requires_grad", "pin_memory"}
)


_NOISE_OF_DIFFUSERS = "diffusers.utils.torch_utils"


class TorchState:
    """The global random state of PyTorch: that of its default generator on the CPU."""

    def seed_globals(self, seed: int) -> None:
        """Seed it if PyTorch is imported."""
        torch = _loaded()
        if torch is not None:
            torch.default_generator.manual_seed(seed % 2**32 + _APART)

    def save_state(self) -> Any:
        """Its state; ``None`` while PyTorch is not imported."""
        torch = _loaded()
        return None if torch is None else torch.default_generator.get_state()

    def restore_state(self, state: Any) -> None:
        """Restore a state of `save_state`; ``None`` changes nothing."""
        torch = _loaded()
        if torch is not None and state is not None:
            torch.default_generator.set_state(state)


class TorchRecorder:
    """Writes PyTorch's draws into a book, from `start` to `stop`; opens it at the first draw."""

    def __init__(self, open_book: Callable[[], NoiseBook]) -> None:
        self._open_book = open_book
        self._patches: Patches | None = None
        self._generators: dict[int, _Known] = {}

    def start(self) -> None:
        """Begin to record, if PyTorch is imported."""
        torch = _loaded()
        if torch is not None and self._patches is None:
            self._patches = Patches(self._patches_of(torch))
            self._patches.install()

    def stop(self) -> None:
        """Restore every function of PyTorch."""
        if self._patches is not None:
            self._patches.remove()
            self._patches = None
        for known in self._generators.values():
            known.bits.freeze()

    def _patches_of(self, torch: Any) -> Iterator[Patch]:
        for owner, names in ((torch, _FUNCTIONS), (torch.Tensor, _METHODS)):
            for name in names:
                original = getattr(owner, name, None)
                if original is not None:
                    here = vars(owner).get(name, ABSENT)
                    yield Patch(owner, name, self._recorded(torch, owner, name, original), here)
        seed = torch.seed

        @functools.wraps(seed)
        def seeded_by_the_system() -> Any:
            __tracebackhide__ = True
            announce_draw(EventKind.UNSEEDED, "torch.seed takes its seed from the system")
            return seed()

        yield Patch(torch, "seed", seeded_by_the_system, seed)

    def _recorded(
        self, torch: Any, owner: Any, name: str, original: Callable[..., Any]
    ) -> Callable[..., Any]:
        shown = f"torch.{name}" if owner is torch else f"torch.Tensor.{name}"

        @functools.wraps(original)
        def draw(*args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            if is_constructing(calling_frame()):
                return original(*args, **kwargs)
            generator = kwargs.get("generator") or torch.default_generator
            if generator is torch.default_generator and generator.initial_seed() >= _APART:
                what = f"{shown} draws from the default generator, which the test did not seed"
                announce_draw(EventKind.TORCH_GLOBAL, what)
            return self._record(torch, shown, name, generator, original, args, kwargs)

        return draw

    def _record(
        self,
        torch: Any,
        shown: str,
        name: str,
        generator: Any,
        original: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> Any:
        from pytest_repro.noise.generator import drawn_from

        book = self._open_book()
        with book.lock:
            known = self._known(torch, book, generator)
            arguments = _arguments(name, args, kwargs, is_method=shown.startswith("torch.Tensor."))
            value = original(*args, **kwargs)
            known.state = _state_of(generator)
            if value.device.type == "meta":
                return value
            drawn = drawn_from(name, (), {}, _to_numpy(torch, value))
            if name in _DISCRETE:
                drawn = replace(drawn, array=None)
            given = book.record(known.number, shown, arguments, drawn)
            if given is not None:
                with torch.no_grad():
                    value.copy_(_from_numpy(torch, given, value.dtype))
            return value

    def _known(self, torch: Any, book: NoiseBook, generator: Any) -> _Known:
        """The generator's entry in the book; a new one after it was seeded."""
        known = self._generators.get(id(generator))
        state = _state_of(generator)
        if known is None or (state != known.state and _is_fresh(torch, generator, state)):
            bits = _Bits(generator)
            number = book.register(bits, _describe(torch, generator))
            known = self._generators[id(generator)] = _Known(generator, bits, number, state)
        book.note_move(known.number)
        return known


class TorchModules:
    """PyTorch's tensors and modules, as a watch and a comparison read them."""

    def installed(self) -> bool:
        """Whether PyTorch is loaded."""
        return _loaded() is not None

    def context(self) -> tuple[tuple[str, str], ...]:
        """Nothing: its switches are not known."""
        return ()

    def is_tensor(self, value: object) -> bool:
        """Whether ``value`` is a ``torch.Tensor``."""
        torch = _loaded()
        return torch is not None and isinstance(value, torch.Tensor)

    def to_numpy(self, tensor: Any) -> NDArray[Any]:
        """A copy of the tensor's numbers, bit for bit."""
        return _to_numpy(_loaded(), tensor)

    peek = to_numpy

    def from_numpy(self, array: NDArray[Any]) -> Any:
        """A new tensor of the array's dtype, shape and numbers."""
        torch = _loaded()
        return _from_numpy(torch, array, getattr(torch, array.dtype.name))

    def is_cell(self, part: object) -> bool:
        """Whether ``part`` is a ``torch.nn.Module``."""
        torch = _loaded()
        return torch is not None and isinstance(part, torch.nn.Module)

    def cells_of(self, cell: Any) -> Iterator[tuple[str, Any]]:
        """The path and the module of every module in ``cell``, first itself with ``""``."""
        yield from cell.named_modules()

    def parameters_of(self, cell: Any) -> Iterator[tuple[str, Any]]:
        """The path and the tensor of every parameter of ``cell``."""
        yield from cell.named_parameters()

    def hear_calls(
        self, cells: Iterable[tuple[str, Any]], listener: CallListener
    ) -> Callable[[], None]:
        """Report every call of the named modules to ``listener``; the result ends that."""
        handles: list[Any] = []
        for name, module in cells:
            before, after = _hooks(name, listener)
            handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
            handles.append(module.register_forward_hook(after, with_kwargs=True))

        def end() -> None:
            while handles:
                handles.pop().remove()

        return end


def _hooks(name: str, listener: CallListener) -> tuple[Callable[..., None], Callable[..., None]]:
    def before(module: Any, args: Sequence[Any], kwargs: Any) -> None:
        listener.call_began(name, module, args, kwargs)

    def after(module: Any, args: Sequence[Any], kwargs: Any, output: Any) -> None:
        listener.call_ended(name, module, output)

    return before, after


@contextmanager
def moved_modules(pipeline: Any, seed: int) -> Iterator[None]:
    """Move the output of every innermost module by one ULP of its dtype, with random signs.

    So rounding moves what perturbed noise does not reach, such as the encoding of a text. The input
    of diffusers' ``Timesteps`` moves, too: it is multiplied by frequencies before their sine, so
    one ULP of a frequency moves the angle by one ULP of a time of up to a thousand.
    """
    signs, modules = SignStream(seed), TorchModules()

    def move(module: Any, args: Any, output: Any) -> Any:
        if not modules.is_tensor(output) or not output.is_floating_point():
            return None
        return move_one(output)

    def move_time(module: Any, args: Any) -> Any:
        return (move_one(args[0].float()), *args[1:])

    def move_one(tensor: Any) -> Any:
        array = modules.to_numpy(tensor)
        given, _ = disturb_by_one_ulp(array, signs.rises(array.shape), array.dtype.name)
        return modules.from_numpy(given).to(tensor.device)

    parts = getattr(pipeline, "components", {"": pipeline}).values()
    every = (one for part in parts if modules.is_cell(part) for one in part.modules())
    inner = [one for one in every if not list(one.children())]
    hooks = [one.register_forward_hook(move) for one in inner]
    times = (one for one in inner if type(one).__name__ == "Timesteps")
    hooks += [one.register_forward_pre_hook(move_time) for one in times]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def shared_noise(*, demanded: bool = False) -> Iterator[None]:
    """Let diffusers' ``randn_tensor`` draw from numpy's generators as mindone's does.

    It draws float64 and casts, so both sides get equal bits. Pipelines import the function by name;
    each module that holds it gets the replacement. PyTorch's own generators draw as before. If
    diffusers is not loaded there is nothing to do, or where it is ``demanded`` a `UsageError`.
    """
    if demanded and "diffusers" in sys.modules:
        importlib.import_module(_NOISE_OF_DIFFUSERS)  # diffusers loads its parts when first used
    torch, module = _loaded(), sys.modules.get(_NOISE_OF_DIFFUSERS)
    if torch is None or module is None:
        if demanded:
            raise UsageError(
                "repro_shared_noise needs diffusers, which is not loaded yet",
                next_step="import diffusers at the top of the test's file",
            )
        yield
        return
    original = module.randn_tensor
    patches = Patches([Patch(module, "randn_tensor", _drawing(torch, original), original)])
    patches.install()
    try:
        yield
    finally:
        patches.remove()


def _drawing(torch: Any, original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def randn_tensor(
        shape: Sequence[int],
        generator: Any = None,
        device: Any = None,
        dtype: Any = None,
        layout: Any = None,
    ) -> Any:
        __tracebackhide__ = True
        given = generator if isinstance(generator, list) else [generator]
        if not all(isinstance(one, np.random.Generator) for one in given):
            return original(shape, generator, device, dtype, layout)
        size = tuple(shape) if len(given) == 1 else (1, *shape[1:])
        count = 1 if len(given) == 1 else shape[0]
        drawn = [torch.from_numpy(given[at].standard_normal(size)) for at in range(count)]
        return torch.cat(drawn).to(device=device, dtype=dtype or torch.get_default_dtype())

    return randn_tensor


class _Known:
    """A generator that has drawn; kept alive, so its id is not reused."""

    def __init__(self, generator: Any, bits: _Bits, number: int, state: bytes) -> None:
        self.generator = generator
        self.bits = bits
        self.number = number
        self.state = state


class _Bits:
    """The part of a generator that a book needs: its state."""

    def __init__(self, generator: Any) -> None:
        self._generator = generator
        self._last: bytes | None = None

    @property
    def state(self) -> object:
        return _state_of(self._generator) if self._last is None else self._last

    def freeze(self) -> None:
        """Keep the current state: later draws are not the test's."""
        if self._last is None:
            self._last = _state_of(self._generator)


def _loaded() -> Any:
    """PyTorch, once its import is complete."""
    torch = sys.modules.get("torch")
    is_whole = isinstance(torch, ModuleType) and hasattr(torch, "default_generator")
    return torch if is_whole else None


def _state_of(generator: Any) -> bytes:
    state: bytes = generator.get_state().numpy().tobytes()
    return state


def _is_fresh(torch: Any, generator: Any, state: bytes) -> bool:
    other = torch.Generator(device=generator.device)
    other.manual_seed(generator.initial_seed())
    return _state_of(other) == state


def _describe(torch: Any, generator: Any) -> str:
    seed = generator.initial_seed()
    if generator is not torch.default_generator:
        return f"torch.Generator({seed})"
    return f"torch.default_generator({seed - _APART if seed >= _APART else seed})"


def _arguments(
    name: str, args: Sequence[Any], kwargs: Mapping[str, Any], *, is_method: bool
) -> str:
    """Canonical text of a call, without shape, dtype and generator."""
    given = [] if name in _TAKES_ITS_SHAPE else list(args)
    if is_method or name in _TAKES_A_TENSOR:
        given = given[1:]
    texts = [_text(one) for one in given if not _is_size(one)]
    named = sorted((key, value) for key, value in kwargs.items() if key not in _NOT_SAID)
    return ", ".join([*texts, *(f"{key}={_text(value)}" for key, value in named)])


def _is_size(value: object) -> bool:
    return isinstance(value, (tuple, list))


def _text(value: Any) -> str:
    if not hasattr(value, "detach"):
        return repr(value)
    shape = tuple(value.shape)
    content = digest_text(repr(value.detach().cpu().double().tolist()))
    return f"{str(value.dtype).removeprefix('torch.')}{shape}:{content[:12]}"


def _to_numpy(torch: Any, tensor: Any) -> NDArray[Any]:
    here = tensor.detach().cpu().contiguous()
    if here.dtype is torch.bfloat16:
        bits: NDArray[Any] = np.array(here.view(torch.int16).numpy(), copy=True)
        return bits.view(DTYPES["bfloat16"].numpy)
    return np.array(here.numpy(), copy=True)


def _from_numpy(torch: Any, array: NDArray[Any], dtype: Any) -> Any:
    if dtype is torch.bfloat16:
        return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(np.array(array, copy=True))
