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
    """The hardware part of a key, taken apart.

    Attributes:
        kind: CPU, Ascend or GPU.
        name: The part without the L2 size, e.g. ``cpu-x86_64-avx2-2c``.
        arch: Of a CPU, e.g. ``x86_64``; else ``""``.
        simd: Of a CPU, e.g. ``avx2``; else ``""``.
        core_count: Of a CPU, cores the process may run on; else 0.
        l2: Of a CPU, the L2 size per core, e.g. ``512k`` or ``unknown``; ``""`` where the key has
            none.
    """

    kind: HardwareKind
    name: str
    arch: str = ""
    simd: str = ""
    core_count: int = 0
    l2: str = ""


@dataclass(frozen=True, slots=True)
class Software:
    """The framework part of a key, taken apart.

    Attributes:
        name: E.g. ``mindspore``.
        version: E.g. ``2.10.0``.
        cann: CANN's version, ``unknown``, or ``""`` where there is no Ascend device.
        suffix: Hash of the facts that are not at their default; ``""`` where all are.
    """

    name: str
    version: str
    cann: str = ""
    suffix: str = ""


UNKNOWN = "unknown"
"""What a key says in place of a fact that could not be read; it equals no known value."""

_CPU_TEXT = re.compile(
    r"(?P<name>cpu-(?P<arch>[a-z0-9_]+)-(?P<simd>[a-z0-9_]+)-(?P<cores>[1-9][0-9]*)c)"
    r"(-l2_(?P<l2>[1-9][0-9]*[kb]|unknown))?"
)
_SOC_TEXT = re.compile(r"ascend[0-9]+[a-z0-9]*([_-][a-z0-9]+)*")
_GPU_TEXT = re.compile(r"gpu-[a-z0-9]+(-[a-z0-9]+)*")
_FRAMEWORK_TEXT = re.compile(
    r"(?P<name>[a-z][a-z_]*)-(?P<version>[0-9][0-9A-Za-z.+_!-]*?)"
    r"(\+cann_(?P<cann>[0-9a-z][0-9a-z._]*))?(~(?P<suffix>[0-9a-f]{6}))?"
)
_EXAMPLE = "cpu-x86_64-avx2-2c-l2_512k/mindspore-2.10.0"

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


def cpu_key(arch: str, simd: str, core_count: int, l2_bytes: int) -> str:
    """The hardware key of a CPU: ``cpu-x86_64-avx2-2c-l2_512k``.

    Args:
        arch: As from `simd.normal_arch`.
        simd: As from `simd.simd_level`.
        core_count: Cores that the process may run on, at least 1.
        l2_bytes: L2 size per core; 0 when it could not be read.

    Raises:
        EnvironmentFault: The parts do not make a key that can be read back.
    """
    size = f"{l2_bytes // 1024}k" if l2_bytes % 1024 == 0 else f"{l2_bytes}b"
    key = f"cpu-{arch}-{simd}-{core_count}c-l2_{size if l2_bytes else UNKNOWN}"
    if not _CPU_TEXT.fullmatch(key):
        raise EnvironmentFault(
            "this CPU cannot be named by a key",
            facts=(
                f"architecture {arch!r}, instruction set {simd!r}, cores {core_count}, "
                f"L2 {l2_bytes} bytes",
            ),
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


def framework_key(name: str, version: str, *, cann: str | None = None) -> str:
    """The framework key: ``mindspore-2.10.0``, on Ascend ``mindspore-2.7.1+cann_8.2.rc1``.

    Args:
        name: The framework.
        version: Its version.
        cann: CANN's version, ``""`` when it could not be read; ``None`` without an Ascend device.

    Raises:
        EnvironmentFault: The parts do not make a key that can be read back.
    """
    key = f"{name.strip().lower()}-{version.strip()}"
    if cann is not None:
        key += f"+cann_{re.sub('[^0-9a-z.]+', '_', cann.strip().lower()) or UNKNOWN}"
    if _software_or_none(key) is None:
        raise EnvironmentFault(
            f"{name!r} in version {version!r} cannot be named by a key",
            next_step=f"reinstall {name}, so that its version can be read",
        )
    return key


def parse_key(text: str) -> EnvironmentKey:
    """Read ``cpu-x86_64-avx2-2c-l2_512k/mindspore-2.10.0`` back.

    Raises:
        EnvironmentFault: It is not such a text.
    """
    hardware, slash, framework = text.partition("/")
    if not slash or _software_or_none(framework) is None:
        raise EnvironmentFault(f"{text!r} is not an environment key, such as {_EXAMPLE}")
    parse_hardware(hardware)
    return EnvironmentKey(hardware, framework)


def parse_hardware(text: str) -> Hardware:
    """Take a hardware key apart.

    Raises:
        EnvironmentFault: It is none.
    """
    hardware = _hardware_or_none(text)
    if hardware is None:
        raise EnvironmentFault(
            f"{text!r} is not a hardware key, such as cpu-x86_64-avx2-2c-l2_512k or ascend910b1"
        )
    return hardware


def is_of_kind(key: EnvironmentKey, kind: HardwareKind) -> bool:
    """Whether ``key`` is one of this kind of hardware; a name that cannot be read is of none."""
    hardware = _hardware_or_none(key.hardware)
    return hardware is not None and hardware.kind is kind


def parse_software(text: str) -> Software:
    """Take a framework key apart.

    Raises:
        EnvironmentFault: It is none.
    """
    software = _software_or_none(text)
    if software is None:
        raise EnvironmentFault(f"{text!r} is not a framework key, such as mindspore-2.10.0")
    return software


def compare_facts(baseline: Environment, observed: Environment) -> tuple[FactDifference, ...]:
    """The facts that differ, those that change bits first, then by name.

    A fact that only one side has was not looked for on the other. It is shown, with ``""`` there,
    but does not count as changing bits. Kernels are compared one by one, where they are measured.
    """
    before = {fact.name: fact for fact in baseline.facts if fact.name != KERNELS}
    now = {fact.name: fact for fact in observed.facts if fact.name != KERNELS}
    differing = (
        _difference(name, before.get(name), now.get(name)) for name in before.keys() | now.keys()
    )
    found = [one for one in differing if one is not None]
    return tuple(sorted(found, key=lambda one: (not one.changes_bits, one.name)))


_PORT = ("mindspore", "torch")
"""A port and its original."""


def distance(own: EnvironmentKey, other: EnvironmentKey) -> Distance | None:
    """How far another key is from ours.

    Returns:
        ``own`` for the same key; ``variant`` for the same hardware name and framework version with
        another L2 size, CANN or suffix; ``release`` for another framework version on that hardware;
        ``any`` for other hardware of the same kind; ``port`` if PyTorch recorded it and we run
        MindSpore; ``None`` where it is never a reference (another framework or another kind of
        hardware).
    """
    if own == other:
        return Distance.OWN
    ours, theirs = _parts_or_none(own), _parts_or_none(other)
    if ours is None or theirs is None:
        return None
    if ours[0].kind is not theirs[0].kind:
        return None
    if ours[1].name != theirs[1].name:
        return Distance.PORT if (ours[1].name, theirs[1].name) == _PORT else None
    if ours[0].name != theirs[0].name:
        return Distance.ANY
    return Distance.VARIANT if ours[1].version == theirs[1].version else Distance.RELEASE


def apart(own: EnvironmentKey, other: EnvironmentKey) -> str:
    """What sets a variant of our key apart, in words: ``L2 1024k, here 512k``."""
    ours, theirs = _parts_or_none(own), _parts_or_none(other)
    if ours is None or theirs is None:
        return ""
    rows = (
        ("L2", theirs[0].l2, ours[0].l2),
        ("CANN", theirs[1].cann, ours[1].cann),
        ("suffix", theirs[1].suffix, ours[1].suffix),
    )
    return "; ".join(
        f"{what} {there or 'none'}, here {here or 'none'}"
        for what, there, here in rows
        if there != here
    )


def order_references(
    own: EnvironmentKey, available: Iterable[EnvironmentKey], reach: Distance
) -> tuple[tuple[EnvironmentKey, Distance], ...]:
    """The keys in which a baseline is looked for, nearest first; a total order.

    By distance; on the same hardware those of our L2 size first; then by version, from ours
    downwards and then from the oldest newer one upwards; then those of our L2 size, CANN and
    suffix; then by name. Another kind of hardware is never a reference, and another framework only
    as ``port``.

    Guarantees: the result does not depend on the order of ``available``; a further key moves no
    other; where our own key is available it is first.

    Args:
        own: Our key.
        available: Keys that have baselines; other folders among them are skipped.
        reach: How far to go.
    """
    near = tuple(Distance)[: tuple(Distance).index(reach) + 1]
    found = [(key, far) for key in set(available) if (far := distance(own, key)) in near]
    return tuple(
        (key, wanted)
        for wanted in near
        for key in _nearest_first(own, [key for key, far in found if far is wanted])
    )


def _nearest_first(own: EnvironmentKey, keys: list[EnvironmentKey]) -> list[EnvironmentKey]:
    ours = _rank(own)
    # Stable sorts, the last one weighs most.
    alike = sorted(sorted(keys), key=lambda key: _unlike(own, key))
    older = sorted((key for key in alike if _rank(key) <= ours), key=_rank, reverse=True)
    newer = sorted((key for key in alike if _rank(key) > ours), key=_rank)
    return sorted(older + newer, key=lambda key: _has_other_l2(own, key))


def _unlike(own: EnvironmentKey, other: EnvironmentKey) -> tuple[bool, bool, bool]:
    """Whether L2 size, CANN and suffix differ."""
    ours, theirs = _parts_or_none(own), _parts_or_none(other)
    if ours is None or theirs is None:
        return (False, False, False)
    return (
        ours[0].l2 != theirs[0].l2,
        ours[1].cann != theirs[1].cann,
        ours[1].suffix != theirs[1].suffix,
    )


def _has_other_l2(own: EnvironmentKey, other: EnvironmentKey) -> bool:
    return distance(own, other) not in (Distance.ANY, Distance.PORT) and _unlike(own, other)[0]


def _rank(key: EnvironmentKey) -> VersionRank:
    software = _software_or_none(key.framework)
    return version_rank(software.version if software else "")


def _parts_or_none(key: EnvironmentKey) -> tuple[Hardware, Software] | None:
    hardware, software = _hardware_or_none(key.hardware), _software_or_none(key.framework)
    return None if hardware is None or software is None else (hardware, software)


def _software_or_none(text: str) -> Software | None:
    found = _FRAMEWORK_TEXT.fullmatch(text)
    return None if found is None else Software(**found.groupdict(default=""))


def _hardware_or_none(text: str) -> Hardware | None:
    cpu = _CPU_TEXT.fullmatch(text)
    if cpu is not None:
        cores, l2 = int(cpu["cores"]), cpu["l2"] or ""
        return Hardware(HardwareKind.CPU, cpu["name"], cpu["arch"], cpu["simd"], cores, l2)
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
