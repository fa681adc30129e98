"""What a guard replaces while it is active.

numpy's unseeded generators are caught where all of them read entropy, so no class is replaced:
``isinstance``, pickles and names imported before the guard do not change.
"""

from __future__ import annotations

import functools
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import FrameType, ModuleType
from typing import Any, Protocol
from weakref import WeakSet, ref

import numpy as np
import numpy.random.bit_generator as numpy_entropy

from pytest_repro.errors import UsageError
from pytest_repro.guard.events import EventKind, calling_frame, makes_legacy_state, place_of
from pytest_repro.guard.global_state import LoadedModules


class Observer(Protocol):
    """Is told of every draw; raises to stop it."""

    def drawing(self, kind: EventKind, what: str) -> None:
        """Called before a draw in the calling thread."""

    def moved(self, kind: EventKind) -> None:
        """A draw or a seeding that was seen has moved a global state."""

    def seeding(self, kind: EventKind, call: str) -> None:
        """A global state is about to be seeded by ``call``."""

    def reseeded(self, generator: object) -> None:
        """A generator got a seed."""

    def handed(self, generator: object, count: int | None) -> None:
        """Mindone's drawing function got ``generator`` (a list for a batch of ``count``)."""


@dataclass(frozen=True, slots=True)
class Patch:
    """One attribute of a module or class, and its replacement."""

    owner: Any
    name: str
    replacement: object
    original: object


ABSENT = object()
"""The original of a replacement if its owner inherits the attribute."""


class Patches:
    """Replacements that are installed and removed together, any number of times.

    Modules that import a replaced function by name are reached, too. ``find_more`` finds further
    replacements each time, for modules that are loaded or exchanged later.
    """

    def __init__(
        self, patches: Iterable[Patch], find_more: Callable[[], Iterable[Patch]] = tuple
    ) -> None:
        self._patches = tuple(patches)
        self._find_more = find_more
        self._by_name = _ByName((one.original, one.replacement) for one in self._patches)
        self._undo: list[tuple[Patch, object]] = []

    def install(self) -> None:
        """Replace everything."""
        for patch in (*self._patches, *self._find_more()):
            before = vars(patch.owner).get(patch.name, ABSENT)
            if before is patch.replacement:
                # A monkeypatch made under a guard and undone later restored the replacement.
                before = patch.original
            self._undo.append((patch, before))
            setattr(patch.owner, patch.name, patch.replacement)
        self._by_name.install()

    def remove(self) -> None:
        """Restore everything, except what a test replaced itself."""
        self._by_name.remove()
        while self._undo:
            patch, before = self._undo.pop()
            if vars(patch.owner).get(patch.name) is not patch.replacement:
                continue
            if before is ABSENT:
                delattr(patch.owner, patch.name)
            else:
                setattr(patch.owner, patch.name, before)


def guard_patches(observer: Observer) -> Patches:
    """Everything that the guard replaces; MindSpore and mindone once they are imported."""
    of_entropy = tuple(_entropy_patches(observer))
    of_mindspore: list[Patch] = []

    def find_more() -> Iterator[Patch]:
        if not of_mindspore and "mindspore.ops.operations.random_ops" in sys.modules:
            of_mindspore.extend(_mindspore_patches(observer))
        yield from of_mindspore
        yield from _determinism_patches()
        yield from of_entropy
        yield from _mindone_patches(observer)

    return Patches((*_numpy_patches(observer), *_random_patches(observer)), find_more)


def _watched(
    observer: Observer, kind: EventKind, what: str, original: Callable[..., Any]
) -> Callable[..., Any]:
    @functools.wraps(original)
    def draw(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        observer.drawing(kind, what)
        try:
            return original(*args, **kwargs)
        finally:
            observer.moved(kind)

    return draw


def _seeding(
    observer: Observer, kind: EventKind, shown: str, original: Callable[..., Any]
) -> Callable[..., Any]:
    """Seeding or setting a state is not a draw, but moves it."""

    @functools.wraps(original)
    def seed(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        observer.seeding(kind, f"{shown} at {place_of(calling_frame())}")
        try:
            return original(*args, **kwargs)
        finally:
            observer.moved(kind)

    return seed


_SEEDING = frozenset({"seed", "set_state", "setstate"})
_SILENT = frozenset({"get_state", "getstate"})


def _global_patches(
    observer: Observer, kind: EventKind, module: ModuleType, owner: object, shown: str
) -> Iterator[Patch]:
    """Every function of ``module`` that is a method of its global generator ``owner``."""
    for name, function in list(vars(module).items()):
        belongs = getattr(function, "__self__", None) is owner or name in ("ranf", "sample")
        if name.startswith("_") or not belongs or name in _SILENT or not callable(function):
            continue
        if name in _SEEDING:
            replacement = _seeding(observer, kind, f"{shown}.{name}", function)
        else:
            what = f"{shown}.{name} draws from a global state"
            replacement = _watched(observer, kind, what, function)
        yield Patch(module, name, replacement, function)


def _numpy_patches(observer: Observer) -> Iterator[Patch]:
    kind = EventKind.NUMPY_GLOBAL
    owner = np.random.rand.__self__  # type: ignore[attr-defined]
    yield from _global_patches(observer, kind, np.random, owner, "np.random")
    # `seed` is a plain function in np.random; every other name is a bound method.
    seed = np.random.seed
    if getattr(seed, "__self__", None) is not owner:
        yield Patch(np.random, "seed", _seeding(observer, kind, "np.random.seed", seed), seed)


def _random_patches(observer: Observer) -> Iterator[Patch]:
    owner = random.random.__self__  # type: ignore[attr-defined]
    yield from _global_patches(observer, EventKind.RANDOM_GLOBAL, random, owner, "random")


def _entropy_patches(observer: Observer) -> Iterator[Patch]:
    """The places where numpy's generators and ``random.Random()`` read entropy without a seed."""
    entropy = numpy_entropy.randbits  # type: ignore[attr-defined]
    seed = random.Random.seed

    def randbits(count: int) -> Any:
        __tracebackhide__ = True
        if not makes_legacy_state(calling_frame()):
            observer.drawing(EventKind.UNSEEDED, "a numpy generator was made without a seed")
        return entropy(count)

    @functools.wraps(seed)
    def seed_random(self: random.Random, a: Any = None, version: int = 2) -> None:
        __tracebackhide__ = True
        if a is None:
            observer.drawing(EventKind.UNSEEDED, "a random.Random was made without a seed")
        seed(self, a, version)
        observer.reseeded(self)

    yield Patch(numpy_entropy, "randbits", randbits, entropy)
    yield Patch(random.Random, "seed", seed_random, seed)


def _mindspore_patches(observer: Observer) -> Iterator[Patch]:
    names = ("operations.random_ops", "auto_generate", "operations")
    modules = [sys.modules[f"mindspore.ops.{name}"] for name in names]
    for name in DRAWING_PRIMITIVES:
        kind = next((vars(module)[name] for module in modules if name in vars(module)), None)
        if isinstance(kind, type):
            what = f"MindSpore's {name} draws from a global state"
            call = _watched(observer, EventKind.MINDSPORE_GLOBAL, what, kind.__call__)
            yield Patch(kind, "__call__", call, vars(kind).get("__call__", ABSENT))


def _determinism_patches() -> Iterator[Patch]:
    """``mindspore.set_deterministic``, which raises if it is called a second time."""
    module = sys.modules.get("mindspore")
    original = getattr(module, "set_deterministic", None)
    if module is None or original is None:
        return

    @functools.wraps(original)
    def set_deterministic(deterministic: bool) -> None:
        __tracebackhide__ = True
        if not deterministic:
            raise UsageError(
                "the test switches MindSpore's deterministic computation off",
                where=place_of(calling_frame()),
                next_step="remove mindspore.set_deterministic(False)",
            )
        if module.get_context("deterministic") != "ON":
            original(deterministic)

    yield Patch(module, "set_deterministic", set_deterministic, original)


def _mindone_patches(observer: Observer) -> Iterator[Patch]:
    """The ``randn`` of mindone, which its ``randn_tensor`` looks up when it is called.

    Pipelines import ``randn_tensor`` by name, so replacing that would not reach them.
    """
    module = sys.modules.get("mindone.diffusers.utils.mindspore_utils")
    if module is None or not callable(vars(module).get("randn")):
        return
    original = getattr(module.randn, "repro_original", module.randn)

    @functools.wraps(original)
    def randn(size: Any, generator: Any = None, dtype: Any = None) -> Any:
        __tracebackhide__ = True
        outer: FrameType | None = sys._getframe(1)  # noqa: SLF001
        if outer is not None and outer.f_code.co_name == "<listcomp>":  # before Python 3.12
            outer = outer.f_back
        if outer is not None and outer.f_code.co_name == "randn_tensor":
            inner = outer.f_locals
            observer.handed(inner.get("generator"), inner.get("batch_size"))
        else:
            observer.handed(generator, None)
        return original(size, generator=generator, dtype=dtype)

    randn.repro_original = original  # type: ignore[attr-defined]
    yield Patch(module, "randn", randn, original)


DRAWING_PRIMITIVES = (
    "Bernoulli",
    "BernoulliExt",
    "Dropout",
    "Dropout2D",
    "Dropout3D",
    "Dropout2dExt",
    "DropoutExt",
    "DropoutGenMask",
    "DropoutGenMaskExt",
    "FuncDropoutExt",
    "Gamma",
    "InplaceBernoulliScalar",
    "InplaceBernoulliTensor",
    "InplaceExponential",
    "InplaceNormal",
    "InplaceRandom",
    "InplaceUniform",
    "LogNormalReverse",
    "LogUniformCandidateSampler",
    "Multinomial",
    "MultinomialExt",
    "MultinomialWithReplacement",
    "NonDeterministicInts",
    "NormalFloatFloat",
    "NormalFloatTensor",
    "NormalTensorFloat",
    "NormalTensorTensor",
    "ParameterizedTruncatedNormal",
    "Poisson",
    "RandExt",
    "RandInt",
    "RandIntLike",
    "RandLikeExt",
    "Randn",
    "RandnLike",
    "RandomCategorical",
    "RandomChoiceWithMask",
    "RandomGamma",
    "RandomPoisson",
    "RandomShuffle",
    "RandpermExt",
    "RandpermV2",
    "StandardLaplace",
    "StandardNormal",
    "TruncatedNormal",
    "UniformCandidateSampler",
    "UniformExt",
    "UniformInt",
    "UniformReal",
    "Uniform",
)
"""Primitives that draw, of MindSpore 2.7.0 to 2.10.0; missing ones are skipped.

The functions of ``mindspore.ops``, ``mint``, ``nn`` and ``numpy`` end in one of them, also when
they were imported by name; ``ms.get_rng_state()`` does not move for most of them.
"""


class _ByName:
    """Installs replacements in every module that holds an original by name.

    Each module is searched once, because thousands are loaded.
    """

    def __init__(self, pairs: Iterable[tuple[object, object]]) -> None:
        # A module that was loaded under a guard holds the replacement.
        self._pairs = {id(one): pair for pair in pairs for one in pair}
        self._loaded = LoadedModules()
        self._seen: WeakSet[ModuleType] = WeakSet()
        self._held: list[tuple[ref[ModuleType], str, object, object]] = []

    def install(self) -> None:
        """Replace the originals; a name that has another value by now does not change."""
        self._look()
        for space, name, original, replacement in self._names():
            if space.get(name) is original:
                space[name] = replacement

    def remove(self) -> None:
        """Restore every original."""
        self._look()
        for space, name, original, replacement in self._names():
            if space.get(name) is replacement:
                space[name] = original

    def _names(self) -> Iterator[tuple[dict[str, Any], str, object, object]]:
        for module, name, original, replacement in self._held:
            alive = module()
            if alive is not None:
                yield vars(alive), name, original, replacement

    def _look(self) -> None:
        if not self._loaded.have_changed():
            return
        loaded: list[tuple[str, object]] = list(sys.modules.items())
        for name, module in loaded:
            if isinstance(module, ModuleType) and module not in self._seen:
                self._seen.add(module)
                if not _is_owner(name):
                    self._held.extend(self._held_by(module))

    def _held_by(self, module: ModuleType) -> Iterator[tuple[ref[ModuleType], str, object, object]]:
        for name, value in tuple(vars(module).items()):
            pair = self._pairs.get(id(value))
            if pair is not None:
                yield ref(module), name, *pair


def _is_owner(name: str) -> bool:
    top = name.partition(".")[0]
    return top in ("numpy", "random", "torch", "pytest_repro") or top in sys.stdlib_module_names
