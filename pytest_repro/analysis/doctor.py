"""What `pytest-repro doctor` checks on a machine and its baselines."""

from __future__ import annotations

import errno
import os
import shutil
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import urlsplit

from pytest_repro.analysis.agreement import recorded_environment, recorded_kernels
from pytest_repro.environment.facts import unread_facts
from pytest_repro.environment.kernels import Kernels, differing
from pytest_repro.environment.key import order_references
from pytest_repro.model.baseline import Environment
from pytest_repro.model.ids import EnvironmentKey
from pytest_repro.model.words import Distance
from pytest_repro.store.files import folder_lock
from pytest_repro.store.store import Store

_LEAST_FREE_BYTES = 100 * 2**20
_HUB = "https://huggingface.co"
_HUB_TIMEOUT_S = 3.0


class Complaint(IntEnum):
    """A class of findings, with its exit code; the first in this order is the command's."""

    UNREPEATABLE = 10
    KERNELS = 11
    NOISE = 12
    DETERMINISM = 13
    FACTS = 14
    STORE = 15
    UNRECORDED = 16
    HUB = 17


MEANINGS = {
    Complaint.UNREPEATABLE: "a kernel is not deterministic",
    Complaint.KERNELS: "kernels compute different bits than those recorded under this key",
    Complaint.NOISE: "numpy draws different bits than those recorded under this key",
    Complaint.DETERMINISM: "deterministic computation is not in effect",
    Complaint.FACTS: "a fact that changes bits cannot be read",
    Complaint.STORE: "the baselines cannot be read or written, or the disk is nearly full",
    Complaint.UNRECORDED: "this machine's key has no baselines",
    Complaint.HUB: "the Hugging Face Hub cannot be reached",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem in a sentence, and what to do about it."""

    complaint: Complaint
    sentence: str
    next_step: str


@dataclass(frozen=True, slots=True)
class SeenFact:
    """A fact, and where it is read."""

    name: str
    value: str
    source: str
    changes_bits: bool


@dataclass(frozen=True, slots=True)
class Nearest:
    """The nearest stored environment.

    Attributes:
        key, distance: Which, and how far away.
        kernels: Those that compute different bits here; ``None`` if none were recorded.
    """

    key: EnvironmentKey
    distance: Distance
    kernels: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The result of all checks.

    Attributes:
        key: This machine's.
        facts: All of them.
        determinism: The switch as requested and as effective.
        kernel_count: How many kernels were run three times.
        unrepeatable: Those whose runs differ.
        nearest: The nearest stored environment; its distance is `own` if the key is recorded.
        notes: What is right, in sentences.
        findings: What is wrong, the most severe first.
    """

    key: EnvironmentKey
    facts: tuple[SeenFact, ...]
    determinism: str
    kernel_count: int
    unrepeatable: tuple[str, ...]
    nearest: Nearest | None
    notes: tuple[str, ...]
    findings: tuple[Finding, ...]


# The first matching pattern decides.
_SOURCES = (
    ("canary.*", "draws of numpy's PCG64(0)"),
    ("cann.version", "version.cfg or install.info below ASCEND_HOME_PATH"),
    ("driver.version", "version.info of the Ascend driver"),
    ("firmware.version", "version.info of the Ascend firmware"),
    ("ascend.family", "the SoC's name"),
    ("ascend.*", "mindspore.get_context"),
    ("cpu.cores", "the process's CPU affinity"),
    ("cpu.l2_*", "/sys/devices/system/cpu/cpu0/cache"),
    ("cpu.model", "/proc/cpuinfo"),
    ("cpu.quota", "/sys/fs/cgroup"),
    ("cpu.simd*", "/proc/cpuinfo and what oneDNN answers"),
    ("onednn.version", "the oneDNN that MindSpore brings"),
    ("env.*", "the environment variable"),
    ("code.*", "git, in the root folder"),
    ("mindspore.version", "metadata of the installed package"),
    ("mindspore.*", "mindspore.get_context"),
    ("numpy.simd", "numpy's own dispatch table"),
    ("project.*", "the hook pytest_repro_environment"),
    ("mindone.commit", "metadata of the installed package"),
    ("*.version", "metadata of the installed package"),
    ("os.*", "the operating system"),
    ("host.arch", "the operating system"),
    ("host.identity", "a hash of /etc/machine-id, the host name and cpu.model"),
)


def source_of(name: str) -> str:
    """Where a fact is read."""
    return next((text for pattern, text in _SOURCES if fnmatchcase(name, pattern)), "the machine")


def diagnose(
    environment: Environment,
    store: Store,
    runs: Sequence[Kernels],
    *,
    switched_on: str,
    variables: dict[str, str],
    can_connect: Callable[[str, int], bool],
) -> Diagnosis:
    """What is right and what is wrong with a machine.

    Args:
        environment: Its facts.
        store: The baselines, which need not exist.
        runs: Its kernels: two runs in this process, one in a fresh one.
        switched_on: Why deterministic computation is not in effect; ``""`` if it is.
        variables: The process's environment variables.
        can_connect: Whether a host answers on a port.
    """
    key, kernels = environment.key, runs[0]
    unrepeatable = tuple(sorted({name for one in runs[1:] for name in differing(kernels, one)}))
    keys = store.keys() if store.folder.is_dir() else ()
    ordered = order_references(key, keys, Distance.ANY)
    nearest = _nearest(store, ordered[0], kernels) if ordered else None
    findings = [
        *_kernel_findings(unrepeatable, nearest),
        *_noise_findings(environment, store, nearest),
        *_determinism_findings(switched_on),
        *_fact_findings(environment),
        *_store_findings(store),
        *_key_findings(key, nearest),
        *_hub_findings(variables, can_connect),
    ]
    return Diagnosis(
        key=key,
        facts=tuple(
            SeenFact(one.name, one.value, source_of(one.name), one.changes_bits)
            for one in environment.facts
        ),
        determinism=f"requested ON, effective {'OFF' if switched_on else 'ON'}",
        kernel_count=len(kernels),
        unrepeatable=unrepeatable,
        nearest=nearest,
        notes=tuple(_notes(len(kernels), findings, store)),
        findings=tuple(sorted(findings, key=lambda one: one.complaint)),
    )


def _nearest(store: Store, found: tuple[EnvironmentKey, Distance], kernels: Kernels) -> Nearest:
    key, far = found
    recorded = recorded_kernels(store, key)
    return Nearest(key, far, None if recorded is None else differing(recorded, kernels))


def _kernel_findings(unrepeatable: Sequence[str], nearest: Nearest | None) -> Iterator[Finding]:
    if unrepeatable:
        yield Finding(
            Complaint.UNREPEATABLE,
            f"these kernels are not deterministic: {', '.join(unrepeatable)}",
            "do not record here; check the deterministic switches and report the kernels",
        )
    if nearest is not None and nearest.distance is Distance.OWN and nearest.kernels:
        yield Finding(
            Complaint.KERNELS,
            f"these kernels compute different bits than those recorded under {nearest.key}: "
            f"{', '.join(nearest.kernels)}",
            "compare the facts: pytest-repro env; then record again: pytest --repro-update=all",
        )


def _noise_findings(
    environment: Environment, store: Store, nearest: Nearest | None
) -> Iterator[Finding]:
    if nearest is None or nearest.distance is not Distance.OWN:
        return
    recorded = recorded_environment(store, nearest.key)
    names = [one.name for one in environment.facts if one.name.startswith("canary.")]
    changed = [
        name
        for name in names
        if recorded is not None and recorded.value(name) not in ("", environment.value(name))
    ]
    if changed:
        yield Finding(
            Complaint.NOISE,
            f"numpy draws different bits than those recorded under {nearest.key}: "
            f"{', '.join(changed)}",
            "install the numpy that was recorded, or run with --repro-noise=replay",
        )


def _determinism_findings(switched_on: str) -> Iterator[Finding]:
    if switched_on:
        yield Finding(
            Complaint.DETERMINISM,
            f"deterministic computation is not in effect: {switched_on}",
            "remove calls of mindspore.set_deterministic(False), then run doctor again",
        )


def _fact_findings(environment: Environment) -> Iterator[Finding]:
    pairs = [(fact.name, fact.value) for fact in environment.facts]
    for name in unread_facts(pairs, environment.key):
        yield Finding(
            Complaint.FACTS,
            f"{name} cannot be read from {source_of(name)}, so no other machine shares this key",
            f"make {source_of(name)} readable, then run doctor again",
        )


def _store_findings(store: Store) -> Iterator[Finding]:
    folder = next(one for one in (store.folder, *store.folder.parents) if one.exists())
    step = "repair the permissions, or name another folder with --baselines"
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        yield Finding(Complaint.STORE, f"{store.shown(folder)} cannot be written", step)
        return
    try:
        if store.folder.is_dir():
            with folder_lock(store.folder):
                pass
    except OSError as error:
        why = errno.errorcode.get(error.errno or 0, "error")
        yield Finding(Complaint.STORE, f"{store.shown(folder)} cannot be locked ({why})", step)
    free = shutil.disk_usage(folder).free
    if free < _LEAST_FREE_BYTES:
        sentence = f"{free / 2**20:,.0f} MiB are free on the disk of {store.shown(folder)}"
        yield Finding(Complaint.STORE, sentence, "free some space before you record")


def _key_findings(key: EnvironmentKey, nearest: Nearest | None) -> Iterator[Finding]:
    if nearest is None or nearest.distance is not Distance.OWN:
        other = f"; the nearest is {nearest.key}" if nearest is not None else ""
        yield Finding(
            Complaint.UNRECORDED,
            f"{key} has no baselines{other}",
            "record them: pytest --repro-update",
        )


def _hub_findings(
    variables: dict[str, str], can_connect: Callable[[str, int], bool]
) -> Iterator[Finding]:
    address = urlsplit(variables.get("HF_ENDPOINT") or _HUB)
    host = address.hostname or ""
    if variables.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        yield Finding(
            Complaint.HUB, "HF_HUB_OFFLINE blocks the Hub", "unset it to load weights from the Hub"
        )
    elif not can_connect(host, address.port or (80 if address.scheme == "http" else 443)):
        yield Finding(
            Complaint.HUB,
            f"{host} does not answer within {_HUB_TIMEOUT_S:g} s",
            "check the network, or use --repro-weights=seeded, which needs no Hub",
        )


def can_connect(host: str, port: int) -> bool:
    """Whether a connection can be made within a few seconds."""
    try:
        with socket.create_connection((host, port), timeout=_HUB_TIMEOUT_S):
            return True
    except OSError:
        return False


def _notes(kernel_count: int, findings: Sequence[Finding], store: Store) -> Iterator[str]:
    wrong = {one.complaint for one in findings}
    folder: Path = store.folder
    if Complaint.UNREPEATABLE not in wrong:
        yield f"all {kernel_count} kernels gave equal bits twice here and once in a fresh process"
    if Complaint.STORE not in wrong:
        yield f"{store.shown(folder)} can be written and locked"
    if Complaint.UNRECORDED not in wrong:
        yield "this machine's key has baselines"
        if Complaint.NOISE not in wrong:
            yield "numpy draws the recorded bits"
    if Complaint.HUB not in wrong:
        yield "the Hub can be reached"
