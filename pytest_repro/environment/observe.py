"""The environment of this run: every fact from the other adapters, and the key made from them."""

from __future__ import annotations

import importlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pytest_repro.environment import ascend, host
from pytest_repro.environment import cpu as onednn
from pytest_repro.environment import key as environment
from pytest_repro.environment.cpu import see_cpu
from pytest_repro.environment.facts import (
    IDENTITY,
    chosen_facts,
    complete_key,
    make_fact,
    project_facts,
    unread_facts,
)
from pytest_repro.errors import EnvironmentFault
from pytest_repro.frameworks import framework as installed
from pytest_repro.frameworks.framework import FrameworkAdapter, default_framework
from pytest_repro.model.baseline import Environment, Fact
from pytest_repro.model.ids import EnvironmentKey
from pytest_repro.noise.canary import noise_canary

_PACKAGES = ("mindone", "mindspore", "numpy", "transformers")

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Seen:
    """A key's hardware and CANN (``None`` without Ascend), and the facts that were read for it."""

    hardware: str
    facts: Pairs
    cann: str | None = None


def observe_environment(
    *,
    framework: str = "auto",
    root: Path,
    extra: Mapping[str, str],
    mindspore: FrameworkAdapter | None = None,
    variables: Mapping[str, str] | None = None,
    key_facts: Sequence[str] = (),
) -> Environment:
    """See every fact about this machine and its software, and make the key.

    Switch determinism on before, not after: MindSpore's switch and two variables that it sets are
    among the facts.

    Args:
        framework: ``mindspore``, ``numpy``, ``torch``, or ``auto`` (MindSpore where it is
            installed).
        root: Folder whose git commit is recorded.
        extra: Facts from the project's hook; see `facts.project_facts`.
        mindspore: The framework's adapter.
        variables: Environment variables; by default those of this process.
        key_facts: Facts that the project adds to the key; see `facts.chosen_facts`.

    Returns:
        Key and facts, sorted by name. Where a fact of the key cannot be read, the key is this
        machine's alone: no other may have it by chance.

    Raises:
        EnvironmentFault: MindSpore was asked for and is not there, the device does not say what it
            is, a fact is named twice, or a fact of the key is not recorded.
    """
    adapter = mindspore or default_framework()
    known = os.environ if variables is None else variables
    name = _framework_name(framework, adapter)
    switches = adapter.facts() if name == "mindspore" else ()
    seen = _see_device(name, adapter, known)
    version = adapter.version() if name == "mindspore" else _other_version(name)
    software = environment.framework_key(name, version, cann=seen.cann)
    key = EnvironmentKey(seen.hardware, software)
    pairs = (
        *seen.facts,
        *switches,
        *_package_facts(),
        *(_versions(("diffusers", "torch")) if name == "torch" else ()),
        *host.system_facts(),
        *host.recorded_variables(known),
        *installed.git_facts(root),
        *project_facts(extra),
        ("numpy.simd", _numpy_simd()),
    )
    if unread_facts(pairs, key):
        pairs += ((IDENTITY, host.machine_identity(dict(pairs).get("cpu.model", ""))),)
    pairs += chosen_facts(key_facts, dict(pairs))
    made = (make_fact(fact, value, key) for fact, value in pairs)
    # A variable that is not set is worth a line only where setting it would change bits.
    facts = [fact for fact in made if fact.value or fact.changes_bits or not _is_variable(fact)]
    facts += noise_canary()
    _refuse_twins([fact.name for fact in facts])
    facts.sort(key=lambda fact: fact.name)
    return Environment(complete_key(key, [(f.name, f.value) for f in facts]), tuple(facts))


def _framework_name(asked: str, adapter: FrameworkAdapter) -> str:
    if asked not in ("auto", "mindspore", "numpy", "torch"):
        raise EnvironmentFault(f"{asked!r} is none of the frameworks auto, mindspore, numpy, torch")
    if asked == "torch" and not installed.package_version("torch"):
        raise EnvironmentFault(
            "the framework is set to torch, but PyTorch is not installed",
            next_step="install torch, or set the framework to auto",
        )
    if asked == "mindspore" and not adapter.installed():
        raise EnvironmentFault(
            "the framework is set to mindspore, but MindSpore is not installed",
            next_step="install mindspore, or set the framework to auto or numpy",
        )
    if asked == "auto":
        return "mindspore" if adapter.installed() else "numpy"
    return asked


def _other_version(name: str) -> str:
    """The version of numpy or PyTorch; the build of PyTorch (``+cpu``) is a fact, not the key."""
    if name == "numpy":
        return str(np.__version__)
    return installed.package_version(name).partition("+")[0]


def own_kind(framework: str, adapter: FrameworkAdapter) -> environment.HardwareKind:
    """The kind of hardware that this machine records for; imports MindSpore where it is used.

    Raises:
        EnvironmentFault: MindSpore was asked for and is not installed.
    """
    name = _framework_name(framework, adapter)
    target = adapter.device()[0] if name == "mindspore" else "CPU"
    return environment.HardwareKind(target.lower())


def _see_device(name: str, adapter: FrameworkAdapter, variables: Mapping[str, str]) -> _Seen:
    target = adapter.device()[0] if name == "mindspore" else "CPU"
    if target == "CPU":
        if name != "mindspore":
            return _see_cpu(None, {})  # oneDNN's limits do not reach numpy
        return _see_cpu(_onednn_of(adapter), variables)
    # Beside a device the host's CPU is a fact, not the key.
    host_cpu = _see_cpu(None, variables).facts
    if target == "Ascend":
        return _see_ascend(adapter, variables, host_cpu)
    return _Seen(environment.gpu_key(adapter.device_name()), host_cpu)


def _see_cpu(library: onednn.OneDnn | None, variables: Mapping[str, str]) -> _Seen:
    version = library.version if library else ""
    seen = see_cpu(variables, onednn_version=version, onednn_simd=library.simd if library else "")
    facts = (*seen.facts, ("cpu.quota", host.cpu_quota_cores()), ("onednn.version", version))
    return _Seen(seen.hardware, facts)


def _see_ascend(adapter: FrameworkAdapter, variables: Mapping[str, str], host_cpu: Pairs) -> _Seen:
    key = environment.soc_key(ascend.read_soc_name(adapter.device_name, ascend.ask_npu_smi))
    cann = ascend.cann_version(variables)
    facts = (
        ("ascend.family", environment.soc_family(key)),
        ("cann.version", cann),
        ("driver.version", ascend.driver_version()),
        ("firmware.version", ascend.firmware_version()),
    )
    return _Seen(key, (*host_cpu, *facts), cann)


def _onednn_of(adapter: FrameworkAdapter) -> onednn.OneDnn | None:
    folder = adapter.package_folder()
    library = onednn.find_library(folder) if folder else None
    return onednn.probe(library) if library else None


def _versions(names: Sequence[str]) -> Pairs:
    return tuple((f"{name}.version", installed.package_version(name)) for name in names)


def _package_facts() -> Pairs:
    versions = _versions(_PACKAGES)
    commit = installed.package_commit("mindone")
    # A release from an index has none, and its version says all.
    return (*versions, ("mindone.commit", commit)) if commit else versions


def _numpy_simd() -> str:
    """The instruction sets that this numpy dispatches to; ``""`` when it does not say."""
    for module in ("numpy._core._multiarray_umath", "numpy.core._multiarray_umath"):
        try:
            core = importlib.import_module(module)
            features, dispatched = core.__cpu_features__, core.__cpu_dispatch__
        except (ImportError, AttributeError):
            continue
        return " ".join(name.lower() for name in dispatched if features.get(name))
    return ""


def _is_variable(fact: Fact) -> bool:
    return fact.name.startswith("env.")


def _refuse_twins(names: list[str]) -> None:
    twins = sorted(name for name, count in Counter(names).items() if count > 1)
    if twins:
        raise EnvironmentFault(
            f"the fact {twins[0]!r} was seen more than once", facts=(f"twice: {', '.join(twins)}",)
        )
