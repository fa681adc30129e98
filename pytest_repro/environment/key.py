"""The key of an environment, and how far the environment of a baseline is from this one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from pytest_repro.environment.facts import KERNELS
from pytest_repro.errors import EnvironmentFault
from pytest_repro.model.ids import EnvironmentKey
from pytest_repro.model.words import Distance

if TYPE_CHECKING:
    from pytest_repro.model.baseline import Environment, Fact
    from pytest_repro.model.ids import FactDifference


class HardwareKind(str, Enum):
    """Kinds of hardware; a baseline of another kind is never a reference."""

    CPU = "cpu"
    ASCEND = "ascend"
    GPU = "gpu"


@dataclass(frozen=True, slots=True)
class Hardware:
    """A hardware key taken apart.

    Attributes:
        kind: CPU, Ascend or GPU.
        name: The key itself.
        arch: Of a CPU, e.g. ``x86_64``; else ``""``.
        simd: Of a CPU, e.g. ``avx2``; else ``""``.
        core_count: Of a CPU, cores the process may run on; else 0.
    """

    kind: HardwareKind
    name: str
    arch: str = ""
    simd: str = ""
    core_count: int = 0


_CPU_TEXT = re.compile(r"cpu-(?P<arch>[a-z0-9_]+)-(?P<simd>[a-z0-9_]+)-(?P<cores>[1-9][0-9]*)c")
_SOC_TEXT = re.compile(r"ascend[0-9]+[a-z0-9]*([_-][a-z0-9]+)*")
_GPU_TEXT = re.compile(r"gpu-[a-z0-9]+(-[a-z0-9]+)*")
_FRAMEWORK_TEXT = re.compile(r"(?P<name>[a-z][a-z_]*)-(?P<version>[0-9][0-9A-Za-z.+_!-]*)")

# Source: full name to family, transform.json of Ascend/RecSDK. "ascend910b" without a digit is the
# first generation (910A), so a family never follows from how a name begins.
_FAMILIES = {
    **dict.fromkeys(("910a", "910b", "910proa", "910prob", "910premiuma"), "ascend910"),
    **dict.fromkeys(("910b1", "910b2", "910b2c", "910b3", "910b4", "910b4-1"), "ascend910b"),
    **dict.fromkeys(
        ("910_9362", "910_9372", "910_9381", "910_9382", "910_9391", "910_9392"), "ascend910_93"
    ),
    **dict.fromkeys(("310p1", "310p3", "310p5", "310p7"), "ascend310p"),
}
# Names that several chips share. npu-smi shows every A3 card as plain "Ascend910".
_FAMILY_NAMES = frozenset({"ascend910", "ascend910_93", "ascend310p"})


def cpu_key(arch: str, simd: str, core_count: int) -> str:
    """The hardware key of a CPU: ``cpu-x86_64-avx2-2c``.

    Args:
        arch: As from `simd.normal_arch`.
        simd: As from `simd.simd_level`.
        core_count: Cores that the process may run on, at least 1.

    Raises:
        EnvironmentFault: The parts do not make a key that can be read back.
    """
    key = f"cpu-{arch}-{simd}-{core_count}c"
    if not _CPU_TEXT.fullmatch(key):
        raise EnvironmentFault(
            "this CPU cannot be named by a key",
            facts=(f"architecture {arch!r}, instruction set {simd!r}, cores {core_count}",),
        )
    return key


def soc_key(name: str) -> str:
    """The hardware key of an Ascend device: its exact SoC name in lower case, never cut.

    ``Ascend910B`` (a 910A) and ``Ascend910B1`` stay two keys.

    Raises:
        EnvironmentFault: The name is empty, is no Ascend name, or is that of a whole family.
    """
    key = name.strip().lower()
    if not key:
        raise EnvironmentFault(
            "the Ascend device did not say which SoC it is",
            next_step="check `npu-smi info` and that CANN's set_env.sh was sourced",
        )
    if not _SOC_TEXT.fullmatch(key):
        raise EnvironmentFault(f"{name!r} is not the name of an Ascend SoC, such as Ascend910B1")
    if key in _FAMILY_NAMES:
        raise EnvironmentFault(
            f"{name!r} names a family of Ascend chips, not one SoC",
            facts=("chips of a family need not agree in their bits, so each has a key of its own",),
            next_step="make the exact name readable: acl.get_soc_name() of CANN's pyACL",
        )
    return key


def soc_family(key: str) -> str:
    """The family of a SoC key, e.g. ``ascend910b`` of ``ascend910b4-1``; ``""`` when unknown."""
    return _FAMILIES.get(key.removeprefix("ascend"), "")


def gpu_key(name: str) -> str:
    """The hardware key of a GPU: ``gpu-`` and its name, words joined by ``-``.

    Raises:
        EnvironmentFault: The name has no letter or digit.
    """
    words = re.findall(r"[a-z0-9]+", name.lower())
    if not words:
        raise EnvironmentFault("the GPU did not say its name")
    return "gpu-" + "-".join(words)


def framework_key(name: str, version: str) -> str:
    """The framework key: ``mindspore-2.10.0``.

    Raises:
        EnvironmentFault: The parts do not make a key that can be read back.
    """
    key = f"{name.strip().lower()}-{version.strip()}"
    if not _FRAMEWORK_TEXT.fullmatch(key):
        raise EnvironmentFault(
            f"{name!r} in version {version!r} cannot be named by a key",
            next_step=f"reinstall {name}, so that its version can be read",
        )
    return key


def parse_key(text: str) -> EnvironmentKey:
    """Read ``cpu-x86_64-avx2-2c/mindspore-2.10.0`` back.

    Raises:
        EnvironmentFault: It is not such a text.
    """
    hardware, slash, framework = text.partition("/")
    if not slash or not _FRAMEWORK_TEXT.fullmatch(framework):
        raise EnvironmentFault(
            f"{text!r} is not an environment key, such as cpu-x86_64-avx2-2c/mindspore-2.10.0"
        )
    return EnvironmentKey(parse_hardware(hardware).name, framework)


def parse_hardware(text: str) -> Hardware:
    """Take a hardware key apart.

    Raises:
        EnvironmentFault: It is none.
    """
    hardware = _hardware_or_none(text)
    if hardware is None:
        raise EnvironmentFault(
            f"{text!r} is not a hardware key, such as cpu-x86_64-avx2-2c or ascend910b1"
        )
    return hardware


def is_of_kind(key: EnvironmentKey, kind: HardwareKind) -> bool:
    """Whether ``key`` is one of this kind of hardware; a name that cannot be read is of none."""
    hardware = _hardware_or_none(key.hardware)
    return hardware is not None and hardware.kind is kind


def compare_facts(baseline: Environment, observed: Environment) -> tuple[FactDifference, ...]:
    """The facts that differ, those that change bits first, then by name.

    A fact that only one side has was not looked for on the other: it is shown, with ``""`` there,
    but never counts as changing bits. Kernels are compared one by one, where they are measured.
    """
    before = {fact.name: fact for fact in baseline.facts if fact.name != KERNELS}
    now = {fact.name: fact for fact in observed.facts if fact.name != KERNELS}
    differing = (
        _difference(name, before.get(name), now.get(name)) for name in before.keys() | now.keys()
    )
    found = [one for one in differing if one is not None]
    return tuple(sorted(found, key=lambda one: (not one.changes_bits, one.name)))


def distance(baseline: Environment, observed: Environment) -> Distance | None:
    """How far the environment of a baseline is from this one.

    Returns:
        ``own`` for the same key with no differing fact that changes bits; ``release`` for the same
        hardware; ``any`` for other hardware of the same kind; ``None`` where it is never a
        reference (another framework or another kind of hardware).
    """
    far = _key_distance(observed.key, baseline.key)
    if far is Distance.OWN and any(one.changes_bits for one in compare_facts(baseline, observed)):
        return Distance.RELEASE
    return far


def order_references(
    own: EnvironmentKey, available: Iterable[EnvironmentKey], reach: Distance
) -> tuple[tuple[EnvironmentKey, Distance], ...]:
    """The keys in which a baseline is looked for, nearest first; a total order.

    Our own key; then the same hardware, newest version not newer than ours downwards, then newer
    ones from the oldest upwards; then other hardware of the same kind by the same rule, ties by
    name. Another framework or another kind of hardware is never a reference.

    Guarantees: the result does not depend on the order of ``available``; a further key moves no
    other; where our own key is available it is first.

    Args:
        own: Our key.
        available: Keys that have baselines; other folders among them are passed over.
        reach: How far to go: ``own``, ``release`` or ``any``.
    """
    near = _REACH[reach]
    found = [(key, far) for key in set(available) if (far := _key_distance(own, key)) in near]
    groups = [
        _by_version(own, [key for key, far in found if far is wanted]) for wanted in _REACH_ORDER
    ]
    return tuple((key, far) for far, keys in zip(_REACH_ORDER, groups, strict=True) for key in keys)


_REACH_ORDER = (Distance.OWN, Distance.RELEASE, Distance.ANY)
_REACH = {far: _REACH_ORDER[: place + 1] for place, far in enumerate(_REACH_ORDER)}


def _by_version(own: EnvironmentKey, keys: list[EnvironmentKey]) -> list[EnvironmentKey]:
    ours = _rank(own)
    named = sorted(keys)
    older = sorted((key for key in named if _rank(key) <= ours), key=_rank, reverse=True)
    newer = sorted((key for key in named if _rank(key) > ours), key=_rank)
    return older + newer


def _rank(key: EnvironmentKey) -> VersionRank:

    found = _FRAMEWORK_TEXT.fullmatch(key.framework)
    return version_rank(found["version"] if found else "")


def _key_distance(own: EnvironmentKey, other: EnvironmentKey) -> Distance | None:
    if own == other:
        return Distance.OWN
    ours, theirs = (_FRAMEWORK_TEXT.fullmatch(key.framework) for key in (own, other))
    if ours is None or theirs is None or ours["name"] != theirs["name"]:
        return None
    if own.hardware == other.hardware:
        return Distance.RELEASE
    here, there = _hardware_or_none(own.hardware), _hardware_or_none(other.hardware)
    if here is None or there is None or here.kind is not there.kind:
        return None
    return Distance.ANY


def _hardware_or_none(text: str) -> Hardware | None:
    cpu = _CPU_TEXT.fullmatch(text)
    if cpu is not None:
        return Hardware(HardwareKind.CPU, text, cpu["arch"], cpu["simd"], int(cpu["cores"]))
    if _SOC_TEXT.fullmatch(text) and text not in _FAMILY_NAMES:
        return Hardware(HardwareKind.ASCEND, text)
    if _GPU_TEXT.fullmatch(text):
        return Hardware(HardwareKind.GPU, text)
    return None


def _difference(name: str, before: Fact | None, now: Fact | None) -> FactDifference | None:
    baseline, observed = (before.value if before else "", now.value if now else "")
    if baseline == observed:
        return None
    from pytest_repro.model.ids import FactDifference

    changes = before is not None and now is not None and (before.changes_bits or now.changes_bits)
    return FactDifference(name, baseline, observed, changes)


VersionRank = tuple[tuple[int, ...], int, int, int, int, str]
"""Release numbers, stage, number of the stage, post, dev, and what is left."""

_VERSION = re.compile(
    r"v?(?P<release>[0-9]+(?:\.[0-9]+)*)"
    r"(?:[._-]?(?P<stage>alpha|beta|preview|pre|rc|a|b|c)[._-]?(?P<number>[0-9]*))?"
    r"(?:[._-]?post(?P<post>[0-9]+))?"
    r"(?:[._-]?dev(?P<dev>[0-9]+))?"
    r"(?P<rest>.*)"
)
_STAGES = {"alpha": 1, "a": 1, "beta": 2, "b": 2, "preview": 3, "pre": 3, "rc": 3, "c": 3}
_DEV_OF_A_RELEASE = 0
_FINAL = 4
_NO_POST = -1
_NO_DEV = 1 << 62


def version_rank(version: str) -> VersionRank:
    """What versions are compared by: the order of PEP 440, written short.

    ``2.9.0 < 2.10.0.dev1 < 2.10.0a1 < 2.10.0rc1 < 2.10.0 = 2.10 < 2.10.0.post1``; text that is no
    version comes before all versions.
    """
    found = _VERSION.fullmatch(version.strip().lower())
    if found is None:
        return ((), 0, 0, 0, 0, version)
    release = [int(part) for part in found["release"].split(".")]
    while len(release) > 1 and release[-1] == 0:
        release.pop()
    post = int(found["post"]) if found["post"] else _NO_POST
    dev = int(found["dev"]) if found["dev"] else _NO_DEV
    stage = _STAGES.get(found["stage"] or "", _FINAL)
    if stage == _FINAL and post == _NO_POST and dev != _NO_DEV:
        stage = _DEV_OF_A_RELEASE
    return (tuple(release), stage, int(found["number"] or 0), post, dev, found["rest"])
