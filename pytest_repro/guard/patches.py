"""What is replaced while a guard is active, and put back when the last one leaves.

numpy's unseeded generators are caught at the one place where all of them ask for entropy, so no
class is replaced: ``isinstance``, pickles and names imported before the guard stay as they are.
"""

from __future__ import annotations

import functools
import operator
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import FrameType, ModuleType
from typing import Any, Protocol
from weakref import WeakSet, ref

import numpy as np
import numpy.random.bit_generator as numpy_entropy
import numpy.random.mtrand as numpy_legacy

from pytest_repro.guard.events import EventKind

_ANY = Any


class Observer(Protocol):
    """Who is told of every draw; raises to stop it."""

    def drawing(self, kind: EventKind, what: str) -> None:
        """A draw is about to happen in the calling thread."""
        ...

    def moving(self, kind: EventKind) -> None:
        """Global state is about to be moved, by a draw or by seeding."""
        ...

    def drew(self, kind: EventKind) -> None:
        """The draw that was announced, or a seeding, is over; global state has moved."""
        ...

    def handed(self, generator: object, count: int | None) -> None:
        """Mindone's drawing function got ``generator`` (a list for a batch of ``count``)."""
        ...


@dataclass(frozen=True, slots=True)
class _Patch:
    """One attribute and what stands in for it."""

    owner: Any
    name: str
    replacement: object
    original: object


class Patches:
    """All replacements for one observer; built once, put in place and taken away as often as asked.

    They may stay in place from one guard to the next where they stand for nothing but the functions
    themselves (`may_stay`); what changed meanwhile is seen by `renew`.

    Args:
        observer: Told of every draw.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        of_globals = (*_numpy_patches(observer),), (*_random_patches(observer),)
        of_entropy = ((patch,) for patch in _entropy_patches(observer))
        self._entropy = tuple(map(_ModulePatches, of_entropy))
        self._modules = (*map(_ModulePatches, of_globals), *self._entropy)
        self._by_name = ByName(
            (patch.original, patch.replacement) for patches in of_globals for patch in patches
        )
        self._mindspore: tuple[_Patch, ...] = ()
        self._mindone: tuple[_Patch, ...] = ()
        self._undo: list[tuple[Any, str, bool, object]] = []
        self._in_place = False

    def renew(self, *, with_globals: bool = True) -> None:
        """Put in place what is not: everything at first, later what others imported or replaced.

        Args:
            with_globals: Look at the functions of the global generators, too.
        """
        if self._in_place and not self._is_current(
            self._modules if with_globals else self._entropy
        ):
            self.remove()
        if not self._in_place:
            self.install()

    def may_stay(self) -> bool:
        """Whether nobody else's replacement is hidden, and no framework's function exchanged.

        Who put a function of their own in place and takes it away later must find it there.
        """
        return not self._undo and all(module.is_pristine() for module in self._modules)

    def _is_current(self, modules: Iterable[_ModulePatches]) -> bool:
        # Loops rather than `all`: this is asked twice a test.
        for module in modules:
            if not module.is_in_place():
                return False
        return not self._by_name.has_new()

    def install(self) -> None:
        """Replace everything; MindSpore and mindone only where they are already imported."""
        if not self._mindspore and "mindspore.ops.operations.random_ops" in sys.modules:
            self._mindspore = tuple(_mindspore_patches(self._observer))
        self._mindone = self._renewed(tuple(_mindone_patches(self._observer)))
        for module in self._modules:
            module.install()
        self._by_name.install()
        for patch in (*self._mindspore, *self._mindone):
            own = patch.name in vars(patch.owner)
            before = vars(patch.owner).get(patch.name)
            if before is patch.replacement:
                # A monkeypatch made under a guard and undone after it put ours back.
                before = patch.original
            self._undo.append((patch.owner, patch.name, own, before))
            setattr(patch.owner, patch.name, patch.replacement)
        self._in_place = True

    def _renewed(self, found: tuple[_Patch, ...]) -> tuple[_Patch, ...]:
        """The patches around what stands in mindone now: a test may have exchanged it."""
        known = {id(one) for patch in self._mindone for one in (patch.original, patch.replacement)}
        return self._mindone if all(id(one.original) in known for one in found) else found

    def remove(self) -> None:
        """Put everything back as it was."""
        self._in_place = False
        while self._undo:
            owner, name, own, before = self._undo.pop()
            if own:
                setattr(owner, name, before)
            else:
                delattr(owner, name)
        self._by_name.remove()
        for module in self._modules:
            module.remove()


class _ModulePatches:
    """Many replacements in one module, put in place by one step for all of them."""

    def __init__(self, patches: Iterable[_Patch]) -> None:
        found = tuple(patches)
        self._namespace: dict[str, object] = vars(found[0].owner)
        self._originals = {patch.name: patch.original for patch in found}
        self._replacements = {patch.name: patch.replacement for patch in found}
        self._before: dict[str, object] = {}
        # One step for all names, with one of them twice: of a single name it makes no tuple.
        names = (*self._originals, next(iter(self._originals)))
        self._found = operator.itemgetter(*names)
        self._wanted = self._found(self._replacements)

    def is_in_place(self) -> bool:
        """Whether nobody exchanged a replacement since it was put in place."""
        try:
            return bool(self._found(self._namespace) == self._wanted)
        except KeyError:
            return False

    def install(self) -> None:
        namespace, originals = self._namespace, self._originals
        if self._found(namespace) == self._found(originals):
            self._before = originals
        else:
            self._before = self._before_us({name: namespace[name] for name in originals})
        namespace.update(self._replacements)

    def _before_us(self, before: dict[str, object]) -> dict[str, object]:
        for name, replacement in self._replacements.items():
            if before[name] is replacement:
                # A monkeypatch made under a guard and undone after it put ours back.
                before[name] = self._originals[name]
        return before

    def is_pristine(self) -> bool:
        """Whether what was replaced were the functions themselves."""
        return self._before is self._originals

    def remove(self) -> None:
        if self.is_in_place():
            self._namespace.update(self._before)
            return
        for name, before in self._before.items():
            # What somebody put in place of ours stays.
            if self._namespace.get(name) is self._replacements[name]:
                self._namespace[name] = before


def _watched(
    observer: Observer, kind: EventKind, what: str, original: Callable[..., _ANY]
) -> Callable[..., _ANY]:
    @functools.wraps(original)
    def draw(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        observer.moving(kind)
        observer.drawing(kind, what)
        try:
            return original(*args, **kwargs)
        finally:
            observer.drew(kind)

    return draw


def _settling(
    observer: Observer, kind: EventKind, original: Callable[..., _ANY]
) -> Callable[..., _ANY]:
    """Seeding or setting the state is no draw, but moves it."""

    @functools.wraps(original)
    def settle(*args: Any, **kwargs: Any) -> Any:
        observer.moving(kind)
        try:
            return original(*args, **kwargs)
        finally:
            observer.drew(kind)

    return settle


_ENTROPY_BITS = 128
"""What numpy's SeedSequence asks for: a pool of four 32-bit words."""

_SETTLING = frozenset({"seed", "set_state", "setstate"})
_SILENT = frozenset({"get_state", "getstate"})


def _global_patches(
    observer: Observer, kind: EventKind, module: ModuleType, owner: object, shown: str
) -> Iterator[_Patch]:
    """Every function of ``module`` that is a method of its global generator ``owner``."""
    for name, function in list(vars(module).items()):
        belongs = getattr(function, "__self__", None) is owner or name in ("ranf", "sample")
        if name.startswith("_") or not belongs or name in _SILENT or not callable(function):
            continue
        if name in _SETTLING:
            yield _Patch(module, name, _settling(observer, kind, function), function)
        else:
            what = f"{shown}.{name} draws from a global state"
            yield _Patch(module, name, _watched(observer, kind, what, function), function)


def _numpy_patches(observer: Observer) -> Iterator[_Patch]:
    kind = EventKind.NUMPY_GLOBAL
    owner = numpy_legacy._rand  # noqa: SLF001
    yield from _global_patches(observer, kind, np.random, owner, "np.random")
    # `seed` is a plain function in np.random; every other module-level name is a bound method.
    if not isinstance(getattr(np.random.seed, "__self__", None), np.random.RandomState):
        seed = np.random.seed
        yield _Patch(np.random, "seed", _settling(observer, kind, seed), seed)


def _entropy_patches(observer: Observer) -> Iterator[_Patch]:
    entropy = numpy_entropy.randbits  # type: ignore[attr-defined]

    def randbits(count: int) -> Any:
        __tracebackhide__ = True
        observer.drawing(EventKind.UNSEEDED, "a numpy generator was made without a seed")
        return entropy(count)

    yield _Patch(numpy_entropy, "randbits", randbits, entropy)
    yield _Patch(numpy_legacy, "_MT19937", _unseeded_legacy(observer, entropy), np.random.MT19937)


def _unseeded_legacy(observer: Observer, entropy: Callable[[int], Any]) -> type[np.random.MT19937]:
    """The MT19937 that RandomState makes for itself.

    RandomState(0) makes an unseeded one first and seeds it then, so entropy alone tells nothing:
    what tells is whether it is seeded before it is used for the first time.
    """
    plain = np.random.MT19937

    class Kind(type(plain)):  # type: ignore[misc]
        def __instancecheck__(cls, value: object) -> bool:
            # numpy asks this of every RandomState's bits, also of those made before.
            return isinstance(value, plain)

    class MT19937(plain, metaclass=Kind):  # type: ignore[misc, valid-type]  # numpy reads the name
        def __init__(self) -> None:
            # A sequence of its own, made without asking for entropy, which would be an event.
            super().__init__(0)
            self.seeded = False

        def _legacy_seeding(self, seed: Any) -> Any:
            self.seeded = True
            return super()._legacy_seeding(seed)

        @property
        def capsule(self) -> Any:
            __tracebackhide__ = True
            if not self.seeded:
                self.seeded = True
                observer.drawing(EventKind.UNSEEDED, "a RandomState was made without a seed")
                self.state = plain(entropy(_ENTROPY_BITS)).state
            return super().capsule

        def __reduce__(self) -> Any:
            # A pickle must not name this class.
            make, arguments, *rest = super().__reduce__()
            return make, tuple(plain if one is type(self) else one for one in arguments), *rest

    return MT19937


def _random_patches(observer: Observer) -> Iterator[_Patch]:
    owner = random._inst  # noqa: SLF001
    kind = EventKind.RANDOM_GLOBAL
    yield from _global_patches(observer, kind, random, owner, "random")


def _mindspore_patches(observer: Observer) -> Iterator[_Patch]:
    names = ("operations.random_ops", "auto_generate", "operations")
    modules = [sys.modules[f"mindspore.ops.{name}"] for name in names]
    for name in DRAWING_PRIMITIVES:
        kind = next((vars(module)[name] for module in modules if name in vars(module)), None)
        if isinstance(kind, type):
            what = f"MindSpore's {name} draws from a global state"
            call = _watched(observer, EventKind.MINDSPORE_GLOBAL, what, kind.__call__)
            yield _Patch(kind, "__call__", call, vars(kind).get("__call__"))


def _mindone_patches(observer: Observer) -> Iterator[_Patch]:
    """The ``randn`` of mindone, which its ``randn_tensor`` looks up when it is called.

    Pipelines import ``randn_tensor`` by name, so replacing that would not reach them.
    """
    module = sys.modules.get("mindone.diffusers.utils.mindspore_utils")
    if module is None or not callable(vars(module).get("randn")):
        return
    original = module.randn

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

    yield _Patch(module, "randn", randn, original)


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
"""Primitives that draw, of MindSpore 2.7.0 to 2.10.0; one that a release lacks is skipped.

The functions of ``mindspore.ops``, ``mint``, ``nn`` and ``numpy`` end in one of them, also when
they were imported by name; ``ms.get_rng_state()`` does not move for most of them.
"""


class ByName:
    """Puts replacements in place in every module that holds an original by name.

    Only modules that came since the last look are looked through: thousands are loaded, and few
    are new to a test.

    Args:
        pairs: Originals and what stands in for them.
    """

    def __init__(self, pairs: Iterable[tuple[object, object]]) -> None:
        # A module that was loaded under a guard holds what stood in for the original by then.
        self._pairs = {id(one): pair for pair in pairs for one in pair}
        self._seen: WeakSet[ModuleType] = WeakSet()
        self._newest: tuple[int, ref[ModuleType] | None] = (0, None)
        self._held: list[tuple[ref[ModuleType], str, object, object]] = []

    def install(self) -> None:
        """Replace what is held; a name that means something else by now is left alone."""
        self._look()
        for space, name, original, replacement in self._names():
            if space.get(name) is original:
                space[name] = replacement

    def remove(self) -> None:
        """Put every original back."""
        for space, name, original, replacement in self._names():
            if space.get(name) is replacement:
                space[name] = original

    def _names(self) -> Iterator[tuple[dict[str, Any], str, object, object]]:
        for module, name, original, replacement in self._held:
            alive = module()
            if alive is not None:
                yield vars(alive), name, original, replacement

    def _look(self) -> None:
        if not self.has_new():
            return
        self._note_newest()
        self._held = [one for one in self._held if one[0]() is not None]
        loaded: list[tuple[str, object]] = list(sys.modules.items())
        for name, module in loaded:
            if isinstance(module, ModuleType) and module not in self._seen:
                self._seen.add(module)
                if not _is_owner(name):
                    self._held.extend(self._held_by(module))

    def has_new(self) -> bool:
        """Whether ``sys.modules`` changed since the last look; what is loaded goes to its end."""
        count, newest = self._newest
        if len(sys.modules) != count or newest is None:
            return True
        return newest() is not sys.modules[next(reversed(sys.modules))]

    def _note_newest(self) -> None:
        last: object = sys.modules[next(reversed(sys.modules))]
        self._newest = len(sys.modules), ref(last) if isinstance(last, ModuleType) else None

    def _held_by(self, module: ModuleType) -> Iterator[tuple[ref[ModuleType], str, object, object]]:
        space = vars(module)
        if self._pairs.keys().isdisjoint(map(id, tuple(space.values()))):
            return
        for name, value in tuple(space.items()):
            pair = self._pairs.get(id(value))
            if pair is not None:
                yield ref(module), name, *pair


def _is_owner(name: str) -> bool:
    top = name.partition(".")[0]
    return top in ("numpy", "random", "pytest_repro") or top in sys.stdlib_module_names
